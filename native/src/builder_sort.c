// builder_sort.c: orders the records of each table by key and merges duplicates.

#include <stdlib.h>

#include "builder.h"

// A partition of this many records of common size fits the second-level cache
// with its scratch space; more than 1024 partitions would thrash the TLB.
enum { PARTITION_RECORDS = 4096, MAX_PARTITION_BITS = 10, INSERTION_LIMIT = 24 };

typedef struct sort_item {
    uint64_t low;    // the mixed low word of the key
    uint32_t index;  // of the record, in order of arrival
} sort_item;

// sort_scratch is the working space for one partition.
typedef struct sort_scratch {
    sort_item *items;
    sort_item *spare;
    uint8_t *records;
    uint32_t *counts;
} sort_scratch;

static bool no_memory(crlcheck_error *out_error) {
    return builder_fail(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
}

// find_shape derives what is constant from the AND and the OR of all serials.
static void find_shape(builder_table *table) {
    key_shape *shape = &table->shape;
    bool seen_varying = false;
    shape->serial_len = table->serial_len;
    for (unsigned i = 0; i < table->serial_len; i++) {
        unsigned varying = (unsigned)(table->all_ones[i] ^ table->any_ones[i]);
        unsigned mask = 0;
        if (varying == 0) {
            mask = 0xff;
        } else if (!seen_varying) {
            unsigned highest = 31U - (unsigned)__builtin_clz(varying);
            mask = 0xff & ~((2U << highest) - 1);
            seen_varying = true;
        }
        shape->mask[i] = (uint8_t)mask;
        shape->value[i] = (uint8_t)(table->all_ones[i] & mask);
    }
    key_shape_init(shape);
}

static const uint8_t *record_at(const sort_scratch *scratch, const builder_table *table,
                                const sort_item *item) {
    return scratch->records + (size_t)item->index * table->record_len;
}

// comes_before orders by mixed low word, then by the words above it, which
// comparing the whole serials does too once the low words are equal.
static bool comes_before(const sort_scratch *scratch, const builder_table *table,
                         const sort_item *a, const sort_item *b) {
    if (a->low != b->low) {
        return a->low < b->low;
    }
    return memcmp(record_at(scratch, table, a), record_at(scratch, table, b),
                  table->serial_len) < 0;
}

static void insertion_sort(const sort_scratch *scratch, const builder_table *table,
                           sort_item *items, size_t num_items) {
    for (size_t i = 1; i < num_items; i++) {
        sort_item item = items[i];
        size_t place = i;
        while (place > 0 && comes_before(scratch, table, &item, &items[place - 1])) {
            items[place] = items[place - 1];
            place--;
        }
        items[place] = item;
    }
}

static void merge(const sort_scratch *scratch, const builder_table *table, sort_item *out,
                  const sort_item *a, size_t num_a, const sort_item *b, size_t num_b) {
    while (num_a > 0 && num_b > 0) {
        bool take_b = comes_before(scratch, table, b, a);  // ties keep arrival order
        *out++ = take_b ? *b++ : *a++;
        num_b -= take_b ? 1 : 0;
        num_a -= take_b ? 0 : 1;
    }
    memcpy(out, a, num_a * sizeof *a);
    memcpy(out + num_a, b, num_b * sizeof *b);
}

// merge_sort is for buckets that only duplicates or an adversary fill.
static void merge_sort(const sort_scratch *scratch, const builder_table *table,
                       sort_item *items, sort_item *spare, size_t num_items) {
    for (size_t width = 1; width < num_items; width *= 2) {
        for (size_t start = 0; start < num_items; start += 2 * width) {
            size_t left = num_items - start < width ? num_items - start : width;
            size_t rest = num_items - start - left;
            size_t right = rest < width ? rest : width;
            merge(scratch, table, spare + start, items + start, left,
                  items + start + left, right);
        }
        memcpy(items, spare, num_items * sizeof *items);
    }
}

// distribute moves scratch->items to scratch->spare in buckets by the bits of
// the key that follow those of the partition, and returns the number of bits.
static unsigned distribute(sort_scratch *scratch, const builder_table *table,
                           size_t num_items) {
    unsigned left = table->shape.low_bits - table->partition_bits;
    unsigned num_bits = 0;
    while (num_bits < left && num_bits < 16 && ((size_t)1 << num_bits) < num_items) {
        num_bits++;
    }
    uint32_t *starts = scratch->counts;
    size_t num_buckets = (size_t)1 << num_bits;
    uint64_t mask = low_bits(num_bits);
    unsigned shift = left - num_bits;
    memset(starts, 0, (num_buckets + 1) * sizeof *starts);
    for (size_t i = 0; i < num_items; i++) {
        // A shift by all 64 bits, possible where num_bits is 0, is undefined.
        size_t bucket =
            num_bits == 0 ? 0 : (size_t)((scratch->items[i].low >> shift) & mask);
        starts[bucket + 1]++;
    }
    for (size_t i = 0; i < num_buckets; i++) {
        starts[i + 1] += starts[i];
    }
    for (size_t i = 0; i < num_items; i++) {
        size_t bucket =
            num_bits == 0 ? 0 : (size_t)((scratch->items[i].low >> shift) & mask);
        scratch->spare[starts[bucket]++] = scratch->items[i];
    }
    return num_bits;
}

// sort_items leaves the items in order in scratch->spare.
static void sort_items(sort_scratch *scratch, const builder_table *table,
                       size_t num_items) {
    unsigned num_bits = distribute(scratch, table, num_items);
    size_t start = 0;
    for (size_t i = 0; i < (size_t)1 << num_bits; i++) {
        size_t end = scratch->counts[i];  // advanced to the bucket's end
        if (end - start > INSERTION_LIMIT) {
            merge_sort(scratch, table, scratch->spare + start, scratch->items,
                       end - start);
        } else {
            insertion_sort(scratch, table, scratch->spare + start, end - start);
        }
        start = end;
    }
}

// merge_attributes folds a duplicate into an entry: the earliest date, the first
// reason, and never removeFromCRL over a reason that revokes.
static void merge_attributes(record_attributes *attributes,
                             const record_attributes *duplicate) {
    static const uint8_t remove_from_crl = 8;
    if (duplicate->revocation_date < attributes->revocation_date) {
        attributes->revocation_date = duplicate->revocation_date;
    }
    if (attributes->reason_code == remove_from_crl) {
        attributes->reason_code = duplicate->reason_code;
    }
    if (attributes->invalidity_date == NO_DATE ||
        (duplicate->invalidity_date != NO_DATE &&
         duplicate->invalidity_date < attributes->invalidity_date)) {
        attributes->invalidity_date = duplicate->invalidity_date;
    }
}

// add_date puts the date of the entry at `rank` into its block.
static bool add_date(date_column *column, uint64_t rank, int64_t date) {
    uint64_t number = rank / DATES_PER_BLOCK;
    if (number == column->num_blocks) {
        if (column->num_blocks == column->capacity) {
            uint64_t capacity = column->capacity == 0 ? 16 : column->capacity * 2;
            date_block *blocks = realloc(column->blocks, capacity * sizeof *blocks);
            if (blocks == NULL) {
                return false;
            }
            column->blocks = blocks;
            column->capacity = capacity;
        }
        column->blocks[column->num_blocks++] = (date_block){NO_DATE, NO_DATE};
    }
    if (date == NO_DATE) {
        return true;
    }
    date_block *block = &column->blocks[number];
    bool first = block->base == NO_DATE;
    block->base = first || date < block->base ? date : block->base;
    block->highest = first || date > block->highest ? date : block->highest;
    column->present = true;
    return true;
}

// note_attributes gathers what the layout of the attribute sections needs.
static bool note_attributes(builder_table *table, const record_attributes *attributes,
                            uint64_t rank) {
    table->has_reasons |= attributes->reason_code != CRLCHECK_NO_REASON;
    return add_date(&table->revocation_dates, rank, attributes->revocation_date) &&
           (!table->wide ||
            add_date(&table->invalidity_dates, rank, attributes->invalidity_date));
}

// write_back stores the sorted, distinct records over the old ones.
static bool write_back(builder_table *table, const sort_scratch *scratch,
                       record_pile *pile, uint64_t *rank, bool attributes) {
    size_t num_items = pile->num_records;
    record_cursor cursor = record_pile_start(pile);
    pile->num_records = 0;
    for (size_t i = 0; i < num_items;) {
        const sort_item *item = &scratch->spare[i];
        const uint8_t *record = record_at(scratch, table, item);
        record_attributes merged;
        if (attributes) {
            record_load_attributes(&merged, record, table);
        }
        for (i++;
             i < num_items && !comes_before(scratch, table, item, &scratch->spare[i]);
             i++) {
            if (attributes) {
                record_attributes duplicate;
                record_load_attributes(
                    &duplicate, record_at(scratch, table, &scratch->spare[i]), table);
                merge_attributes(&merged, &duplicate);
            }
            table->num_duplicates++;
        }
        uint8_t *place = record_next(&cursor, table->record_len);
        memcpy(place, record, table->serial_len);
        if (attributes) {
            record_store_attributes(place, table, &merged);
            if (!note_attributes(table, &merged, *rank)) {
                return false;
            }
        }
        pile->num_records++;
        (*rank)++;
    }
    return true;
}

static bool sort_partition(builder_table *table, sort_scratch *scratch, record_pile *pile,
                           uint64_t *rank, bool attributes) {
    record_cursor cursor = record_pile_start(pile);
    for (uint32_t i = 0; i < pile->num_records; i++) {
        const uint8_t *record = record_next(&cursor, table->record_len);
        table_key key = {0};
        key_from_serial(&key, &table->shape, record);
        scratch->items[i] = (sort_item){key.low, i};
        memcpy(scratch->records + (size_t)i * table->record_len, record,
               table->record_len);
    }
    sort_items(scratch, table, pile->num_records);
    return write_back(table, scratch, pile, rank, attributes);
}

// choose_bucket_bits minimises the image: a further bit saves one bit an entry
// and doubles directory and hints, which take two bits a bucket.
static unsigned choose_bucket_bits(const builder_table *table) {
    unsigned bucket_bits = 0;
    while (bucket_bits < table->shape.low_bits && bucket_bits < MAX_BUCKET_BITS &&
           table->num_records > UINT64_C(2) << bucket_bits) {
        bucket_bits++;
    }
    return bucket_bits;
}

static bool scratch_init(sort_scratch *scratch, const builder_table *table) {
    size_t largest = 0;
    for (size_t i = 0; i < (size_t)1 << table->partition_bits; i++) {
        size_t num_records = table->partitions[i].num_records;
        largest = num_records > largest ? num_records : largest;
    }
    scratch->items = malloc(largest * sizeof *scratch->items);
    scratch->spare = malloc(largest * sizeof *scratch->spare);
    scratch->records = malloc(largest * table->record_len);
    scratch->counts = malloc(((1U << 16) + 1) * sizeof *scratch->counts);
    return scratch->items != NULL && scratch->spare != NULL && scratch->records != NULL &&
           scratch->counts != NULL;
}

bool table_sort(builder_table *table, record_pool *pool, bool attributes,
                crlcheck_error *out_error) {
    if (table->num_records > UINT32_MAX / 2) {  // positions in the directory: 32 bits
        return builder_fail(out_error, CRLCHECK_LIMIT_EXCEEDED,
                            CRLCHECK_RULE_TOO_MANY_ENTRIES);
    }
    find_shape(table);
    unsigned partition_bits = 0;
    while (partition_bits < MAX_PARTITION_BITS &&
           partition_bits < table->shape.low_bits &&
           table->num_records >> partition_bits > PARTITION_RECORDS) {
        partition_bits++;
    }
    if (partition_bits > 0 && !table_redistribute(table, pool, partition_bits, false)) {
        return no_memory(out_error);
    }
    sort_scratch scratch = {0};
    uint64_t rank = 0;
    bool sorted = scratch_init(&scratch, table);
    for (size_t i = 0; sorted && i < (size_t)1 << table->partition_bits; i++) {
        sorted =
            sort_partition(table, &scratch, &table->partitions[i], &rank, attributes);
    }
    free(scratch.items);
    free(scratch.spare);
    free(scratch.records);
    free(scratch.counts);
    table->num_records = rank;
    table->bucket_bits = choose_bucket_bits(table);
    return sorted || no_memory(out_error);
}

// Tables are written in order of certificate issuer and serial length, so that
// the reader can search them.
static int compare_tables(const void *a, const void *b) {
    const builder_table *first = a;
    const builder_table *second = b;
    if (first->certificate_issuer != second->certificate_issuer) {
        return first->certificate_issuer < second->certificate_issuer ? -1 : 1;
    }
    return (int)first->serial_len - (int)second->serial_len;
}

crlcheck_status crlcheck_builder_sort(crlcheck_builder *builder,
                                      crlcheck_builder_stats *out_stats,
                                      crlcheck_error *out_error) {
    *out_stats = (crlcheck_builder_stats){.num_tables = builder->num_tables};
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        builder_table *table = &builder->tables[i];
        crlcheck_error error = {0};
        if (!builder->sorted &&
            !table_sort(table, &builder->pool, builder->attributes, &error)) {
            if (out_error != NULL) {
                *out_error = error;
            }
            return (crlcheck_status)error.status;
        }
        out_stats->num_entries += table->num_records;
        out_stats->num_duplicates += table->num_duplicates;
    }
    if (builder->num_tables > 0) {
        qsort(builder->tables, builder->num_tables, sizeof *builder->tables,
              compare_tables);
    }
    builder->sorted = true;
    out_stats->memory = builder->pool.memory;
    return CRLCHECK_OK;
}
