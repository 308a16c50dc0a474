// ordered_reader.c: asks the bitmap or the gaps of a table.

#include "reader/ordered_reader.h"

bool ordered_find(uint64_t *out_rank, const image_table *table, const uint8_t *serial) {
    table_key key;
    if (!ordered_key(&key, &table->shape, 0, serial)) {
        return false;
    }
    return table->kind == TABLE_KIND_BITMAP
               ? bitmap_find(out_rank, &table->bitmap, key.low)
               : gaps_find(out_rank, &table->gaps, key.low);
}

bool ordered_contains(const image_table *table, const uint8_t *serial) {
    table_key key;
    uint64_t rank;
    if (table->kind != TABLE_KIND_BITMAP) {
        return ordered_find(&rank, table, serial);
    }
    return ordered_key(&key, &table->shape, 0, serial) &&
           bitmap_contains(&table->bitmap, key.low);
}

bool ordered_serial(uint8_t *out_serial, const image_table *table, uint64_t rank) {
    uint64_t key;
    bool found = table->kind == TABLE_KIND_BITMAP
                     ? bitmap_select(&key, &table->bitmap, rank)
                     : gaps_select(&key, &table->gaps, rank);
    if (!found || (key & ~low_bits(table->shape.key_bits)) != 0) {
        return false;
    }
    ordered_to_serial(out_serial, &table->shape, key);
    return true;
}
