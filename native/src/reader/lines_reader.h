// lines_reader.h: finds keys in a table with one line a bucket.
//
// A line of 64 bytes says of 120 buckets how many entries each has, in four bits, and
// which rank the first entry has. So one access to memory tells where the entries of a
// bucket are, and the next one reads them. All of it is inline here, because it runs for
// every lookup.

#ifndef CRLCHECK_READER_LINES_READER_H
#define CRLCHECK_READER_LINES_READER_H

#include "base/bits.h"
#include "image/counts.h"
#include "image/pages.h"
#include "reader/image.h"

// bucket_place is where the count of a bucket stands.
typedef struct bucket_place {
    const uint8_t *line;
    unsigned number;  // in the line
} bucket_place;

static inline bucket_place place_of(const lines_view *view, uint64_t bucket) {
    uint32_t number = (uint32_t)bucket;  // of 2^30 at most
    return (bucket_place){.line = view->lines +
                                  (uint64_t)(number / BUCKETS_PER_LINE) * LINE_SIZE,
                          .number = number % BUCKETS_PER_LINE};
}

static inline void prefetch_line(const lines_view *view, uint64_t bucket) {
    __builtin_prefetch(place_of(view, bucket).line);
}

// spilled_span finds the entries of a bucket of the spilled line whose record is `number`:
// none if the image contradicts itself.
entry_span spilled_span(reader_pages *pages, const lines_view *view,
                        const remainders_view *remainders, uint64_t number,
                        unsigned bucket);

// span_of finds the entries of a bucket: none if the image contradicts itself.
READER_INLINE entry_span span_of(reader_pages *pages, const lines_view *view,
                                 const remainders_view *remainders, uint64_t bucket) {
    bucket_place place = place_of(view, bucket);
    const uint8_t *line = body_at(pages, place.line, LINE_SIZE);
    uint32_t first = load_le32(line + LINE_FIRST_RANK);
    if (UNLIKELY((first & SPILLED_LINE) != 0)) {
        return spilled_span(pages, view, remainders, load_le32(line + LINE_COUNTS),
                            place.number);
    }
    uint64_t start = (uint64_t)first + sum_counts(line, place.number);
    return existing_span(remainders, start, start + count_at(line, place.number));
}

// prefetch_around fetches the place where the remainders of a bucket are if all buckets
// before have the average number of entries. That is some lines off, but mostly in the same
// page or beside it, so the processor looks the address of the page up meanwhile: a lookup
// among ten million entries takes 0.88 of the time.
static inline void prefetch_around(const image_table *table, uint64_t bucket) {
    __builtin_prefetch(table->remainders.data +
                       (bucket * table->lines.bytes_per_bucket >> 16));
}

// lines_find finds the rank of a serial.
ALWAYS_INLINE bool lines_find(uint64_t *out_rank, const image_table *table,
                              unsigned num_high, const uint8_t *serial) {
    table_key key;
    if (!key_from_serial(&key, &table->shape, num_high, serial)) {
        return false;
    }
    const remainders_view *remainders = &table->remainders;
    uint64_t bucket = bucket_of(remainders, &key);
    prefetch_around(table, bucket);
    entry_span span = span_of(NULL, &table->lines, remainders, bucket);
    return find_in_bucket(out_rank, remainders, num_high, span, &key);
}

// lines_find_in_pages does so by the pages of an image that is not in memory as a whole.
bool lines_find_in_pages(reader_pages *pages, uint64_t *out_rank,
                         const image_table *table, const uint8_t *serial);

// bucket_walk is the bucket of an entry, and the rank at which the bucket ends.
typedef struct bucket_walk {
    uint64_t bucket;
    uint64_t end;
} bucket_walk;

// lines_bucket finds the bucket of an entry.
bool lines_bucket(bucket_walk *out_walk, const image_table *table, uint64_t rank);

// lines_other_bucket finds the bucket of an entry from that of the entry before it, which
// has ended.
bool lines_other_bucket(bucket_walk *walk, const image_table *table, uint64_t rank);

// lines_next_bucket finds the bucket of an entry from that of the entry before it.
static inline bool lines_next_bucket(bucket_walk *walk, const image_table *table,
                                     uint64_t rank) {
    return rank < walk->end || lines_other_bucket(walk, table, rank);
}

#endif
