// bitmap_reader.c: finds keys in a roaring bitmap.

#include "reader/bitmap_reader.h"

#include "base/bits.h"
#include "image/format.h"

READER_INLINE bool open_view(reader_pages *pages, bitmap_view *view) {
    enum { SMALLEST = 12 };  // the number of groups and the only one's key
    if (view->size < SMALLEST) {
        return false;
    }
    view->num_groups = body_le64(pages, view->data);
    if (view->num_groups == 1) {
        return view->groups_size == 0 &&
               bitmap_group_open(pages, &view->only, view->data + SMALLEST,
                                 view->size - SMALLEST);
    }
    return view->num_groups > 1 && view->groups_size % GROUP_SIZE == 0 &&
           view->num_groups == view->groups_size / GROUP_SIZE;
}

bool bitmap_open(bitmap_view *view) {
    return open_view(NULL, view);
}

bool bitmap_open_pages(reader_pages *pages, bitmap_view *view) {
    return open_view(pages, view);
}

// last_up_to returns the place of the last of `count` numbers that is not above `wanted`,
// or 0. There is at least one number, and they are in order. No branch depends on what is
// compared, since it could not be predicted.
READER_INLINE uint32_t last_up_to(reader_pages *pages, const uint8_t *numbers,
                                  uint32_t count, size_t stride, unsigned wanted) {
    uint32_t place = 0;
    while (count > 1) {
        uint32_t half = count / 2;
        unsigned number = body_le16(pages, numbers + (place + half) * stride);
        place += number <= wanted ? half : 0;
        count -= half;
    }
    return place;
}

// last_group_up_to does the same for a field of the group directory.
READER_INLINE uint64_t last_group_up_to(reader_pages *pages, const bitmap_view *view,
                                        unsigned field, uint64_t wanted) {
    uint64_t place = 0;
    uint64_t count = view->num_groups;
    while (count > 1) {
        uint64_t half = count / 2;
        const uint8_t *group = view->groups + (place + half) * GROUP_SIZE;
        place += body_le32(pages, group + field) <= wanted ? half : 0;
        count -= half;
    }
    return place;
}

READER_INLINE bool listed_group_open(reader_pages *pages, bitmap_group *out_group,
                                     const bitmap_view *view, const uint8_t *listed) {
    uint64_t offset = body_le64(pages, listed + GROUP_OFFSET);
    return offset <= view->size &&
           bitmap_group_open(pages, out_group, view->data + offset, view->size - offset);
}

// bitmap_place is where a key lies.
typedef struct bitmap_place {
    uint32_t first_container;  // of the group, counted over all groups
    uint32_t index;            // of the container in its group
    bitmap_container container;
    uint32_t value;     // the key's lowest 16 bits
    uint32_t position;  // in an array, or of the run
    uint32_t in_run;    // values of the run before it
} bitmap_place;

READER_INLINE bool find_in_container(reader_pages *pages, bitmap_place *place) {
    const bitmap_container *container = &place->container;
    const uint8_t *data = container->data;
    uint32_t value = place->value;
    if (container->kind == CONTAINER_BITSET) {
        return (body_byte(pages, data + value / 8) >> value % 8 & 1) != 0;
    }
    if (container->kind == CONTAINER_ARRAY) {
        place->position = last_up_to(pages, data, container->count, 2, value);
        return body_le16(pages, data + 2 * (uint64_t)place->position) == value;
    }
    if (container->count == 0) {
        return false;
    }
    place->position = last_up_to(pages, data, container->count, 4, value);
    uint32_t run = body_le32(pages, data + 4 * (uint64_t)place->position);
    place->in_run = value - (run & UINT16_MAX);
    return value >= (run & UINT16_MAX) && place->in_run <= run >> 16;
}

READER_INLINE bool find_place(reader_pages *pages, bitmap_place *out_place,
                              const bitmap_view *view, uint64_t key) {
    bitmap_group listed;
    const bitmap_group *group = &view->only;
    out_place->first_container = 0;
    if (view->num_groups == 1) {
        if (key >> 32 != body_le32(pages, view->data + 8)) {
            return false;
        }
    } else {
        uint64_t number = last_group_up_to(pages, view, GROUP_UPPER_BITS, key >> 32);
        const uint8_t *entry = view->groups + number * GROUP_SIZE;
        if (body_le32(pages, entry + GROUP_UPPER_BITS) != key >> 32 ||
            !listed_group_open(pages, &listed, view, entry)) {
            return false;
        }
        group = &listed;
        out_place->first_container = body_le32(pages, entry + GROUP_FIRST_CONTAINER);
    }
    unsigned wanted = (unsigned)(key >> 16) & 0xffff;
    out_place->index =
        last_up_to(pages, group->descriptors, group->num_containers, 4, wanted);
    out_place->value = (uint32_t)key & 0xffff;
    return container_key(pages, group, out_place->index) == wanted &&
           bitmap_container_open(pages, &out_place->container, group, out_place->index) &&
           find_in_container(pages, out_place);
}

bool bitmap_contains(const bitmap_view *view, uint64_t key) {
    bitmap_place place;
    return find_place(NULL, &place, view, key);
}

