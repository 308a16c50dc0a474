// gaps_writer.c: stores keys that are in order as their differences, in blocks.

#include "builder/gaps_writer.h"

#include <stdlib.h>

#include "base/bits.h"
#include "image/format.h"

// A lookup reads half a block on average, and the directory takes 18 bits for each.
enum { MEAN_BLOCK = 80, LARGEST_BLOCK = 256 };

static inline uint64_t place_of(const gaps_plan *plan, const ordered_entries *entries,
                                uint64_t number) {
    return entries->keys[number] - plan->shape.first_key;
}

static inline uint64_t last_place(const gaps_plan *plan, const ordered_entries *entries) {
    return place_of(plan, entries, entries->num_entries - 1);
}

uint64_t gaps_section_size(const gaps_plan *plan, const ordered_entries *entries,
                           unsigned section) {
    switch (section) {
    case SECTION_BLOCKS:
        return plan->num_rows * ROW_SIZE;
    case SECTION_GAPS:
        return bytes_of_bits(plan->num_bits);
    default:
        return entries->records != NULL ? plan->num_rows * BLOCKS_PER_ROW * 2 : 0;
    }
}

// ---- measuring ----

static uint64_t rows_needed(const gaps_plan *plan, const ordered_entries *entries) {
    return (last_place(plan, entries) >> plan->shape.block_bits) / BLOCKS_PER_ROW + 1;
}

static uint64_t largest_block(const gaps_plan *plan, const ordered_entries *entries) {
    unsigned block_bits = plan->shape.block_bits;
    uint64_t largest = 0;
    uint64_t block = 0;
    uint64_t start = 0;
    for (uint64_t i = 0; i < entries->num_entries; i++) {
        uint64_t next = place_of(plan, entries, i) >> block_bits;
        if (next != block) {
            largest = i - start > largest ? i - start : largest;
            block = next;
            start = i;
        }
    }
    uint64_t last = entries->num_entries - start;
    return last > largest ? last : largest;
}

// choose_blocks makes blocks as large as they may be. It returns false if even the
// directory would take more than `limit`.
static bool choose_blocks(gaps_plan *plan, const ordered_entries *entries,
                          uint64_t limit) {
    unsigned *block_bits = &plan->shape.block_bits;
    uint64_t most = MEAN_BLOCK * (last_place(plan, entries) + 1);
    *block_bits = MAX_BLOCK_BITS;
    while (*block_bits > 0 && entries->num_entries << *block_bits > most) {
        (*block_bits)--;
    }
    while ((plan->num_rows = rows_needed(plan, entries)) <= limit / ROW_SIZE) {
        if (largest_block(plan, entries) <= LARGEST_BLOCK) {
            return true;
        }
        (*block_bits)--;
    }
    return false;
}

// find_codes computes what is stored of each entry: of the first of a block its place
// there, of the others how much the gap exceeds the least.
static void find_codes(uint32_t *out_codes, gaps_plan *plan,
                       const ordered_entries *entries) {
    gaps_shape *shape = &plan->shape;
    uint64_t least_gap = UINT64_MAX;
    for (uint64_t i = 1; i < entries->num_entries; i++) {
        uint64_t gap = place_of(plan, entries, i) - place_of(plan, entries, i - 1);
        least_gap = gap < least_gap ? gap : least_gap;
    }
    shape->least_gap = (uint32_t)least_gap;
    uint64_t block = UINT64_MAX;
    uint64_t before = 0;
    for (uint64_t i = 0; i < entries->num_entries; i++) {
        uint64_t place = place_of(plan, entries, i);
        bool first = place >> shape->block_bits != block;
        block = place >> shape->block_bits;
        uint64_t from = first ? block << shape->block_bits : before + least_gap;
        out_codes[i] = (uint32_t)(place - from);
        before = place;
    }
}

static uint64_t bits_of_codes(const uint32_t *codes, uint64_t num_codes,
                              unsigned gap_bits) {
    uint64_t num_bits = num_codes * (gap_bits + 1);
    for (uint64_t i = 0; i < num_codes; i++) {
        num_bits += codes[i] >> gap_bits;
    }
    return num_bits;
}

// choose_gap_bits minimises the bit stream. With more bits its size falls for as long as
// a bit saves more than it costs, and rises from there on: so the search may start
// anywhere.
static void choose_gap_bits(gaps_plan *plan, const ordered_entries *entries,
                            const uint32_t *codes) {
    uint64_t num_codes = entries->num_entries;
    uint64_t mean = last_place(plan, entries) / num_codes + 1;
    unsigned gap_bits = 63U - (unsigned)__builtin_clzll(mean);
    uint64_t size = bits_of_codes(codes, num_codes, gap_bits);
    uint64_t other = UINT64_MAX;
    while (gap_bits > 0 &&
           (other = bits_of_codes(codes, num_codes, gap_bits - 1)) <= size) {
        size = other;
        gap_bits--;
    }
    while (gap_bits < MAX_GAP_BITS &&
           (other = bits_of_codes(codes, num_codes, gap_bits + 1)) < size) {
        size = other;
        gap_bits++;
    }
    plan->shape.gap_bits = gap_bits;
    plan->num_bits = size;
}

