// table.h: what the units of the image builder share.
//
// Entries are added to one table for each certificate issuer and serial length.
// While a table is small its records hold serials as they came. A table that
// grows finds out what its serials have in common, and from then on its records
// hold keys (key.h), spread by their leading bits over partitions that fit the
// cache; should a serial come that breaks the pattern, it goes back and starts
// over. Sorting then orders each partition on its own and merges duplicates, and
// writing walks the partitions once more.

#ifndef CRLCHECK_BUILDER_TABLE_H
#define CRLCHECK_BUILDER_TABLE_H

#include <stdatomic.h>

#include "base/error.h"
#include "crlcheck_image.h"
#include "image/format.h"
#include "image/gaps.h"
#include "image/key.h"
#include "builder/records.h"

// record_attributes is what a record holds behind its serial or key, unless the
// image is built without attributes. The invalidity date is there only in tables
// that have any.
typedef struct record_attributes {
    int64_t revocation_date;
    int64_t invalidity_date;  // NO_DATE where there is none
    uint8_t reason_code;
} record_attributes;

// In a record, dates are seconds since FIRST_DATE in 40 bits, all ones where there
// is none; the reason follows the revocation date. Attributes are loaded and stored
// as whole words, for which blocks of records leave room.
enum {
    RECORD_DATE_BITS = 40,
    RECORD_INVALIDITY_DATE = 6,
    RECORD_ATTRIBUTES_SIZE = 6,
    RECORD_WIDE_ATTRIBUTES_SIZE = 11
};

static const int64_t NO_DATE = INT64_MIN;

// The year 0, GeneralizedTime's first; 40 bits last until the year 36,812.
static const int64_t FIRST_DATE = INT64_C(-62167219200);

typedef struct section_span {
    uint64_t offset;
    uint64_t size;
} section_span;

// dense_entries are entries of a table in order of their keys before mixing.
typedef struct dense_entries {
    uint64_t *keys;
    const uint8_t **records;  // NULL without attributes, for which alone they are kept
} dense_entries;

enum { NUM_DENSE_SECTIONS = 3 };

// dense_table is what a table has besides its records where it is to be of another
// kind than sorted.
typedef struct dense_table {
    unsigned kind;
    dense_entries entries;  // without keys where the table stays sorted
    // Of a bitmap:
    uint64_t bitmap_size;  // as serialized
    uint64_t num_groups;
    uint64_t num_containers;
    uint64_t num_counts;   // of the rank directory
    // Of gaps:
    gaps_shape gaps;
    uint64_t num_rows;
    uint64_t num_bits;
    uint8_t *sections[NUM_DENSE_SECTIONS];  // the first is there once all are
} dense_table;

typedef struct builder_table {
    uint32_t certificate_issuer;
    uint8_t serial_len;
    bool attributes;
    bool wide;                // records have an invalidity date
    bool keyed;               // records hold keys of `shape`
    size_t record_len;
    record_piles partitions;  // 1 << partition_bits of them
    unsigned partition_bits;
    uint64_t largest_partition;     // in records, before sorting
    atomic_size_t next_partition;   // the first whose sorting has not begun
    uint64_t num_records;     // distinct ones, after sorting
    uint64_t partition_at;    // how many records make it worth while
    key_shape shape;
    unsigned bucket_bits;
    dense_table dense;
    section_span sections[NUM_SECTIONS];
} builder_table;

typedef struct image_writer image_writer;

struct crlcheck_builder {
    bool attributes;
    bool completed;
    builder_table *tables;
    uint32_t num_tables;
    uint32_t capacity;
    // Table number + 1 by certificate issuer and serial length, 0 where none is.
    uint32_t (*table_numbers)[CRLCHECK_MAX_SERIAL + 1];
    uint32_t num_issuers;  // rows of table_numbers
    uint64_t num_added;
    record_pool pool;
    image_writer *writer;
};

// ---- table.c ----

bool table_init(builder_table *table, uint32_t certificate_issuer, uint8_t serial_len,
                bool attributes);
void table_clear(builder_table *table, record_pool *pool);

// table_add copies entries of this table in.
bool table_add(builder_table *table, record_pool *pool, const crlcheck_entry *entries,
               size_t num_entries);

// table_complete turns the records of a table that stayed small into keys.
bool table_complete(builder_table *table, record_pool *pool);

// is_storable tells whether a record can hold a date.
static inline bool is_storable(int64_t date) {
    return (uint64_t)date - (uint64_t)FIRST_DATE < low_bits(RECORD_DATE_BITS);
}

