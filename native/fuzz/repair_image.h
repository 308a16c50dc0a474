// repair_image.h: makes the sizes and counts in a mutated image agree again, so
// that opening accepts it and what lies deeper is reached. Octets of the body stay
// as they are, and now and then a repair is left out.

#ifndef CRLCHECK_FUZZ_REPAIR_IMAGE_H
#define CRLCHECK_FUZZ_REPAIR_IMAGE_H

#include <string.h>

#include "image/format.h"
#include "image/key.h"
#include "harness.h"

static inline bool leave_out(choices *choice) {
    return choose(choice, 64) == 0;
}

// repair_gaps makes the sections of a table of gaps agree with each other.
static inline void repair_gaps(uint8_t *descriptor, choices *choice) {
    uint8_t *sizes = descriptor + TABLE_SECTIONS + 8;
    uint64_t num_rows = 1 + load_le64(sizes) / ROW_SIZE % 8;
    store_le64(sizes, num_rows * ROW_SIZE);
    if (load_le64(sizes + 16 * SECTION_GAPS) == 0) {
        store_le64(sizes + 16 * SECTION_GAPS, 8);
    }
    store_le64(sizes + 16 * SECTION_RANKS,
               choose(choice, 2) * num_rows * BLOCKS_PER_ROW * 2);
    descriptor[TABLE_BLOCK_BITS] %= MAX_BLOCK_BITS + 1;
    descriptor[TABLE_GAP_BITS] %= MAX_GAP_BITS + 1;
}

// size_of_lines is what section 1 of a table of lines takes.
static inline uint64_t size_of_lines(unsigned bucket_bits) {
    return bucket_bits == 0 ? 0 : num_lines(bucket_bits) * LINE_SIZE;
}

// repair_sections gives the sections the sizes that follow from the table's shape,
// as long as the body is, and moves them into the body.
static inline void repair_sections(uint8_t *descriptor, const key_shape *shape,
                                   uint64_t num_entries, unsigned bucket_bits,
                                   uint64_t body, uint64_t body_end, choices *choice) {
    uint64_t date_blocks = num_date_blocks(num_entries) * DATE_BLOCK_SIZE;
    bool lines = descriptor[TABLE_KIND] == TABLE_KIND_LINES;
    bool buckets = descriptor[TABLE_KIND] == TABLE_KIND_BUCKET;
    uint64_t spill_size = bucket_bits == 0 ? 0 : choose(choice, 3) * SPILL_RECORD_SIZE;
    const uint64_t sizes[NUM_SECTIONS] = {
        bytes_of_bits(num_entries * (shape->key_bits - bucket_bits)),
        lines ? size_of_lines(bucket_bits) : hints_size(bucket_bits),
        lines ? spill_size : bytes_of_bits(directory_bits(num_entries, bucket_bits)),
        choose(choice, 2) * round_up((num_entries * 4 + 7) / 8, 8),
        choose(choice, 2) * (date_blocks + choose(choice, 64) * 16),
        choose(choice, 2) * (date_blocks + choose(choice, 64) * 16)};
    for (unsigned i = 0; i < NUM_SECTIONS; i++) {
        uint8_t *span = descriptor + TABLE_SECTIONS + 16 * i;
        uint64_t offset = load_le64(span);
        uint64_t old_size = load_le64(span + 8);
        bool of_kind = (buckets || lines) && i < NUM_KIND_SECTIONS;
        bool keep_size = !of_kind && old_size < body_end - body;
        uint64_t size = keep_size ? old_size : sizes[i];
        if (size <= body_end - body && !leave_out(choice)) {
            bool fits = offset >= body && offset <= body_end - size;
            store_le64(span,
                       fits ? offset : body + offset % (body_end - body - size + 1));
            store_le64(span + 8, size);
        }
    }
}

