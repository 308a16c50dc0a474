// bitmap.c: finds the containers of a group.

#include "image/bitmap.h"

static bool container_has_runs(const bitmap_group *group, uint32_t index) {
    return group->run_flags != NULL &&
           (group->run_flags[index / 8] >> index % 8 & 1) != 0;
}

// container_at reads container `index` at `offset` from the start of the group.
static inline bool container_at(bitmap_container *out_container,
                                const bitmap_group *group, uint32_t index,
                                uint64_t offset) {
    if (offset > group->size || group->size - offset < 2) {
        return false;
    }
    const uint8_t *data = group->start + offset;
    uint32_t cardinality = container_cardinality(group, index);
    uint64_t size;
    if (container_has_runs(group, index)) {
        uint32_t num_runs = load_le16(data);
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

bool bitmap_container_open(bitmap_container *out_container, const bitmap_group *group,
                           uint32_t index) {
    if (group->offsets != NULL) {
        uint64_t offset = load_le32(group->offsets + 4 * (uint64_t)index);
        return container_at(out_container, group, index, offset);
    }
    uint64_t offset = group->payload;  // of three containers at most: one by one
    for (uint32_t i = 0; i < index; i++) {
        if (!container_at(out_container, group, i, offset)) {
            return false;
        }
        offset = out_container->end;
    }
    return container_at(out_container, group, index, offset);
}
