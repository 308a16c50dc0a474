// builder.c: makes the image of a list of entries. The caller takes these steps in order:
//
// 1. Add the entries. Each goes to the table of its certificate issuer and serial length.
// 2. Seal. No entry may follow. The tables are put in the order in which the reader
//    searches them.
// 3. Sort. Each table orders its entries and merges duplicates. Several threads share the
//    work.
// 4. Choose kinds. Each table becomes the kind that takes fewest bytes: a table of
//    lines, a bitmap or gaps.
// 5. Set bitmaps. The caller serializes the bitmap of each table that is one.
// 6. Start the image. From here on the size of the header is known.
// 7. Read the body: one table after the other, section after section.
// 8. Take the header, which says where each section lies. The caller writes the page
//    table and the digest.
//
// Example: a CRL lists the serials 0501, 0500, 0503 and 0501 again, of its own issuer.
//
// 1. All four go to the table of issuer 0 and length 2.
// 2. The octet 05 and six bits of the other are the same in all. What is left, the
//    ordered keys, are the numbers 1, 0, 3 and 1 of two bits.
// 3. The two entries of 0501 become one: three are left.
// 4. It becomes a table of lines of 8 bytes: a bitmap takes 40 or more, gaps 64 or more.
// 5. There is no bitmap to set.
// 6. The header has 64 bytes, 256 for the table, the issuer and the metadata.
// 7. The body has 8 bytes of remainders, no lines, because so few entries are in one
//    bucket, and then the attributes.
// 8. The page table has the digest of one page.

#include "builder/builder.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "builder/image_writer.h"
#include "builder/table_sort.h"

// A table takes more than a kilobyte of memory, but the entry that starts it only some
// fifty bytes of a CRL that nobody has verified yet. No real CRL comes near this number.
enum { MAX_TABLES = 1 << 17 };

struct crlcheck_builder {
    bool attributes;
    bool sealed;
    planned_table *tables;
    uint32_t num_tables;
    uint32_t capacity;
    // Table number + 1 by certificate issuer and serial length; 0 without a table.
    uint32_t (*table_numbers)[CRLCHECK_MAX_SERIAL + 1];
    uint32_t num_issuers;  // rows of table_numbers
    uint64_t num_added;
    record_pool pool;
    image_writer *writer;
};

static crlcheck_status no_memory(crlcheck_error *out_error) {
    return fail_status(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
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
        table_clear(&builder->tables[i].table, &builder->pool);
        table_plan_clear(&builder->tables[i].plan);
    }
    free(builder->tables);
    free(builder->table_numbers);
    record_pool_clear(&builder->pool);
    image_writer_free(builder->writer);
    free(builder);
}

// ---- 1. add ----

static builder_table *new_table(crlcheck_builder *builder, uint32_t certificate_issuer,
                                uint8_t serial_len) {
    if (builder->num_tables == builder->capacity) {
        uint32_t capacity = builder->capacity == 0 ? 4 : builder->capacity * 2;
        planned_table *tables =
            realloc(builder->tables, capacity * sizeof *builder->tables);
        if (tables == NULL) {
            return NULL;
        }
        builder->tables = tables;
        builder->capacity = capacity;
    }
    planned_table *planned = &builder->tables[builder->num_tables];
    memset(planned, 0, sizeof *planned);
    if (!table_init(&planned->table, certificate_issuer, serial_len,
                    builder->attributes)) {
        return NULL;
    }
    builder->num_tables++;
    return &planned->table;
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

// find_table returns the table of an entry, a new one if there is none yet.
static builder_table *find_table(crlcheck_builder *builder, crlcheck_error *out_error,
                                 const crlcheck_entry *entry) {
    uint32_t certificate_issuer = entry->certificate_issuer;
    if (certificate_issuer >= builder->num_issuers &&
        !add_issuer(builder, certificate_issuer)) {
        return NULL;
    }
    uint32_t *number = &builder->table_numbers[certificate_issuer][entry->serial.len];
    if (*number > 0) {
        return &builder->tables[*number - 1].table;
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

// add_runs adds each run of entries that belong to one table.
static bool add_runs(crlcheck_builder *builder, crlcheck_error *out_error,
                     const crlcheck_entry *entries, size_t num_entries) {
    if (builder->sealed) {
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

crlcheck_status builder_add_parsed(crlcheck_builder *builder, crlcheck_error *out_error,
                                   const crlcheck_entry *entries, size_t num_entries) {
    crlcheck_error error = {.status = CRLCHECK_NO_MEMORY};
    if (add_runs(builder, &error, entries, num_entries)) {
        return CRLCHECK_OK;
    }
    if (out_error != NULL) {
        *out_error = error;
    }
    return (crlcheck_status)error.status;
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

crlcheck_status crlcheck_builder_add(crlcheck_builder *builder, crlcheck_error *out_error,
                                     const crlcheck_entry *entries, size_t num_entries) {
    if (builder->attributes && !all_storable(entries, num_entries)) {
        return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_BAD_TIME);
    }
    return builder_add_parsed(builder, out_error, entries, num_entries);
}

// ---- 2. seal ----

static int compare_tables(const void *a, const void *b) {
    const builder_table *first = &((const planned_table *)a)->table;
    const builder_table *second = &((const planned_table *)b)->table;
    if (first->certificate_issuer != second->certificate_issuer) {
        return first->certificate_issuer < second->certificate_issuer ? -1 : 1;
    }
    return (int)first->serial_len - (int)second->serial_len;
}

crlcheck_status crlcheck_builder_seal(crlcheck_builder *builder,
                                      crlcheck_error *out_error) {
    builder->sealed = true;
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        builder_table *table = &builder->tables[i].table;
        // The numbers of bits in the directory must fit in 32 bits.
        if (table->num_records > UINT32_MAX / 2) {
            return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED,
                               CRLCHECK_RULE_TOO_MANY_ENTRIES);
        }
        if (!table_seal(table, &builder->pool)) {
            return no_memory(out_error);
        }
    }
    if (builder->num_tables > 0) {
        qsort(builder->tables, builder->num_tables, sizeof *builder->tables,
              compare_tables);
    }
    return CRLCHECK_OK;
}

// ---- 3. sort ----

crlcheck_status crlcheck_builder_sort(crlcheck_builder *builder,
                                      crlcheck_error *out_error) {
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        if (!table_sort(&builder->tables[i].table)) {
            return no_memory(out_error);
        }
    }
    return CRLCHECK_OK;
}

void crlcheck_builder_stats_of(const crlcheck_builder *builder,
                               crlcheck_builder_stats *out_stats) {
    *out_stats = (crlcheck_builder_stats){.num_tables = builder->num_tables};
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        out_stats->num_entries += table_count(&builder->tables[i].table);
    }
    out_stats->num_duplicates = builder->num_added - out_stats->num_entries;
    out_stats->memory = builder->pool.memory;
}

// ---- 4. choose kinds ----

crlcheck_status crlcheck_builder_choose_kinds(crlcheck_builder *builder,
                                              crlcheck_error *out_error) {
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        planned_table *planned = &builder->tables[i];
        planned->table.num_records = table_count(&planned->table);
        table_plan_clear(&planned->plan);
        if (!choose_kind(&planned->plan, &planned->table)) {
            return no_memory(out_error);
        }
    }
    return CRLCHECK_OK;
}

