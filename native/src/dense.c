// dense.c: whether a table is smaller as a bitmap.
//
// Serials that a CA counts up lie so close that a roaring bitmap takes less than
// remainders do. Which it is follows from the exact sizes of both. A roaring bitmap
// has a container for each 2^16 keys of which there is any: an array of values, a
// bitset, or runs, whichever is smallest.

#include <stdlib.h>

#include "bitmap.h"
#include "builder.h"

// A container takes four octets of descriptor, mostly four of offset, and two at
// least of payload; where there is no offset, the group's header is shared by three
// at most.
enum { SMALLEST_CONTAINER = 10 };

// So that few containers share a bit of the filter.
enum { FILTER_BITS_PER_ENTRY = 8 };

static uint64_t sorted_size(const builder_table *table) {
    return remainders_size(table) + hints_size(table) + directory_size(table);
}

// natural_key_of returns the key of a record as it was before mixing.
static uint64_t natural_key_of(const builder_table *table, const uint8_t *record) {
    return key_unmix(key_load_low(record, &table->shape), table->shape.low_bits);
}

// is_sparse tells of most tables that could not be smaller as a bitmap that they
// could not, without sorting them: 4 ms instead of 34 for a million random serials
// of eight octets. It counts containers in a filter, where two may share a bit, so
// that there are at least as many.
static bool is_sparse(bool *out_sparse, const builder_table *table, uint64_t limit) {
    unsigned filter_bits = 6;
    while (UINT64_C(1) << filter_bits < table->num_records * FILTER_BITS_PER_ENTRY) {
        filter_bits++;
    }
    uint64_t *filter = calloc((size_t)1 << (filter_bits - 6), sizeof *filter);
    if (filter == NULL) {
        return false;
    }
    uint64_t num_containers = 0;
    entry_cursor cursor = first_entry(table);
    const uint8_t *record;
    while (num_containers * SMALLEST_CONTAINER < limit &&
           (record = next_entry(&cursor)) != NULL) {
        uint64_t container = natural_key_of(table, record) >> CONTAINER_BITS;
        uint64_t bit = container * KEY_MULTIPLIER_1 >> (64 - filter_bits);
        uint64_t *word = &filter[bit / 64];
        num_containers += (~*word >> bit % 64) & 1;
        *word |= UINT64_C(1) << bit % 64;
    }
    *out_sparse = num_containers * SMALLEST_CONTAINER >= limit;
    free(filter);
    return true;
}

// ---- sorting ----

// sort_by_octet moves entries to `out` in the order of one octet of their keys, and
// does not where that is the same in all. Equal ones keep their order.
static bool sort_by_octet(dense_entry *out, const dense_entry *entries,
                          uint64_t num_entries, unsigned shift) {
    uint64_t starts[256] = {0};
    for (uint64_t i = 0; i < num_entries; i++) {
        starts[entries[i].key >> shift & 0xff]++;
    }
    if (starts[entries[0].key >> shift & 0xff] == num_entries) {
        return false;
    }
    uint64_t start = 0;
    for (unsigned octet = 0; octet < 256; octet++) {
        uint64_t count = starts[octet];
        starts[octet] = start;
        start += count;
    }
    for (uint64_t i = 0; i < num_entries; i++) {
        out[starts[entries[i].key >> shift & 0xff]++] = entries[i];
    }
    return true;
}

// collect_entries returns the entries in order of their keys, or NULL without memory.
static dense_entry *collect_entries(const builder_table *table) {
    uint64_t num_entries = table->num_records;
    dense_entry *entries = malloc(num_entries * sizeof *entries);
    dense_entry *spare = malloc(num_entries * sizeof *spare);
    if (entries == NULL || spare == NULL) {
        free(entries);
        free(spare);
        return NULL;
    }
    entry_cursor cursor = first_entry(table);
    for (uint64_t i = 0; i < num_entries; i++) {
        const uint8_t *record = next_entry(&cursor);
        entries[i] = (dense_entry){natural_key_of(table, record), record};
    }
    for (unsigned shift = 0; shift < table->shape.key_bits; shift += 8) {
        if (sort_by_octet(spare, entries, num_entries, shift)) {
            dense_entry *sorted = spare;
            spare = entries;
            entries = sorted;
        }
    }
    free(spare);
    return entries;
}

