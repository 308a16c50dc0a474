// check_image.h: writes the image of a builder and compares all its answers with a sorted
// array of the same entries.

#ifndef CRLCHECK_FUZZ_CHECK_IMAGE_H
#define CRLCHECK_FUZZ_CHECK_IMAGE_H

#include <stdlib.h>
#include <string.h>

#include "crlcheck.h"
#include "image/format.h"
#include "reference.h"
#include "write_bitmap.h"

enum { MOST_ASKED_AROUND = 500 };  // of the entries of one image, about

// sort_all sorts the entries; calls that find nothing left to do change nothing.
static inline void sort_all(crlcheck_builder *builder, crlcheck_builder_stats *out_stats,
                            choices *choice) {
    require(crlcheck_builder_seal(builder, NULL) == CRLCHECK_OK);
    for (uint64_t i = 0; i <= choose(choice, 2); i++) {
        require(crlcheck_builder_sort(builder, NULL) == CRLCHECK_OK);
    }
    crlcheck_builder_stats_of(builder, out_stats);
}

// set_bitmaps sets the bitmap of each table that is one.
static inline void set_bitmaps(crlcheck_builder *builder, choices *choice) {
    uint32_t table;
    uint64_t num_keys;
    require(crlcheck_builder_choose_kinds(builder, NULL) == CRLCHECK_OK);
    for (uint32_t first = 0;
         crlcheck_builder_next_bitmap(builder, &table, &num_keys, first) == CRLCHECK_OK;
         first = table + 1) {
        uint64_t *keys = malloc((size_t)num_keys * sizeof *keys);
        uint8_t *bitmap = malloc(bitmap_capacity(num_keys));
        require(keys != NULL && bitmap != NULL);
        crlcheck_builder_bitmap_keys(builder, keys, table);
        size_t len = write_bitmap(bitmap, keys, num_keys);
        uint8_t *copy = copy_exactly(bitmap, len);
        require(crlcheck_builder_set_bitmap(builder, NULL, table, copy, len) ==
                CRLCHECK_OK);
        if (choose(choice, 8) == 0) {  // no other octets will do
            size_t place = choose(choice, len);
            bool shorter = choose(choice, 2) == 0;
            copy[place] ^= (uint8_t)(1U << choose(choice, 8));
            require(crlcheck_builder_set_bitmap(builder, NULL, table, copy,
                                                len - shorter) == CRLCHECK_MALFORMED);
        }
        free(copy);
        free(bitmap);
        free(keys);
    }
}

// append_body appends the next bytes of the body, by way of memory that ends where
// its capacity ends, and returns how many.
static inline size_t append_body(uint8_t **image, size_t *size, crlcheck_builder *builder,
                                 choices *choice) {
    size_t capacity = 1 + choose(choice, 1024);
    size_t len;
    uint8_t *piece = malloc(capacity);
    require(piece != NULL);
    require(crlcheck_builder_read_body(builder, &len, NULL, piece, capacity) ==
            CRLCHECK_OK);
    require(len <= capacity);
    *image = realloc(*image, *size + len + 1);
    require(*image != NULL);
    memcpy(*image + *size, piece, len);
    *size += len;
    free(piece);
    return len;
}

// write_image sorts the entries and returns the image. Page table and digest are
// zero, since opening leaves digests to the caller.
static inline uint8_t *write_image(size_t *out_size, crlcheck_builder_stats *out_stats,
                                   crlcheck_builder *builder,
                                   const crlcheck_slice *issuers, uint32_t num_issuers,
                                   choices *choice) {
    static const uint8_t metadata[] = "{}";
    uint32_t header_size;
    sort_all(builder, out_stats, choice);
    set_bitmaps(builder, choice);
    require(crlcheck_builder_start_image(builder, &header_size, NULL, metadata,
                                         sizeof metadata - 1, issuers,
                                         num_issuers) == CRLCHECK_OK);
    uint8_t *image = calloc(1, header_size);
    size_t size = header_size;
    while (append_body(&image, &size, builder, choice) > 0) {
    }
    crlcheck_slice header = crlcheck_builder_header(builder);
    require(image != NULL && header.len == header_size);
    memcpy(image, header.data, header.len);
    size_t behind = (size_t)load_le64(image + SUPERBLOCK_IMAGE_SIZE) - size;
    image = realloc(image, size + behind);
    require(image != NULL);
    memset(image + size, 0, behind);
    *out_size = size + behind;
    return image;
}

