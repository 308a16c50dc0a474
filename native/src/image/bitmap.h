// bitmap.h: the parts of a roaring bitmap in its portable 64-bit form
// (https://github.com/RoaringBitmap/RoaringFormatSpec), read where they lie.
//
// The reader looks keys up in them, the writer checks them.

#ifndef CRLCHECK_IMAGE_BITMAP_H
#define CRLCHECK_IMAGE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "image/pages.h"

// These belong to the bitmap. The directories beside it are in format.h.
enum {
    COOKIE_WITHOUT_RUNS = 12346,
    COOKIE_WITH_RUNS = 12347,
    CONTAINER_BITS = 16,  // of a key that tell its values apart
    BITSET_SIZE = 8192,
    LARGEST_ARRAY = 4096,  // values; more make a bitset
    OFFSETS_FROM = 4       // containers, in a group with runs
};

// bitmap_group is the 32-bit bitmap of the keys that share their upper 32 bits.
typedef struct bitmap_group {
    const uint8_t *start;
    uint64_t size;               // from the start to the end of the section
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

// bitmap_container is the part of a group whose keys share their upper 48 bits.
typedef struct bitmap_container {
    container_kind kind;
    uint32_t count;       // of values, or of runs
    const uint8_t *data;  // u16 values, bits, or runs of u16 start, u16 length - 1
    uint64_t end;         // from the start of the group
} bitmap_container;

// bitmap_group_open reads the header of a group: false where it leaves `size`.
READER_INLINE bool bitmap_group_open(reader_pages *pages, bitmap_group *out_group,
                                     const uint8_t *start, uint64_t size) {
    bitmap_group group = {.start = start, .size = size};
    if (size < 8) {
        return false;
    }
    uint32_t cookie = body_le32(pages, start);
    uint64_t at;
    bool has_offsets = true;
    if ((cookie & 0xffff) == COOKIE_WITH_RUNS) {
        group.num_containers = (cookie >> 16) + 1;
        group.run_flags = start + 4;
        at = 4 + (uint64_t)(group.num_containers + 7) / 8;
        has_offsets = group.num_containers >= OFFSETS_FROM;
    } else if (cookie == COOKIE_WITHOUT_RUNS) {
        group.num_containers = body_le32(pages, start + 4);
        at = 8;
    } else {
        return false;
    }
    uint64_t fields_size = 4 * (uint64_t)group.num_containers;
    group.payload = at + fields_size * (has_offsets ? 2 : 1);
    if (group.num_containers == 0 || group.num_containers > 1 << 16 ||
        group.payload > size) {
        return false;
    }
    group.descriptors = start + at;
    group.offsets = has_offsets ? start + at + fields_size : NULL;
    *out_group = group;
    return true;
}

READER_INLINE unsigned container_key(reader_pages *pages, const bitmap_group *group,
                                     uint32_t index) {
    return body_le16(pages, group->descriptors + 4 * (uint64_t)index);
}

READER_INLINE uint32_t container_cardinality(reader_pages *pages,
                                             const bitmap_group *group, uint32_t index) {
    return body_le16(pages, group->descriptors + 4 * (uint64_t)index + 2) + 1U;
}

READER_INLINE bool container_has_runs(reader_pages *pages, const bitmap_group *group,
                                      uint32_t index) {
    return group->run_flags != NULL &&
           (body_byte(pages, group->run_flags + index / 8) >> index % 8 & 1) != 0;
}

// container_at reads container `index` at `offset` from the start of the group.
READER_INLINE bool container_at(reader_pages *pages, bitmap_container *out_container,
                                const bitmap_group *group, uint32_t index,
                                uint64_t offset) {
    if (offset > group->size || group->size - offset < 2) {
        return false;
    }
    const uint8_t *data = group->start + offset;
    uint32_t cardinality = container_cardinality(pages, group, index);
    uint64_t size;
    if (container_has_runs(pages, group, index)) {
        uint32_t num_runs = body_le16(pages, data);
        *out_container = (bitmap_container){CONTAINER_RUNS, num_runs, data + 2, 0};
        size = 2 + 4 * (uint64_t)num_runs;
    } else if (cardinality <= LARGEST_ARRAY) {
        *out_container = (bitmap_container){CONTAINER_ARRAY, cardinality, data, 0};
        size = 2 * (uint64_t)cardinality;
    } else {
        *out_container = (bitmap_container){CONTAINER_BITSET, cardinality, data, 0};
        size = BITSET_SIZE;
    }
    out_container->end = offset + size;
    return size <= group->size - offset;
}

// bitmap_container_open finds container `index`, which the group has: false where it
// leaves the section.
READER_INLINE bool bitmap_container_open(reader_pages *pages,
                                         bitmap_container *out_container,
                                         const bitmap_group *group, uint32_t index) {
    if (group->offsets != NULL) {
        uint64_t offset = body_le32(pages, group->offsets + 4 * (uint64_t)index);
        return container_at(pages, out_container, group, index, offset);
    }
    uint64_t offset = group->payload;  // of three containers at most: one by one
    for (uint32_t i = 0; i < index; i++) {
        if (!container_at(pages, out_container, group, i, offset)) {
            return false;
        }
        offset = out_container->end;
    }
    return container_at(pages, out_container, group, index, offset);
}

#endif
