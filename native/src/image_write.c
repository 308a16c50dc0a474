// image_write.c: lays an image out and hands it over piece by piece, so that it
// is never in memory as a whole. docs/index-format.md describes what is written.

#include <stdlib.h>

#include "builder.h"

// bit_packer appends fields to a little-endian bit stream.
typedef struct bit_packer {
    uint64_t word;
    unsigned filled;  // bits of `word`
    uint8_t *out;
} bit_packer;

struct image_writer {
    uint8_t *piece;  // the header or a whole section, while it is handed over
    size_t piece_len;
    size_t piece_at;
    uint32_t table;
    unsigned section;
    // Within the remainders of a table:
    bool packing;
    size_t partition;
    uint64_t num_left;     // records of the partition yet to come
    record_cursor cursor;
    uint64_t rank;
    bit_packer packer;
    uint8_t *directory;
    uint8_t *hints;
    uint64_t bucket;       // of the entry packed last
    uint64_t bucket_size;
    uint64_t max_bucket;
};

void image_writer_free(image_writer *writer) {
    if (writer != NULL) {
        free(writer->piece);
        free(writer->directory);
        free(writer->hints);
        free(writer);
    }
}

static bool no_memory(crlcheck_error *out_error) {
    return builder_fail(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
}

static unsigned remainder_bits(const builder_table *table) {
    return table->shape.key_bits - table->bucket_bits;
}

static uint64_t octets_of_bits(uint64_t num_bits) {
    return round_up((num_bits + 7) / 8, SECTION_ALIGNMENT);
}

static uint64_t hints_size(const builder_table *table) {
    return round_up(num_hints(table->bucket_bits) * 4, 8) + 8;
}

// block_width is the bits of one date: 0 stands for none, so the differences
// are stored plus one.
static unsigned block_width(const date_block *block) {
    if (block->base == NO_DATE) {
        return 0;
    }
    uint64_t largest = (uint64_t)(block->highest - block->base) + 1;
    return 64U - (unsigned)__builtin_clzll(largest);
}

static uint64_t dates_size(const date_column *column) {
    if (!column->present) {
        return 0;
    }
    uint64_t size = column->num_blocks * DATE_BLOCK_SIZE;
    for (uint64_t i = 0; i < column->num_blocks; i++) {
        size += block_width(&column->blocks[i]) * (uint64_t)(DATES_PER_BLOCK / 8);
    }
    return size;
}

static uint64_t section_size(const builder_table *table, unsigned section) {
    uint64_t num_entries = table->num_records;
    switch (section) {
    case SECTION_REMAINDERS:
        return octets_of_bits(num_entries * remainder_bits(table));
    case SECTION_DIRECTORY:
        return octets_of_bits(directory_bits(num_entries, table->bucket_bits));
    case SECTION_HINTS:
        return hints_size(table);
    case SECTION_REASONS:
        return table->has_reasons ? octets_of_bits(num_entries * 4) : 0;
    case SECTION_REVOCATION_DATES:
        return dates_size(&table->revocation_dates);
    default:
        return dates_size(&table->invalidity_dates);
    }
}

// lay_out gives every section its place and returns where the body ends.
static uint64_t lay_out(crlcheck_builder *builder, uint64_t offset) {
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        builder_table *table = &builder->tables[i];
        for (unsigned j = 0; j < NUM_SECTIONS; j++) {
            uint64_t size = section_size(table, j);
            table->sections[j] = (section_span){size > 0 ? offset : 0, size};
            offset += size;
        }
    }
    return offset;
}

