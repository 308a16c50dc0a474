// batch.c: looks up many serials at once.
//
// A lookup in a table of lines waits for memory twice, one in a bucket table three times.
// Here each step is taken for many serials before the next step, and what that reads is on
// its way meanwhile: a fourth of the time at ten million entries.
//
// 1. Find the table of a serial. Ask a bitmap or gaps at once. Else form the key, add it
//    to the group of the table, and fetch the line of its bucket, or the hint for it.
// 2. When a group of a bucket table is full, or there are no more serials, read the hint
//    of each key and fetch the directory where it points.
// 3. Find the bucket of each key in its line or in the directory, and fetch its remainders.
// 4. Compare each key with the remainders of its bucket.
//
// A batch rarely has serials of more than a few tables. Those of a further one take over
// a group, which goes through steps 2 to 4 first.
//
// Example: forty serials of 16 octets, then two of 8, in two tables of lines. The first 32
// fill a group. The next one sends it through steps 3 and 4, and starts it anew. The two
// short ones get a group of their own. At the end both steps run for the eight left, then
// for the two.

#include <string.h>

#include "reader/batch.h"
#include "reader/bucket_reader.h"
#include "reader/lines_reader.h"
#include "reader/ordered_reader.h"

enum { LOOKUP_GROUP = 32, NUM_GROUPS = 4 };

typedef struct lookup_group {
    const image_table *table;
    size_t num_keys;
    table_key keys[LOOKUP_GROUP];
    size_t places[LOOKUP_GROUP];  // of their results
} lookup_group;

typedef struct lookup_batch {
    uint8_t *results;
    unsigned current;  // the group that took the last serial
    lookup_group groups[NUM_GROUPS];
} lookup_batch;

// find_spans takes steps 2 and 3 for a group of keys of a bucket table.
static inline void find_spans(entry_span *out_spans, const lookup_group *group,
                              const remainders_view *remainders) {
    const image_table *table = group->table;
    uint64_t bits[LOOKUP_GROUP];
    unsigned skips[LOOKUP_GROUP];
    for (size_t i = 0; i < group->num_keys; i++) {  // step 2
        bits[i] = hint_for_bucket(NULL, &skips[i], table,
                                  bucket_of(remainders, &group->keys[i]));
        // In a damaged image the place may be anywhere: it is fetched, but never read.
        __builtin_prefetch(table->directory + bits[i] / 8);
        __builtin_prefetch(table->directory + bits[i] / 8 + 8);
    }
    for (size_t i = 0; i < group->num_keys; i++) {  // step 3
        uint64_t bucket = bucket_of(remainders, &group->keys[i]);
        out_spans[i] = find_bucket(NULL, table, bucket, bits[i], skips[i]);
        prefetch_remainders(remainders, out_spans[i]);
    }
}

// find_line_spans takes step 3 for a group of keys of a table of lines.
static inline void find_line_spans(entry_span *out_spans, const lookup_group *group,
                                   const remainders_view *remainders) {
    const lines_view lines = group->table->lines;
    for (size_t i = 0; i < group->num_keys; i++) {
        uint64_t bucket = bucket_of(remainders, &group->keys[i]);
        out_spans[i] = span_of(NULL, &lines, remainders, bucket);
        prefetch_remainders(remainders, out_spans[i]);
    }
}

// look_up_keys takes steps 2 to 4 for a group. `num_high` is that of its table.
ALWAYS_INLINE void look_up_keys(uint8_t *restrict out_results, const lookup_group *group,
                                unsigned num_high) {
    const remainders_view remainders = group->table->remainders;
    entry_span spans[LOOKUP_GROUP];
    if (group->table->kind == TABLE_KIND_LINES) {
        find_line_spans(spans, group, &remainders);
    } else {
        find_spans(spans, group, &remainders);
    }
    for (size_t i = 0; i < group->num_keys; i++) {  // step 4
        out_results[group->places[i]] =
            find_in_bucket(NULL, &remainders, num_high, spans[i], &group->keys[i]);
    }
}

static void look_up_group(uint8_t *out_results, lookup_group *group) {
    if (group->num_keys == 0) {
        return;
    }
    unsigned num_high = group->table->shape.num_high;
    if (num_high == 1) {
        look_up_keys(out_results, group, 1);
    } else {
        look_up_keys(out_results, group, num_high);
    }
    group->num_keys = 0;
}