static inline uint64_t repair_table(uint8_t *descriptor, uint32_t num_issuers,
                                    uint64_t body, uint64_t body_end, choices *choice) {
    key_shape shape = {0};
    shape.serial_len = descriptor[TABLE_SERIAL_LEN];
    if (shape.serial_len == 0 || shape.serial_len > CRLCHECK_MAX_SERIAL) {
        shape.serial_len = 1 + shape.serial_len % CRLCHECK_MAX_SERIAL;
    }
    memcpy(shape.value, descriptor + TABLE_CONSTANT_VALUE, sizeof shape.value);
    memcpy(shape.mask, descriptor + TABLE_CONSTANT_MASK, sizeof shape.mask);
    if (!key_shape_init(&shape)) {
        memset(shape.value, 0, sizeof shape.value);
        memset(shape.mask, 0, choose(choice, sizeof shape.mask));
        memset(shape.mask, 0xff, choose(choice, sizeof shape.mask));
        key_shape_init(&shape);
        memcpy(descriptor + TABLE_CONSTANT_VALUE, shape.value, sizeof shape.value);
        memcpy(descriptor + TABLE_CONSTANT_MASK, shape.mask, sizeof shape.mask);
    }
    unsigned bucket_bits = descriptor[TABLE_BUCKET_BITS];
    if (bucket_bits > shape.low_bits || bucket_bits > 8) {
        bucket_bits = bucket_bits % (1 + (shape.low_bits < 8 ? shape.low_bits : 8));
    }
    uint64_t num_entries = load_le64(descriptor + TABLE_NUM_ENTRIES);
    uint64_t most = (body_end - body) * 8 / (shape.key_bits - bucket_bits + 1);
    if (num_entries == 0 || num_entries > most) {
        num_entries = 1 + num_entries % (most + 1);
    }
    if (num_issuers > 0 && load_le32(descriptor) >= num_issuers) {
        store_le32(descriptor, load_le32(descriptor) % num_issuers);
    }
    descriptor[TABLE_SERIAL_LEN] = (uint8_t)shape.serial_len;
    descriptor[TABLE_KIND] %= TABLE_KIND_LINES + 1;
    bool ordered = descriptor[TABLE_KIND] == TABLE_KIND_BITMAP ||
                   descriptor[TABLE_KIND] == TABLE_KIND_GAPS;
    if (ordered && shape.num_high > 0) {
        descriptor[TABLE_KIND] = TABLE_KIND_LINES;
        ordered = false;
    }
    if (ordered) {
        bucket_bits = 0;
    }
    if (descriptor[TABLE_KIND] == TABLE_KIND_LINES && bucket_bits == 0) {
        num_entries = 1 + num_entries % LARGEST_COUNT;
    }
    if (descriptor[TABLE_KIND] == TABLE_KIND_GAPS && !leave_out(choice)) {
        repair_gaps(descriptor, choice);
    }
    store_le16(descriptor + TABLE_KEY_BITS, (uint16_t)shape.key_bits);
    descriptor[TABLE_BUCKET_BITS] = (uint8_t)bucket_bits;
    store_le64(descriptor + TABLE_NUM_ENTRIES, num_entries);
    repair_sections(descriptor, &shape, num_entries, bucket_bits, body, body_end, choice);
    return num_entries;
}

static inline void repair_image(uint8_t *data, size_t size, choices *choice) {
    enum { BEHIND_BODY = 2 * CRLCHECK_DIGEST_SIZE };  // of one page
    if (size < SUPERBLOCK_SIZE + BEHIND_BODY + 8) {
        return;
    }
    uint64_t body_end = size - BEHIND_BODY;
    uint64_t header_size = load_le32(data + SUPERBLOCK_HEADER_SIZE);
    if (header_size < SUPERBLOCK_SIZE || header_size % HEADER_ALIGNMENT != 0 ||
        header_size >= body_end || body_end - header_size > CRLCHECK_PAGE_SIZE) {
        return;
    }
    memcpy(data, image_magic, sizeof image_magic);
    store_le16(data + SUPERBLOCK_MAJOR_VERSION, CRLCHECK_MAJOR_VERSION);
    store_le32(data + SUPERBLOCK_FLAGS, FLAG_ATTRIBUTES);
    store_le64(data + SUPERBLOCK_IMAGE_SIZE, size);
    store_le64(data + SUPERBLOCK_PAGE_TABLE_OFFSET, body_end);
    uint32_t most_tables = (uint32_t)((header_size - SUPERBLOCK_SIZE) / TABLE_SIZE);
    uint32_t num_tables = load_le32(data + SUPERBLOCK_NUM_TABLES);
    if (num_tables > most_tables) {
        num_tables = most_tables;
        store_le32(data + SUPERBLOCK_NUM_TABLES, num_tables);
    }
    uint64_t num_entries = 0;
    for (uint32_t i = 0; i < num_tables; i++) {
        num_entries += repair_table(data + SUPERBLOCK_SIZE + (size_t)i * TABLE_SIZE,
                                    load_le32(data + SUPERBLOCK_NUM_ISSUERS), header_size,
                                    body_end, choice);
    }
    if (!leave_out(choice)) {
        store_le64(data + SUPERBLOCK_NUM_ENTRIES, num_entries);
    }
}

#endif
