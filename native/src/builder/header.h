// header.h: writes the header of an image: the superblock, a descriptor for each table,
// the certificate issuers and the metadata.

#ifndef CRLCHECK_BUILDER_HEADER_H
#define CRLCHECK_BUILDER_HEADER_H

#include "builder/kind.h"

typedef struct section_span {
    uint64_t offset;  // in the image
    uint64_t size;
} section_span;

// planned_table is a table, with how it is written and where its sections lie.
typedef struct planned_table {
    builder_table table;
    table_plan plan;
    section_span sections[NUM_SECTIONS];
    uint64_t num_spilled;  // of a table of lines; the next one too
    uint64_t largest_bucket;
} planned_table;

// image_contents is what an image is made of. `issuers` are the certificate issuers by
// number.
typedef struct image_contents {
    planned_table *tables;
    uint32_t num_tables;
    bool attributes;
    const uint8_t *metadata;
    size_t metadata_len;
    const crlcheck_slice *issuers;
    uint32_t num_issuers;
} image_contents;

// header_size_of returns how large the header will be.
uint64_t header_size_of(const image_contents *contents);

// header_start writes what is known before the body to a header that is zero.
void header_start(uint8_t *out_header, const image_contents *contents);

// header_seal enters the places of all sections, which are known once the body has been
// made and ends at `body_end`, and the sizes that follow from them.
void header_seal(uint8_t *header, const planned_table *tables, uint32_t num_tables,
                 uint64_t body_end);

#endif
