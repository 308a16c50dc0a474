// builder.h: what the units of the image builder share.
//
// Entries are added as raw records, one table for each certificate issuer and
// serial length. Sorting finds what the serials of a table have in common,
// spreads its records over partitions that fit the cache, orders each by key
// and merges duplicates. Writing then walks the partitions once more.

#ifndef CRLCHECK_BUILDER_H
#define CRLCHECK_BUILDER_H

#include "der.h"
#include "format.h"
#include "key.h"
#include "records.h"

// record_attributes is what a record holds behind its serial, unless the image
// is built without attributes. The invalidity date is there only in tables that
// have any.
typedef struct record_attributes {
    int64_t revocation_date;
    int64_t invalidity_date;  // NO_DATE where there is none
    uint8_t reason_code;
} record_attributes;

enum {
    RECORD_DATE_SIZE = 8,
    RECORD_ATTRIBUTES_SIZE = 9,        // revocation date, reason
    RECORD_WIDE_ATTRIBUTES_SIZE = 17   // and invalidity date
};

static const int64_t NO_DATE = INT64_MIN;

// date_block is one block of dates in rank order: those of DATES_PER_BLOCK
// neighbours, as differences from the smallest.
typedef struct date_block {
    int64_t base;
    int64_t highest;
} date_block;

// date_column gathers the blocks of one kind of date while sorting.
typedef struct date_column {
    date_block *blocks;
    uint64_t num_blocks;
    uint64_t capacity;
    bool present;  // any entry has such a date
} date_column;

typedef struct section_span {
    uint64_t offset;
    uint64_t size;
} section_span;

typedef struct builder_table {
    uint32_t certificate_issuer;
    uint8_t serial_len;
    bool wide;                       // records have an invalidity date
    size_t record_len;
    record_pile *partitions;         // 1 << partition_bits of them
    unsigned partition_bits;
    uint64_t num_records;            // distinct ones, after sorting
    uint64_t num_duplicates;
    uint8_t all_ones[CRLCHECK_MAX_SERIAL];   // AND of all serials
    uint8_t any_ones[CRLCHECK_MAX_SERIAL];   // OR of all serials
    key_shape shape;
    unsigned bucket_bits;
    bool has_reasons;
    date_column revocation_dates;
    date_column invalidity_dates;
    section_span sections[NUM_SECTIONS];
} builder_table;

typedef struct image_writer image_writer;

struct crlcheck_builder {
    bool attributes;
    bool sorted;
    builder_table *tables;
    uint32_t num_tables;
    uint32_t capacity;
    // Table number + 1 by certificate issuer and serial length, 0 where none is.
    uint32_t (*table_numbers)[CRLCHECK_MAX_SERIAL + 1];
    uint32_t num_issuers;  // rows of table_numbers
    record_pool pool;
    image_writer *writer;
};

// builder_fail records a failure that has no place in the source.
bool builder_fail(crlcheck_error *out_error, crlcheck_status status, crlcheck_rule rule);

// record_load_attributes and record_store_attributes convert those octets.
void record_load_attributes(record_attributes *out_attributes, const uint8_t *record,
                            const builder_table *table);
void record_store_attributes(uint8_t *record, const builder_table *table,
                             const record_attributes *attributes);

// table_redistribute moves all records over new partitions by the leading bits
// of their keys, or keeps them in one with `partition_bits` 0, where records may
// also grow wide.
bool table_redistribute(builder_table *table, record_pool *pool, unsigned partition_bits,
                        bool wide);

// table_sort orders the records and merges duplicates.
bool table_sort(builder_table *table, record_pool *pool, bool attributes,
                crlcheck_error *out_error);

// image_writer_free gives back what crlcheck_builder_start_image made.
void image_writer_free(image_writer *writer);

#endif
