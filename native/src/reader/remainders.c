// remainders.c: searches buckets of many entries, which only few tables have.

#include "reader/remainders.h"

remainders_view remainders_view_of(const key_shape *shape, uint64_t num_entries,
                                   unsigned bucket_bits) {
    unsigned num_low_bits = shape->low_bits - bucket_bits;
    return (remainders_view){
        .num_entries = num_entries,
        .num_bits = shape->key_bits - bucket_bits,
        .num_low_bits = num_low_bits,
        .num_high = shape->num_high,
        .scan_mask = low_bits(num_low_bits < ONE_LOAD ? num_low_bits : ONE_LOAD),
        .top_mask = shape->top_mask};
}

// compare_entry orders the key against the entry at `rank` of the same bucket.
READER_INLINE int compare_entry(reader_pages *pages, const remainders_view *view,
                                uint64_t rank, const table_key *key) {
    table_key found;
    entry_key(pages, &found, view, rank, 0);
    uint64_t wanted = key->low & low_bits(view->num_low_bits);
    if (found.low != wanted) {
        return wanted < found.low ? -1 : 1;
    }
    for (unsigned i = view->num_high; i > 0; i--) {
        if (found.high[i - 1] != key->high[i - 1]) {
            return key->high[i - 1] < found.high[i - 1] ? -1 : 1;
        }
    }
    return 0;
}

READER_INLINE bool search(reader_pages *pages, uint64_t *out_rank,
                          const remainders_view *view, entry_span span,
                          const table_key *key) {
    uint64_t low = span.start;
    uint64_t high = span.end;
    while (high - low > SHORT_BUCKET) {
        uint64_t middle = low + (high - low) / 2;
        if (compare_entry(pages, view, middle, key) < 0) {
            high = middle;
        } else {
            low = middle;
        }
    }
    for (; low < high; low++) {
        if (compare_entry(pages, view, low, key) == 0) {
            if (out_rank != NULL) {
                *out_rank = low;
            }
            return true;
        }
    }
    return false;
}

bool find_in_long_bucket(uint64_t *out_rank, const remainders_view *view, entry_span span,
                         const table_key *key) {
    return search(NULL, out_rank, view, span, key);
}

bool find_in_pages(reader_pages *pages, uint64_t *out_rank, const remainders_view *view,
                   entry_span span, const table_key *key) {
    return search(pages, out_rank, view, span, key);
}