static void describe_table(uint8_t *out, const builder_table *table) {
    store_le32(out + TABLE_CERTIFICATE_ISSUER, table->certificate_issuer);
    out[TABLE_SERIAL_LEN] = table->serial_len;
    out[TABLE_KIND] = TABLE_KIND_SORTED;
    store_le16(out + TABLE_KEY_BITS, (uint16_t)table->shape.key_bits);
    store_le64(out + TABLE_NUM_ENTRIES, table->num_records);
    out[TABLE_BUCKET_BITS] = (uint8_t)table->bucket_bits;
    for (unsigned i = 0; i < NUM_SECTIONS; i++) {
        store_le64(out + TABLE_SECTIONS + 16 * i, table->sections[i].offset);
        store_le64(out + TABLE_SECTIONS + 16 * i + 8, table->sections[i].size);
    }
    memcpy(out + TABLE_CONSTANT_VALUE, table->shape.value, table->serial_len);
    memcpy(out + TABLE_CONSTANT_MASK, table->shape.mask, table->serial_len);
}

// Sizes of the parts of the header, in the order they lie in.
typedef struct header_layout {
    uint64_t issuers_offset;
    uint64_t metadata_offset;
    uint64_t size;
} header_layout;

static header_layout lay_out_header(const crlcheck_builder *builder, size_t metadata_len,
                                    const crlcheck_slice *issuers, uint32_t num_issuers) {
    header_layout layout;
    layout.issuers_offset = SUPERBLOCK_SIZE + (uint64_t)builder->num_tables * TABLE_SIZE;
    layout.metadata_offset = layout.issuers_offset;
    for (uint32_t i = 0; i < num_issuers; i++) {
        layout.metadata_offset += 4 + (uint64_t)issuers[i].len;
    }
    layout.size = round_up(layout.metadata_offset + metadata_len, HEADER_ALIGNMENT);
    return layout;
}

static void write_superblock(uint8_t *out, const crlcheck_builder *builder,
                             const header_layout *layout, uint64_t body_end,
                             size_t metadata_len, uint32_t num_issuers) {
    uint64_t num_entries = 0;
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        num_entries += builder->tables[i].num_records;
    }
    uint64_t body_size = body_end - layout->size;
    uint64_t num_pages = (body_size + CRLCHECK_PAGE_SIZE - 1) / CRLCHECK_PAGE_SIZE;
    memcpy(out + SUPERBLOCK_MAGIC, image_magic, sizeof image_magic);
    store_le16(out + SUPERBLOCK_MAJOR_VERSION, CRLCHECK_MAJOR_VERSION);
    store_le16(out + SUPERBLOCK_MINOR_VERSION, CRLCHECK_MINOR_VERSION);
    store_le32(out + SUPERBLOCK_FLAGS, builder->attributes ? FLAG_ATTRIBUTES : 0);
    store_le64(out + SUPERBLOCK_IMAGE_SIZE,
               body_end + (num_pages + 1) * CRLCHECK_DIGEST_SIZE);
    store_le64(out + SUPERBLOCK_PAGE_TABLE_OFFSET, body_end);
    store_le64(out + SUPERBLOCK_NUM_ENTRIES, num_entries);
    store_le32(out + SUPERBLOCK_HEADER_SIZE, (uint32_t)layout->size);
    store_le32(out + SUPERBLOCK_NUM_TABLES, builder->num_tables);
    store_le32(out + SUPERBLOCK_NUM_ISSUERS, num_issuers);
    store_le32(out + SUPERBLOCK_METADATA_OFFSET, (uint32_t)layout->metadata_offset);
    store_le32(out + SUPERBLOCK_METADATA_SIZE, (uint32_t)metadata_len);
    store_le32(out + SUPERBLOCK_ISSUERS_OFFSET, (uint32_t)layout->issuers_offset);
}

static void write_issuers(uint8_t *out, const crlcheck_slice *issuers,
                          uint32_t num_issuers) {
    for (uint32_t i = 0; i < num_issuers; i++) {
        store_le32(out, (uint32_t)issuers[i].len);
        memcpy(out + 4, issuers[i].data, issuers[i].len);
        out += 4 + issuers[i].len;
    }
}

