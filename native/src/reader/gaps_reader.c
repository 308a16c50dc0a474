// gaps_reader.c: finds keys that are stored as their differences, in blocks.
//
// A block has the upper parts of its gaps in unary from its start on, and their lower
// parts from its end down. Neither needs an end of its own: the block is over where the
// two meet. The zeros before the one of an entry are the sum of the upper parts up to it,
// so only the lower parts are added up, and the processor works on several entries at
// once.

#include "reader/gaps_reader.h"

#include "base/bits.h"
#include "image/format.h"

// gaps_block is where a block lies in the bit stream.
typedef struct gaps_block {
    uint64_t start;
    uint64_t end;
} gaps_block;

bool gaps_open(gaps_view *view) {
    uint64_t num_rows = view->rows_size / ROW_SIZE;
    view->num_blocks = num_rows * BLOCKS_PER_ROW;
    return view->shape.block_bits <= MAX_BLOCK_BITS &&
           view->shape.gap_bits <= MAX_GAP_BITS && num_rows > 0 &&
           view->rows_size % ROW_SIZE == 0 && view->size > 0 &&
           (view->ranks == NULL || view->ranks_size == 2 * view->num_blocks);
}

static inline const uint8_t *row_of(const gaps_view *view, uint64_t block) {
    return view->rows + block / BLOCKS_PER_ROW * ROW_SIZE;
}

// find_block returns false where the block leaves the section.
READER_INLINE bool find_block(reader_pages *pages, gaps_block *out_block,
                              const gaps_view *view, uint64_t number) {
    const uint8_t *row = row_of(view, number);
    unsigned place = (unsigned)(number % BLOCKS_PER_ROW);
    const uint8_t *end = row + ROW_ENDS + 2 * place;
    uint64_t first = body_le32(pages, row + ROW_FIRST_BIT);
    out_block->start = first + (place == 0 ? 0 : body_le16(pages, end - 2));
    out_block->end = first + body_le16(pages, end);
    return out_block->start <= out_block->end && out_block->end <= view->size * 8;
}

// gaps_walk is how far a block has been read.
typedef struct gaps_walk {
    uint64_t word;  // the ones from `word_at` on that are not read yet
    uint64_t word_at;
    uint64_t zeros_from;  // start of the block and the number of entries read
    uint64_t lower_at;  // where the lower part of the last gap read is
    uint64_t sum;  // of lower parts and least gaps
} gaps_walk;

READER_INLINE gaps_walk start_walk(reader_pages *pages, const gaps_view *view,
                                   const gaps_block *block) {
    uint64_t word_at = block->start & ~UINT64_C(7);
    uint64_t word = body_le64(pages, view->data + word_at / 8);
    return (gaps_walk){.word = word & (UINT64_MAX << block->start % 8),
                       .word_at = word_at,
                       .zeros_from = block->start,
                       .lower_at = block->end,
                       .sum = 0 - (uint64_t)view->shape.least_gap};
}

// next_value gives the place of the next entry in the block: false at the end.
READER_INLINE bool next_value(reader_pages *pages, uint64_t *out_value, gaps_walk *walk,
                              const gaps_view *view) {
    unsigned gap_bits = view->shape.gap_bits;
    while (walk->word == 0) {
        walk->word_at += 64;
        if (walk->word_at >= walk->lower_at) {
            return false;
        }
        walk->word = body_le64(pages, view->data + walk->word_at / 8);
    }
    uint64_t at = walk->word_at + (unsigned)__builtin_ctzll(walk->word);
    walk->word &= walk->word - 1;
    if (at + gap_bits >= walk->lower_at) {
        return false;
    }
    walk->lower_at -= gap_bits;
    uint64_t lower =
        body_le64(pages, view->data + walk->lower_at / 8) >> walk->lower_at % 8;
    walk->sum += (lower & low_bits(gap_bits)) + view->shape.least_gap;
    *out_value = ((at - walk->zeros_from) << gap_bits) + walk->sum;
    walk->zeros_from++;
    return true;
}

