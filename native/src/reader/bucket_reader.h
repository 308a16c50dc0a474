// bucket_reader.h: finds keys in a bucket table, which only images of earlier versions
// have.
//
// The leading bits of a key are the number of its bucket. The directory says in unary how
// many entries each bucket has: a one for each, then a zero. Hints say at which bit some
// buckets start. What is left of a key, its remainder, is stored by rank. All of it is
// inline here, because it runs for every lookup.

#ifndef CRLCHECK_READER_BUCKET_READER_H
#define CRLCHECK_READER_BUCKET_READER_H

#include "base/bits.h"
#include "reader/image.h"

// ---- the directory ----

// hint_for_bucket finds the last bucket up to `bucket` that has a hint. It returns the
// bit at which that one starts, and in `out_skip` how many buckets after it `bucket` is.
static inline uint64_t hint_for_bucket(reader_pages *pages, unsigned *out_skip,
                                       const image_table *table, uint64_t bucket) {
    uint64_t start =
        body_le32(pages, table->coarse_hints + bucket / BUCKETS_PER_COARSE_HINT * 4);
    unsigned offset =
        body_le16(pages, table->fine_hints + bucket / BUCKETS_PER_FINE_HINT * 2);
    if (offset == NO_FINE_HINT) {  // only if a CA crowds its serials
        *out_skip = (unsigned)(bucket % BUCKETS_PER_COARSE_HINT);
        return start;
    }
    *out_skip = (unsigned)(bucket % BUCKETS_PER_FINE_HINT);
    return start + offset;
}

// prefetch_bucket fetches what finding a bucket reads: its hint, and the directory where
// the bucket starts if all since the coarse hint have the average number of entries. That
// is some 50 bits off. To wait for the exact hint would take 60 ns longer when neither is
// in the cache.
static inline void prefetch_bucket(const image_table *table, uint64_t bucket) {
    __builtin_prefetch(table->fine_hints + bucket / BUCKETS_PER_FINE_HINT * 2);
    uint64_t start =
        load_le32(table->coarse_hints + bucket / BUCKETS_PER_COARSE_HINT * 4);
    uint64_t after = bucket % BUCKETS_PER_COARSE_HINT * table->bits_per_bucket >> 16;
    // In a damaged image the place may be anywhere: it is fetched, but never read.
    __builtin_prefetch(table->directory + (start + after) / 8);
}

// skip_buckets advances `*bit` past `count` zeros.
static inline bool skip_buckets(reader_pages *pages, uint64_t *bit,
                                const image_table *table, unsigned count) {
    while (count > 0) {
        if (*bit >= table->directory_bits) {
            return false;
        }
        uint64_t zeros = ~body_bits(pages, table->directory, *bit, 64);
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

// count_in_bucket counts the ones from `bit` to the next zero.
static inline uint64_t count_in_bucket(reader_pages *pages, const image_table *table,
                                       uint64_t bit) {
    uint64_t num_entries = 0;
    while (bit < table->directory_bits) {
        uint64_t zeros = ~body_bits(pages, table->directory, bit, 64);
        if (zeros != 0) {
            return num_entries + (unsigned)__builtin_ctzll(zeros);
        }
        num_entries += 64;
        bit += 64;
    }
    return num_entries;
}

// find_bucket finds the entries of a bucket, where `bit` and `skip` are the hint for it:
// none if the image contradicts itself. From a fine hint on, the bucket nearly always ends
// within one word: `skip` zeros end the buckets before it, and the next zero ends it.
static inline entry_span find_bucket(reader_pages *pages, const image_table *table,
                                     uint64_t bucket, uint64_t bit, unsigned skip) {
    if (bit >= table->directory_bits) {
        return (entry_span){0, 0};
    }
    uint64_t num_entries;
    uint64_t zeros = ~body_bits(pages, table->directory, bit, 64);
    uint64_t counts = count_bits(zeros);
    if (counts >> 56 > skip) {
        unsigned end = select_bit(zeros, counts, skip);
        uint64_t before = (zeros & low_bits(end)) << 1 | 1;
        unsigned start = 63 - (unsigned)__builtin_clzll(before);
        bit += start;
        num_entries = end - start;
    } else {
        if (!skip_buckets(pages, &bit, table, skip)) {
            return (entry_span){0, 0};
        }
        num_entries = count_in_bucket(pages, table, bit);
    }
    // A rank below 0 is greater than any.
    return existing_span(&table->remainders, bit - bucket, bit - bucket + num_entries);
}

// ---- a lookup ----

// bucket_find finds the rank of a serial; `out_rank` may be NULL.
static inline bool bucket_find(reader_pages *pages, uint64_t *out_rank,
                               const image_table *table, const uint8_t *serial) {
    unsigned num_high = table->shape.num_high;
    table_key key;
    if (!key_from_serial(&key, &table->shape, num_high, serial)) {
        return false;
    }
    uint64_t bucket = bucket_of(&table->remainders, &key);
    unsigned skip;
    if (pages == NULL) {
        prefetch_bucket(table, bucket);
    }
    uint64_t bit = hint_for_bucket(pages, &skip, table, bucket);
    entry_span span = find_bucket(pages, table, bucket, bit, skip);
    return pages == NULL
               ? find_in_bucket(out_rank, &table->remainders, num_high, span, &key)
               : find_in_pages(pages, out_rank, &table->remainders, span, &key);
}

// ---- from a rank back to a serial ----

// nearest_hint returns the last hint whose bucket starts at or before an entry.
static inline uint64_t nearest_hint(uint64_t *out_bucket, const image_table *table,
                                    uint64_t rank) {
    uint64_t low = 0;
    uint64_t high = num_fine_hints(table->bucket_bits);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t bucket = middle * BUCKETS_PER_FINE_HINT;
        unsigned skip;
        uint64_t start = hint_for_bucket(NULL, &skip, table, bucket);
        if (start <= rank + bucket - skip) {
            low = middle;
        } else {
            high = middle;
        }
    }
    unsigned skip;
    *out_bucket = low * BUCKETS_PER_FINE_HINT;
    uint64_t bit = hint_for_bucket(NULL, &skip, table, *out_bucket);
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
            // Before it lie a one for each entry and a zero for each bucket.
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