crlcheck_status crlcheck_builder_start_image(
    crlcheck_builder *builder, uint64_t *out_body_size, uint32_t *out_header_size,
    crlcheck_error *out_error, const uint8_t *metadata, size_t metadata_len,
    const crlcheck_slice *issuers, uint32_t num_issuers) {
    header_layout layout = lay_out_header(builder, metadata_len, issuers, num_issuers);
    if (layout.size > INT32_MAX) {
        builder_fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_TOO_MANY_ISSUERS);
        return CRLCHECK_LIMIT_EXCEEDED;
    }
    image_writer_free(builder->writer);
    builder->writer = calloc(1, sizeof *builder->writer);
    uint8_t *header = calloc(1, (size_t)layout.size);
    if (builder->writer == NULL || header == NULL) {
        free(header);
        no_memory(out_error);
        return CRLCHECK_NO_MEMORY;
    }
    uint64_t body_end = lay_out(builder, layout.size);
    write_superblock(header, builder, &layout, body_end, metadata_len, num_issuers);
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        describe_table(header + SUPERBLOCK_SIZE + (size_t)i * TABLE_SIZE,
                       &builder->tables[i]);
    }
    write_issuers(header + layout.issuers_offset, issuers, num_issuers);
    memcpy(header + layout.metadata_offset, metadata, metadata_len);
    builder->writer->piece = header;
    builder->writer->piece_len = (size_t)layout.size;
    *out_body_size = body_end - layout.size;
    *out_header_size = (uint32_t)layout.size;
    return CRLCHECK_OK;
}

static void pack(bit_packer *packer, uint64_t value, unsigned num_bits) {
    if (num_bits == 0) {
        return;
    }
    packer->word |= value << packer->filled;
    if (packer->filled + num_bits < 64) {
        packer->filled += num_bits;
        return;
    }
    store_le64(packer->out, packer->word);
    packer->out += 8;
    unsigned taken = 64 - packer->filled;
    packer->word = taken == 64 ? 0 : value >> taken;
    packer->filled = num_bits - taken;
}

// finish_packing pads the last word with zeros.
static void finish_packing(bit_packer *packer) {
    if (packer->filled > 0) {
        store_le64(packer->out, packer->word);
        packer->out += 8;
    }
    packer->word = 0;
    packer->filled = 0;
}

static bool start_remainders(image_writer *writer, const builder_table *table) {
    writer->packing = true;
    writer->partition = 0;
    writer->cursor = record_pile_start(&table->partitions[0]);
    writer->num_left = table->partitions[0].num_records;
    writer->rank = 0;
    writer->bucket = 0;
    writer->bucket_size = 0;
    writer->max_bucket = 0;
    writer->packer = (bit_packer){0};
    writer->directory = calloc(1, (size_t)table->sections[SECTION_DIRECTORY].size);
    writer->hints = calloc(1, (size_t)table->sections[SECTION_HINTS].size);
    return writer->directory != NULL && writer->hints != NULL;
}

// next_record walks the partitions of a table in key order. Merging may have
// left unused records behind, so they are counted.
static const uint8_t *next_record(image_writer *writer, const builder_table *table) {
    while (writer->num_left == 0) {
        writer->partition++;
        if (writer->partition == (size_t)1 << table->partition_bits) {
            return NULL;
        }
        const record_pile *pile = &table->partitions[writer->partition];
        writer->cursor = record_pile_start(pile);
        writer->num_left = pile->num_records;
    }
    writer->num_left--;
    return record_next(&writer->cursor, table->record_len);
}

// fill_hints notes where the groups up to that of `bucket` start: behind one bit
// for every entry and every bucket before them.
static void fill_hints(image_writer *writer, uint64_t from_bucket, uint64_t bucket) {
    uint64_t group =
        from_bucket / BUCKETS_PER_HINT + (from_bucket % BUCKETS_PER_HINT != 0);
    for (; group * BUCKETS_PER_HINT <= bucket; group++) {
        store_le32(writer->hints + 4 * group,
                   (uint32_t)(writer->rank + group * BUCKETS_PER_HINT));
    }
}