// rows_fit tells whether the directory can say where each block ends.
static bool rows_fit(const gaps_plan *plan, const ordered_entries *entries,
                     const uint32_t *codes) {
    const gaps_shape *shape = &plan->shape;
    uint64_t row = 0;
    uint64_t num_bits = 0;
    for (uint64_t i = 0; i < entries->num_entries && num_bits <= UINT16_MAX; i++) {
        uint64_t next =
            (place_of(plan, entries, i) >> shape->block_bits) / BLOCKS_PER_ROW;
        num_bits = next == row ? num_bits : 0;
        row = next;
        num_bits += (codes[i] >> shape->gap_bits) + 1 + shape->gap_bits;
    }
    return num_bits <= UINT16_MAX && plan->num_bits <= UINT32_MAX;
}

bool gaps_measure(uint64_t *out_size, gaps_plan *out_plan, const ordered_entries *entries,
                  uint64_t limit) {
    gaps_plan *plan = out_plan;
    *out_size = UINT64_MAX;
    *plan = (gaps_plan){.shape.first_key = entries->keys[0]};
    if (entries->num_entries / 8 >= limit || !choose_blocks(plan, entries, limit)) {
        return true;
    }
    uint32_t *codes = malloc((size_t)entries->num_entries * sizeof *codes);
    if (codes == NULL) {
        return false;
    }
    find_codes(codes, plan, entries);
    choose_gap_bits(plan, entries, codes);
    uint64_t size = 0;
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        size += gaps_section_size(plan, entries, i);
    }
    if (size <= limit && rows_fit(plan, entries, codes)) {
        *out_size = size;
    }
    free(codes);
    return true;
}

// ---- writing ----

// put_bits sets a field of up to 32 bits, whose bits are zero.
static inline void put_bits(uint8_t *data, uint64_t bit, uint64_t value) {
    store_le64(data + bit / 8, load_le64(data + bit / 8) | value << bit % 8);
}

// write_block writes the entries from number `first` on that lie in the block, and
// returns how many there are. `*bit` is where the block starts, and then where it ends.
static uint64_t write_block(uint8_t *data, uint64_t *bit, const gaps_plan *plan,
                            const ordered_entries *entries, uint64_t block,
                            uint64_t first) {
    const gaps_shape *shape = &plan->shape;
    uint32_t codes[LARGEST_BLOCK];
    uint64_t num_codes = 0;
    uint64_t from = block << shape->block_bits;
    while (first + num_codes < entries->num_entries) {
        uint64_t place = place_of(plan, entries, first + num_codes);
        if (place >> shape->block_bits != block) {
            break;
        }
        codes[num_codes++] = (uint32_t)(place - from);
        from = place + shape->least_gap;
    }
    uint64_t at = *bit;
    *bit += bits_of_codes(codes, num_codes, shape->gap_bits);
    uint64_t lower_at = *bit;
    for (uint64_t i = 0; i < num_codes; i++) {
        at += codes[i] >> shape->gap_bits;
        put_bits(data, at, 1);
        at++;
        lower_at -= shape->gap_bits;
        put_bits(data, lower_at, codes[i] & low_bits(shape->gap_bits));
    }
    return num_codes;
}

static void write_blocks(uint8_t *const *sections, const gaps_plan *plan,
                         const ordered_entries *entries) {
    uint8_t *row = sections[SECTION_BLOCKS];
    uint8_t *ranks = sections[SECTION_RANKS];
    uint64_t num_blocks = plan->num_rows * BLOCKS_PER_ROW;
    uint64_t bit = 0;
    uint64_t rank = 0;
    uint64_t first_bit = 0;
    uint64_t first_rank = 0;
    for (uint64_t block = 0; block < num_blocks; block++) {
        unsigned place = (unsigned)(block % BLOCKS_PER_ROW);
        if (place == 0) {
            row += block == 0 ? 0 : ROW_SIZE;
            first_bit = bit;
            first_rank = rank;
            store_le32(row + ROW_FIRST_BIT, (uint32_t)bit);
            store_le32(row + ROW_FIRST_RANK, (uint32_t)rank);
        }
        if (ranks != NULL) {
            store_le16(ranks + 2 * block, (uint16_t)(rank - first_rank));
        }
        rank += write_block(sections[SECTION_GAPS], &bit, plan, entries, block, rank);
        store_le16(row + ROW_ENDS + 2 * place, (uint16_t)(bit - first_bit));
    }
}

bool gaps_write(uint8_t **out_sections, const gaps_plan *plan,
                const ordered_entries *entries) {
    enum { SLACK = 8 };  // bits are set in whole words
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        uint64_t size = gaps_section_size(plan, entries, i);
        out_sections[i] = size > 0 ? calloc(1, (size_t)size + SLACK) : NULL;
        if (size > 0 && out_sections[i] == NULL) {
            return false;
        }
    }
    write_blocks(out_sections, plan, entries);
    return true;
}
