// bitmap.h: reads a roaring bitmap where it lies, in its portable 64-bit form
// (https://github.com/RoaringBitmap/RoaringFormatSpec), with directories of our own
// beside it (docs/index-format.md).
//
// Nothing but the section's size is checked when an image is opened, so that opening
// takes no longer for a large bitmap. Each lookup checks what it reads instead: the
// few compares do not show in its time.

#ifndef CRLCHECK_IMAGE_BITMAP_H
#define CRLCHECK_IMAGE_BITMAP_H

#include <stdbool.h>

#include "image/format.h"
#include "base/bytes.h"

// bitmap_group is the 32-bit bitmap of the keys that share their upper 32 bits.
typedef struct bitmap_group {
    const uint8_t *start;
    uint64_t size;               // octets from the start to the section's end
    uint32_t num_containers;     // 1 to 65536
    const uint8_t *run_flags;    // a bit for each container; NULL where none has runs
    const uint8_t *descriptors;  // of each container: u16 key, u16 cardinality - 1
    const uint8_t *offsets;      // u32 each, from the start; NULL where there are none
    uint64_t payload;            // where the first container lies
} bitmap_group;

typedef enum container_kind {
    CONTAINER_ARRAY,
    CONTAINER_BITSET,
    CONTAINER_RUNS
} container_kind;

// These are the bitmap's own; what is ours is in format.h.
enum {
    CONTAINER_BITS = 16,  // of a key that tell its values apart
    BITSET_SIZE = 8192,
    LARGEST_ARRAY = 4096, // values; more make a bitset
    OFFSETS_FROM = 4      // containers, where any has runs
};

// bitmap_container is the part of a group whose keys share their upper 48 bits.
typedef struct bitmap_container {
    container_kind kind;
    uint32_t count;          // of values, or of runs
    const uint8_t *octets;   // u16 values, bits, or runs of u16 start, u16 length - 1
    uint64_t end;            // from the start of the group
} bitmap_container;

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

// bitmap_group_open reads the header of a group: false where it leaves `size`.
bool bitmap_group_open(bitmap_group *out_group, const uint8_t *start, uint64_t size);

// bitmap_container_open finds container `index`, which the group has: false where it
// leaves the section.
bool bitmap_container_open(bitmap_container *out_container, const bitmap_group *group,
                           uint32_t index);

// bitmap_open checks the sizes of the sections against each other.
bool bitmap_open(bitmap_view *view);

bool bitmap_contains(const bitmap_view *view, uint64_t key);

// bitmap_find is bitmap_contains that also gives the key's rank, or NO_RANK.
bool bitmap_find(uint64_t *out_rank, const bitmap_view *view, uint64_t key);

// bitmap_select gives the key of a rank: false where the bitmap contradicts itself.
bool bitmap_select(uint64_t *out_key, const bitmap_view *view, uint64_t rank);

static inline unsigned container_key(const bitmap_group *group, uint32_t index) {
    return load_le16(group->descriptors + 4 * (uint64_t)index);
}

static inline uint32_t container_cardinality(const bitmap_group *group, uint32_t index) {
    return load_le16(group->descriptors + 4 * (uint64_t)index + 2) + 1U;
}

#endif