// enter_bucket adds the entry at writer->rank to the directory.
static void enter_bucket(image_writer *writer, uint64_t bucket) {
    if (bucket != writer->bucket) {
        fill_hints(writer, writer->bucket + 1, bucket);
        writer->bucket = bucket;
        writer->bucket_size = 0;
    }
    writer->bucket_size++;
    if (writer->bucket_size > writer->max_bucket) {
        writer->max_bucket = writer->bucket_size;
    }
    uint64_t bit = writer->rank + bucket;
    writer->directory[bit / 8] |= (uint8_t)(1U << (bit % 8));
}

static void pack_entry(image_writer *writer, const builder_table *table,
                       const uint8_t *record) {
    const key_shape *shape = &table->shape;
    table_key key = {0};
    key_from_serial(&key, shape, record);
    unsigned left = shape->low_bits - table->bucket_bits;
    enter_bucket(writer, left == 64 ? 0 : key.low >> left);
    pack(&writer->packer, key.low & low_bits(left), left);
    for (unsigned i = 0; i < shape->num_high; i++) {
        unsigned above = shape->key_bits - 64 * (i + 1);
        pack(&writer->packer, key.high[i], above < 64 ? above : 64);
    }
    writer->rank++;
}

static void finish_remainders(image_writer *writer, const builder_table *table) {
    finish_packing(&writer->packer);
    uint64_t num_buckets = UINT64_C(1) << table->bucket_bits;
    fill_hints(writer, writer->bucket + 1, num_buckets - 1);
    store_le64(writer->hints + table->sections[SECTION_HINTS].size - 8,
               writer->max_bucket);
    writer->packing = false;
}

// The room that one entry may need, with the word it shares with the last one.
enum { LARGEST_ENTRY = CRLCHECK_MAX_SERIAL + 16 };

// read_remainders packs as many entries as fit `capacity`.
static size_t read_remainders(image_writer *writer, const builder_table *table,
                              uint8_t *out, size_t capacity) {
    writer->packer.out = out;
    while (capacity - (size_t)(writer->packer.out - out) >= LARGEST_ENTRY) {
        const uint8_t *record = next_record(writer, table);
        if (record == NULL) {
            finish_remainders(writer, table);
            break;
        }
        pack_entry(writer, table, record);
    }
    return (size_t)(writer->packer.out - out);
}

// entry_visitor is called for each record of a table in rank order.
typedef void entry_visitor(void *context, uint64_t rank, const record_attributes *entry);

static void visit_entries(const builder_table *table, entry_visitor *visit,
                          void *context) {
    uint64_t rank = 0;
    for (size_t i = 0; i < (size_t)1 << table->partition_bits; i++) {
        record_cursor cursor = record_pile_start(&table->partitions[i]);
        for (uint64_t j = 0; j < table->partitions[i].num_records; j++) {
            record_attributes attributes;
            record_load_attributes(&attributes, record_next(&cursor, table->record_len),
                                   table);
            visit(context, rank++, &attributes);
        }
    }
}

static void put_reason(void *context, uint64_t rank, const record_attributes *entry) {
    uint8_t *out = context;
    out[rank / 2] |= (uint8_t)(entry->reason_code << (rank % 2 * 4));
}

typedef struct date_output {
    const date_column *column;
    bool invalidity;
    bit_packer packer;
} date_output;

static void put_date(void *context, uint64_t rank, const record_attributes *entry) {
    date_output *output = context;
    const date_block *block = &output->column->blocks[rank / DATES_PER_BLOCK];
    int64_t date = output->invalidity ? entry->invalidity_date : entry->revocation_date;
    uint64_t value = date == NO_DATE ? 0 : (uint64_t)(date - block->base) + 1;
    pack(&output->packer, value, block_width(block));  // a full block ends on a word
}