static inline void require_same_entry(const crlcheck_found *found,
                                      const reference_entry *entry, bool attributes) {
    require(found->certificate_issuer == entry->certificate_issuer);
    require(found->serial_len == entry->serial_len);
    require(memcmp(found->serial, entry->serial, entry->serial_len) == 0);
    require(found->has_revocation_date == attributes);
    require(found->has_invalidity_date == (attributes && entry->has_invalidity_date));
    require(found->reason_code == (attributes ? entry->reason_code : CRLCHECK_NO_REASON));
    require(!attributes || found->revocation_date == entry->revocation_date);
    require(!found->has_invalidity_date ||
            found->invalidity_date == entry->invalidity_date);
}

// ask asks for a serial in every way there is.
static inline void ask(const crlcheck_image *image, const reference *all,
                       uint32_t certificate_issuer, const uint8_t *serial,
                       size_t serial_len) {
    uint8_t *copy = copy_exactly(serial, serial_len);
    uint8_t length = (uint8_t)serial_len;
    uint8_t result = 2;
    bool listed = reference_find(all, certificate_issuer, copy, serial_len) != NULL;
    require(crlcheck_image_contains(image, certificate_issuer, copy, serial_len) ==
            listed);
    crlcheck_image_contains_many(image, &result, certificate_issuer, copy, &length, 1);
    require(result == listed);
    if (serial_len > 0 && copy[0] < 0x80) {
        crlcheck_image_contains_packed(image, &result, certificate_issuer, copy, 1,
                                       serial_len);
        bool minimal = serial_len == 1 || copy[0] != 0 || copy[1] >= 0x80;
        require(result == listed || !minimal);
    }
    free(copy);
}

// ask_around asks for the neighbours of an entry, nearly all of them not listed.
static inline void ask_around(const crlcheck_image *image, const reference *all,
                              const reference_entry *entry, choices *choice) {
    uint8_t serial[CRLCHECK_MAX_SERIAL + 1] = {0};
    size_t len = entry->serial_len;
    uint32_t issuer = entry->certificate_issuer;
    memcpy(serial, entry->serial, len);
    ask(image, all, issuer, serial, len);
    ask(image, all, issuer, serial, len - 1);
    ask(image, all, issuer, serial, len < CRLCHECK_MAX_SERIAL ? len + 1 : len);
    ask(image, all, issuer + 1, serial, len);
    for (size_t i = len; i > 0 && ++serial[i - 1] == 0; i--) {
    }
    ask(image, all, issuer, serial, len);
    serial[choose(choice, len)] ^= (uint8_t)(1U << choose(choice, 8));
    ask(image, all, issuer, serial, len);
}

enum { MOST_TOGETHER = 100 };  // more than the core looks up at a time

// some_serial gives an entry's serial or something near it.
static inline size_t some_serial(uint8_t *out, const reference *all, choices *choice) {
    const reference_entry *entry = &all->entries[choose(choice, all->num_entries)];
    memcpy(out, entry->serial, entry->serial_len);
    out[choose(choice, entry->serial_len)] ^= (uint8_t)choose(choice, 2);
    return entry->serial_len;
}

