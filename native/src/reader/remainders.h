// remainders.h: finds a key among the entries of its bucket.
//
// The leading bits of a key are the number of its bucket. What is left of it, its
// remainder, is stored by rank. All of it is inline here, because it runs for every
// lookup. `num_high` is that of the table: where the compiler knows it, the loops over
// words are unrolled.

#ifndef CRLCHECK_READER_REMAINDERS_H
#define CRLCHECK_READER_REMAINDERS_H

#include "base/bits.h"
#include "image/key.h"
#include "image/pages.h"

// A word that starts anywhere in a byte has so many bits of a stream at least.
enum { ONE_LOAD = 57 };

// remainders_view is where the remainders of a table lie. Loops copy it to a variable of
// their own: what they write could alias the table, and they would load it anew each time.
typedef struct remainders_view {
    const uint8_t *data;
    uint64_t num_entries;
    uint64_t num_bits;      // of each
    unsigned num_low_bits;  // of the low word, below the bucket number
    unsigned num_high;      // words of a key above the low one
    uint64_t scan_mask;     // of the bits that are compared first
    uint64_t top_mask;      // of the topmost word of a key
} remainders_view;

// remainders_view_of describes remainders of keys of `shape`; the data are not set.
remainders_view remainders_view_of(const key_shape *shape, uint64_t num_entries,
                                   unsigned bucket_bits);

// entry_span is the entries of one bucket, from rank `start` to the one before `end`.
typedef struct entry_span {
    uint64_t start;
    uint64_t end;
} entry_span;

// existing_span is what an image says of a bucket, or no entries if the table lacks any of
// them: the image contradicts itself.
static inline entry_span existing_span(const remainders_view *view, uint64_t start,
                                       uint64_t end) {
    if (UNLIKELY(start > end || end > view->num_entries)) {
        return (entry_span){0, 0};
    }
    return (entry_span){start, end};
}

// bucket_of returns the leading bits of a key.
static inline uint64_t bucket_of(const remainders_view *view, const table_key *key) {
    return UNLIKELY(view->num_low_bits == 64) ? 0 : key->low >> view->num_low_bits;
}

// prefetch_remainders fetches where a bucket starts and where it ends.
static inline void prefetch_remainders(const remainders_view *view, entry_span span) {
    __builtin_prefetch(view->data + span.start * view->num_bits / 8);
    __builtin_prefetch(view->data + span.end * view->num_bits / 8);
}

// high_words_agree compares the words above the low one, which start at `bit`.
ALWAYS_INLINE bool high_words_agree(const remainders_view *view, unsigned num_high,
                                    uint64_t bit, const table_key *key) {
    uint64_t differing = 0;
    for (unsigned i = 0; i < num_high; i++) {
        uint64_t mask = i + 1 < num_high ? UINT64_MAX : view->top_mask;
        differing |= key->high[i] ^ (read_bits(view->data, bit + 64 * i, 64) & mask);
    }
    return differing == 0;
}

// find_in_long_bucket finds a key in a bucket of any size, whose entries are in order.
// Here and below `out_rank` may be NULL.
bool find_in_long_bucket(uint64_t *out_rank, const remainders_view *view, entry_span span,
                         const table_key *key);

// find_in_pages does so by the pages of an image that is not in memory as a whole.
bool find_in_pages(reader_pages *pages, uint64_t *out_rank, const remainders_view *view,
                   entry_span span, const table_key *key);

// SHORT_BUCKET is the most entries that are compared one after the other, so that pages
// and whole images say the same even if a bucket is out of order.
enum { SHORT_BUCKET = 12 };

// find_in_bucket finds a key among the entries of its bucket. Where these are few, as
// they nearly always are, it takes four at a time and has no branch on what it reads: a
// wrong guess of the processor costs more than comparing four entries.
ALWAYS_INLINE bool find_in_bucket(uint64_t *out_rank, const remainders_view *view,
                                  unsigned num_high, entry_span span,
                                  const table_key *key) {
    enum { AT_ONCE = 4 };
    uint64_t num_entries = span.end - span.start;
    if (UNLIKELY(num_entries > SHORT_BUCKET)) {
        return find_in_long_bucket(out_rank, view, span, key);
    }
    const uint8_t *data = view->data;
    uint64_t mask = view->scan_mask;
    uint64_t num_bits = view->num_bits;
    unsigned num_low_bits = view->num_low_bits;
    // For an empty bucket some entry is compared, and the result is ignored.
    uint64_t any = num_entries > 0;
    uint64_t bit = (span.start & (0 - any)) * num_bits;
    uint64_t last_bit = bit + (num_entries - any) * num_bits;
    uint64_t found_bit = bit;
    uint64_t found = 0;
    uint64_t num_seen = 0;
    do {
        for (unsigned i = 0; i < AT_ONCE; i++) {
            uint64_t at = bit < last_bit ? bit : last_bit;
            uint64_t low = load_le64(data + at / 8) >> (at % 8);
            bool same = ((low ^ key->low) & mask) == 0;
            found_bit = same ? at : found_bit;
            found |= same;
            bit += num_bits;
        }
        num_seen += AT_ONCE;
    } while (num_seen < num_entries);
    found &= any;
    bool listed = found & high_words_agree(view, num_high, found_bit + num_low_bits, key);
    if (UNLIKELY(num_low_bits > ONE_LOAD)) {
        uint64_t low = read_bits(data, found_bit, num_low_bits);
        listed &= ((low ^ key->low) & low_bits(num_low_bits)) == 0;
    }
    if (UNLIKELY(found != listed)) {  // another entry may agree in more bits
        return find_in_long_bucket(out_rank, view, span, key);
    }
    if (out_rank != NULL && listed) {
        *out_rank = num_bits == 0 ? span.start : found_bit / num_bits;
    }
    return listed;
}

// entry_key gives the key of the entry at `rank`, which lies in `bucket`.
READER_INLINE void entry_key(reader_pages *pages, table_key *out_key,
                             const remainders_view *view, uint64_t rank,
                             uint64_t bucket) {
    uint64_t bit = rank * view->num_bits;
    unsigned num_low_bits = view->num_low_bits;
    out_key->low = body_bits(pages, view->data, bit, num_low_bits);
    out_key->low |= num_low_bits == 64 ? 0 : bucket << num_low_bits;
    for (unsigned i = 0; i < view->num_high; i++) {
        uint64_t mask = i + 1 < view->num_high ? UINT64_MAX : view->top_mask;
        out_key->high[i] =
            body_bits(pages, view->data, bit + num_low_bits + 64 * i, 64) & mask;
    }
}

#endif
