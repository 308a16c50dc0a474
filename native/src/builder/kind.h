// kind.h: which kind of table the entries take least as.

#ifndef CRLCHECK_BUILDER_KIND_H
#define CRLCHECK_BUILDER_KIND_H

#include "builder/bitmap_writer.h"
#include "builder/gaps_writer.h"
#include "image/format.h"

// table_plan is how a table will be written. Zeroed, it says a table of buckets.
typedef struct table_plan {
    unsigned kind;            // that it takes least as
    ordered_entries entries;  // of a bitmap or gaps
    bitmap_plan bitmap;
    gaps_plan gaps;
    uint8_t *sections[NUM_KIND_SECTIONS];  // the first is there once all are
} table_plan;

// choose_kind finds out which kind a table, whose records are sorted and counted, takes
// least as. If that is gaps, it also makes their sections; a bitmap is serialized by
// others. It returns false without memory.
bool choose_kind(table_plan *out_plan, const builder_table *table);

// plan_set_bitmap makes the sections of a table that takes least as a bitmap. It returns
// CRLCHECK_MALFORMED for any bytes but those of that bitmap.
crlcheck_status plan_set_bitmap(table_plan *plan, const uint8_t *bitmap,
                                size_t bitmap_len);

void table_plan_clear(table_plan *plan);

// plan_kind returns the kind that a table is written as: without the bitmap that it
// waits for, a table of buckets.
static inline unsigned plan_kind(const table_plan *plan) {
    return plan->sections[0] != NULL ? plan->kind : (unsigned)TABLE_KIND_BUCKET;
}

#endif