// ---- measuring ----

// measure_container adds the container that starts at entry `*at` and advances `*at`
// past it. It returns whether it holds runs.
static bool measure_container(dense_table *dense, uint64_t *at, uint64_t num_entries) {
    const dense_entry *entries = dense->entries;
    uint64_t first = *at;
    uint64_t upper = entries[first].key >> CONTAINER_BITS;
    uint64_t num_runs = 1;
    uint64_t i = first + 1;
    for (; i < num_entries && entries[i].key >> CONTAINER_BITS == upper; i++) {
        num_runs += entries[i].key - entries[i - 1].key != 1;
    }
    *at = i;
    uint64_t runs_size = 2 + 4 * num_runs;
    uint64_t size = i - first <= LARGEST_ARRAY ? 2 * (i - first) : BITSET_SIZE;
    dense->num_containers++;
    if (runs_size < size) {
        dense->num_counts += num_runs;
        dense->bitmap_size += runs_size;
        return true;
    }
    dense->num_counts += i - first <= LARGEST_ARRAY ? 0 : COUNTS_PER_BITSET;
    dense->bitmap_size += size;
    return false;
}

// measure_group adds the group that starts at entry `*at`.
static void measure_group(dense_table *dense, uint64_t *at, uint64_t num_entries) {
    uint64_t upper = dense->entries[*at].key >> 32;
    uint64_t num_containers = 0;
    bool runs = false;
    while (*at < num_entries && dense->entries[*at].key >> 32 == upper) {
        runs |= measure_container(dense, at, num_entries);
        num_containers++;
    }
    bool offsets = !runs || num_containers >= OFFSETS_FROM;
    dense->num_groups++;
    dense->bitmap_size += 4 + (runs ? 4 + (num_containers + 7) / 8 : 8) +
                          num_containers * (offsets ? 8 : 4);
}

uint64_t dense_section_size(const builder_table *table, unsigned section) {
    const dense_table *dense = &table->dense;
    uint64_t size;
    switch (section) {
    case SECTION_BITMAP:
        size = dense->bitmap_size;
        break;
    case SECTION_GROUPS:
        size = dense->num_groups == 1 ? 0 : dense->num_groups * GROUP_SIZE;
        break;
    default:
        size = dense->num_containers * RANK_SIZE + dense->num_counts * 2;
        size = table->attributes ? size : 0;
    }
    return round_up(size, SECTION_ALIGNMENT);
}

static uint64_t dense_size(const builder_table *table) {
    return dense_section_size(table, SECTION_BITMAP) +
           dense_section_size(table, SECTION_GROUPS) +
           dense_section_size(table, SECTION_RANKS);
}

bool dense_measure(builder_table *table) {
    dense_table *dense = &table->dense;
    uint64_t limit = sorted_size(table);
    bool sparse = false;
    if (table->shape.num_high > 0 || table->num_records < 2) {
        return true;
    }
    if (table->shape.key_bits > CONTAINER_BITS && !is_sparse(&sparse, table, limit)) {
        return false;
    }
    if (sparse) {
        return true;
    }
    *dense = (dense_table){.bitmap_size = 8, .entries = collect_entries(table)};
    if (dense->entries == NULL) {
        return false;
    }
    for (uint64_t at = 0; at < table->num_records && dense->bitmap_size < limit;) {
        measure_group(dense, &at, table->num_records);
    }
    // Places in the rank directory are 32 bits.
    uint64_t ranks = dense->num_containers * RANK_SIZE + dense->num_counts * 2;
    if (dense_size(table) >= limit || ranks / 2 > UINT32_MAX) {
        dense_clear(dense);
    }
    return true;
}

void dense_clear(dense_table *dense) {
    free(dense->entries);
    for (unsigned i = 0; i < NUM_DENSE_SECTIONS; i++) {
        free(dense->sections[i]);
    }
    *dense = (dense_table){0};
}
