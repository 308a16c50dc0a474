// image_bitmap.c: finds serials in tables of the kind bitmap. Its members are keys as
// they are before mixing, so that serials which a CA counts up stay neighbours.

#include "image.h"

bool image_bitmap_contains(const image_table *table, const uint8_t *serial) {
    table_key key;
    return natural_key(&key, &table->shape, 0, serial) &&
           bitmap_contains(&table->bitmap, key.low);
}

bool image_bitmap_find(uint64_t *out_rank, const image_table *table,
                       const uint8_t *serial) {
    table_key key;
    return natural_key(&key, &table->shape, 0, serial) &&
           bitmap_find(out_rank, &table->bitmap, key.low);
}

bool image_bitmap_serial(uint8_t *out_serial, const image_table *table, uint64_t rank) {
    uint64_t key;
    if (!bitmap_select(&key, &table->bitmap, rank) ||
        (key & ~low_bits(table->shape.key_bits)) != 0) {
        return false;
    }
    natural_to_serial(out_serial, &table->shape, key);
    return true;
}
