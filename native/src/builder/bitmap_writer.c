// bitmap_writer.c: measures a bitmap, checks one that was serialized, and makes the
// directories beside it.

#include "builder/bitmap_writer.h"

#include <stdlib.h>
#include <string.h>

#include "image/bitmap.h"
#include "image/format.h"

// ---- measuring ----

// measure_container adds the container that starts at entry `*at` and advances `*at`
// past it. It returns whether it holds runs.
static bool measure_container(bitmap_plan *plan, uint64_t *at,
                              const ordered_entries *entries) {
    const uint64_t *keys = entries->keys;
    uint64_t first = *at;
    uint64_t upper = keys[first] >> CONTAINER_BITS;
    uint64_t num_runs = 1;
    uint64_t i = first + 1;
    for (; i < entries->num_entries && keys[i] >> CONTAINER_BITS == upper; i++) {
        num_runs += keys[i] - keys[i - 1] != 1;
    }
    *at = i;
    uint64_t runs_size = 2 + 4 * num_runs;
    uint64_t size = i - first <= LARGEST_ARRAY ? 2 * (i - first) : BITSET_SIZE;
    plan->num_containers++;
    if (runs_size < size) {
        plan->num_counts += num_runs;
        plan->size += runs_size;
        return true;
    }
    plan->num_counts += i - first <= LARGEST_ARRAY ? 0 : COUNTS_PER_BITSET;
    plan->size += size;
    return false;
}

// measure_group adds the group that starts at entry `*at`.
static void measure_group(bitmap_plan *plan, uint64_t *at,
                          const ordered_entries *entries) {
    uint64_t upper = entries->keys[*at] >> 32;
    uint64_t num_containers = 0;
    bool runs = false;
    while (*at < entries->num_entries && entries->keys[*at] >> 32 == upper) {
        runs |= measure_container(plan, at, entries);
        num_containers++;
    }
    bool offsets = !runs || num_containers >= OFFSETS_FROM;
    plan->num_groups++;
    plan->size += 4 + (runs ? 4 + (num_containers + 7) / 8 : 8) +
                  num_containers * (offsets ? 8 : 4);
}

uint64_t bitmap_section_size(const bitmap_plan *plan, const ordered_entries *entries,
                             unsigned section) {
    uint64_t size;
    switch (section) {
    case SECTION_BITMAP:
        size = plan->size;
        break;
    case SECTION_GROUPS:
        size = plan->num_groups == 1 ? 0 : plan->num_groups * GROUP_SIZE;
        break;
    default:
        size = plan->num_containers * RANK_SIZE + plan->num_counts * 2;
        size = entries->records != NULL ? size : 0;
    }
    return round_up(size, SECTION_ALIGNMENT);
}

uint64_t bitmap_measure(bitmap_plan *out_plan, const ordered_entries *entries,
                        uint64_t limit) {
    bitmap_plan plan = {.size = 8};
    for (uint64_t at = 0; at < entries->num_entries;) {
        if (plan.size >= limit) {
            return UINT64_MAX;
        }
        measure_group(&plan, &at, entries);
    }
    uint64_t size = 0;
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        size += bitmap_section_size(&plan, entries, i);
    }
    // Places in the rank directory have 32 bits.
    uint64_t ranks = plan.num_containers * RANK_SIZE + plan.num_counts * 2;
    *out_plan = plan;
    return size < limit && ranks / 2 <= UINT32_MAX ? size : UINT64_MAX;
}

// ---- checking ----

// bitmap_walk is how far a bitmap has been read, in step with the entries.
typedef struct bitmap_walk {
    const bitmap_plan *plan;
    const ordered_entries *entries;
    uint8_t *ranks;  // NULL without attributes
    uint64_t rank;
    uint64_t num_containers;
    uint64_t num_counts;
} bitmap_walk;

static bool same_values(const uint64_t *keys, const bitmap_container *container) {
    for (uint64_t i = 0; i < container->count; i++) {
        if (load_le16(container->data + 2 * i) != (uint16_t)keys[i]) {
            return false;
        }
    }
    return true;
}