static inline void record_load_attributes(record_attributes *out_attributes,
                                          const uint8_t *record,
                                          const builder_table *table) {
    const uint8_t *octets = record + table->serial_len;
    uint64_t no_date = low_bits(RECORD_DATE_BITS);
    uint64_t word = load_le64(octets);
    out_attributes->revocation_date = (int64_t)(word & no_date) + FIRST_DATE;
    out_attributes->reason_code = (uint8_t)(word >> RECORD_DATE_BITS);
    out_attributes->invalidity_date = NO_DATE;
    if (table->wide) {
        uint64_t invalidity = load_le64(octets + RECORD_INVALIDITY_DATE) & no_date;
        if (invalidity != no_date) {
            out_attributes->invalidity_date = (int64_t)invalidity + FIRST_DATE;
        }
    }
}

// record_store_attributes stores dates that are storable. It spoils the octets behind
// the record, whose turn comes later.
static inline void record_store_attributes(uint8_t *record, const builder_table *table,
                                           const record_attributes *attributes) {
    uint8_t *octets = record + table->serial_len;
    store_le64(octets, (uint64_t)(attributes->revocation_date - FIRST_DATE) |
                           (uint64_t)attributes->reason_code << RECORD_DATE_BITS);
    if (table->wide) {
        store_le64(octets + RECORD_INVALIDITY_DATE,
                   attributes->invalidity_date == NO_DATE
                       ? low_bits(RECORD_DATE_BITS)
                       : (uint64_t)(attributes->invalidity_date - FIRST_DATE));
    }
}

// entry_cursor walks the sorted records of a table in rank order. Merging may
// have left unused records behind, so those of a partition are counted.
typedef struct entry_cursor {
    const builder_table *table;
    size_t partition;
    uint64_t num_left;
    record_cursor records;
} entry_cursor;

static inline entry_cursor first_entry(const builder_table *table) {
    return (entry_cursor){.table = table,
                          .num_left = table->partitions.num_records[0],
                          .records = record_piles_start(&table->partitions, 0)};
}

// record_run is sorted records that lie end to end.
typedef struct record_run {
    const uint8_t *records;
    size_t num_records;
} record_run;

// next_run returns the next records, at most `max_records`, none at the end.
static inline record_run next_run(entry_cursor *cursor, size_t max_records) {
    const builder_table *table = cursor->table;
    while (cursor->num_left == 0) {
        cursor->partition++;
        if (cursor->partition >= table->partitions.num_piles) {
            return (record_run){NULL, 0};
        }
        cursor->records = record_piles_start(&table->partitions, cursor->partition);
        cursor->num_left = table->partitions.num_records[cursor->partition];
    }
    uint64_t most = cursor->num_left < max_records ? cursor->num_left : max_records;
    record_run run;
    run.records =
        record_next_run(&run.num_records, &cursor->records, table->record_len, most);
    cursor->num_left -= run.num_records;
    return run;
}

// next_entry returns the next record, or NULL at the end.
static inline const uint8_t *next_entry(entry_cursor *cursor) {
    return next_run(cursor, 1).records;
}

// remainder_bits is what a table stores of each key.
static inline unsigned remainder_bits(const builder_table *table) {
    return table->shape.key_bits - table->bucket_bits;
}

static inline uint64_t remainders_size(const builder_table *table) {
    return octets_of_bits(table->num_records * remainder_bits(table));
}

static inline uint64_t directory_size(const builder_table *table) {
    return octets_of_bits(directory_bits(table->num_records, table->bucket_bits));
}

// ---- table_sort.c ----

// table_sort orders the partitions that no other call has begun, and merges
// duplicates. Several threads may call it at once.
bool table_sort(builder_table *table);

// ---- kind.c ----

// dense_measure finds out which kind a table, whose records are sorted and counted,
// takes least as. If that is gaps, it makes their sections; if it is a bitmap, which
// others serialize, it sets table->dense to wait for that. It returns false without
// memory.
bool dense_measure(builder_table *table);

// dense_section_size is the size of the section in a table of that kind.
uint64_t dense_section_size(const builder_table *table, unsigned section);

void dense_clear(dense_table *dense);

// is_dense tells whether a table will be written as another kind than sorted.
static inline bool is_dense(const builder_table *table) {
    return table->dense.sections[0] != NULL;
}

// waits_for_bitmap tells whether a table will be a bitmap if one is set.
static inline bool waits_for_bitmap(const builder_table *table) {
    return table->dense.kind == TABLE_KIND_BITMAP;
}

// ---- bitmap_writer.c ----

// bitmap_accept makes a table's sections from its serialized bitmap:
// CRLCHECK_MALFORMED where that is not the bitmap of the table's entries.
crlcheck_status bitmap_accept(builder_table *table, const uint8_t *bitmap, size_t len);

// ---- image_writer.c ----

// image_writer_free gives back what crlcheck_builder_start_image made.
void image_writer_free(image_writer *writer);

#endif
