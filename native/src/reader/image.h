// image.h: an opened image, and reading bit fields out of it.
//
// Opening checks every section's place and size. Lookups trust those, and check
// what they read out of sections, positions and counts, before using it. A load
// of eight octets may start on a section's last octet: behind the body there are
// at least the 64 octets of page table and digest.

#ifndef CRLCHECK_READER_IMAGE_H
#define CRLCHECK_READER_IMAGE_H

#include "crlcheck_image.h"
#include "image/format.h"
#include "image/key.h"
#include "reader/bitmap_reader.h"
#include "reader/gaps_reader.h"

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
    // Of the kind sorted:
    unsigned bucket_bits;
    unsigned low_remainder_bits;  // of the low word, below the bucket number
    unsigned remainder_bits;
    uint64_t directory_bits;
    uint64_t bits_per_bucket;  // of the directory, on average, times 2^16
    const uint8_t *remainders;
    const uint8_t *directory;
    const uint8_t *coarse_hints;
    const uint8_t *fine_hints;
    uint64_t max_bucket;
    bitmap_view bitmap;           // of the kind bitmap
    gaps_view gaps;               // of the kind gaps
    const uint8_t *reasons;       // NULL where no entry has one
    image_dates revocation_dates;
    image_dates invalidity_dates;
    uint64_t size;
    key_shape shape;
} image_table;

struct crlcheck_image {
    const uint8_t *data;
    crlcheck_image_info info;
    image_table *tables;
    // Of the CRL's own issuer, by serial length: nearly every lookup is for it.
    const image_table *own_tables[CRLCHECK_MAX_SERIAL + 1];
    const uint8_t **issuers;  // each a 32-bit length and a Name
};

// image_find_table returns NULL where no serial of that issuer and length is.
const image_table *image_find_table(const crlcheck_image *image,
                                    uint32_t certificate_issuer, size_t serial_len);

#endif
