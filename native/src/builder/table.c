// table.c: takes the entries of a table in.

#include "builder/table.h"

#include <string.h>

// Fewer records than this fit the cache in one partition. 512 partitions are few enough
// for the TLB, and at ten million records each has 320 KiB of keys. A fuzz build, whose
// lists are small, sets both much lower.
#ifndef CRLCHECK_PARTITION_AT
#define CRLCHECK_PARTITION_AT (1 << 14)
#define CRLCHECK_PARTITION_BITS 9
#endif
enum { PARTITION_AT = CRLCHECK_PARTITION_AT, PARTITION_BITS = CRLCHECK_PARTITION_BITS };

bool table_init(builder_table *table, uint32_t certificate_issuer, uint8_t serial_len,
                bool attributes) {
    *table = (builder_table){.certificate_issuer = certificate_issuer,
                             .serial_len = serial_len,
                             .attributes = attributes,
                             .partition_at = PARTITION_AT};
    table->record_len = serial_len + (attributes ? RECORD_ATTRIBUTES_SIZE : 0U);
    return record_piles_init(&table->partitions, 1, SMALL_BLOCK_SIZE);
}

void table_clear(builder_table *table, record_pool *pool) {
    record_piles_clear(&table->partitions, pool);
}

// find_shape derives what is constant from the AND and the OR of all serials.
static void find_shape(builder_table *table) {
    uint8_t all[CRLCHECK_MAX_SERIAL];
    uint8_t any[CRLCHECK_MAX_SERIAL] = {0};
    memset(all, 0xff, sizeof all);
    record_cursor cursor = record_piles_start(&table->partitions, 0);
    const uint8_t *record;
    while ((record = record_next(&cursor, table->record_len)) != NULL) {
        // In whole words: what is behind the serials counts nowhere.
        for (unsigned i = 0; i < table->serial_len; i += 8) {
            uint64_t word = load_le64(record + i);
            store_le64(all + i, load_le64(all + i) & word);
            store_le64(any + i, load_le64(any + i) | word);
        }
    }
    key_shape *shape = &table->shape;
    bool seen_varying = false;
    shape->serial_len = table->serial_len;
    for (unsigned i = 0; i < table->serial_len; i++) {
        unsigned varying = (unsigned)(all[i] ^ any[i]);
        unsigned mask = varying == 0 ? 0xff : 0;
        if (varying != 0 && !seen_varying) {
            unsigned highest = 31U - (unsigned)__builtin_clz(varying);
            mask = 0xff & ~((2U << highest) - 1);
            seen_varying = true;
        }
        shape->mask[i] = (uint8_t)mask;
        shape->value[i] = (uint8_t)(all[i] & mask);
    }
    key_shape_init(shape);
}

static inline size_t partition_of(const key_shape *shape, unsigned partition_bits,
                                  const table_key *key) {
    unsigned shift = shape->low_bits - partition_bits;
    return partition_bits == 0 ? 0 : (size_t)(key->low >> shift);
}

// spread_block copies the serials of one block to new partitions, as keys.
static bool spread_block(record_piles *partitions, record_pool *pool,
                         const builder_table *table, unsigned partition_bits,
                         const record_block *block) {
    size_t len = table->record_len;
    size_t serial_len = table->serial_len;
    for (uint64_t at = 0; at < block->used; at += len) {
        const uint8_t *source = block->data + at;
        table_key key = {0};
        key_from_serial(&key, &table->shape, table->shape.num_high, source);
        size_t partition = partition_of(&table->shape, partition_bits, &key);
        uint8_t *record = record_piles_add(partitions, pool, partition, len);
        if (record == NULL) {
            return false;
        }
        key_store(record, table->shape.num_high, &key);
        record_copy(record + serial_len, source + serial_len, len - serial_len);
    }
    return true;
}

// replace_partitions puts new piles in the place of the old ones.
static void replace_partitions(builder_table *table, record_pool *pool,
                               record_piles *partitions, unsigned partition_bits,
                               bool keyed) {
    record_piles_clear(&table->partitions, pool);
    table->partitions = *partitions;
    table->partition_bits = partition_bits;
    table->keyed = keyed;
}

