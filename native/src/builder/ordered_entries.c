// ordered_entries.c: takes the entries of a table in the order of their keys as they were
// before mixing.
//
// Keys of one table are mostly spread evenly between the first and the last. Sorting
// by the leading bits of that difference leaves parts that fit the cache, and sorting
// those by the next leaves one or two entries each.

#include <stdlib.h>
#include <string.h>

#include "builder/ordered_entries.h"

// More than 512 places to write to are too many for the TLB, once they are far apart.
enum { MAX_DIGIT_BITS = 11, MAX_FAR_DIGIT_BITS = 9, NEAR = 1 << 16, FEW = 16 };

static dense_entries entries_from(const dense_entries *entries, uint64_t start) {
    return (dense_entries){entries->keys + start,
                           entries->records == NULL ? NULL : entries->records + start};
}

// insertion_sort moves entries to `out`, which may be where they are.
static void insertion_sort(const dense_entries *out, const dense_entries *entries,
                           uint64_t num_entries) {
    uint64_t *keys = out->keys;
    const uint8_t **records = out->records;
    for (uint64_t i = 0; i < num_entries; i++) {
        uint64_t key = entries->keys[i];
        uint64_t place = i;
        for (; place > 0 && keys[place - 1] > key; place--) {
            keys[place] = keys[place - 1];
        }
        keys[place] = key;
        if (records != NULL) {
            const uint8_t *record = entries->records[i];
            memmove(records + place + 1, records + place, (i - place) * sizeof *records);
            records[place] = record;
        }
    }
}

// digit_bits_for chooses the bits to sort by: at least one unless there are none.
static unsigned digit_bits_for(uint64_t num_entries, unsigned num_bits) {
    unsigned digit_bits = 63U - (unsigned)__builtin_clzll(num_entries);
    unsigned most = num_entries > NEAR ? MAX_FAR_DIGIT_BITS : MAX_DIGIT_BITS;
    digit_bits = digit_bits < most ? digit_bits : most;
    return digit_bits < num_bits ? digit_bits : num_bits;
}

// scatter moves entries to `out` in the order of the digit that `shift` leaves of their
// keys, counted from `first_key`. It sets where those of each digit end.
static void scatter(const dense_entries *out, uint32_t *out_ends,
                    const dense_entries *entries, uint64_t num_entries,
                    uint64_t first_key, unsigned shift, unsigned digit_bits) {
    uint64_t mask = low_bits(digit_bits);
    memset(out_ends, 0, sizeof *out_ends << digit_bits);
    for (uint64_t i = 0; i < num_entries; i++) {
        out_ends[(entries->keys[i] - first_key) >> shift & mask]++;
    }
    uint32_t start = 0;
    for (uint64_t i = 0; i <= mask; i++) {
        uint32_t count = out_ends[i];
        out_ends[i] = start;
        start += count;
    }
    for (uint64_t i = 0; i < num_entries; i++) {
        uint64_t key = entries->keys[i];
        uint32_t place = out_ends[(key - first_key) >> shift & mask]++;
        out->keys[place] = key;
        if (entries->records != NULL) {
            out->records[place] = entries->records[i];
        }
    }
}

// sort_by orders entries whose keys, counted from `first_key`, differ in the lowest
// `num_bits` bits only. They end up in `spare`, which has room for as many, or where
// they are.
static void sort_by(const dense_entries *entries, const dense_entries *spare,
                    uint64_t num_entries, uint64_t first_key, unsigned num_bits,
                    bool into_spare) {
    if (num_entries <= FEW || num_bits == 0) {
        insertion_sort(into_spare ? spare : entries, entries, num_entries);
        return;
    }
    uint32_t ends[1 << MAX_DIGIT_BITS];
    unsigned digit_bits = digit_bits_for(num_entries, num_bits);
    unsigned shift = num_bits - digit_bits;
    scatter(spare, ends, entries, num_entries, first_key, shift, digit_bits);
    uint32_t start = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << digit_bits; i++) {
        uint32_t count = ends[i] - start;
        if (count > (into_spare ? 1U : 0U)) {
            dense_entries part = entries_from(spare, start);
            dense_entries room = entries_from(entries, start);
            sort_by(&part, &room, count, first_key, shift, !into_spare);
        }
        start = ends[i];
    }
}

// collect puts the entries into `out` in the order of their records. It returns false
// as soon as keys lie further apart than `widest`.
static bool collect(const dense_entries *out, uint64_t *out_first, uint64_t *out_last,
                    const builder_table *table, uint64_t widest) {
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;
    entry_cursor cursor = first_entry(table);
    for (uint64_t i = 0; i < table->num_records; i++) {
        const uint8_t *record = next_entry(&cursor);
        uint64_t key = dense_key(table, record);
        out->keys[i] = key;
        if (out->records != NULL) {
            out->records[i] = record;
        }
        first = key < first ? key : first;
        last = key > last ? key : last;
        if (last - first > widest) {
            return false;
        }
    }
    *out_first = first;
    *out_last = last;
    return true;
}

static bool allocate(dense_entries *out_entries, const builder_table *table) {
    size_t num_entries = (size_t)table->num_records;
    out_entries->keys = malloc(num_entries * sizeof *out_entries->keys);
    out_entries->records =
        table->attributes ? malloc(num_entries * sizeof *out_entries->records) : NULL;
    return out_entries->keys != NULL &&
           (out_entries->records != NULL || !table->attributes);
}

void dense_entries_free(dense_entries *entries) {
    free(entries->keys);
    free(entries->records);
    *entries = (dense_entries){0};
}

bool dense_collect(dense_entries *out_entries, const builder_table *table,
                   uint64_t widest) {
    dense_entries spare = {0};
    uint64_t first;
    uint64_t last;
    *out_entries = (dense_entries){0};
    bool complete = allocate(out_entries, table);
    bool narrow = complete && collect(out_entries, &first, &last, table, widest);
    if (narrow && (complete = allocate(&spare, table))) {
        unsigned num_bits = 64U - (unsigned)__builtin_clzll((last - first) | 1);
        sort_by(out_entries, &spare, table->num_records, first, num_bits, false);
    }
    dense_entries_free(&spare);
    if (!narrow || !complete) {
        dense_entries_free(out_entries);
    }
    return complete;
}