// ---- ranks ----

READER_INLINE uint32_t count_words(reader_pages *pages, const uint8_t *words,
                                   uint32_t num_words) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < num_words; i++) {
        uint64_t word = body_le64(pages, words + 8 * (uint64_t)i);
        total += (uint32_t)(count_bits(word) >> 56);
    }
    return total;
}

// count_in_bitset counts the values between the last count and the value found.
READER_INLINE uint32_t count_in_bitset(reader_pages *pages, const bitmap_place *place) {
    uint32_t first = place->value / VALUES_PER_COUNT * (VALUES_PER_COUNT / 64);
    uint32_t word = place->value / 64;
    const uint8_t *data = place->container.data;
    uint64_t below =
        body_le64(pages, data + 8 * (uint64_t)word) & low_bits(place->value % 64);
    return count_words(pages, data + 8 * (uint64_t)first, word - first) +
           (uint32_t)(count_bits(below) >> 56);
}

READER_INLINE uint64_t rank_of(reader_pages *pages, const bitmap_view *view,
                               const bitmap_place *place) {
    uint64_t container = (uint64_t)place->first_container + place->index;
    if (container >= view->ranks_size / RANK_SIZE) {
        return NO_RANK;
    }
    const uint8_t *entry = view->ranks + container * RANK_SIZE;
    uint64_t rank = body_le32(pages, entry + RANK_FIRST_RANK);
    if (place->container.kind == CONTAINER_ARRAY) {
        return rank + place->position;
    }
    bool runs = place->container.kind == CONTAINER_RUNS;
    uint64_t count = body_le32(pages, entry + RANK_FIRST_COUNT);
    count += runs ? place->position : place->value / VALUES_PER_COUNT;
    if (count >= view->ranks_size / 2) {
        return NO_RANK;
    }
    rank += body_le16(pages, view->ranks + 2 * count);
    return rank + (runs ? place->in_run : count_in_bitset(pages, place));
}

bool bitmap_find(uint64_t *out_rank, const bitmap_view *view, uint64_t key) {
    bitmap_place place = {0};
    if (!find_place(NULL, &place, view, key)) {
        return false;
    }
    *out_rank = rank_of(NULL, view, &place);
    return true;
}

bool bitmap_find_pages(reader_pages *pages, uint64_t *out_rank, const bitmap_view *view,
                       uint64_t key) {
    bitmap_place place = {0};
    if (!find_place(pages, &place, view, key)) {
        return false;
    }
    if (out_rank != NULL) {
        *out_rank = rank_of(pages, view, &place);
    }
    return true;
}

static bool select_in_bitset(uint32_t *out_value, const uint8_t *data, uint32_t rank) {
    for (uint32_t word = 0; word < BITSET_SIZE / 8; word++) {
        uint64_t bits = load_le64(data + 8 * (uint64_t)word);
        uint64_t counts = count_bits(bits);
        uint32_t num_bits = (uint32_t)(counts >> 56);
        if (rank < num_bits) {
            *out_value = 64 * word + select_bit(bits, counts, rank);
            return true;
        }
        rank -= num_bits;
    }
    return false;
}

// select_in_container gives value number `rank` of a container.
static bool select_in_container(uint32_t *out_value, const bitmap_container *container,
                                uint32_t rank) {
    const uint8_t *data = container->data;
    if (container->kind == CONTAINER_BITSET) {
        return select_in_bitset(out_value, data, rank);
    }
    if (container->kind == CONTAINER_ARRAY) {
        *out_value = load_le16(data + 2 * (uint64_t)rank);
        return true;
    }
    for (uint32_t i = 0; i < container->count; i++) {
        const uint8_t *run = data + 4 * (uint64_t)i;
        uint32_t length = load_le16(run + 2) + 1U;
        if (rank < length) {
            *out_value = load_le16(run) + rank;
            return *out_value <= UINT16_MAX;
        }
        rank -= length;
    }
    return false;
}

bool bitmap_select(uint64_t *out_key, const bitmap_view *view, uint64_t rank) {
    bitmap_group group = view->only;
    uint64_t upper = load_le32(view->data + 8);
    if (view->num_groups > 1) {
        uint64_t number = last_group_up_to(NULL, view, GROUP_FIRST_RANK, rank);
        const uint8_t *entry = view->groups + number * GROUP_SIZE;
        uint64_t first_rank = load_le32(entry + GROUP_FIRST_RANK);
        if (first_rank > rank || !listed_group_open(NULL, &group, view, entry)) {
            return false;
        }
        upper = load_le32(entry + GROUP_UPPER_BITS);
        rank -= first_rank;
    }
    uint32_t index = 0;
    while (index < group.num_containers &&
           rank >= container_cardinality(NULL, &group, index)) {
        rank -= container_cardinality(NULL, &group, index);
        index++;
    }
    bitmap_container container;
    uint32_t value;
    if (index == group.num_containers ||
        !bitmap_container_open(NULL, &container, &group, index) ||
        !select_in_container(&value, &container, (uint32_t)rank)) {
        return false;
    }
    *out_key = upper << 32 | (uint64_t)container_key(NULL, &group, index) << 16 | value;
    return true;
}
