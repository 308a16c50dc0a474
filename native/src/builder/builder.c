// builder.c: takes entries in and puts them in order.

#include "builder/table.h"

#include <stdlib.h>
#include <string.h>

// A table takes more than a kilobyte here, and an entry that starts one takes some
// fifty octets of a CRL that nobody has verified yet. No real list comes near.
enum { MAX_TABLES = 1 << 17 };

crlcheck_status crlcheck_builder_new(crlcheck_builder **out_builder, bool attributes) {
    crlcheck_builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL) {
        return CRLCHECK_NO_MEMORY;
    }
    builder->attributes = attributes;
    *out_builder = builder;
    return CRLCHECK_OK;
}

void crlcheck_builder_free(crlcheck_builder *builder) {
    if (builder == NULL) {
        return;
    }
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        table_clear(&builder->tables[i], &builder->pool);
        dense_clear(&builder->tables[i].dense);
    }
    free(builder->tables);
    free(builder->table_numbers);
    record_pool_clear(&builder->pool);
    image_writer_free(builder->writer);
    free(builder);
}

static builder_table *new_table(crlcheck_builder *builder, uint32_t certificate_issuer,
                                uint8_t serial_len) {
    if (builder->num_tables == builder->capacity) {
        uint32_t capacity = builder->capacity == 0 ? 4 : builder->capacity * 2;
        builder_table *tables =
            realloc(builder->tables, capacity * sizeof *builder->tables);
        if (tables == NULL) {
            return NULL;
        }
        builder->tables = tables;
        builder->capacity = capacity;
    }
    builder_table *table = &builder->tables[builder->num_tables];
    if (!table_init(table, certificate_issuer, serial_len, builder->attributes)) {
        return NULL;
    }
    builder->num_tables++;
    return table;
}

// add_issuer makes room in table_numbers for one more certificate issuer.
static bool add_issuer(crlcheck_builder *builder, uint32_t certificate_issuer) {
    uint32_t num_issuers = builder->num_issuers == 0 ? 1 : builder->num_issuers * 2;
    if (num_issuers <= certificate_issuer) {
        num_issuers = certificate_issuer + 1;
    }
    size_t row = sizeof *builder->table_numbers;
    void *grown = realloc(builder->table_numbers, num_issuers * row);
    if (grown == NULL) {
        return false;
    }
    builder->table_numbers = grown;
    memset(builder->table_numbers + builder->num_issuers, 0,
           (num_issuers - builder->num_issuers) * row);
    builder->num_issuers = num_issuers;
    return true;
}

// find_table returns the table of an entry, new where needed.
static builder_table *find_table(crlcheck_builder *builder, crlcheck_error *out_error,
                                 const crlcheck_entry *entry) {
    uint32_t certificate_issuer = entry->certificate_issuer;
    if (certificate_issuer >= builder->num_issuers &&
        !add_issuer(builder, certificate_issuer)) {
        return NULL;
    }
    uint32_t *number = &builder->table_numbers[certificate_issuer][entry->serial.len];
    if (*number > 0) {
        return &builder->tables[*number - 1];
    }
    if (builder->num_tables == MAX_TABLES) {
        fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_TOO_MANY_ISSUERS, 0);
        return NULL;
    }
    builder_table *table =
        new_table(builder, certificate_issuer, (uint8_t)entry->serial.len);
    if (table != NULL) {
        *number = builder->num_tables;
    }
    return table;
}

static bool all_storable(const crlcheck_entry *entries, size_t num_entries) {
    bool storable = true;
    for (size_t i = 0; i < num_entries; i++) {
        bool no_invalidity_date = !entries[i].has_invalidity_date;
        bool invalidity_date = is_storable(entries[i].invalidity_date);
        storable &= is_storable(entries[i].revocation_date);
        storable &= no_invalidity_date | invalidity_date;
    }
    return storable;
}

static bool add(crlcheck_builder *builder, crlcheck_error *out_error,
                const crlcheck_entry *entries, size_t num_entries) {
    if (builder->completed) {
        return fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_NONE, 0);
    }
    for (size_t start = 0; start < num_entries;) {
        const crlcheck_entry *first = &entries[start];
        size_t end = start + 1;
        while (end < num_entries && entries[end].serial.len == first->serial.len &&
               entries[end].certificate_issuer == first->certificate_issuer) {
            end++;
        }
        builder_table *table = find_table(builder, out_error, first);
        if (table == NULL || !table_add(table, &builder->pool, first, end - start)) {
            return false;
        }
        start = end;
    }
    builder->num_added += num_entries;
    return true;
}

