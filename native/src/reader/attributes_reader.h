// attributes_reader.h: reads reason and dates of an entry by its rank.

#ifndef CRLCHECK_READER_ATTRIBUTES_READER_H
#define CRLCHECK_READER_ATTRIBUTES_READER_H

#include <string.h>

#include "image/pages.h"
#include "reader/image.h"

// read_date returns false if the entry has no such date.
static inline bool read_date(reader_pages *pages, int64_t *out_date,
                             const image_dates *dates, uint64_t rank) {
    if (dates->blocks == NULL) {
        return false;
    }
    const uint8_t *block = dates->blocks + rank / DATES_PER_BLOCK * DATE_BLOCK_SIZE;
    uint64_t base = body_le64(pages, block);
    uint64_t offset = (uint64_t)body_le32(pages, block + 8) * (DATES_PER_BLOCK / 8);
    unsigned width = body_byte(pages, block + 12);
    uint64_t size = (uint64_t)width * (DATES_PER_BLOCK / 8);
    if (width == 0 || width > 64 || offset > dates->payload_size ||
        size > dates->payload_size - offset) {
        return false;
    }
    uint64_t value =
        body_bits(pages, dates->payload + offset, rank % DATES_PER_BLOCK * width, width);
    if (value == 0) {
        return false;
    }
    *out_date = (int64_t)(base + (value - 1));
    return true;
}

// describe_entry gives all that the image says of the entry of a serial.
static inline void describe_entry(reader_pages *pages, crlcheck_found *out_found,
                                  const image_table *table, const uint8_t *serial,
                                  uint64_t rank) {
    *out_found = (crlcheck_found){.certificate_issuer = table->certificate_issuer,
                                  .serial_len = table->serial_len,
                                  .reason_code = CRLCHECK_NO_REASON};
    memcpy(out_found->serial, serial, table->serial_len);
    if (rank >= table->num_entries) {  // the image is damaged
        return;
    }
    if (table->reasons != NULL) {
        uint8_t reasons = body_byte(pages, table->reasons + rank / 2);
        out_found->reason_code = (reasons >> (rank % 2 * 4)) & 0x0f;
    }
    out_found->has_revocation_date =
        read_date(pages, &out_found->revocation_date, &table->revocation_dates, rank);
    out_found->has_invalidity_date =
        read_date(pages, &out_found->invalidity_date, &table->invalidity_dates, rank);
}

#endif
