// bucket_reader.h: reading the directory of a sorted table, which says in unary how
// many entries each bucket has: a one for each, then a zero. Hints name the bits at
// which some buckets start.

#ifndef CRLCHECK_READER_BUCKET_READER_H
#define CRLCHECK_READER_BUCKET_READER_H

#include "base/bits.h"
#include "reader/image.h"

typedef struct entry_span {
    uint64_t start;
    uint64_t num_entries;
} entry_span;

// hint_for_bucket returns the bit at which a bucket shortly before this one, or this
// one, starts, and how many buckets on it is.
static inline uint64_t hint_for_bucket(unsigned *out_skip, const image_table *table,
                                       uint64_t bucket) {
    uint64_t start =
        load_le32(table->coarse_hints + bucket / BUCKETS_PER_COARSE_HINT * 4);
    unsigned offset = load_le16(table->fine_hints + bucket / BUCKETS_PER_FINE_HINT * 2);
    if (offset == NO_FINE_HINT) {  // only where a CA crowds its serials
        *out_skip = (unsigned)(bucket % BUCKETS_PER_COARSE_HINT);
        return start;
    }
    *out_skip = (unsigned)(bucket % BUCKETS_PER_FINE_HINT);
    return start + offset;
}

// prefetch_bucket fetches what finding a bucket reads: its hint, and the directory where
// the bucket would start if all after the coarse hint had the average of entries. That
// is 50 bits off or so; waiting for the hint to say it exactly takes 60 ns longer where
// neither is in the cache.
static inline void prefetch_bucket(const image_table *table, uint64_t bucket) {
    __builtin_prefetch(table->fine_hints + bucket / BUCKETS_PER_FINE_HINT * 2);
    uint64_t start =
        load_le32(table->coarse_hints + bucket / BUCKETS_PER_COARSE_HINT * 4);
    uint64_t after = bucket % BUCKETS_PER_COARSE_HINT * table->bits_per_bucket >> 16;
    // A place that a damaged image makes up is never read, only fetched.
    __builtin_prefetch(table->directory + (start + after) / 8);
}

// skip_buckets advances `*bit` past `count` zeros.
static inline bool skip_buckets(uint64_t *bit, const image_table *table, unsigned count) {
    while (count > 0) {
        if (*bit >= table->directory_bits) {
            return false;
        }
        uint64_t zeros = ~read_bits(table->directory, *bit, 64);
        uint64_t counts = count_bits(zeros);
        unsigned num_zeros = (unsigned)(counts >> 56);
        if (num_zeros >= count) {
            *bit += select_bit(zeros, counts, count - 1) + 1;
            return true;
        }
        count -= num_zeros;
        *bit += 64;
    }
    return true;
}

// count_entries counts the ones from `bit` to the next zero.
static inline uint64_t count_entries(const image_table *table, uint64_t bit) {
    uint64_t num_entries = 0;
    while (bit < table->directory_bits) {
        uint64_t zeros = ~read_bits(table->directory, bit, 64);
        if (zeros != 0) {
            return num_entries + (unsigned)__builtin_ctzll(zeros);
        }
        num_entries += 64;
        bit += 64;
    }
    return num_entries;
}

// find_bucket tells which entries are in a bucket, where `bit` and `skip` are the hint
// for it. It returns false where the image contradicts itself. From a fine hint on the
// bucket nearly always ends within one word, at the zero that as many zeros precede as
// buckets; it starts behind the last of these.
static inline bool find_bucket(entry_span *out_span, const image_table *table,
                               uint64_t bucket, uint64_t bit, unsigned skip) {
    if (bit >= table->directory_bits) {
        return false;
    }
    uint64_t num_entries;
    uint64_t zeros = ~read_bits(table->directory, bit, 64);
    uint64_t counts = count_bits(zeros);
    if (counts >> 56 > skip) {
        unsigned end = select_bit(zeros, counts, skip);
        uint64_t before = (zeros & low_bits(end)) << 1 | 1;
        unsigned start = 63 - (unsigned)__builtin_clzll(before);
        bit += start;
        num_entries = end - start;
    } else {
        if (!skip_buckets(&bit, table, skip)) {
            return false;
        }
        num_entries = count_entries(table, bit);
    }
    uint64_t start = bit - bucket;
    *out_span = (entry_span){.start = start, .num_entries = num_entries};
    return start <= table->num_entries && num_entries <= table->num_entries - start;
}

// nearest_hint returns the last hint whose bucket starts at or before an entry.
static inline uint64_t nearest_hint(uint64_t *out_bucket, const image_table *table,
                                    uint64_t rank) {
    uint64_t low = 0;
    uint64_t high = num_fine_hints(table->bucket_bits);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t bucket = middle * BUCKETS_PER_FINE_HINT;
        unsigned skip;
        uint64_t start = hint_for_bucket(&skip, table, bucket);
        if (start <= rank + bucket - skip) {
            low = middle;
        } else {
            high = middle;
        }
    }
    unsigned skip;
    *out_bucket = low * BUCKETS_PER_FINE_HINT;
    uint64_t bit = hint_for_bucket(&skip, table, *out_bucket);
    *out_bucket -= skip;
    return bit;
}

// entry_bucket finds the bucket of an entry by walking the directory from a hint.
static inline bool entry_bucket(uint64_t *out_bucket, const image_table *table,
                                uint64_t rank) {
    uint64_t bucket;
    uint64_t bit = nearest_hint(&bucket, table, rank);
    uint64_t before = bit - bucket;  // entries
    while (bit < table->directory_bits) {
        uint64_t ones = read_bits(table->directory, bit, 64);
        uint64_t counts = count_bits(ones);
        unsigned num_ones = (unsigned)(counts >> 56);
        if (rank - before < num_ones) {
            // Before the entry's one lie a one for each entry and a zero for each bucket.
            uint64_t place = bit + select_bit(ones, counts, (unsigned)(rank - before));
            *out_bucket = place - rank;
            return *out_bucket >> table->bucket_bits == 0;
        }
        before += num_ones;
        bit += 64;
    }
    return false;
}

// next_bucket finds the bucket of an entry from `*bucket`, that of the entry before it.
static inline bool next_bucket(uint64_t *bucket, const image_table *table,
                               uint64_t rank) {
    for (uint64_t bit = *bucket + rank; bit < table->directory_bits; bit += 64) {
        uint64_t ones = read_bits(table->directory, bit, 64);
        if (ones != 0) {
            *bucket = bit + (unsigned)__builtin_ctzll(ones) - rank;
            return *bucket >> table->bucket_bits == 0;
        }
    }
    return false;
}

#endif
