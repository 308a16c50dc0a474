// builder.c: takes entries in.

#include "builder.h"

#include <stdlib.h>

bool builder_fail(crlcheck_error *out_error, crlcheck_status status, crlcheck_rule rule) {
    return der_fail(out_error, status, rule, 0);
}

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
        builder_table *table = &builder->tables[i];
        for (size_t j = 0; j < (size_t)1 << table->partition_bits; j++) {
            record_pile_clear(&table->partitions[j], &builder->pool);
        }
        free(table->partitions);
        free(table->revocation_dates.blocks);
        free(table->invalidity_dates.blocks);
    }
    free(builder->tables);
    free(builder->table_numbers);
    record_pool_clear(&builder->pool);
    image_writer_free(builder->writer);
    free(builder);
}

void record_load_attributes(record_attributes *out_attributes, const uint8_t *record,
                            const builder_table *table) {
    const uint8_t *octets = record + table->serial_len;
    out_attributes->revocation_date = (int64_t)load_le64(octets);
    out_attributes->reason_code = octets[RECORD_DATE_SIZE];
    out_attributes->invalidity_date =
        table->wide ? (int64_t)load_le64(octets + RECORD_ATTRIBUTES_SIZE) : NO_DATE;
}

void record_store_attributes(uint8_t *record, const builder_table *table,
                             const record_attributes *attributes) {
    uint8_t *octets = record + table->serial_len;
    store_le64(octets, (uint64_t)attributes->revocation_date);
    octets[RECORD_DATE_SIZE] = attributes->reason_code;
    if (table->wide) {
        store_le64(octets + RECORD_ATTRIBUTES_SIZE,
                   (uint64_t)attributes->invalidity_date);
    }
}

// append_widened copies a record into a pile, adding an empty invalidity date
// where records become wide.
static bool append_widened(record_pile *pile, record_pool *pool, const uint8_t *record,
                           size_t record_len, size_t new_record_len) {
    uint8_t *copy = record_pile_add(pile, pool, new_record_len);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, record, record_len);
    if (new_record_len > record_len) {
        store_le64(copy + record_len, (uint64_t)NO_DATE);
    }
    return true;
}

static size_t partition_of(const builder_table *table, const uint8_t *record,
                           unsigned partition_bits) {
    table_key key;
    if (partition_bits == 0 || !key_from_serial(&key, &table->shape, record)) {
        return 0;
    }
    return (size_t)(key.low >> (table->shape.low_bits - partition_bits));
}

bool table_redistribute(builder_table *table, record_pool *pool, unsigned partition_bits,
                        bool wide) {
    record_pile *piles = calloc((size_t)1 << partition_bits, sizeof *piles);
    if (piles == NULL) {
        return false;
    }
    size_t record_len = table->record_len;
    size_t new_record_len = record_len;
    if (wide && !table->wide) {
        new_record_len += RECORD_WIDE_ATTRIBUTES_SIZE - RECORD_ATTRIBUTES_SIZE;
    }
    bool complete = true;
    record_pile *source = &table->partitions[0];
    while (complete && source->first != NULL) {
        record_block *block = source->first;
        for (uint32_t at = 0; complete && at < block->used; at += (uint32_t)record_len) {
            const uint8_t *record = block->data + at;
            record_pile *pile = &piles[partition_of(table, record, partition_bits)];
            complete = append_widened(pile, pool, record, record_len, new_record_len);
        }
        record_pile_drop_first(source, pool);
    }
    record_pile_clear(source, pool);
    free(table->partitions);
    table->partitions = piles;
    table->partition_bits = partition_bits;
    table->record_len = new_record_len;
    table->wide = table->wide || wide;
    return complete;
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
    *table = (builder_table){.certificate_issuer = certificate_issuer,
                             .serial_len = serial_len};
    table->partitions = calloc(1, sizeof *table->partitions);
    if (table->partitions == NULL) {
        return NULL;
    }
    table->record_len = serial_len + (builder->attributes ? RECORD_ATTRIBUTES_SIZE : 0U);
    memset(table->all_ones, 0xff, sizeof table->all_ones);
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
static builder_table *find_table(crlcheck_builder *builder, const crlcheck_entry *entry) {
    uint32_t certificate_issuer = entry->certificate_issuer;
    if (certificate_issuer >= builder->num_issuers &&
        !add_issuer(builder, certificate_issuer)) {
        return NULL;
    }
    uint32_t *number = &builder->table_numbers[certificate_issuer][entry->serial.len];
    if (*number > 0) {
        return &builder->tables[*number - 1];
    }
    builder_table *table =
        new_table(builder, certificate_issuer, (uint8_t)entry->serial.len);
    if (table != NULL) {
        *number = builder->num_tables;
    }
    return table;
}

static bool add_entry(crlcheck_builder *builder, const crlcheck_entry *entry) {
    builder_table *table = find_table(builder, entry);
    if (table == NULL) {
        return false;
    }
    bool wide = builder->attributes && entry->has_invalidity_date;
    if (wide && !table->wide && !table_redistribute(table, &builder->pool, 0, true)) {
        return false;
    }
    uint8_t *record =
        record_pile_add(&table->partitions[0], &builder->pool, table->record_len);
    if (record == NULL) {
        return false;
    }
    const uint8_t *serial = entry->serial.data;
    for (size_t i = 0; i < entry->serial.len; i++) {
        record[i] = serial[i];
        table->all_ones[i] &= serial[i];
        table->any_ones[i] |= serial[i];
    }
    if (builder->attributes) {
        record_attributes attributes = {.revocation_date = entry->revocation_date,
                                        .reason_code = entry->reason_code,
                                        .invalidity_date = entry->has_invalidity_date
                                                               ? entry->invalidity_date
                                                               : NO_DATE};
        record_store_attributes(record, table, &attributes);
    }
    table->num_records++;
    return true;
}

crlcheck_status crlcheck_builder_add(crlcheck_builder *builder, crlcheck_error *out_error,
                                     const crlcheck_entry *entries, size_t num_entries) {
    for (size_t i = 0; i < num_entries; i++) {
        if (!add_entry(builder, &entries[i])) {
            builder_fail(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
            return CRLCHECK_NO_MEMORY;
        }
    }
    return CRLCHECK_OK;
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
            status = crlcheck_builder_add(builder, out_error, entries, num_entries);
        }
        if (status != CRLCHECK_OK) {
            return status;
        }
        chunk += consumed;
        chunk_len -= consumed;
    }
    return CRLCHECK_OK;
}
