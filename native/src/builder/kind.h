// kind.h: chooses the kind of table that takes fewest bytes.

#ifndef CRLCHECK_BUILDER_KIND_H
#define CRLCHECK_BUILDER_KIND_H

#include "builder/bitmap_writer.h"
#include "builder/gaps_writer.h"
#include "image/format.h"

// table_plan says how a table will be written. Zeroed, it is a table of lines.
typedef struct table_plan {
    unsigned kind;            // that takes fewest bytes, once its sections are there
    ordered_entries entries;  // of a bitmap or gaps
    bitmap_plan bitmap;
    gaps_plan gaps;
    uint8_t *sections[NUM_KIND_SECTIONS];  // the first is there once all are
} table_plan;

// choose_kind plans a table whose records are sorted and counted. It also makes the
// sections of gaps; those of a bitmap wait for plan_set_bitmap. It returns false without
// memory.
bool choose_kind(table_plan *out_plan, const builder_table *table);

// plan_set_bitmap makes the sections of a bitmap. It returns CRLCHECK_MALFORMED for any
// bytes but those of the bitmap that was planned.
crlcheck_status plan_set_bitmap(table_plan *plan, const uint8_t *bitmap,
                                size_t bitmap_len);

void table_plan_clear(table_plan *plan);

// plan_kind returns the kind that a table is written as. A bitmap that was not set is
// written as a table of lines.
static inline unsigned plan_kind(const table_plan *plan) {
    return plan->sections[0] != NULL ? plan->kind : (unsigned)TABLE_KIND_LINES;
}

#endif
