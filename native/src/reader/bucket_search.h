// bucket_search.h: finding a key among the entries of its bucket.

#ifndef CRLCHECK_READER_BUCKET_SEARCH_H
#define CRLCHECK_READER_BUCKET_SEARCH_H

#include "reader/bucket_reader.h"

// high_words_agree compares the words above the low one, which start at `bit`.
static inline bool high_words_agree(const image_table *table, unsigned num_high,
                                    uint64_t bit, const table_key *key) {
    uint64_t differing = 0;
    for (unsigned i = 0; i < num_high; i++) {
        unsigned above = table->shape.key_bits - 64 * (i + 1);
        differing |= key->high[i] ^
                     read_bits(table->remainders, bit + 64 * i, above < 64 ? above : 64);
    }
    return differing == 0;
}

// compare_entry orders the key against the entry at `rank` of the same bucket.
static inline int compare_entry(const image_table *table, uint64_t rank,
                                const table_key *key) {
    uint64_t bit = rank * table->remainder_bits;
    unsigned num_bits = table->low_remainder_bits;
    uint64_t wanted = key->low & low_bits(num_bits);
    uint64_t found = read_bits(table->remainders, bit, num_bits);
    if (found != wanted) {
        return wanted < found ? -1 : 1;
    }
    for (unsigned i = table->shape.num_high; i > 0; i--) {
        unsigned above = table->shape.key_bits - 64 * i;
        found = read_bits(table->remainders, bit + num_bits + 64 * (i - 1),
                          above < 64 ? above : 64);
        if (found != key->high[i - 1]) {
            return key->high[i - 1] < found ? -1 : 1;
        }
    }
    return 0;
}

// search finds a key among the entries of its bucket, which are in order.
static inline bool search(uint64_t *out_rank, const image_table *table, entry_span span,
                          const table_key *key) {
    enum { SHORT_BUCKET = 8 };  // even buckets hold two entries on average
    uint64_t low = span.start;
    uint64_t high = span.start + span.num_entries;
    while (high - low > SHORT_BUCKET) {
        uint64_t middle = low + (high - low) / 2;
        if (compare_entry(table, middle, key) < 0) {
            high = middle;
        } else {
            low = middle;
        }
    }
    for (; low < high; low++) {
        if (compare_entry(table, low, key) == 0) {
            *out_rank = low;
            return true;
        }
    }
    return false;
}

// bucket_of returns the leading bits of a key.
static inline uint64_t bucket_of(const image_table *table, const table_key *key) {
    unsigned shift = table->low_remainder_bits;
    return shift == 64 ? 0 : key->low >> shift;
}

#endif
