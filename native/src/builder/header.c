// header.c: gives each part of the header its place and writes it.

#include "builder/header.h"

#include <string.h>

#include "base/bytes.h"
#include "builder/lines_writer.h"

static void describe_table(uint8_t *out, const planned_table *planned) {
    const builder_table *table = &planned->table;
    unsigned kind = plan_kind(&planned->plan);
    store_le32(out + TABLE_CERTIFICATE_ISSUER, table->certificate_issuer);
    out[TABLE_SERIAL_LEN] = table->serial_len;
    out[TABLE_KIND] = (uint8_t)kind;
    store_le16(out + TABLE_KEY_BITS, (uint16_t)table->shape.key_bits);
    store_le64(out + TABLE_NUM_ENTRIES, table->num_records);
    if (kind == TABLE_KIND_LINES) {
        out[TABLE_BUCKET_BITS] = (uint8_t)bucket_bits_of(table);
        store_le32(out + TABLE_LARGEST_BUCKET, (uint32_t)planned->largest_bucket);
    } else if (kind == TABLE_KIND_GAPS) {
        const gaps_shape *gaps = &planned->plan.gaps.shape;
        out[TABLE_BLOCK_BITS] = (uint8_t)gaps->block_bits;
        out[TABLE_GAP_BITS] = (uint8_t)gaps->gap_bits;
        store_le32(out + TABLE_LEAST_GAP, gaps->least_gap);
        store_le64(out + TABLE_FIRST_KEY, gaps->first_key);
    }
    for (unsigned i = 0; i < NUM_SECTIONS; i++) {
        store_le64(out + TABLE_SECTIONS + 16 * i, planned->sections[i].offset);
        store_le64(out + TABLE_SECTIONS + 16 * i + 8, planned->sections[i].size);
    }
    memcpy(out + TABLE_CONSTANT_VALUE, table->shape.value, table->serial_len);
    memcpy(out + TABLE_CONSTANT_MASK, table->shape.mask, table->serial_len);
}

// header_layout is where the parts of the header lie, one behind the other.
typedef struct header_layout {
    uint64_t issuers_offset;
    uint64_t metadata_offset;
    uint64_t size;
} header_layout;

static header_layout lay_out_header(const image_contents *contents) {
    header_layout layout;
    layout.issuers_offset = SUPERBLOCK_SIZE + (uint64_t)contents->num_tables * TABLE_SIZE;
    layout.metadata_offset = layout.issuers_offset;
    for (uint32_t i = 0; i < contents->num_issuers; i++) {
        layout.metadata_offset += 4 + (uint64_t)contents->issuers[i].len;
    }
    layout.size =
        round_up(layout.metadata_offset + contents->metadata_len, HEADER_ALIGNMENT);
    return layout;
}

uint64_t header_size_of(const image_contents *contents) {
    return lay_out_header(contents).size;
}

static void write_superblock(uint8_t *out, const image_contents *contents,
                             const header_layout *layout) {
    uint64_t num_entries = 0;
    for (uint32_t i = 0; i < contents->num_tables; i++) {
        num_entries += contents->tables[i].table.num_records;
    }
    memcpy(out + SUPERBLOCK_MAGIC, image_magic, sizeof image_magic);
    store_le16(out + SUPERBLOCK_MAJOR_VERSION, CRLCHECK_MAJOR_VERSION);
    store_le16(out + SUPERBLOCK_MINOR_VERSION, CRLCHECK_MINOR_VERSION);
    store_le32(out + SUPERBLOCK_FLAGS, contents->attributes ? FLAG_ATTRIBUTES : 0);
    store_le64(out + SUPERBLOCK_NUM_ENTRIES, num_entries);
    store_le32(out + SUPERBLOCK_HEADER_SIZE, (uint32_t)layout->size);
    store_le32(out + SUPERBLOCK_NUM_TABLES, contents->num_tables);
    store_le32(out + SUPERBLOCK_NUM_ISSUERS, contents->num_issuers);
    store_le32(out + SUPERBLOCK_METADATA_OFFSET, (uint32_t)layout->metadata_offset);
    store_le32(out + SUPERBLOCK_METADATA_SIZE, (uint32_t)contents->metadata_len);
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

void header_start(uint8_t *out_header, const image_contents *contents) {
    header_layout layout = lay_out_header(contents);
    write_superblock(out_header, contents, &layout);
    write_issuers(out_header + layout.issuers_offset, contents->issuers,
                  contents->num_issuers);
    memcpy(out_header + layout.metadata_offset, contents->metadata,
           contents->metadata_len);
}

void header_seal(uint8_t *header, const planned_table *tables, uint32_t num_tables,
                 uint64_t body_end) {
    uint64_t header_size = load_le32(header + SUPERBLOCK_HEADER_SIZE);
    uint64_t num_pages =
        (body_end - header_size + CRLCHECK_PAGE_SIZE - 1) / CRLCHECK_PAGE_SIZE;
    uint32_t flags = load_le32(header + SUPERBLOCK_FLAGS) & FLAG_ATTRIBUTES;
    bool has_trailer = num_pages >= TRAILER_FROM_PAGES;
    store_le32(header + SUPERBLOCK_FLAGS, flags | (has_trailer ? FLAG_TRAILER : 0));
    store_le64(header + SUPERBLOCK_IMAGE_SIZE,
               body_end + size_behind_body(num_pages, header_size, has_trailer));
    store_le64(header + SUPERBLOCK_PAGE_TABLE_OFFSET, body_end);
    for (uint32_t i = 0; i < num_tables; i++) {
        describe_table(header + SUPERBLOCK_SIZE + (size_t)i * TABLE_SIZE, &tables[i]);
    }
}
