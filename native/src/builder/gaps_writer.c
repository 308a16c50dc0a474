// gaps_writer.c: stores sorted keys as their differences, in blocks.

#include <stdlib.h>

#include "base/bits.h"
#include "builder/ordered_entries.h"

// A lookup reads half a block on average, and the directory takes 18 bits for each.
enum { MEAN_BLOCK = 80, LARGEST_BLOCK = 256 };

static inline uint64_t place_of(const builder_table *table, uint64_t number) {
    const dense_table *dense = &table->dense;
    return dense->entries.keys[number] - dense->gaps.first_key;
}

static inline uint64_t last_place(const builder_table *table) {
    return place_of(table, table->num_records - 1);
}

static uint64_t num_rows(const builder_table *table) {
    return (last_place(table) >> table->dense.gaps.block_bits) / BLOCKS_PER_ROW + 1;
}

uint64_t gaps_section_size(const builder_table *table, unsigned section) {
    switch (section) {
    case SECTION_BLOCKS:
        return table->dense.num_rows * ROW_SIZE;
    case SECTION_GAPS:
        return octets_of_bits(table->dense.num_bits);
    default:
        return table->attributes ? table->dense.num_rows * BLOCKS_PER_ROW * 2 : 0;
    }
}

// ---- measuring ----

static uint64_t largest_block(const builder_table *table) {
    unsigned block_bits = table->dense.gaps.block_bits;
    uint64_t largest = 0;
    uint64_t block = 0;
    uint64_t start = 0;
    for (uint64_t i = 0; i < table->num_records; i++) {
        uint64_t next = place_of(table, i) >> block_bits;
        if (next != block) {
            largest = i - start > largest ? i - start : largest;
            block = next;
            start = i;
        }
    }
    uint64_t last = table->num_records - start;
    return last > largest ? last : largest;
}

// choose_blocks makes blocks as large as they may be. It returns false where even the
// directory would take more than `limit`.
static bool choose_blocks(builder_table *table, uint64_t limit) {
    dense_table *dense = &table->dense;
    unsigned *block_bits = &dense->gaps.block_bits;
    uint64_t most = MEAN_BLOCK * (last_place(table) + 1);
    *block_bits = MAX_BLOCK_BITS;
    while (*block_bits > 0 && table->num_records << *block_bits > most) {
        (*block_bits)--;
    }
    while ((dense->num_rows = num_rows(table)) <= limit / ROW_SIZE) {
        if (largest_block(table) <= LARGEST_BLOCK) {
            return true;
        }
        (*block_bits)--;
    }
    return false;
}

// find_codes computes what is stored of each entry: in a block's first, its place
// there, in the others how much the gap exceeds the least.
static void find_codes(uint32_t *out_codes, builder_table *table) {
    gaps_shape *gaps = &table->dense.gaps;
    uint64_t least_gap = UINT64_MAX;
    for (uint64_t i = 1; i < table->num_records; i++) {
        uint64_t gap = place_of(table, i) - place_of(table, i - 1);
        least_gap = gap < least_gap ? gap : least_gap;
    }
    gaps->least_gap = (uint32_t)least_gap;
    uint64_t block = UINT64_MAX;
    uint64_t before = 0;
    for (uint64_t i = 0; i < table->num_records; i++) {
        uint64_t place = place_of(table, i);
        bool first = place >> gaps->block_bits != block;
        block = place >> gaps->block_bits;
        uint64_t from = first ? block << gaps->block_bits : before + least_gap;
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

// choose_gap_bits minimises the bit stream. Its size falls as long as a further bit
// saves more than the bit, and rises from there on: so it may start anywhere.
static void choose_gap_bits(builder_table *table, const uint32_t *codes) {
    dense_table *dense = &table->dense;
    uint64_t num_codes = table->num_records;
    uint64_t mean = last_place(table) / num_codes + 1;
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
    dense->gaps.gap_bits = gap_bits;
    dense->num_bits = size;
}

// rows_fit tells whether the directory can say where each block ends.
static bool rows_fit(const builder_table *table, const uint32_t *codes) {
    const gaps_shape *gaps = &table->dense.gaps;
    uint64_t row = 0;
    uint64_t num_bits = 0;
    for (uint64_t i = 0; i < table->num_records && num_bits <= UINT16_MAX; i++) {
        uint64_t next = (place_of(table, i) >> gaps->block_bits) / BLOCKS_PER_ROW;
        num_bits = next == row ? num_bits : 0;
        row = next;
        num_bits += (codes[i] >> gaps->gap_bits) + 1 + gaps->gap_bits;
    }
    return num_bits <= UINT16_MAX && table->dense.num_bits <= UINT32_MAX;
}

bool gaps_measure(uint64_t *out_size, builder_table *table, uint64_t limit) {
    dense_table *dense = &table->dense;
    *out_size = UINT64_MAX;
    dense->gaps = (gaps_shape){.first_key = dense->entries.keys[0]};
    if (table->num_records / 8 >= limit || !choose_blocks(table, limit)) {
        return true;
    }
    uint32_t *codes = malloc((size_t)table->num_records * sizeof *codes);
    if (codes == NULL) {
        return false;
    }
    find_codes(codes, table);
    choose_gap_bits(table, codes);
    uint64_t size = 0;
    for (unsigned i = 0; i < NUM_DENSE_SECTIONS; i++) {
        size += gaps_section_size(table, i);
    }
    if (size <= limit && rows_fit(table, codes)) {
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

// write_block writes entries from number `first` on, as many as lie in the block, and
// returns how many. `*bit` is where the block starts, and then where it ends.
static uint64_t write_block(uint8_t *data, uint64_t *bit, const builder_table *table,
                            uint64_t block, uint64_t first) {
    const gaps_shape *gaps = &table->dense.gaps;
    uint32_t codes[LARGEST_BLOCK];
    uint64_t num_codes = 0;
    uint64_t from = block << gaps->block_bits;
    while (first + num_codes < table->num_records) {
        uint64_t place = place_of(table, first + num_codes);
        if (place >> gaps->block_bits != block) {
            break;
        }
        codes[num_codes++] = (uint32_t)(place - from);
        from = place + gaps->least_gap;
    }
    uint64_t at = *bit;
    *bit += bits_of_codes(codes, num_codes, gaps->gap_bits);
    uint64_t lower_at = *bit;
    for (uint64_t i = 0; i < num_codes; i++) {
        at += codes[i] >> gaps->gap_bits;
        put_bits(data, at, 1);
        at++;
        lower_at -= gaps->gap_bits;
        put_bits(data, lower_at, codes[i] & low_bits(gaps->gap_bits));
    }
    return num_codes;
}

static void write_blocks(uint8_t *const *sections, const builder_table *table) {
    uint8_t *row = sections[SECTION_BLOCKS];
    uint8_t *ranks = sections[SECTION_RANKS];
    uint64_t num_blocks = table->dense.num_rows * BLOCKS_PER_ROW;
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
        rank += write_block(sections[SECTION_GAPS], &bit, table, block, rank);
        store_le16(row + ROW_ENDS + 2 * place, (uint16_t)(bit - first_bit));
    }
}

bool gaps_write(builder_table *table) {
    enum { SLACK = 8 };  // bits are set in whole words
    uint8_t **sections = table->dense.sections;
    for (unsigned i = 0; i < NUM_DENSE_SECTIONS; i++) {
        uint64_t size = gaps_section_size(table, i);
        sections[i] = size > 0 ? calloc(1, (size_t)size + SLACK) : NULL;
        if (size > 0 && sections[i] == NULL) {
            return false;
        }
    }
    write_blocks(sections, table);
    return true;
}