// ---- 5. set bitmaps ----

crlcheck_status crlcheck_builder_next_bitmap(const crlcheck_builder *builder,
                                             uint32_t *out_table, uint64_t *out_num_keys,
                                             uint32_t first_table) {
    for (uint32_t i = first_table; i < builder->num_tables; i++) {
        const planned_table *planned = &builder->tables[i];
        if (planned->plan.kind == TABLE_KIND_BITMAP) {
            *out_table = i;
            *out_num_keys = planned->table.num_records;
            return CRLCHECK_OK;
        }
    }
    return CRLCHECK_NOT_FOUND;
}

void crlcheck_builder_bitmap_keys(const crlcheck_builder *builder, uint64_t *out_keys,
                                  uint32_t table_number) {
    const ordered_entries *entries = &builder->tables[table_number].plan.entries;
    memcpy(out_keys, entries->keys, entries->num_entries * sizeof *out_keys);
}

crlcheck_status crlcheck_builder_set_bitmap(crlcheck_builder *builder,
                                            crlcheck_error *out_error,
                                            uint32_t table_number, const uint8_t *bitmap,
                                            size_t bitmap_len) {
    crlcheck_status status = CRLCHECK_MALFORMED;
    if (table_number < builder->num_tables) {
        status = plan_set_bitmap(&builder->tables[table_number].plan, bitmap, bitmap_len);
    }
    return status == CRLCHECK_OK ? status
                                 : fail_status(out_error, status, CRLCHECK_RULE_NONE);
}

// ---- 6. start the image ----

crlcheck_status crlcheck_builder_start_image(crlcheck_builder *builder,
                                             uint32_t *out_header_size,
                                             crlcheck_error *out_error,
                                             const uint8_t *metadata, size_t metadata_len,
                                             const crlcheck_slice *issuers,
                                             uint32_t num_issuers) {
    image_contents contents = {.tables = builder->tables,
                               .num_tables = builder->num_tables,
                               .attributes = builder->attributes,
                               .metadata = metadata,
                               .metadata_len = metadata_len,
                               .issuers = issuers,
                               .num_issuers = num_issuers};
    uint64_t header_size = header_size_of(&contents);
    if (header_size > INT32_MAX) {
        return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED,
                           CRLCHECK_RULE_TOO_MANY_ISSUERS);
    }
    image_writer_free(builder->writer);
    builder->writer = image_writer_new(&contents);
    if (builder->writer == NULL) {
        return no_memory(out_error);
    }
    *out_header_size = (uint32_t)header_size;
    return CRLCHECK_OK;
}

// ---- 7. read the body ----

crlcheck_status crlcheck_builder_read_body(crlcheck_builder *builder, size_t *out_len,
                                           crlcheck_error *out_error, uint8_t *out,
                                           size_t capacity) {
    crlcheck_status status = CRLCHECK_LIMIT_EXCEEDED;
    *out_len = 0;
    if (builder->writer != NULL) {
        status = image_writer_read(builder->writer, out_len, out, capacity);
    }
    return status == CRLCHECK_OK ? status
                                 : fail_status(out_error, status, CRLCHECK_RULE_NONE);
}

// ---- 8. take the header ----

crlcheck_slice crlcheck_builder_header(const crlcheck_builder *builder) {
    return image_writer_header(builder->writer);
}

bool crlcheck_builder_has_trailer(const crlcheck_builder *builder) {
    const uint8_t *header = image_writer_header(builder->writer).data;
    return (load_le32(header + SUPERBLOCK_FLAGS) & FLAG_TRAILER) != 0;
}