static void write_dates(uint8_t *out, const builder_table *table, bool invalidity) {
    const date_column *column =
        invalidity ? &table->invalidity_dates : &table->revocation_dates;
    uint32_t preceding = 0;  // widths of the blocks before: 16 octets each
    for (uint64_t i = 0; i < column->num_blocks; i++) {
        const date_block *block = &column->blocks[i];
        uint8_t *descriptor = out + i * DATE_BLOCK_SIZE;
        store_le64(descriptor, block->base == NO_DATE ? 0 : (uint64_t)block->base);
        store_le32(descriptor + 8, preceding);
        descriptor[12] = (uint8_t)block_width(block);
        preceding += block_width(block);
    }
    date_output output = {.column = column, .invalidity = invalidity};
    output.packer.out = out + column->num_blocks * DATE_BLOCK_SIZE;
    visit_entries(table, put_date, &output);
    finish_packing(&output.packer);
}

// make_section puts a whole section other than the remainders into the piece.
static bool make_section(image_writer *writer, const builder_table *table) {
    unsigned section = writer->section;
    size_t size = (size_t)table->sections[section].size;
    free(writer->piece);
    writer->piece = NULL;
    writer->piece_at = 0;
    writer->piece_len = size;
    if (section == SECTION_DIRECTORY || section == SECTION_HINTS) {
        uint8_t **made = section == SECTION_HINTS ? &writer->hints : &writer->directory;
        writer->piece = *made;
        *made = NULL;
        return true;
    }
    if (size == 0) {
        return true;
    }
    writer->piece = calloc(1, size);
    if (writer->piece == NULL) {
        return false;
    }
    if (section == SECTION_REASONS) {
        visit_entries(table, put_reason, writer->piece);
    } else {
        write_dates(writer->piece, table, section == SECTION_INVALIDITY_DATES);
    }
    return true;
}

static size_t read_piece(image_writer *writer, uint8_t *out, size_t capacity) {
    size_t left = writer->piece_len - writer->piece_at;
    size_t len = left < capacity ? left : capacity;
    if (len > 0) {
        memcpy(out, writer->piece + writer->piece_at, len);
        writer->piece_at += len;
    }
    return len;
}

// read_some hands over one run of octets, 0 at the end of the image.
static bool read_some(crlcheck_builder *builder, size_t *out_len, uint8_t *out,
                      size_t capacity) {
    image_writer *writer = builder->writer;
    for (;;) {
        if (writer->piece_at < writer->piece_len) {
            *out_len = read_piece(writer, out, capacity);
            return true;
        }
        if (writer->table == builder->num_tables) {
            *out_len = 0;
            return true;
        }
        builder_table *table = &builder->tables[writer->table];
        if (writer->section == SECTION_REMAINDERS) {
            if (writer->directory == NULL && !start_remainders(writer, table)) {
                return false;
            }
            *out_len = read_remainders(writer, table, out, capacity);
            writer->section += writer->packing ? 0 : 1;
            if (*out_len > 0) {
                return true;
            }
        } else if (writer->section < NUM_SECTIONS) {
            if (!make_section(writer, table)) {
                return false;
            }
            writer->section++;
        } else {
            writer->table++;
            writer->section = SECTION_REMAINDERS;
        }
    }
}

crlcheck_status crlcheck_builder_read_image(crlcheck_builder *builder, size_t *out_len,
                                            crlcheck_error *out_error, uint8_t *out,
                                            size_t capacity) {
    if (capacity < LARGEST_ENTRY || builder->writer == NULL) {
        builder_fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_NONE);
        return CRLCHECK_LIMIT_EXCEEDED;
    }
    if (!read_some(builder, out_len, out, capacity)) {
        no_memory(out_error);
        return CRLCHECK_NO_MEMORY;
    }
    return CRLCHECK_OK;
}
