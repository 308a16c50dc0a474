// image.h: an opened image and its tables.
//
// Opening checks the place and the size of every section. Lookups trust those, and check
// positions and counts that they read out of a section before they use them. A load of
// eight bytes may start on the last byte of a section: behind the body there are at
// least the 64 bytes of page table and digest.

#ifndef CRLCHECK_READER_IMAGE_H
#define CRLCHECK_READER_IMAGE_H

#include "crlcheck_image.h"
#include "image/format.h"
#include "image/key.h"
#include "reader/bitmap_reader.h"
#include "reader/gaps_reader.h"
#include "reader/remainders.h"

// lines_view is where the lines of a table lie, and the records of those that are spilled.
typedef struct lines_view {
    const uint8_t *lines;
    const uint8_t *spill;
    uint64_t num_spilled;
    uint64_t bytes_per_bucket;  // of remainders, on average, times 2^16
} lines_view;

typedef struct image_dates {
    const uint8_t *blocks;  // descriptors; NULL where the table has no such dates
    const uint8_t *payload;
    uint64_t payload_size;
} image_dates;

typedef struct image_table {
    uint32_t certificate_issuer;
    uint32_t serial_len;
    uint64_t num_entries;
    unsigned kind;
    // Of a bucket table and of lines:
    unsigned bucket_bits;
    remainders_view remainders;
    uint64_t max_bucket;
    // Of lines:
    lines_view lines;
    uint8_t only_line[LINE_SIZE];  // of a table that has one bucket, and no lines
    // Of a bucket table:
    uint64_t directory_bits;
    uint64_t bits_per_bucket;  // of the directory, on average, times 2^16
    const uint8_t *directory;
    const uint8_t *coarse_hints;
    const uint8_t *fine_hints;
    bitmap_view bitmap;           // of a bitmap
    gaps_view gaps;               // of gaps
    const uint8_t *reasons;       // NULL where no entry has one
    image_dates revocation_dates;
    image_dates invalidity_dates;
    uint64_t size;
    key_shape shape;
} image_table;

struct crlcheck_image {
    const uint8_t *data;
    bool is_whole;  // else only the header is there
    crlcheck_image_info info;
    image_table *tables;
    // Of the CRL's own issuer, by serial length: nearly every lookup is for it.
    const image_table *own_tables[CRLCHECK_MAX_SERIAL + 1];
    const uint8_t **issuers;  // each a 32-bit length and a Name
};

// image_open_header opens an image of `image_size` bytes, of which `header` has the first
// `header_len`. Lookups may then read only the header, and the body by pages.
crlcheck_status image_open_header(crlcheck_image **out_image, crlcheck_error *out_error,
                                  const uint8_t *header, size_t header_len,
                                  uint64_t image_size);

void image_free(crlcheck_image *image);

// image_issuer gives the Name of a certificate issuer; no data where there is none.
crlcheck_slice image_issuer(const crlcheck_image *image, uint32_t number);

// is_ordered tells whether a table stores ordered keys, not mixed ones (image/key.h).
static inline bool is_ordered(const image_table *table) {
    return table->kind == TABLE_KIND_BITMAP || table->kind == TABLE_KIND_GAPS;
}

// image_find_other_table finds a table of an issuer that is not the CRL's own.
const image_table *image_find_other_table(const crlcheck_image *image,
                                          uint32_t certificate_issuer, size_t serial_len);

// image_find_table returns NULL where there is no serial of that issuer and length.
static inline const image_table *image_find_table(const crlcheck_image *image,
                                                  uint32_t certificate_issuer,
                                                  size_t serial_len) {
    if (serial_len > CRLCHECK_MAX_SERIAL) {
        return NULL;
    }
    return certificate_issuer == 0
               ? image->own_tables[serial_len]
               : image_find_other_table(image, certificate_issuer, serial_len);
}

#endif
