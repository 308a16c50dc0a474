// lookup.c: looks one serial up, and lists entries by position.

#include <string.h>

#include "base/bits.h"
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
    return table != NULL && bucket_find(&rank, table, serial);
}

// read_date returns false if the entry has no such date.
static bool read_date(int64_t *out_date, const image_dates *dates, uint64_t rank) {
    if (dates->blocks == NULL) {
        return false;
    }
    const uint8_t *block = dates->blocks + rank / DATES_PER_BLOCK * DATE_BLOCK_SIZE;
    unsigned width = block[12];
    uint64_t offset = (uint64_t)load_le32(block + 8) * (DATES_PER_BLOCK / 8);
    uint64_t size = (uint64_t)width * (DATES_PER_BLOCK / 8);
    if (width == 0 || width > 64 || offset > dates->payload_size ||
        size > dates->payload_size - offset) {
        return false;
    }
    uint64_t value =
        read_bits(dates->payload + offset, rank % DATES_PER_BLOCK * width, width);
    if (value == 0) {
        return false;
    }
    *out_date = (int64_t)(load_le64(block) + (value - 1));
    return true;
}

static void describe(crlcheck_found *out_found, const image_table *table,
                     const uint8_t *serial, uint64_t rank) {
    *out_found = (crlcheck_found){.certificate_issuer = table->certificate_issuer,
                                  .serial_len = table->serial_len,
                                  .reason_code = CRLCHECK_NO_REASON};
    memcpy(out_found->serial, serial, table->serial_len);
    if (rank >= table->num_entries) {  // the image is damaged
        return;
    }
    if (table->reasons != NULL) {
        out_found->reason_code = (table->reasons[rank / 2] >> (rank % 2 * 4)) & 0x0f;
    }
    out_found->has_revocation_date =
        read_date(&out_found->revocation_date, &table->revocation_dates, rank);
    out_found->has_invalidity_date =
        read_date(&out_found->invalidity_date, &table->invalidity_dates, rank);
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
    bool listed = table->kind != TABLE_KIND_BUCKET ? ordered_find(&rank, table, serial)
                                                   : bucket_find(&rank, table, serial);
    if (!listed) {
        return CRLCHECK_NOT_FOUND;
    }
    describe(out_found, table, serial, rank);
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
    describe(out_found, table, serial, position);
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
