// ordered_entries.h: what the units that store dense serials share.

#ifndef CRLCHECK_BUILDER_ORDERED_ENTRIES_H
#define CRLCHECK_BUILDER_ORDERED_ENTRIES_H

#include "builder/table.h"

// dense_key returns the key of a record as it was before mixing.
static inline uint64_t dense_key(const builder_table *table, const uint8_t *record) {
    return key_unmix(key_load_low(record, &table->shape), table->shape.low_bits);
}

// ---- ordered_entries.c ----

// dense_collect allocates the entries in order of their keys, or leaves them out where
// keys lie further apart than `widest`. It returns false without memory.
bool dense_collect(dense_entries *out_entries, const builder_table *table,
                   uint64_t widest);

void dense_entries_free(dense_entries *entries);

// ---- gaps_writer.c ----

// gaps_measure finds out how a table, whose entries have been collected, would be
// stored as gaps, and what that takes; `out_size` is UINT64_MAX where it cannot be, or
// would take more than `limit`. It returns false without memory.
bool gaps_measure(uint64_t *out_size, builder_table *table, uint64_t limit);

uint64_t gaps_section_size(const builder_table *table, unsigned section);

// gaps_write makes the sections of a table that was measured. It returns false without
// memory.
bool gaps_write(builder_table *table);

#endif
