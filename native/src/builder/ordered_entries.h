// ordered_entries.h: sorts the entries of a table by ordered key (image/key.h), by which
// serials that a CA counts up are neighbours. Bitmaps and gaps are made from them.

#ifndef CRLCHECK_BUILDER_ORDERED_ENTRIES_H
#define CRLCHECK_BUILDER_ORDERED_ENTRIES_H

#include "builder/table.h"

typedef struct ordered_entries {
    uint64_t num_entries;
    uint64_t *keys;           // NULL where the entries were left out
    const uint8_t **records;  // kept for their attributes, NULL without
} ordered_entries;

// ordered_collect allocates the entries of a table that has no high words, or leaves
// them out where keys lie further apart than `widest`. It returns false without memory.
bool ordered_collect(ordered_entries *out_entries, const builder_table *table,
                     uint64_t widest);

void ordered_entries_free(ordered_entries *entries);

// record_ordered_key returns the ordered key of a record, which holds the mixed one.
static inline uint64_t record_ordered_key(const builder_table *table,
                                          const uint8_t *record) {
    return key_unmix(key_load_low(record, &table->shape), table->shape.low_bits);
}

#endif
