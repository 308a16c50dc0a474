// lookup.c: looks one serial up, and lists entries by position.

#include <string.h>

#include "reader/attributes_reader.h"
#include "reader/bucket_reader.h"
#include "reader/image.h"
#include "reader/ordered_reader.h"

bool crlcheck_image_contains(const crlcheck_image *image, uint32_t certificate_issuer,
                             const uint8_t *serial, size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    uint64_t rank;
    if (table != NULL && table->kind != TABLE_KIND_BUCKET) {
        return ordered_contains(table, serial);
    }
    return table != NULL && bucket_find(NULL, &rank, table, serial);
}

crlcheck_status crlcheck_image_find(const crlcheck_image *image,
                                    crlcheck_found *out_found,
                                    uint32_t certificate_issuer, const uint8_t *serial,
                                    size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    uint64_t rank;
    if (table == NULL) {
        return CRLCHECK_NOT_FOUND;
    }
    bool listed = table->kind != TABLE_KIND_BUCKET
                      ? ordered_find(&rank, table, serial)
                      : bucket_find(NULL, &rank, table, serial);
    if (!listed) {
        return CRLCHECK_NOT_FOUND;
    }
    describe_entry(NULL, out_found, table, serial, rank);
    return CRLCHECK_OK;
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
    if (table->kind != TABLE_KIND_BUCKET) {
        if (!ordered_serial(serial, table, position)) {
            return CRLCHECK_CORRUPT_IMAGE;
        }
    } else {
        uint64_t bucket;
        if (!entry_bucket(&bucket, table, position)) {
            return CRLCHECK_CORRUPT_IMAGE;
        }
        bucket_serial(serial, table, position, bucket);
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
    uint64_t bucket = 0;
    for (size_t i = 0; i < count; i++) {
        // Serials are written in whole words, which the last has no room for: copy it.
        uint8_t serial[CRLCHECK_MAX_SERIAL];
        uint64_t position = first + i;
        if (table->kind != TABLE_KIND_BUCKET) {
            if (!ordered_serial(serial, table, position)) {
                return CRLCHECK_CORRUPT_IMAGE;
            }
        } else {
            if (i == 0 ? !entry_bucket(&bucket, table, position)
                       : !next_bucket(&bucket, table, position)) {
                return CRLCHECK_CORRUPT_IMAGE;
            }
            bucket_serial(serial, table, position, bucket);
        }
        memcpy(out_serials + i * table->serial_len, serial, table->serial_len);
    }
    return CRLCHECK_OK;
}
