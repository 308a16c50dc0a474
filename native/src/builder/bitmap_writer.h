// bitmap_writer.h: measures a table as a roaring bitmap, and makes its sections. The
// caller of the builder serializes the bitmap; the directories beside it are made here.

#ifndef CRLCHECK_BUILDER_BITMAP_WRITER_H
#define CRLCHECK_BUILDER_BITMAP_WRITER_H

#include "builder/ordered_entries.h"

// bitmap_plan counts the parts that the bitmap of a table will have.
typedef struct bitmap_plan {
    uint64_t size;  // as serialized
    uint64_t num_groups;
    uint64_t num_containers;
    uint64_t num_counts;  // in the rank directory
} bitmap_plan;

// bitmap_measure returns how many bytes a table takes as a bitmap, or UINT64_MAX if
// these are `limit` or more.
uint64_t bitmap_measure(bitmap_plan *out_plan, const ordered_entries *entries,
                        uint64_t limit);

uint64_t bitmap_section_size(const bitmap_plan *plan, const ordered_entries *entries,
                             unsigned section);

// bitmap_accept allocates the sections of a table from its serialized bitmap, of which
// it keeps a copy. It returns CRLCHECK_MALFORMED for any bytes but those of the bitmap
// that was measured.
crlcheck_status bitmap_accept(uint8_t **out_sections, const bitmap_plan *plan,
                              const ordered_entries *entries, const uint8_t *bitmap,
                              size_t bitmap_len);

#endif
