// write_bitmap.h: serializes roaring bitmaps, as crlcheck leaves to its caller, in the
// plainest way that docs/reference/index-format.md allows.

#ifndef CRLCHECK_FUZZ_WRITE_BITMAP_H
#define CRLCHECK_FUZZ_WRITE_BITMAP_H

#include <string.h>

#include "base/bytes.h"
#include "crlcheck.h"
#include "harness.h"

// What write_bitmap may need for `num_keys` keys, and more.
static inline size_t bitmap_capacity(uint64_t num_keys) {
    return 64 + 64 * (size_t)num_keys;
}

// count_same counts the keys from the first on that have its upper bits.
static inline uint64_t count_same(const uint64_t *keys, uint64_t num_keys,
                                  unsigned shift) {
    uint64_t count = 1;
    while (count < num_keys && keys[count] >> shift == keys[0] >> shift) {
        count++;
    }
    return count;
}

static inline uint64_t count_runs(const uint64_t *keys, uint64_t num_keys) {
    uint64_t num_runs = 1;
    for (uint64_t i = 1; i < num_keys; i++) {
        num_runs += keys[i] != keys[i - 1] + 1;
    }
    return num_runs;
}

static inline bool smaller_as_runs(const uint64_t *keys, uint64_t num_keys) {
    uint64_t other = num_keys <= 4096 ? 2 * num_keys : 8192;
    return 2 + 4 * count_runs(keys, num_keys) < other;
}

// write_container returns where it ends.
static inline uint8_t *write_container(uint8_t *out, const uint64_t *keys,
                                       uint64_t num_keys) {
    if (smaller_as_runs(keys, num_keys)) {
        store_le16(out, (uint16_t)count_runs(keys, num_keys));
        out += 2;
        for (uint64_t i = 0; i < num_keys; out += 4) {
            uint64_t first = i++;
            while (i < num_keys && keys[i] == keys[i - 1] + 1) {
                i++;
            }
            store_le16(out, (uint16_t)keys[first]);
            store_le16(out + 2, (uint16_t)(i - first - 1));
        }
        return out;
    }
    if (num_keys <= 4096) {
        for (uint64_t i = 0; i < num_keys; i++, out += 2) {
            store_le16(out, (uint16_t)keys[i]);
        }
        return out;
    }
    memset(out, 0, 8192);
    for (uint64_t i = 0; i < num_keys; i++) {
        uint16_t low = (uint16_t)keys[i];
        out[low / 8] |= (uint8_t)(1U << low % 8);
    }
    return out + 8192;
}

static inline uint8_t *write_group(uint8_t *out, const uint64_t *keys,
                                   uint64_t num_keys) {
    uint8_t *start = out;
    uint32_t num_containers = 0;
    bool runs = false;
    for (uint64_t i = 0, count; i < num_keys; i += count) {
        count = count_same(keys + i, num_keys - i, 16);
        runs |= smaller_as_runs(keys + i, count);
        num_containers++;
    }
    uint8_t *flags = out + 4;
    size_t flags_size = runs ? (num_containers + 7) / 8 : 4;
    memset(flags, 0, flags_size);
    store_le32(out, runs ? 12347 | (num_containers - 1) << 16 : 12346);
    if (!runs) {
        store_le32(flags, num_containers);
    }
    bool has_offsets = !runs || num_containers >= 4;
    uint8_t *descriptor = flags + flags_size;
    uint8_t *offset = descriptor + 4 * (size_t)num_containers;
    out = offset + (has_offsets ? 4 * (size_t)num_containers : 0);
    uint32_t index = 0;
    for (uint64_t i = 0, count; i < num_keys; i += count, index++) {
        count = count_same(keys + i, num_keys - i, 16);
        store_le16(descriptor + 4 * index, (uint16_t)(keys[i] >> 16));
        store_le16(descriptor + 4 * index + 2, (uint16_t)(count - 1));
        if (has_offsets) {
            store_le32(offset + 4 * index, (uint32_t)(out - start));
        }
        if (runs && smaller_as_runs(keys + i, count)) {
            flags[index / 8] |= (uint8_t)(1U << index % 8);
        }
        out = write_container(out, keys + i, count);
    }
    return out;
}

// write_bitmap returns how many bytes it wrote.
static inline size_t write_bitmap(uint8_t *out, const uint64_t *keys, uint64_t num_keys) {
    uint8_t *place = out + 8;
    uint64_t num_groups = 0;
    for (uint64_t i = 0, count; i < num_keys; i += count, num_groups++) {
        count = count_same(keys + i, num_keys - i, 32);
        store_le32(place, (uint32_t)(keys[i] >> 32));
        place = write_group(place + 4, keys + i, count);
    }
    store_le64(out, num_groups);
    return (size_t)(place - out);
}

#endif