// spread takes step 2: it turns serials into keys in new partitions.
static bool spread(builder_table *table, record_pool *pool, bool many) {
    record_piles_seal(&table->partitions, table->record_len);
    find_shape(table);
    unsigned partition_bits = many ? PARTITION_BITS : 0;
    if (partition_bits > table->shape.low_bits) {
        partition_bits = table->shape.low_bits;
    }
    record_piles partitions;
    if (!record_piles_init(&partitions, (size_t)1 << partition_bits,
                           many ? LARGE_BLOCK_SIZE : SMALL_BLOCK_SIZE)) {
        return false;
    }
    bool complete = true;
    while (complete && table->partitions.first[0] != NULL) {
        complete = spread_block(&partitions, pool, table, partition_bits,
                                table->partitions.first[0]);
        record_piles_drop_first(&table->partitions, pool, 0);
    }
    replace_partitions(table, pool, &partitions, partition_bits, true);
    return complete;
}

// copy_back appends a record as a serial, with an empty invalidity date where the
// table becomes wide.
static bool copy_back(record_piles *piles, record_pool *pool, const builder_table *table,
                      const uint8_t *record, size_t new_len) {
    uint8_t *copy = record_piles_add(piles, pool, 0, new_len);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, record, table->record_len);
    if (new_len > table->record_len) {
        store_le64(copy + table->record_len, low_bits(RECORD_DATE_BITS));
    }
    if (table->keyed) {
        table_key key = {0};
        key_load(&key, record, &table->shape);
        key_to_serial(copy, &table->shape, &key);
    }
    return true;
}

// start_over takes step 3: it turns all records back into serials in one pile, and makes
// them wide if asked to. The order in which records of one serial came is kept.
static bool start_over(builder_table *table, record_pool *pool, bool wide) {
    record_piles piles;
    if (!record_piles_init(&piles, 1, SMALL_BLOCK_SIZE)) {
        return false;
    }
    bool widen = wide && !table->wide;
    size_t new_len = table->record_len;
    new_len += widen ? RECORD_WIDE_ATTRIBUTES_SIZE - RECORD_ATTRIBUTES_SIZE : 0U;
    bool complete = true;
    record_piles_seal(&table->partitions, table->record_len);
    for (size_t i = 0; i < table->partitions.num_piles; i++) {
        while (complete && table->partitions.first[i] != NULL) {
            const record_block *block = table->partitions.first[i];
            for (uint64_t at = 0; complete && at < block->used; at += table->record_len) {
                complete = copy_back(&piles, pool, table, block->data + at, new_len);
            }
            record_piles_drop_first(&table->partitions, pool, i);
        }
    }
    replace_partitions(table, pool, &piles, 0, false);
    table->record_len = new_len;
    table->wide |= wide;
    // Not before the table has doubled, so that the time for starting over is linear.
    uint64_t doubled = 2 * table->num_records;
    table->partition_at = doubled > PARTITION_AT ? doubled : PARTITION_AT;
    return complete;
}

// store_attributes does what record_store_attributes does for a new record. That would load
// fields of the table anew for each entry, because the bytes written could alias them.
static inline void store_attributes(uint8_t *stored, bool wide,
                                    const crlcheck_entry *entry) {
    store_le64(stored, (uint64_t)(entry->revocation_date - FIRST_DATE) |
                           (uint64_t)entry->reason_code << RECORD_DATE_BITS);
    if (wide) {
        store_le64(stored + RECORD_INVALIDITY_DATE,
                   entry->has_invalidity_date
                       ? (uint64_t)(entry->invalidity_date - FIRST_DATE)
                       : low_bits(RECORD_DATE_BITS));
    }
}

// copy_serial copies a serial in whole words, of which the last overlaps the one before:
// nothing behind it may be read.
static inline void copy_serial(uint8_t *out, const uint8_t *serial, size_t serial_len) {
    if (serial_len < 8) {
        for (size_t i = 0; i < serial_len; i++) {
            out[i] = serial[i];
        }
        return;
    }
    for (size_t at = 0; at + 8 < serial_len; at += 8) {
        memcpy(out + at, serial + at, 8);
    }
    memcpy(out + serial_len - 8, serial + serial_len - 8, 8);
}

// add_serials takes step 1, until the table is large enough for step 2. It returns how
// many entries it added, 0 without memory.
static size_t add_serials(builder_table *table, record_pool *pool,
                          const crlcheck_entry *entries, size_t num_entries) {
    uint64_t room = table->partition_at - table->num_records;
    size_t num_added = room < num_entries ? (size_t)room : num_entries;
    size_t serial_len = table->serial_len;
    size_t record_len = table->record_len;
    bool attributes = table->attributes;
    bool wide = table->wide;
    for (size_t i = 0; i < num_added; i++) {
        uint8_t *record = record_piles_add(&table->partitions, pool, 0, record_len);
        if (record == NULL) {
            return 0;
        }
        copy_serial(record, entries[i].serial.data, serial_len);
        if (attributes) {
            store_attributes(record + serial_len, wide, &entries[i]);
        }
    }
    table->num_records += num_added;
    bool many = table->num_records >= table->partition_at;
    return many && !spread(table, pool, true) ? 0 : num_added;
}

