// ordered_entries.c: sorts by leading digits first.
//
// The keys of one table are mostly spread evenly between the first and the last. Sorting
// by the leading bits of the difference to the first leaves parts that fit the cache, and
// sorting those by the next bits leaves one or two entries each.

#include "builder/ordered_entries.h"

#include <stdlib.h>
#include <string.h>

// More than 512 places to write to are too many for the TLB, once they are far apart.
enum { MAX_DIGIT_BITS = 11, MAX_FAR_DIGIT_BITS = 9, NEAR = 1 << 16, FEW = 16 };

static ordered_entries part_of(const ordered_entries *entries, uint64_t start,
                               uint64_t num_entries) {
    return (ordered_entries){num_entries, entries->keys + start,
                             entries->records == NULL ? NULL : entries->records + start};
}

// insert_in_order moves entries to `out`, which may be where they are.
static void insert_in_order(const ordered_entries *out, const ordered_entries *entries) {
    uint64_t *keys = out->keys;
    const uint8_t **records = out->records;
    for (uint64_t i = 0; i < entries->num_entries; i++) {
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

// digit_bits_for chooses how many bits to sort by at once: one at least, if there are any.
static unsigned digit_bits_for(uint64_t num_entries, unsigned num_bits) {
    unsigned digit_bits = 63U - (unsigned)__builtin_clzll(num_entries);
    unsigned most = num_entries > NEAR ? MAX_FAR_DIGIT_BITS : MAX_DIGIT_BITS;
    digit_bits = digit_bits < most ? digit_bits : most;
    return digit_bits < num_bits ? digit_bits : num_bits;
}

// move_by_digit moves entries to `out` in the order of one digit of their keys, counted
// from `first_key`: the lowest bits after a shift. It sets the ends of the
// entries of each digit.
static void move_by_digit(const ordered_entries *out, uint32_t *out_ends,
                          const ordered_entries *entries, uint64_t first_key,
                          unsigned shift, unsigned digit_bits) {
    uint64_t mask = low_bits(digit_bits);
    uint64_t num_entries = entries->num_entries;
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
// `num_bits` bits only. The result is in `spare`, which has room for as many, if
// `into_spare` is set, else in `entries`.
static void sort_by(const ordered_entries *entries, const ordered_entries *spare,
                    uint64_t first_key, unsigned num_bits, bool into_spare) {
    if (entries->num_entries <= FEW || num_bits == 0) {
        insert_in_order(into_spare ? spare : entries, entries);
        return;
    }
    uint32_t ends[1 << MAX_DIGIT_BITS];
    unsigned digit_bits = digit_bits_for(entries->num_entries, num_bits);
    unsigned shift = num_bits - digit_bits;
    move_by_digit(spare, ends, entries, first_key, shift, digit_bits);
    uint32_t start = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << digit_bits; i++) {
        uint32_t count = ends[i] - start;
        if (count > (into_spare ? 1U : 0U)) {
            ordered_entries part = part_of(spare, start, count);
            ordered_entries room = part_of(entries, start, count);
            sort_by(&part, &room, first_key, shift, !into_spare);
        }
        start = ends[i];
    }
}

// gather_entries puts the entries into `out` in the order of their records. It returns
// false as soon as keys lie further apart than `widest`.
static bool gather_entries(const ordered_entries *out, uint64_t *out_first,
                           uint64_t *out_last, const builder_table *table,
                           uint64_t widest) {
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;
    entry_cursor cursor = first_entry(table);
    for (uint64_t i = 0; i < table->num_records; i++) {
        const uint8_t *record = next_entry(&cursor);
        uint64_t key = record_ordered_key(table, record);
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

static bool allocate(ordered_entries *out_entries, const builder_table *table) {
    size_t num_entries = (size_t)table->num_records;
    out_entries->num_entries = num_entries;
    out_entries->keys = malloc(num_entries * sizeof *out_entries->keys);
    out_entries->records =
        table->attributes ? malloc(num_entries * sizeof *out_entries->records) : NULL;
    return out_entries->keys != NULL &&
           (out_entries->records != NULL || !table->attributes);
}

void ordered_entries_free(ordered_entries *entries) {
    free(entries->keys);
    free(entries->records);
    *entries = (ordered_entries){0};
}

bool ordered_collect(ordered_entries *out_entries, const builder_table *table,
                     uint64_t widest) {
    ordered_entries spare = {0};
    uint64_t first;
    uint64_t last;
    *out_entries = (ordered_entries){0};
    bool complete = allocate(out_entries, table);
    bool narrow = complete && gather_entries(out_entries, &first, &last, table, widest);
    if (narrow && (complete = allocate(&spare, table))) {
        unsigned num_bits = 64U - (unsigned)__builtin_clzll((last - first) | 1);
        sort_by(out_entries, &spare, first, num_bits, false);
    }
    ordered_entries_free(&spare);
    if (!narrow || !complete) {
        ordered_entries_free(out_entries);
    }
    return complete;
}
