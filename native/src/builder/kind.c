// kind.c: which kind a table takes least as.
//
// Serials that a CA counts up lie so close that less than remainders is needed to tell
// them apart: a roaring bitmap, or their gaps. Which it is follows from the exact
// sizes. A roaring bitmap has a container for each 2^16 keys of which there is any: an
// array of values, a bitset, or runs, whichever is smallest.

#include "builder/ordered_entries.h"

#include <stdlib.h>

#include "image/bitmap.h"

// A container takes four octets of descriptor, mostly four of offset, and two at
// least of payload; where there is no offset, the group's header is shared by three
// at most.
enum { SMALLEST_CONTAINER = 10 };

// So that few containers share a bit of the filter.
enum { FILTER_BITS_PER_ENTRY = 8 };

// Gaps take longer to look up in than a sorted table, so they must save a twelfth of
// it. Where they are larger than this on average, random serials do not.
enum { LARGEST_MEAN_GAP = 512 };

static uint64_t sorted_size(const builder_table *table) {
    return remainders_size(table) + hints_size(table->bucket_bits) +
           directory_size(table);
}

// is_sparse tells of most tables that could not be smaller as a bitmap that they
// could not, without sorting them: 4 ms instead of 22 for a million random serials
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
        uint64_t container = dense_key(table, record) >> CONTAINER_BITS;
        uint64_t bit = container * KEY_MULTIPLIER_1 >> (64 - filter_bits);
        uint64_t *word = &filter[bit / 64];
        num_containers += (~*word >> bit % 64) & 1;
        *word |= UINT64_C(1) << bit % 64;
    }
    *out_sparse = num_containers * SMALLEST_CONTAINER >= limit;
    free(filter);
    return true;
}

// ---- bitmaps ----

// measure_container adds the container that starts at entry `*at` and advances `*at`
// past it. It returns whether it holds runs.
static bool measure_container(dense_table *dense, uint64_t *at, uint64_t num_entries) {
    const uint64_t *keys = dense->entries.keys;
    uint64_t first = *at;
    uint64_t upper = keys[first] >> CONTAINER_BITS;
    uint64_t num_runs = 1;
    uint64_t i = first + 1;
    for (; i < num_entries && keys[i] >> CONTAINER_BITS == upper; i++) {
        num_runs += keys[i] - keys[i - 1] != 1;
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
    uint64_t upper = dense->entries.keys[*at] >> 32;
    uint64_t num_containers = 0;
    bool runs = false;
    while (*at < num_entries && dense->entries.keys[*at] >> 32 == upper) {
        runs |= measure_container(dense, at, num_entries);
        num_containers++;
    }
    bool offsets = !runs || num_containers >= OFFSETS_FROM;
    dense->num_groups++;
    dense->bitmap_size += 4 + (runs ? 4 + (num_containers + 7) / 8 : 8) +
                          num_containers * (offsets ? 8 : 4);
}

static uint64_t bitmap_section_size(const builder_table *table, unsigned section) {
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

// measure_bitmap returns UINT64_MAX where a bitmap would take `limit` or more.
static uint64_t measure_bitmap(builder_table *table, uint64_t limit) {
    dense_table *dense = &table->dense;
    dense->bitmap_size = 8;
    for (uint64_t at = 0; at < table->num_records;) {
        if (dense->bitmap_size >= limit) {
            return UINT64_MAX;
        }
        measure_group(dense, &at, table->num_records);
    }
    uint64_t size = 0;
    for (unsigned i = 0; i < NUM_DENSE_SECTIONS; i++) {
        size += bitmap_section_size(table, i);
    }
    // Places in the rank directory are 32 bits.
    uint64_t ranks = dense->num_containers * RANK_SIZE + dense->num_counts * 2;
    return size < limit && ranks / 2 <= UINT32_MAX ? size : UINT64_MAX;
}

// ---- the choice ----

// collect sets the table's entries unless they lie so far apart that it will stay
// sorted.
static bool collect(builder_table *table, bool *out_narrow) {
    dense_entries *entries = &table->dense.entries;
    bool sparse = false;
    if (!dense_collect(entries, table, table->num_records * LARGEST_MEAN_GAP)) {
        return false;
    }
    *out_narrow = entries->keys != NULL;
    return *out_narrow || (is_sparse(&sparse, table, sorted_size(table)) &&
                           (sparse || dense_collect(entries, table, UINT64_MAX)));
}

static bool choose_kind(builder_table *table, bool narrow) {
    dense_table *dense = &table->dense;
    uint64_t sorted = sorted_size(table);
    uint64_t bitmap = measure_bitmap(table, sorted);
    uint64_t limit = sorted - sorted / 12;
    uint64_t gaps = UINT64_MAX;
    limit = bitmap < limit ? bitmap : limit;
    if (narrow && !gaps_measure(&gaps, table, limit)) {
        return false;
    }
    if (gaps <= limit) {
        dense->kind = TABLE_KIND_GAPS;
        return gaps_write(table);
    }
    dense->kind = bitmap < sorted ? TABLE_KIND_BITMAP : TABLE_KIND_SORTED;
    return true;
}

bool dense_measure(builder_table *table) {
    dense_table *dense = &table->dense;
    bool narrow;
    if (table->shape.num_high > 0 || table->num_records < 2) {
        return true;
    }
    if (!collect(table, &narrow) ||
        (dense->entries.keys != NULL && !choose_kind(table, narrow))) {
        dense_clear(dense);
        return false;
    }
    if (dense->kind == TABLE_KIND_SORTED) {
        dense_clear(dense);
    }
    return true;
}

uint64_t dense_section_size(const builder_table *table, unsigned section) {
    return table->dense.kind == TABLE_KIND_GAPS ? gaps_section_size(table, section)
                                                : bitmap_section_size(table, section);
}

void dense_clear(dense_table *dense) {
    dense_entries_free(&dense->entries);
    for (unsigned i = 0; i < NUM_DENSE_SECTIONS; i++) {
        free(dense->sections[i]);
    }
    *dense = (dense_table){0};
}