static bool same_bits(const uint64_t *keys, const bitmap_container *container) {
    uint64_t num_bits = 0;
    for (uint64_t i = 0; i < BITSET_SIZE; i += 8) {
        num_bits += count_bits(load_le64(container->data + i)) >> 56;
    }
    bool same = num_bits == container->count;
    for (uint64_t i = 0; i < container->count; i++) {
        unsigned value = (uint16_t)keys[i];
        same &= (container->data[value / 8] >> value % 8 & 1) != 0;
    }
    return same;
}

// same_runs compares both ends of each run. The values between need no comparison,
// because the keys are distinct, and there are as many as the run has values.
static bool same_runs(const uint64_t *keys, const bitmap_container *container,
                      uint64_t cardinality) {
    uint64_t num_values = 0;
    for (uint64_t i = 0; i < container->count; i++) {
        unsigned first = load_le16(container->data + 4 * i);
        unsigned more = load_le16(container->data + 4 * i + 2);
        if (more >= cardinality - num_values || (uint16_t)keys[num_values] != first ||
            (uint16_t)keys[num_values + more] != first + more) {
            return false;
        }
        num_values += more + 1U;
    }
    return num_values == cardinality;
}

// agrees compares a container with the next entries. Answers must be exact, whoever
// wrote the bitmap; the comparison takes about a nanosecond an entry.
static bool agrees(const bitmap_walk *walk, const bitmap_container *container,
                   uint64_t upper_bits, uint64_t cardinality) {
    const uint64_t *keys = walk->entries->keys + walk->rank;
    uint64_t num_left = walk->entries->num_entries - walk->rank;
    if (cardinality > num_left || keys[0] >> CONTAINER_BITS != upper_bits ||
        keys[cardinality - 1] >> CONTAINER_BITS != upper_bits ||
        (cardinality < num_left && keys[cardinality] >> CONTAINER_BITS == upper_bits)) {
        return false;
    }
    switch (container->kind) {
    case CONTAINER_ARRAY:
        return same_values(keys, container);
    case CONTAINER_BITSET:
        return same_bits(keys, container);
    default:
        return same_runs(keys, container, cardinality);
    }
}

// put_counts writes how many values lie before each run, or each part of a bitset.
static void put_counts(uint8_t *out, const bitmap_container *container,
                       uint64_t num_counts) {
    enum { BYTES_PER_COUNT = VALUES_PER_COUNT / 8 };
    uint64_t before = 0;
    for (uint64_t i = 0; i < num_counts; i++) {
        store_le16(out + 2 * i, (uint16_t)before);
        if (container->kind == CONTAINER_RUNS) {
            before += load_le16(container->data + 4 * i + 2) + 1U;
            continue;
        }
        for (uint64_t j = 0; j < BYTES_PER_COUNT; j += 8) {
            uint64_t word = load_le64(container->data + i * BYTES_PER_COUNT + j);
            before += count_bits(word) >> 56;
        }
    }
}

static bool walk_container(bitmap_walk *walk, const bitmap_container *container,
                           uint64_t upper_bits, uint64_t cardinality) {
    const bitmap_plan *plan = walk->plan;
    uint64_t num_counts = 0;
    if (container->kind != CONTAINER_ARRAY) {
        num_counts = container->kind == CONTAINER_RUNS ? container->count
                                                       : (uint64_t)COUNTS_PER_BITSET;
    }
    if (walk->num_containers == plan->num_containers ||
        num_counts > plan->num_counts - walk->num_counts ||
        !agrees(walk, container, upper_bits, cardinality)) {
        return false;
    }
    if (walk->ranks != NULL) {
        uint8_t *entry = walk->ranks + walk->num_containers * RANK_SIZE;
        // In units of two bytes, from the start of the section.
        uint64_t first_count = plan->num_containers * (RANK_SIZE / 2) + walk->num_counts;
        store_le32(entry + RANK_FIRST_RANK, (uint32_t)walk->rank);
        store_le32(entry + RANK_FIRST_COUNT, num_counts > 0 ? (uint32_t)first_count : 0);
        put_counts(walk->ranks + 2 * first_count, container, num_counts);
    }
    walk->rank += cardinality;
    walk->num_containers++;
    walk->num_counts += num_counts;
    return true;
}