// So many keys are computed before they are stored, so that the places they go to, which
// are all over the cache, are on their way: 12 ns an entry against 20. What is fetched is
// the line behind a place: the line of the place itself was fetched so when the records
// before it were stored, and no processor follows hundreds of piles by itself (27 ns an
// entry to parse and keep against 33).
enum { KEYS_AHEAD = 32, CACHE_LINE = 64 };

// add_keys_of adds up to KEYS_AHEAD entries by their keys, which have `num_high` high
// words, and returns how many had the table's shape, or -1 without memory.
static inline int add_keys_of(builder_table *table, record_pool *pool,
                              const crlcheck_entry *entries, size_t num_entries,
                              unsigned num_high) {
    table_key keys[KEYS_AHEAD];
    size_t places[KEYS_AHEAD];
    int most = num_entries < KEYS_AHEAD ? (int)num_entries : KEYS_AHEAD;
    int num_keys = 0;
    while (num_keys < most && key_from_serial(&keys[num_keys], &table->shape, num_high,
                                              entries[num_keys].serial.data)) {
        size_t partition =
            partition_of(&table->shape, table->partition_bits, &keys[num_keys]);
        // By its number, because there may be no place yet, or none behind it.
        uintptr_t place = (uintptr_t)table->partitions.next[partition];
        __builtin_prefetch((const void *)(place + CACHE_LINE), 1);
        places[num_keys++] = partition;
    }
    bool attributes = table->attributes;
    bool wide = table->wide;
    size_t record_len = table->record_len;
    size_t serial_len = table->serial_len;
    for (int i = 0; i < num_keys; i++) {
        uint8_t *record =
            record_piles_add(&table->partitions, pool, places[i], record_len);
        if (record == NULL) {
            return -1;
        }
        key_store(record, num_high, &keys[i]);
        if (attributes) {
            store_attributes(record + serial_len, wide, &entries[i]);
        }
    }
    table->num_records += (uint64_t)num_keys;
    return num_keys;
}

// add_keys does what add_keys_of does, unrolled for the serials of nearly all CAs: up to
// eight, sixteen or twenty-four octets.
static int add_keys(builder_table *table, record_pool *pool,
                    const crlcheck_entry *entries, size_t num_entries) {
    switch (table->shape.num_high) {
    case 0:
        return add_keys_of(table, pool, entries, num_entries, 0);
    case 1:
        return add_keys_of(table, pool, entries, num_entries, 1);
    case 2:
        return add_keys_of(table, pool, entries, num_entries, 2);
    default:
        return add_keys_of(table, pool, entries, num_entries, table->shape.num_high);
    }
}

static bool any_invalidity_date(const crlcheck_entry *entries, size_t num_entries) {
    bool any = false;
    for (size_t i = 0; i < num_entries; i++) {
        any |= entries[i].has_invalidity_date;
    }
    return any;
}

bool table_add(builder_table *table, record_pool *pool, const crlcheck_entry *entries,
               size_t num_entries) {
    if (table->attributes && !table->wide && any_invalidity_date(entries, num_entries) &&
        !start_over(table, pool, true)) {
        return false;
    }
    while (num_entries > 0) {
        int num_added = 0;
        if (table->keyed) {
            num_added = add_keys(table, pool, entries, num_entries);
            if (num_added < 0 || (num_added == 0 && !start_over(table, pool, false))) {
                return false;
            }
        } else {
            num_added = (int)add_serials(table, pool, entries, num_entries);
            if (num_added == 0) {
                return false;
            }
        }
        entries += num_added;
        num_entries -= (size_t)num_added;
    }
    return true;
}

bool table_seal(builder_table *table, record_pool *pool) {
    bool many = table->num_records >= PARTITION_AT;
    if (!table->keyed && !spread(table, pool, many)) {
        return false;
    }
    record_piles_seal(&table->partitions, table->record_len);
    for (size_t i = 0; i < table->partitions.num_piles; i++) {
        uint64_t num_records = table->partitions.num_records[i];
        if (num_records > table->largest_partition) {
            table->largest_partition = num_records;
        }
    }
    return true;
}

uint64_t table_count(const builder_table *table) {
    uint64_t num_records = 0;
    for (size_t i = 0; i < table->partitions.num_piles; i++) {
        num_records += table->partitions.num_records[i];
    }
    return num_records;
}