// add_parsed adds entries whose dates the parser vouches for.
static crlcheck_status add_parsed(crlcheck_builder *builder, crlcheck_error *out_error,
                                  const crlcheck_entry *entries, size_t num_entries) {
    crlcheck_error error = {.status = CRLCHECK_NO_MEMORY};
    if (add(builder, &error, entries, num_entries)) {
        return CRLCHECK_OK;
    }
    if (out_error != NULL) {
        *out_error = error;
    }
    return (crlcheck_status)error.status;
}

crlcheck_status crlcheck_builder_add(crlcheck_builder *builder, crlcheck_error *out_error,
                                     const crlcheck_entry *entries, size_t num_entries) {
    if (builder->attributes && !all_storable(entries, num_entries)) {
        return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_BAD_TIME);
    }
    return add_parsed(builder, out_error, entries, num_entries);
}

crlcheck_status crlcheck_compile_chunk(crlcheck_crl_parser *parser,
                                       crlcheck_builder *builder,
                                       crlcheck_error *out_error, const uint8_t *chunk,
                                       size_t chunk_len) {
    enum { BATCH = 128 };  // 7 KiB of entries: they stay in the first-level cache
    crlcheck_entry entries[BATCH];
    while (chunk_len > 0) {
        size_t consumed;
        size_t num_entries;
        crlcheck_status status = crlcheck_crl_parser_feed(
            parser, &consumed, entries, &num_entries, out_error, BATCH, chunk, chunk_len);
        if (status == CRLCHECK_OK) {
            status = add_parsed(builder, out_error, entries, num_entries);
        }
        if (status != CRLCHECK_OK) {
            return status;
        }
        chunk += consumed;
        chunk_len -= consumed;
    }
    return CRLCHECK_OK;
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

crlcheck_status crlcheck_builder_complete(crlcheck_builder *builder,
                                          crlcheck_error *out_error) {
    builder->completed = true;
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        builder_table *table = &builder->tables[i];
        if (table->num_records > UINT32_MAX / 2) {  // positions in the directory: 32 bits
            return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED,
                               CRLCHECK_RULE_TOO_MANY_ENTRIES);
        }
        if (!table_complete(table, &builder->pool)) {
            return fail_status(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
        }
    }
    if (builder->num_tables > 0) {
        qsort(builder->tables, builder->num_tables, sizeof *builder->tables,
              compare_tables);
    }
    return CRLCHECK_OK;
}

crlcheck_status crlcheck_builder_sort(crlcheck_builder *builder,
                                      crlcheck_error *out_error) {
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        if (!table_sort(&builder->tables[i])) {
            return fail_status(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
        }
    }
    return CRLCHECK_OK;
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

void crlcheck_builder_finish(crlcheck_builder *builder,
                             crlcheck_builder_stats *out_stats) {
    *out_stats = (crlcheck_builder_stats){.num_tables = builder->num_tables};
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        builder_table *table = &builder->tables[i];
        table->num_records = 0;
        for (size_t j = 0; j < table->partitions.num_piles; j++) {
            table->num_records += table->partitions.num_records[j];
        }
        table->bucket_bits = choose_bucket_bits(table);
        out_stats->num_entries += table->num_records;
    }
    out_stats->num_duplicates = builder->num_added - out_stats->num_entries;
    out_stats->memory = builder->pool.memory;
}

crlcheck_status crlcheck_builder_next_dense(crlcheck_builder *builder,
                                            uint32_t *out_table, uint64_t *out_num_keys,
                                            crlcheck_error *out_error,
                                            uint32_t first_table) {
    for (uint32_t i = first_table; i < builder->num_tables; i++) {
        builder_table *table = &builder->tables[i];
        dense_clear(&table->dense);
        if (!dense_measure(table)) {
            return fail_status(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
        }
        if (waits_for_bitmap(table)) {
            *out_table = i;
            *out_num_keys = table->num_records;
            return CRLCHECK_OK;
        }
    }
    return CRLCHECK_NOT_FOUND;
}

void crlcheck_builder_dense_keys(const crlcheck_builder *builder, uint64_t *out_keys,
                                 uint32_t table_number) {
    const builder_table *table = &builder->tables[table_number];
    memcpy(out_keys, table->dense.entries.keys, table->num_records * sizeof *out_keys);
}

crlcheck_status crlcheck_builder_set_bitmap(crlcheck_builder *builder,
                                            crlcheck_error *out_error,
                                            uint32_t table_number, const uint8_t *bitmap,
                                            size_t bitmap_len) {
    crlcheck_status status = CRLCHECK_MALFORMED;
    if (table_number < builder->num_tables) {
        status = bitmap_accept(&builder->tables[table_number], bitmap, bitmap_len);
    }
    return status == CRLCHECK_OK ? status
                                 : fail_status(out_error, status, CRLCHECK_RULE_NONE);
}
