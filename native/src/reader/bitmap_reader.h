// bitmap_reader.h: finds keys in the roaring bitmap of a table, with the directories
// that lie beside it (docs/reference/index-format.md).
//
// Opening an image checks the sizes of the sections and nothing more, so it takes no
// longer for a large bitmap. Each lookup checks what it reads; those few compares do not
// show in its time.

#ifndef CRLCHECK_READER_BITMAP_READER_H
#define CRLCHECK_READER_BITMAP_READER_H

#include "image/bitmap.h"

// bitmap_view is the bitmap of a table. The sections are set before bitmap_open.
typedef struct bitmap_view {
    const uint8_t *data;
    uint64_t size;
    const uint8_t *groups;  // NULL where there is only one
    uint64_t groups_size;
    const uint8_t *ranks;   // NULL in an image without attributes
    uint64_t ranks_size;
    uint64_t num_groups;
    bitmap_group only;      // where there is only one
} bitmap_view;

// NO_RANK is the rank of a key where the rank directory is absent or damaged.
#define NO_RANK UINT64_MAX

// bitmap_open checks the sizes of the sections against each other.
bool bitmap_open(bitmap_view *view);

bool bitmap_contains(const bitmap_view *view, uint64_t key);

// bitmap_find is bitmap_contains that also gives the key's rank, or NO_RANK.
bool bitmap_find(uint64_t *out_rank, const bitmap_view *view, uint64_t key);

// bitmap_open_pages and bitmap_find_pages do the same by nothing but some pages. The rank
// may be NULL.
bool bitmap_open_pages(reader_pages *pages, bitmap_view *view);
bool bitmap_find_pages(reader_pages *pages, uint64_t *out_rank, const bitmap_view *view,
                       uint64_t key);

// bitmap_select gives the key of a rank: false where the bitmap contradicts itself.
bool bitmap_select(uint64_t *out_key, const bitmap_view *view, uint64_t rank);

#endif