// ask_many asks for many serials of one issuer, end to end, at once.
static inline void ask_many(const crlcheck_image *image, const reference *all,
                            choices *choice) {
    size_t num_serials = choose(choice, MOST_TOGETHER + 1);
    uint32_t issuer = all->entries[choose(choice, all->num_entries)].certificate_issuer;
    uint8_t serials[MOST_TOGETHER * CRLCHECK_MAX_SERIAL];
    uint8_t lengths[MOST_TOGETHER] = {0};
    uint8_t *results = malloc(num_serials);
    size_t size = 0;
    for (size_t i = 0; i < num_serials; i++) {
        lengths[i] = (uint8_t)some_serial(serials + size, all, choice);
        size += lengths[i];
    }
    uint8_t *copy = copy_exactly(serials, size);
    crlcheck_image_contains_many(image, results, issuer, copy, lengths, num_serials);
    for (size_t i = 0, at = 0; i < num_serials; at += lengths[i++]) {
        require(results[i] ==
                (reference_find(all, issuer, copy + at, lengths[i]) != NULL));
    }
    free(copy);
    free(results);
}

// ask_packed asks for many rows of one width at once.
static inline void ask_packed(const crlcheck_image *image, const reference *all,
                              choices *choice) {
    size_t num_rows = choose(choice, MOST_TOGETHER + 1);
    size_t width = 1 + choose(choice, CRLCHECK_MAX_SERIAL);
    uint32_t issuer = all->entries[choose(choice, all->num_entries)].certificate_issuer;
    uint8_t rows[MOST_TOGETHER * CRLCHECK_MAX_SERIAL] = {0};
    uint8_t *results = malloc(num_rows);
    for (size_t i = 0; i < num_rows; i++) {
        uint8_t serial[CRLCHECK_MAX_SERIAL];
        size_t len = some_serial(serial, all, choice);
        size_t kept = len < width ? len : width;
        memcpy(rows + (i + 1) * width - kept, serial + len - kept, kept);
    }
    uint8_t *copy = copy_exactly(rows, num_rows * width);
    crlcheck_image_contains_packed(image, results, issuer, copy, num_rows, width);
    for (size_t i = 0; i < num_rows; i++) {
        uint8_t serial[CRLCHECK_MAX_SERIAL + 1] = {0};
        memcpy(serial + 1, copy + i * width, width);
        size_t start = 0;  // the least octets that keep the value and its sign
        while (start < width && serial[start] == 0 && serial[start + 1] < 0x80) {
            start++;
        }
        require(results[i] ==
                (reference_find(all, issuer, serial + start, width + 1 - start) != NULL));
    }
    free(copy);
    free(results);
}

static inline void check_image(const uint8_t *data, size_t size, reference *all,
                               bool attributes, choices *choice) {
    crlcheck_image *image;
    require(crlcheck_image_open(&image, NULL, data, size) == CRLCHECK_OK);
    require(crlcheck_image_info_of(image)->num_entries == all->num_entries);
    for (size_t i = 0; i < all->num_entries; i++) {
        const reference_entry *entry = &all->entries[i];
        crlcheck_found found;
        require(crlcheck_image_find(image, &found, entry->certificate_issuer,
                                    entry->serial, entry->serial_len) == CRLCHECK_OK);
        require_same_entry(&found, entry, attributes);
        if (choose(choice, all->num_entries) < MOST_ASKED_AROUND) {
            ask_around(image, all, entry, choice);
        }
    }
    if (all->num_entries > 0) {
        ask_many(image, all, choice);
        ask_packed(image, all, choice);
    }
    size_t num_entries = 0;
    crlcheck_table_info table;
    for (uint32_t i = 0; crlcheck_image_table(image, &table, i) == CRLCHECK_OK; i++) {
        crlcheck_found found;
        uint64_t position = 0;
        for (; crlcheck_image_entry(image, &found, i, position) == CRLCHECK_OK;
             position++) {
            reference_entry *entry = reference_find(all, found.certificate_issuer,
                                                    found.serial, found.serial_len);
            require(entry != NULL && !entry->seen);
            require_same_entry(&found, entry, attributes);
            entry->seen = true;
        }
        require(position == table.num_entries && table.max_bucket <= position);
        num_entries += position;
    }
    require(num_entries == all->num_entries);
    crlcheck_image_free(image);
}

#endif