// starts_at tells whether a container is where the one before it ends.
static bool starts_at(const bitmap_container *container, const bitmap_group *group,
                      uint64_t offset) {
    uint64_t count_size = container->kind == CONTAINER_RUNS ? 2 : 0;
    return container->data == group->start + offset + count_size;
}

// no_spare_flags tells whether the bits after that of the last container are zero.
static bool no_spare_flags(const bitmap_group *group) {
    unsigned used = group->num_containers % 8;
    return group->run_flags == NULL || used == 0 ||
           group->run_flags[group->num_containers / 8] >> used == 0;
}

// walk_group reads the group that starts `*offset` bytes into the bitmap.
static bool walk_group(bitmap_walk *walk, uint64_t *offset, const uint8_t *bitmap,
                       uint64_t size) {
    bitmap_group group;
    if (size - *offset < 4 ||
        !bitmap_group_open(NULL, &group, bitmap + *offset + 4, size - *offset - 4) ||
        !no_spare_flags(&group)) {
        return false;
    }
    uint64_t upper = load_le32(bitmap + *offset);
    uint64_t end = group.payload;
    for (uint32_t i = 0; i < group.num_containers; i++) {
        bitmap_container container;
        if (!bitmap_container_open(NULL, &container, &group, i) ||
            !starts_at(&container, &group, end) ||
            !walk_container(walk, &container,
                            upper << 16 | container_key(NULL, &group, i),
                            container_cardinality(NULL, &group, i))) {
            return false;
        }
        end = container.end;
    }
    *offset += 4 + end;
    return true;
}

static bool walk_bitmap(bitmap_walk *walk, uint8_t *groups, const uint8_t *bitmap,
                        uint64_t size) {
    const bitmap_plan *plan = walk->plan;
    uint64_t offset = 8;
    if (size != plan->size || load_le64(bitmap) != plan->num_groups) {
        return false;
    }
    for (uint64_t i = 0; i < plan->num_groups; i++) {
        uint64_t start = offset;
        uint64_t first_rank = walk->rank;
        uint64_t first_container = walk->num_containers;
        if (!walk_group(walk, &offset, bitmap, size)) {
            return false;
        }
        if (groups != NULL) {
            uint8_t *group = groups + i * GROUP_SIZE;
            store_le32(group + GROUP_UPPER_BITS, load_le32(bitmap + start));
            store_le32(group + GROUP_FIRST_RANK, (uint32_t)first_rank);
            store_le64(group + GROUP_OFFSET, start + 4);
            store_le32(group + GROUP_FIRST_CONTAINER, (uint32_t)first_container);
        }
    }
    return offset == size && walk->rank == walk->entries->num_entries;
}

crlcheck_status bitmap_accept(uint8_t **out_sections, const bitmap_plan *plan,
                              const ordered_entries *entries, const uint8_t *bitmap,
                              size_t bitmap_len) {
    uint8_t *sections[NUM_KIND_SECTIONS] = {NULL};
    bool complete = true;
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        uint64_t size = bitmap_section_size(plan, entries, i);
        sections[i] = size > 0 ? calloc(1, size) : NULL;
        complete &= size == 0 || sections[i] != NULL;
    }
    bitmap_walk walk = {
        .plan = plan, .entries = entries, .ranks = sections[SECTION_RANKS]};
    if (complete && walk_bitmap(&walk, sections[SECTION_GROUPS], bitmap, bitmap_len)) {
        memcpy(sections[SECTION_BITMAP], bitmap, bitmap_len);
        memcpy(out_sections, sections, sizeof sections);
        return CRLCHECK_OK;
    }
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        free(sections[i]);
    }
    return complete ? CRLCHECK_MALFORMED : CRLCHECK_NO_MEMORY;
}
