// lookup.c: looks one serial up, and lists entries by position.

#include <string.h>

#include "base/bits.h"
#include "reader/attributes_reader.h"
#include "reader/bucket_reader.h"
#include "reader/image.h"
#include "reader/lines_reader.h"
#include "reader/lookup.h"
#include "reader/ordered_reader.h"

// Nearly all serials have up to 24 octets. For each number of words above the low one there
// is a function whose loops over words are unrolled, and which lies in few lines of memory.
#define FIND_IN_LINES(name, num_high)                                                    \
    NEVER_INLINE static bool name(uint64_t *out_rank, const image_table *table,          \
                                  const uint8_t *serial) {                               \
        return lines_find(out_rank, table, num_high, serial);                            \
    }
FIND_IN_LINES(find_in_lines_0, 0)
FIND_IN_LINES(find_in_lines_1, 1)
FIND_IN_LINES(find_in_lines_2, 2)
FIND_IN_LINES(find_in_lines, table->shape.num_high)
#undef FIND_IN_LINES

// find_rank finds the rank of a serial, which a table of ordered keys may not know.
// `out_rank` may be NULL where the rank is not needed.
static inline bool find_rank(uint64_t *out_rank, const image_table *table,
                             const uint8_t *serial) {
    if (table->kind == TABLE_KIND_LINES) {
        switch (table->shape.num_high) {
        case 0:
            return find_in_lines_0(out_rank, table, serial);
        case 1:
            return find_in_lines_1(out_rank, table, serial);
        case 2:
            return find_in_lines_2(out_rank, table, serial);
        default:
            return find_in_lines(out_rank, table, serial);
        }
    }
    if (table->kind == TABLE_KIND_BUCKET) {
        return bucket_find(NULL, out_rank, table, serial);
    }
    return out_rank == NULL ? ordered_contains(table, serial)
                            : ordered_find(out_rank, table, serial);
}

bool crlcheck_image_contains(const crlcheck_image *image, uint32_t certificate_issuer,
                             const uint8_t *serial, size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    return table != NULL && find_rank(NULL, table, serial);
}

bool image_find_entry(const crlcheck_image *image, crlcheck_found *out_found,
                      uint32_t certificate_issuer, const uint8_t *serial,
                      size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    uint64_t rank;
    if (table == NULL || !find_rank(&rank, table, serial)) {
        return false;
    }
    describe_entry(NULL, out_found, table, serial, rank);
    return true;
}

crlcheck_status crlcheck_image_find(const crlcheck_image *image,
                                    crlcheck_found *out_found,
                                    uint32_t certificate_issuer, const uint8_t *serial,
                                    size_t serial_len) {
    return image_find_entry(image, out_found, certificate_issuer, serial, serial_len)
               ? CRLCHECK_OK
               : CRLCHECK_NOT_FOUND;
}

// entry_serial gives the serial of an entry. `*walk` is that of the entry before, which the
// caller has asked for, unless `anew`.
static inline bool entry_serial(uint8_t *out_serial, bucket_walk *walk,
                                const image_table *table, uint64_t rank, bool anew) {
    bool found;
    if (is_ordered(table)) {
        return ordered_serial(out_serial, table, rank);
    }
    if (table->kind == TABLE_KIND_LINES) {
        found =
            anew ? lines_bucket(walk, table, rank) : lines_next_bucket(walk, table, rank);
    } else {
        found = anew ? entry_bucket(&walk->bucket, table, rank)
                     : next_bucket(&walk->bucket, table, rank);
    }
    if (found) {
        table_key key;
        entry_key(NULL, &key, &table->remainders, rank, walk->bucket);
        key_to_serial(out_serial, &table->shape, &key);
    }
    return found;
}

crlcheck_status crlcheck_image_entry(const crlcheck_image *image,
                                     crlcheck_found *out_found, uint32_t table_number,
                                     uint64_t position) {
    if (table_number >= image->info.num_tables ||
        position >= image->tables[table_number].num_entries) {
        return CRLCHECK_NOT_FOUND;
    }
    const image_table *table = &image->tables[table_number];
    uint8_t serial[CRLCHECK_MAX_SERIAL];
    bucket_walk walk = {0};
    if (!entry_serial(serial, &walk, table, position, true)) {
        return CRLCHECK_CORRUPT_IMAGE;
    }
    describe_entry(NULL, out_found, table, serial, position);
    return CRLCHECK_OK;
}

crlcheck_status crlcheck_image_serials(const crlcheck_image *image, uint8_t *out_serials,
                                       uint32_t table_number, uint64_t first,
                                       size_t count) {
    if (table_number >= image->info.num_tables ||
        first > image->tables[table_number].num_entries ||
        count > image->tables[table_number].num_entries - first) {
        return CRLCHECK_NOT_FOUND;
    }
    const image_table *table = &image->tables[table_number];
    bucket_walk walk = {0};
    for (size_t i = 0; i < count; i++) {
        // Serials are written in whole words, which the last has no room for: copy it.
        uint8_t serial[CRLCHECK_MAX_SERIAL];
        if (!entry_serial(serial, &walk, table, first + i, i == 0)) {
            return CRLCHECK_CORRUPT_IMAGE;
        }
        memcpy(out_serials + i * table->serial_len, serial, table->serial_len);
    }
    return CRLCHECK_OK;
}