// skip_values passes over the next four entries if all of them lie before `wanted`. One
// such step takes little longer than one of next_value: a lookup takes 84 ns instead of
// 90. Where it returns false, next_value goes on.
READER_INLINE bool skip_values(reader_pages *pages, gaps_walk *walk,
                               const gaps_view *view, uint64_t wanted) {
    enum { NUM_VALUES = 4, MOST_BITS = 14 };
    unsigned gap_bits = view->shape.gap_bits;
    uint64_t last = walk->word & (walk->word - 1);
    last &= last - 1;
    last &= last - 1;
    if (last == 0 || gap_bits > MOST_BITS) {
        return false;
    }
    uint64_t at = walk->word_at + (unsigned)__builtin_ctzll(last);
    if (at + NUM_VALUES * gap_bits >= walk->lower_at) {
        return false;
    }
    uint64_t lower_at = walk->lower_at - NUM_VALUES * gap_bits;
    uint64_t lower = body_le64(pages, view->data + lower_at / 8) >> lower_at % 8;
    // Two fields are added to the two beside them, and then one of the sums to the other.
    uint64_t mask = low_bits(gap_bits) | low_bits(gap_bits) << 2 * gap_bits;
    uint64_t sums = (lower & mask) + (lower >> gap_bits & mask);
    uint64_t sum = walk->sum + (sums & low_bits(2 * gap_bits)) + (sums >> 2 * gap_bits) +
                   NUM_VALUES * (uint64_t)view->shape.least_gap;
    uint64_t zeros_from = walk->zeros_from + NUM_VALUES;
    if (((at + 1 - zeros_from) << gap_bits) + sum >= wanted) {
        return false;
    }
    *walk = (gaps_walk){.word = last & (last - 1),
                        .word_at = walk->word_at,
                        .zeros_from = zeros_from,
                        .lower_at = lower_at,
                        .sum = sum};
    return true;
}

READER_INLINE bool find(reader_pages *pages, uint64_t *out_rank, const gaps_view *view,
                        uint64_t key) {
    uint64_t place = key - view->shape.first_key;
    uint64_t number = place >> view->shape.block_bits;
    gaps_block block;
    if (out_rank != NULL) {
        *out_rank = UINT64_MAX;
    }
    // A key below the first wraps around, beyond all blocks.
    if (number >= view->num_blocks || !find_block(pages, &block, view, number)) {
        return false;
    }
    uint64_t wanted = place & low_bits(view->shape.block_bits);
    gaps_walk walk = start_walk(pages, view, &block);
    uint64_t value;
    do {
        while (skip_values(pages, &walk, view, wanted)) {
        }
        if (!next_value(pages, &value, &walk, view)) {
            return false;
        }
    } while (value < wanted);
    bool ranked = out_rank != NULL && view->ranks != NULL;
    // Pages are not read for the rank of what is not listed.
    if (ranked && (pages == NULL || value == wanted)) {
        *out_rank = body_le32(pages, row_of(view, number) + ROW_FIRST_RANK);
        *out_rank += body_le16(pages, view->ranks + 2 * number);
        *out_rank += walk.zeros_from - block.start - 1;
    }
    return value == wanted;
}

bool gaps_find(uint64_t *out_rank, const gaps_view *view, uint64_t key) {
    return find(NULL, out_rank, view, key);
}

bool gaps_find_pages(reader_pages *pages, uint64_t *out_rank, const gaps_view *view,
                     uint64_t key) {
    return find(pages, out_rank, view, key);
}

// count_in_block counts the entries of a block.
static uint64_t count_in_block(const gaps_view *view, const gaps_block *block) {
    gaps_walk walk = start_walk(NULL, view, block);
    uint64_t value;
    while (next_value(NULL, &value, &walk, view)) {
    }
    return walk.zeros_from - block->start;
}

// row_of_rank finds the last row whose first entry has that rank or a lower one.
static uint64_t row_of_rank(const gaps_view *view, uint64_t rank) {
    uint64_t low = 0;
    uint64_t high = view->num_blocks / BLOCKS_PER_ROW;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (load_le32(view->rows + middle * ROW_SIZE + ROW_FIRST_RANK) <= rank) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// skip_blocks finds the block that has entry `*rank` of a row, and makes `*rank` the
// number of the entry in that block. Without ranks it reads block after block.
static bool skip_blocks(gaps_block *out_block, uint64_t *number, uint64_t *rank,
                        const gaps_view *view) {
    uint64_t last = *number + BLOCKS_PER_ROW - 1;
    if (view->ranks != NULL) {
        while (*number < last && load_le16(view->ranks + 2 * (*number + 1)) <= *rank) {
            (*number)++;
        }
        *rank -= load_le16(view->ranks + 2 * *number);
        return find_block(NULL, out_block, view, *number);
    }
    while (find_block(NULL, out_block, view, *number)) {
        uint64_t num_entries = count_in_block(view, out_block);
        if (*rank < num_entries || *number == last) {
            return true;
        }
        *rank -= num_entries;
        (*number)++;
    }
    return false;
}

bool gaps_select(uint64_t *out_key, const gaps_view *view, uint64_t rank) {
    uint64_t row = row_of_rank(view, rank);
    uint64_t number = row * BLOCKS_PER_ROW;
    uint64_t first_rank = load_le32(view->rows + row * ROW_SIZE + ROW_FIRST_RANK);
    gaps_block block;
    if (first_rank > rank) {
        return false;
    }
    rank -= first_rank;
    if (!skip_blocks(&block, &number, &rank, view)) {
        return false;
    }
    gaps_walk walk = start_walk(NULL, view, &block);
    uint64_t value;
    do {
        if (!next_value(NULL, &value, &walk, view)) {
            return false;
        }
    } while (rank-- > 0);
    *out_key = view->shape.first_key + (number << view->shape.block_bits) + value;
    return true;
}
