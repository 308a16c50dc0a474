// table.h: the entries of one certificate issuer and serial length while an image is
// built.
//
// 1. While a table is small, its records hold serials as they came.
// 2. A table that has grown finds out which bits all its serials have in common. From
//    then on its records hold keys (image/key.h). Their leading bits say to which of the
//    partitions they go, each of which fits the cache.
// 3. A serial without the common bits sends the table back to step 1. It must grow to
//    twice its size before it takes step 2 again.
// 4. When the last entry has come, a table that still holds serials takes step 2.
// 5. Each partition is sorted on its own, and duplicates are merged (table_sort.h). The
//    partitions, one after the other, are then the whole table in order of its keys.

#ifndef CRLCHECK_BUILDER_TABLE_H
#define CRLCHECK_BUILDER_TABLE_H

#include <stdatomic.h>

#include "base/bits.h"
#include "builder/records.h"
#include "crlcheck_crl.h"
#include "image/key.h"

// record_attributes is what a record holds behind its serial or key, unless the
// image is built without attributes. The invalidity date is there only in tables
// that have any.
typedef struct record_attributes {
    int64_t revocation_date;
    int64_t invalidity_date;  // NO_DATE where there is none
    uint8_t reason_code;
} record_attributes;

// In a record, a date is the seconds since FIRST_DATE in 40 bits, all ones if there is
// none. The reason follows the revocation date. Attributes are loaded and stored as whole
// words, for which blocks of records leave room.
enum {
    RECORD_DATE_BITS = 40,
    RECORD_REASON = RECORD_DATE_BITS / 8,
    RECORD_INVALIDITY_DATE = 6,
    RECORD_ATTRIBUTES_SIZE = 6,
    RECORD_WIDE_ATTRIBUTES_SIZE = 11
};

static const int64_t NO_DATE = INT64_MIN;

// The year 0, GeneralizedTime's first; 40 bits last until the year 36,812.
static const int64_t FIRST_DATE = INT64_C(-62167219200);

typedef struct builder_table {
    uint32_t certificate_issuer;
    uint8_t serial_len;
    bool attributes;
    bool wide;                // records have an invalidity date
    bool keyed;               // records hold keys of `shape`
    size_t record_len;
    record_piles partitions;  // 1 << partition_bits of them
    unsigned partition_bits;
    uint64_t largest_partition;    // in records, before sorting
    atomic_size_t next_partition;  // the first whose sorting has not begun
    uint64_t num_records;     // distinct ones once table_count has counted them
    uint64_t partition_at;    // how many records make step 2 worth while
    key_shape shape;
} builder_table;

bool table_init(builder_table *table, uint32_t certificate_issuer, uint8_t serial_len,
                bool attributes);
void table_clear(builder_table *table, record_pool *pool);

// table_add copies entries of this table in.
bool table_add(builder_table *table, record_pool *pool, const crlcheck_entry *entries,
               size_t num_entries);

// table_seal takes step 4.
bool table_seal(builder_table *table, record_pool *pool);

// table_count returns how many records are left. After sorting these are distinct.
uint64_t table_count(const builder_table *table);

// is_storable tells whether a record can hold a date.
static inline bool is_storable(int64_t date) {
    return (uint64_t)date - (uint64_t)FIRST_DATE < low_bits(RECORD_DATE_BITS);
}

static inline void record_load_attributes(record_attributes *out_attributes,
                                          const uint8_t *record,
                                          const builder_table *table) {
    const uint8_t *stored = record + table->serial_len;
    uint64_t no_date = low_bits(RECORD_DATE_BITS);
    uint64_t word = load_le64(stored);
    out_attributes->revocation_date = (int64_t)(word & no_date) + FIRST_DATE;
    out_attributes->reason_code = (uint8_t)(word >> RECORD_DATE_BITS);
    out_attributes->invalidity_date = NO_DATE;
    if (table->wide) {
        uint64_t invalidity = load_le64(stored + RECORD_INVALIDITY_DATE) & no_date;
        if (invalidity != no_date) {
            out_attributes->invalidity_date = (int64_t)invalidity + FIRST_DATE;
        }
    }
}

// record_store_attributes stores dates that are storable. It also overwrites some bytes
// behind the record, which are written later.
static inline void record_store_attributes(uint8_t *record, const builder_table *table,
                                           const record_attributes *attributes) {
    uint8_t *stored = record + table->serial_len;
    store_le64(stored, (uint64_t)(attributes->revocation_date - FIRST_DATE) |
                           (uint64_t)attributes->reason_code << RECORD_DATE_BITS);
    if (table->wide) {
        store_le64(stored + RECORD_INVALIDITY_DATE,
                   attributes->invalidity_date == NO_DATE
                       ? low_bits(RECORD_DATE_BITS)
                       : (uint64_t)(attributes->invalidity_date - FIRST_DATE));
    }
}

// entry_cursor walks the sorted records of a table by rank. Merging may have left unused
// records at the end of a partition, so it counts those in use.
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

#endif
