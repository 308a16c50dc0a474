// kind.c: compares the exact sizes of a table as each kind.
//
// A table of lines stores what is left of a key without its leading bits. Serials that a CA
// counts up lie so close that a roaring bitmap or their gaps take less. The bitmap has a
// container for each 2^16 keys of which there are any: an array of values, a bitset, or
// runs, whichever is smallest.

#include "builder/kind.h"

#include <stdlib.h>
#include <string.h>

#include "builder/lines_writer.h"
#include "image/bitmap.h"

// A container takes four bytes of descriptor, mostly four of offset, and at least two of
// payload; where there is no offset, the header of the group is shared by three at most.
enum { SMALLEST_CONTAINER = 10 };

// So that few containers share a bit of the filter.
enum { FILTER_BITS_PER_ENTRY = 8 };

// Gaps take longer to look up in than lines, so they must save a twelfth. Where they
// are larger than this on average, random serials do not.
enum { LARGEST_MEAN_GAP = 512 };

// is_sparse recognises most tables that cannot be smaller as a bitmap, without sorting
// them: 4 ms instead of 22 for a million random serials of eight octets. It counts
// containers in a filter. Two may share a bit, so there are at least as many as counted.
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
        uint64_t container = record_ordered_key(table, record) >> CONTAINER_BITS;
        uint64_t bit = container * KEY_MULTIPLIER_1 >> (64 - filter_bits);
        uint64_t *word = &filter[bit / 64];
        num_containers += (~*word >> bit % 64) & 1;
        *word |= UINT64_C(1) << bit % 64;
    }
    *out_sparse = num_containers * SMALLEST_CONTAINER >= limit;
    free(filter);
    return true;
}

// order_entries sets the entries unless they lie so far apart that lines are smallest.
// `*out_narrow` says that gaps may be smallest.
static bool order_entries(ordered_entries *out_entries, bool *out_narrow,
                          const builder_table *table) {
    bool sparse = false;
    if (!ordered_collect(out_entries, table, table->num_records * LARGEST_MEAN_GAP)) {
        return false;
    }
    *out_narrow = out_entries->keys != NULL;
    return *out_narrow || (is_sparse(&sparse, table, lines_table_size(table)) &&
                           (sparse || ordered_collect(out_entries, table, UINT64_MAX)));
}

static bool compare_sizes(table_plan *plan, const builder_table *table, bool narrow) {
    uint64_t lines = lines_table_size(table);
    uint64_t bitmap = bitmap_measure(&plan->bitmap, &plan->entries, lines);
    uint64_t limit = lines - lines / 12;
    uint64_t gaps = UINT64_MAX;
    limit = bitmap < limit ? bitmap : limit;
    if (narrow && !gaps_measure(&gaps, &plan->gaps, &plan->entries, limit)) {
        return false;
    }
    if (gaps <= limit) {
        plan->kind = TABLE_KIND_GAPS;
        return gaps_write(plan->sections, &plan->gaps, &plan->entries);
    }
    plan->kind = bitmap < lines ? TABLE_KIND_BITMAP : TABLE_KIND_LINES;
    return true;
}

bool choose_kind(table_plan *out_plan, const builder_table *table) {
    bool narrow;
    *out_plan = (table_plan){.kind = TABLE_KIND_LINES};
    if (table->shape.num_high > 0 || table->num_records < 2) {
        return true;
    }
    bool complete =
        order_entries(&out_plan->entries, &narrow, table) &&
        (out_plan->entries.keys == NULL || compare_sizes(out_plan, table, narrow));
    if (!complete || out_plan->kind == TABLE_KIND_LINES) {
        table_plan_clear(out_plan);
    }
    return complete;
}

static void free_sections(table_plan *plan) {
    for (unsigned i = 0; i < NUM_KIND_SECTIONS; i++) {
        free(plan->sections[i]);
    }
}

crlcheck_status plan_set_bitmap(table_plan *plan, const uint8_t *bitmap,
                                size_t bitmap_len) {
    uint8_t *sections[NUM_KIND_SECTIONS];
    if (plan->kind != TABLE_KIND_BITMAP) {
        return CRLCHECK_MALFORMED;
    }
    crlcheck_status status =
        bitmap_accept(sections, &plan->bitmap, &plan->entries, bitmap, bitmap_len);
    if (status == CRLCHECK_OK) {
        free_sections(plan);
        memcpy(plan->sections, sections, sizeof sections);
    }
    return status;
}

void table_plan_clear(table_plan *plan) {
    ordered_entries_free(&plan->entries);
    free_sections(plan);
    *plan = (table_plan){0};
}