static void start_batch(lookup_batch *batch, uint8_t *results, size_t num_serials) {
    batch->results = results;
    memset(results, false, num_serials);
    batch->current = 0;
    for (size_t i = 0; i < NUM_GROUPS; i++) {
        batch->groups[i].table = NULL;
        batch->groups[i].num_keys = 0;
    }
}

static void finish_batch(lookup_batch *batch) {
    for (size_t i = 0; i < NUM_GROUPS; i++) {
        look_up_group(batch->results, &batch->groups[i]);
    }
}

// group_of returns the group of a table, which has room for a key.
static inline lookup_group *group_of(lookup_batch *batch, const image_table *table) {
    unsigned number = batch->current;
    for (unsigned i = 1; i < NUM_GROUPS && batch->groups[number].table != table; i++) {
        number = (number + 1) % NUM_GROUPS;
    }
    lookup_group *group = &batch->groups[number];
    if (group->table != table) {
        number = (batch->current + 1) % NUM_GROUPS;
        group = &batch->groups[number];
    }
    if (group->table != table || group->num_keys == LOOKUP_GROUP) {
        look_up_group(batch->results, group);
        group->table = table;
    }
    batch->current = number;
    return group;
}

// add_serial takes step 1 for a serial, whose result goes to `place`.
ALWAYS_INLINE void add_serial(lookup_batch *batch, size_t place,
                              const crlcheck_image *image, uint32_t certificate_issuer,
                              const uint8_t *serial, size_t len) {
    const image_table *table = image_find_table(image, certificate_issuer, len);
    if (table == NULL) {
        return;
    }
    if (is_ordered(table)) {
        batch->results[place] = ordered_contains(table, serial);
        return;
    }
    lookup_group *group = group_of(batch, table);
    table_key *key = &group->keys[group->num_keys];
    const key_shape *shape = &table->shape;
    // Most keys have 65 to 128 bits: for these the loops are unrolled.
    bool formed = shape->num_high == 1
                      ? key_from_serial(key, shape, 1, serial)
                      : key_from_serial(key, shape, shape->num_high, serial);
    if (formed) {
        uint64_t bucket = bucket_of(&table->remainders, key);
        group->places[group->num_keys++] = place;
        if (table->kind == TABLE_KIND_LINES) {
            prefetch_line(&table->lines, bucket);
        } else {
            __builtin_prefetch(table->fine_hints + bucket / BUCKETS_PER_FINE_HINT * 2);
        }
    }
}

void crlcheck_image_contains_many(const crlcheck_image *image, uint8_t *out_results,
                                  uint32_t certificate_issuer, const uint8_t *serials,
                                  const uint8_t *lengths, size_t num_serials) {
    lookup_batch batch;
    start_batch(&batch, out_results, num_serials);
    for (size_t i = 0; i < num_serials; i++) {
        add_serial(&batch, i, image, certificate_issuer, serials, lengths[i]);
        serials += lengths[i];
    }
    finish_batch(&batch);
}

// add_row adds a serial that is an unsigned big-endian number.
static inline void add_row(lookup_batch *batch, size_t place, const crlcheck_image *image,
                           uint32_t certificate_issuer, const uint8_t *row,
                           size_t width) {
    uint8_t copy[CRLCHECK_MAX_SERIAL + 1];
    const uint8_t *serial = row;
    size_t len = width;
    if (row[0] - 1U >= 0x7f) {  // few rows are not minimal as they stand
        copy[0] = 0;  // keeps the sign of a row whose first bit is set
        memcpy(copy + 1, row, width);
        size_t skipped = 0;
        while (skipped < width && copy[skipped] == 0 && copy[skipped + 1] < 0x80) {
            skipped++;
        }
        serial = copy + skipped;
        len = width + 1 - skipped;
    }
    add_serial(batch, place, image, certificate_issuer, serial, len);
}

void image_contains_packed(const crlcheck_image *image, uint8_t *out_results,
                           uint32_t certificate_issuer, const uint8_t *rows,
                           size_t num_rows, size_t width) {
    lookup_batch batch;
    start_batch(&batch, out_results, num_rows);
    for (size_t i = 0; i < num_rows; i++) {
        add_row(&batch, i, image, certificate_issuer, rows + i * width, width);
    }
    finish_batch(&batch);
}

void crlcheck_image_contains_packed(const crlcheck_image *image, uint8_t *out_results,
                                    uint32_t certificate_issuer, const uint8_t *rows,
                                    size_t num_rows, size_t width) {
    image_contains_packed(image, out_results, certificate_issuer, rows, num_rows, width);
}
