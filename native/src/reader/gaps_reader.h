// gaps_reader.h: finds keys that are stored as their differences, in blocks
// (docs/reference/index-format.md).
//
// Opening checks the sizes of the sections and nothing more. Each lookup reads one block,
// of 65535 bits at most, and checks where that lies before it reads it.

#ifndef CRLCHECK_READER_GAPS_READER_H
#define CRLCHECK_READER_GAPS_READER_H

#include <stdbool.h>

#include "image/gaps.h"
#include "image/pages.h"

// gaps_view is a table of gaps. Shape and sections are set before gaps_open.
typedef struct gaps_view {
    gaps_shape shape;
    const uint8_t *rows;  // of the block directory
    uint64_t rows_size;
    const uint8_t *data;
    uint64_t size;
    const uint8_t *ranks;  // NULL in an image without attributes
    uint64_t ranks_size;
    uint64_t num_blocks;
} gaps_view;

// gaps_open checks the shape, and the sizes of the sections against each other.
bool gaps_open(gaps_view *view);

// gaps_find tells whether a key is there. It gives its rank, or UINT64_MAX in an image
// without attributes.
bool gaps_find(uint64_t *out_rank, const gaps_view *view, uint64_t key);

// gaps_find_pages does the same by nothing but some pages. The rank may be NULL.
bool gaps_find_pages(reader_pages *pages, uint64_t *out_rank, const gaps_view *view,
                     uint64_t key);

// gaps_select gives the key of a rank: false where the table contradicts itself.
bool gaps_select(uint64_t *out_key, const gaps_view *view, uint64_t rank);

#endif
