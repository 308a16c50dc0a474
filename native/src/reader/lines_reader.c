// lines_reader.c: reads spilled lines, and goes from a rank back to a bucket.

#include "reader/lines_reader.h"

entry_span spilled_span(reader_pages *pages, const lines_view *view,
                        const remainders_view *remainders, uint64_t number,
                        unsigned bucket) {
    if (number >= view->num_spilled) {
        return (entry_span){0, 0};
    }
    const uint8_t *ranks = view->spill + number * SPILL_RECORD_SIZE + 4 * bucket;
    return existing_span(remainders, body_le32(pages, ranks),
                         body_le32(pages, ranks + 4));
}

bool lines_find_in_pages(reader_pages *pages, uint64_t *out_rank,
                         const image_table *table, const uint8_t *serial) {
    const remainders_view *remainders = &table->remainders;
    table_key key;
    if (!key_from_serial(&key, &table->shape, table->shape.num_high, serial)) {
        return false;
    }
    // A line that was made up is in no page.
    reader_pages *pages_of_line = table->bucket_bits == 0 ? NULL : pages;
    entry_span span =
        span_of(pages_of_line, &table->lines, remainders, bucket_of(remainders, &key));
    return find_in_pages(pages, out_rank, remainders, span, &key);
}

// line_of_rank finds the last line whose first entry has that rank or a lower one.
static uint64_t line_of_rank(const image_table *table, uint64_t rank) {
    uint64_t low = 0;
    uint64_t high = num_lines(table->bucket_bits);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        const uint8_t *line = table->lines.lines + middle * LINE_SIZE;
        if ((load_le32(line + LINE_FIRST_RANK) & ~SPILLED_LINE) <= rank) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// find_in_line finds the bucket of an entry from `bucket` on, up to the end of its line.
static bool find_in_line(bucket_walk *out_walk, const image_table *table, uint64_t bucket,
                         uint64_t rank) {
    uint64_t line = bucket / BUCKETS_PER_LINE;
    for (; bucket / BUCKETS_PER_LINE == line && bucket >> table->bucket_bits == 0;
         bucket++) {
        entry_span span = span_of(NULL, &table->lines, &table->remainders, bucket);
        if (rank >= span.start && rank < span.end) {
            *out_walk = (bucket_walk){bucket, span.end};
            return true;
        }
    }
    return false;
}

bool lines_bucket(bucket_walk *out_walk, const image_table *table, uint64_t rank) {
    uint64_t first = line_of_rank(table, rank) * BUCKETS_PER_LINE;
    return find_in_line(out_walk, table, first, rank);
}

// count_on goes on in the line of a bucket that has ended, unless it is spilled.
static bool count_on(bucket_walk *walk, const image_table *table, uint64_t rank) {
    bucket_place place = place_of(&table->lines, walk->bucket);
    uint64_t end = walk->end;
    if ((load_le32(place.line + LINE_FIRST_RANK) & SPILLED_LINE) != 0) {
        return false;
    }
    for (unsigned i = place.number + 1; i < BUCKETS_PER_LINE; i++) {
        end += count_at(place.line, i);
        if (rank < end) {
            *walk = (bucket_walk){walk->bucket + (i - place.number), end};
            return walk->bucket >> table->bucket_bits == 0;
        }
    }
    return false;
}

bool lines_other_bucket(bucket_walk *walk, const image_table *table, uint64_t rank) {
    return count_on(walk, table, rank) ||
           find_in_line(walk, table, walk->bucket + 1, rank) ||
           lines_bucket(walk, table, rank);
}
