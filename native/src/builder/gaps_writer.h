// gaps_writer.h: measures a table as the gaps between its keys, and makes its sections.

#ifndef CRLCHECK_BUILDER_GAPS_WRITER_H
#define CRLCHECK_BUILDER_GAPS_WRITER_H

#include "builder/ordered_entries.h"
#include "image/gaps.h"

// gaps_plan has the parameters and sizes of a table as gaps.
typedef struct gaps_plan {
    gaps_shape shape;
    uint64_t num_rows;  // of the block directory
    uint64_t num_bits;  // of the bit stream
} gaps_plan;

// gaps_measure finds out how a table is stored as gaps, and how many bytes that takes.
// `out_size` is UINT64_MAX if it cannot be stored so, or takes more than `limit`. It
// returns false without memory.
bool gaps_measure(uint64_t *out_size, gaps_plan *out_plan, const ordered_entries *entries,
                  uint64_t limit);

uint64_t gaps_section_size(const gaps_plan *plan, const ordered_entries *entries,
                           unsigned section);

// gaps_write allocates the sections of a table that was measured. It returns false
// without memory.
bool gaps_write(uint8_t **out_sections, const gaps_plan *plan,
                const ordered_entries *entries);

#endif
