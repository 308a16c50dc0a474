// header.c: gives every part of an image its place and writes the header.

#include <stdlib.h>
#include <string.h>

#include "builder/table.h"
#include "builder/image_writer.h"

static void describe_table(uint8_t *out, const builder_table *table) {
    store_le32(out + TABLE_CERTIFICATE_ISSUER, table->certificate_issuer);
    out[TABLE_SERIAL_LEN] = table->serial_len;
    out[TABLE_KIND] = is_dense(table) ? (uint8_t)table->dense.kind : TABLE_KIND_SORTED;
    store_le16(out + TABLE_KEY_BITS, (uint16_t)table->shape.key_bits);
    store_le64(out + TABLE_NUM_ENTRIES, table->num_records);
    out[TABLE_BUCKET_BITS] = is_dense(table) ? 0 : (uint8_t)table->bucket_bits;
    if (out[TABLE_KIND] == TABLE_KIND_GAPS) {
        const gaps_shape *gaps = &table->dense.gaps;
        out[TABLE_BLOCK_BITS] = (uint8_t)gaps->block_bits;
        out[TABLE_GAP_BITS] = (uint8_t)gaps->gap_bits;
        store_le32(out + TABLE_LEAST_GAP, gaps->least_gap);
        store_le64(out + TABLE_FIRST_KEY, gaps->first_key);
    }
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

// write_superblock writes what is known before the body.
static void write_superblock(uint8_t *out, const crlcheck_builder *builder,
                             const header_layout *layout, size_t metadata_len,
                             uint32_t num_issuers) {
    uint64_t num_entries = 0;
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        num_entries += builder->tables[i].num_records;
    }
    memcpy(out + SUPERBLOCK_MAGIC, image_magic, sizeof image_magic);
    store_le16(out + SUPERBLOCK_MAJOR_VERSION, CRLCHECK_MAJOR_VERSION);
    store_le16(out + SUPERBLOCK_MINOR_VERSION, CRLCHECK_MINOR_VERSION);
    store_le32(out + SUPERBLOCK_FLAGS, builder->attributes ? FLAG_ATTRIBUTES : 0);
    store_le64(out + SUPERBLOCK_NUM_ENTRIES, num_entries);
    store_le32(out + SUPERBLOCK_HEADER_SIZE, (uint32_t)layout->size);
    store_le32(out + SUPERBLOCK_NUM_TABLES, builder->num_tables);
    store_le32(out + SUPERBLOCK_NUM_ISSUERS, num_issuers);
    store_le32(out + SUPERBLOCK_METADATA_OFFSET, (uint32_t)layout->metadata_offset);
    store_le32(out + SUPERBLOCK_METADATA_SIZE, (uint32_t)metadata_len);
    store_le32(out + SUPERBLOCK_ISSUERS_OFFSET, (uint32_t)layout->issuers_offset);
}

void header_complete(crlcheck_builder *builder) {
    image_writer *writer = builder->writer;
    uint8_t *header = writer->header;
    uint64_t body_size = writer->offset - writer->header_size;
    uint64_t num_pages = (body_size + CRLCHECK_PAGE_SIZE - 1) / CRLCHECK_PAGE_SIZE;
    store_le64(header + SUPERBLOCK_IMAGE_SIZE,
               writer->offset + (num_pages + 1) * CRLCHECK_DIGEST_SIZE);
    store_le64(header + SUPERBLOCK_PAGE_TABLE_OFFSET, writer->offset);
    for (uint32_t i = 0; i < builder->num_tables; i++) {
        describe_table(header + SUPERBLOCK_SIZE + (size_t)i * TABLE_SIZE,
                       &builder->tables[i]);
    }
}

static void write_issuers(uint8_t *out, const crlcheck_slice *issuers,
                          uint32_t num_issuers) {
    for (uint32_t i = 0; i < num_issuers; i++) {
        store_le32(out, (uint32_t)issuers[i].len);
        memcpy(out + 4, issuers[i].data, issuers[i].len);
        out += 4 + issuers[i].len;
    }
}

crlcheck_status crlcheck_builder_start_image(crlcheck_builder *builder,
                                             uint32_t *out_header_size,
                                             crlcheck_error *out_error,
                                             const uint8_t *metadata, size_t metadata_len,
                                             const crlcheck_slice *issuers,
                                             uint32_t num_issuers) {
    header_layout layout = lay_out_header(builder, metadata_len, issuers, num_issuers);
    if (layout.size > INT32_MAX) {
        return fail_status(out_error, CRLCHECK_LIMIT_EXCEEDED,
                           CRLCHECK_RULE_TOO_MANY_ISSUERS);
    }
    image_writer_free(builder->writer);
    builder->writer = calloc(1, sizeof *builder->writer);
    uint8_t *header = calloc(1, (size_t)layout.size);
    if (builder->writer == NULL || header == NULL) {
        free(header);
        return fail_status(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE);
    }
    write_superblock(header, builder, &layout, metadata_len, num_issuers);
    write_issuers(header + layout.issuers_offset, issuers, num_issuers);
    memcpy(header + layout.metadata_offset, metadata, metadata_len);
    builder->writer->header = header;
    builder->writer->header_size = (size_t)layout.size;
    builder->writer->offset = layout.size;
    header_complete(builder);  // for an image without tables, whose body is empty
    *out_header_size = (uint32_t)layout.size;
    return CRLCHECK_OK;
}

crlcheck_slice crlcheck_builder_header(const crlcheck_builder *builder) {
    return (crlcheck_slice){builder->writer->header, builder->writer->header_size};
}
