// image.c: checks an image before anything is looked up in it.

#include "reader/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool corrupt(crlcheck_error *out_error, crlcheck_rule rule, uint64_t offset) {
    return fail(out_error, CRLCHECK_CORRUPT_IMAGE, rule, offset);
}

// check_version is given the first `len` bytes of the image.
static bool check_version(crlcheck_image_info *info, crlcheck_error *out_error,
                          const uint8_t *data, size_t len) {
    if (len < SUPERBLOCK_SIZE) {
        return corrupt(out_error, CRLCHECK_RULE_TRUNCATED, len);
    }
    if (memcmp(data + SUPERBLOCK_MAGIC, image_magic, sizeof image_magic) != 0) {
        return corrupt(out_error, CRLCHECK_RULE_BAD_MAGIC, SUPERBLOCK_MAGIC);
    }
    info->major_version = load_le16(data + SUPERBLOCK_MAJOR_VERSION);
    info->minor_version = load_le16(data + SUPERBLOCK_MINOR_VERSION);
    if (info->major_version != CRLCHECK_MAJOR_VERSION) {
        return fail_with_detail(out_error, CRLCHECK_UNSUPPORTED_VERSION,
                                CRLCHECK_RULE_NONE, SUPERBLOCK_MAJOR_VERSION,
                                (crlcheck_slice){data + SUPERBLOCK_MAJOR_VERSION, 2});
    }
    uint32_t flags = load_le32(data + SUPERBLOCK_FLAGS);
    if ((flags & ~(uint32_t)(FLAG_ATTRIBUTES | FLAG_TRAILER)) != 0) {
        return corrupt(out_error, CRLCHECK_RULE_BAD_HEADER, SUPERBLOCK_FLAGS);
    }
    info->has_attributes = (flags & FLAG_ATTRIBUTES) != 0;
    info->has_trailer = (flags & FLAG_TRAILER) != 0;
    return true;
}

// check_sizes checks the superblock's sizes against each other and the image, which has
// `image_size` bytes. `data` has the first `len`.
static bool check_sizes(crlcheck_image_info *info, crlcheck_error *out_error,
                        const uint8_t *data, size_t len, uint64_t image_size) {
    info->image_size = load_le64(data + SUPERBLOCK_IMAGE_SIZE);
    info->page_table_offset = load_le64(data + SUPERBLOCK_PAGE_TABLE_OFFSET);
    info->num_entries = load_le64(data + SUPERBLOCK_NUM_ENTRIES);
    info->header_size = load_le32(data + SUPERBLOCK_HEADER_SIZE);
    info->num_tables = load_le32(data + SUPERBLOCK_NUM_TABLES);
    info->num_issuers = load_le32(data + SUPERBLOCK_NUM_ISSUERS);
    if (info->image_size != image_size || image_size > LARGEST_IMAGE) {
        return corrupt(out_error, CRLCHECK_RULE_TRUNCATED, SUPERBLOCK_IMAGE_SIZE);
    }
    uint64_t body_end = info->page_table_offset;
    if (info->header_size < SUPERBLOCK_SIZE ||
        info->header_size % HEADER_ALIGNMENT != 0 || info->header_size > body_end ||
        body_end > image_size || info->header_size > len ||
        info->num_tables > (info->header_size - SUPERBLOCK_SIZE) / TABLE_SIZE) {
        return corrupt(out_error, CRLCHECK_RULE_BAD_HEADER, SUPERBLOCK_HEADER_SIZE);
    }
    uint64_t num_pages =
        (body_end - info->header_size + CRLCHECK_PAGE_SIZE - 1) / CRLCHECK_PAGE_SIZE;
    info->num_pages = (uint32_t)num_pages;
    info->num_blocks = info->has_trailer ? (uint32_t)num_digest_blocks(num_pages) : 0;
    if (num_pages > UINT32_MAX ||
        image_size - body_end !=
            size_behind_body(num_pages, info->header_size, info->has_trailer)) {
        return corrupt(out_error, CRLCHECK_RULE_BAD_HEADER, SUPERBLOCK_PAGE_TABLE_OFFSET);
    }
    uint64_t metadata = load_le32(data + SUPERBLOCK_METADATA_OFFSET);
    uint64_t metadata_size = load_le32(data + SUPERBLOCK_METADATA_SIZE);
    if (metadata > info->header_size || metadata_size > info->header_size - metadata) {
        return corrupt(out_error, CRLCHECK_RULE_BAD_HEADER, SUPERBLOCK_METADATA_OFFSET);
    }
    info->metadata = (crlcheck_slice){data + metadata, (size_t)metadata_size};
    return true;
}

// index_issuers finds the names of the certificate issuers, which lie end to end.
static bool index_issuers(crlcheck_image *image, crlcheck_error *out_error) {
    uint64_t offset = load_le32(image->data + SUPERBLOCK_ISSUERS_OFFSET);
    uint64_t end = image->info.header_size;
    if (image->info.num_issuers == 0 || image->info.num_issuers > end / 4) {
        return corrupt(out_error, CRLCHECK_RULE_BAD_HEADER, SUPERBLOCK_NUM_ISSUERS);
    }
    image->issuers = calloc(image->info.num_issuers, sizeof *image->issuers);
    if (image->issuers == NULL) {
        return fail_no_memory(out_error, 0);
    }
    for (uint32_t i = 0; i < image->info.num_issuers; i++) {
        if (offset > end || end - offset < 4 ||
            load_le32(image->data + offset) > end - offset - 4) {
            return corrupt(out_error, CRLCHECK_RULE_BAD_HEADER,
                           SUPERBLOCK_ISSUERS_OFFSET);
        }
        image->issuers[i] = image->data + offset;
        offset += 4 + (uint64_t)load_le32(image->data + offset);
    }
    return true;
}

// find_section returns where a section lies, or NULL if it is absent. The section must
// have `required_size`, unless that is UINT64_MAX.
static bool find_section(const uint8_t **out_section, uint64_t *out_size,
                         const crlcheck_image *image, const uint8_t *descriptor,
                         unsigned number, uint64_t required_size) {
    uint64_t offset = load_le64(descriptor + TABLE_SECTIONS + 16 * number);
    uint64_t size = load_le64(descriptor + TABLE_SECTIONS + 16 * number + 8);
    *out_size = size;
    *out_section = NULL;
    if (size == 0) {
        return required_size == 0 || required_size == UINT64_MAX;
    }
    uint64_t end = image->info.page_table_offset;
    if ((required_size != UINT64_MAX && size != required_size) ||
        offset < image->info.header_size || offset > end || size > end - offset) {
        return false;
    }
    *out_section = image->data + offset;
    return true;
}

static bool find_dates(image_dates *out_dates, image_table *table,
                       const crlcheck_image *image, const uint8_t *descriptor,
                       unsigned number) {
    uint64_t size;
    uint64_t blocks_size = num_date_blocks(table->num_entries) * DATE_BLOCK_SIZE;
    if (!find_section(&out_dates->blocks, &size, image, descriptor, number, UINT64_MAX) ||
        (size > 0 && size < blocks_size)) {
        return false;
    }
    table->size += size;
    if (size > 0) {
        out_dates->payload = out_dates->blocks + blocks_size;
        out_dates->payload_size = size - blocks_size;
    }
    return true;
}

// open_remainders finds the section that bucket tables and lines have in common.
static bool open_remainders(image_table *table, const crlcheck_image *image,
                            const uint8_t *descriptor) {
    uint64_t size;
    remainders_view *view = &table->remainders;
    *view = remainders_view_of(&table->shape, table->num_entries, table->bucket_bits);
    if (!find_section(&view->data, &size, image, descriptor, SECTION_REMAINDERS,
                      bytes_of_bits(table->num_entries * view->num_bits))) {
        return false;
    }
    if (view->data == NULL) {
        view->data = image->data;  // the fields have no bits: any place will do
    }
    table->size = size;
    return true;
}

// open_buckets finds the sections of a bucket table, whose sizes are known beforehand.
static bool open_buckets(image_table *table, const crlcheck_image *image,
                         const uint8_t *descriptor) {
    uint64_t size[2];
    table->directory_bits = directory_bits(table->num_entries, table->bucket_bits);
    if (!open_remainders(table, image, descriptor) ||
        !find_section(&table->directory, &size[0], image, descriptor, SECTION_DIRECTORY,
                      bytes_of_bits(table->directory_bits)) ||
        !find_section(&table->coarse_hints, &size[1], image, descriptor, SECTION_HINTS,
                      hints_size(table->bucket_bits))) {
        return false;
    }
    table->bits_per_bucket = table->directory_bits << 16 >> table->bucket_bits;
    table->fine_hints = table->coarse_hints + 4 * num_coarse_hints(table->bucket_bits);
    if (image->is_whole) {
        table->max_bucket = load_le64(table->coarse_hints + size[1] - 8);
    }
    table->size += size[0] + size[1];
    return true;
}

// open_lines finds the sections of a table of lines. One with a single bucket has none: a
// line is made up for it, so that lookups need not tell the two apart.
static bool open_lines(image_table *table, const crlcheck_image *image,
                       const uint8_t *descriptor) {
    lines_view *view = &table->lines;
    bool any = table->bucket_bits > 0;
    uint64_t lines_size = any ? num_lines(table->bucket_bits) * LINE_SIZE : 0;
    uint64_t spill_size;
    if (!open_remainders(table, image, descriptor) ||
        !find_section(&view->lines, &lines_size, image, descriptor, SECTION_LINES,
                      lines_size) ||
        !find_section(&view->spill, &spill_size, image, descriptor, SECTION_SPILL,
                      any ? UINT64_MAX : 0) ||
        spill_size % SPILL_RECORD_SIZE != 0) {
        return false;
    }
    if (!any) {
        table->only_line[LINE_COUNTS] = (uint8_t)table->num_entries;
        view->lines = table->only_line;
    }
    view->bytes_per_bucket =
        (table->num_entries * table->remainders.num_bits / 8 << 16) >> table->bucket_bits;
    view->num_spilled = spill_size / SPILL_RECORD_SIZE;
    table->max_bucket = load_le32(descriptor + TABLE_LARGEST_BUCKET);
    table->size += lines_size + spill_size;
    return any || table->num_entries <= LARGEST_COUNT;
}

static bool open_bitmap(image_table *table, const crlcheck_image *image,
                        const uint8_t *descriptor) {
    bitmap_view *bitmap = &table->bitmap;
    if (table->shape.num_high > 0 || table->bucket_bits > 0 ||
        !find_section(&bitmap->data, &bitmap->size, image, descriptor, SECTION_BITMAP,
                      UINT64_MAX) ||
        !find_section(&bitmap->groups, &bitmap->groups_size, image, descriptor,
                      SECTION_GROUPS, UINT64_MAX) ||
        !find_section(&bitmap->ranks, &bitmap->ranks_size, image, descriptor,
                      SECTION_RANKS, UINT64_MAX)) {
        return false;
    }
    table->size = bitmap->size + bitmap->groups_size + bitmap->ranks_size;
    return !image->is_whole || bitmap_open(bitmap);
}

static bool open_gaps(image_table *table, const crlcheck_image *image,
                      const uint8_t *descriptor) {
    gaps_view *gaps = &table->gaps;
    gaps->shape = (gaps_shape){.first_key = load_le64(descriptor + TABLE_FIRST_KEY),
                               .least_gap = load_le32(descriptor + TABLE_LEAST_GAP),
                               .block_bits = descriptor[TABLE_BLOCK_BITS],
                               .gap_bits = descriptor[TABLE_GAP_BITS]};
    if (table->shape.num_high > 0 || table->bucket_bits > 0 ||
        !find_section(&gaps->rows, &gaps->rows_size, image, descriptor, SECTION_BLOCKS,
                      UINT64_MAX) ||
        !find_section(&gaps->data, &gaps->size, image, descriptor, SECTION_GAPS,
                      UINT64_MAX) ||
        !find_section(&gaps->ranks, &gaps->ranks_size, image, descriptor, SECTION_RANKS,
                      UINT64_MAX)) {
        return false;
    }
    table->size = gaps->rows_size + gaps->size + gaps->ranks_size;
    return gaps_open(gaps);
}

// open_kind finds the sections whose contents depend on the kind.
static bool open_kind(image_table *table, const crlcheck_image *image,
                      const uint8_t *descriptor) {
    switch (table->kind) {
    case TABLE_KIND_BUCKET:
        return open_buckets(table, image, descriptor);
    case TABLE_KIND_BITMAP:
        return open_bitmap(table, image, descriptor);
    case TABLE_KIND_GAPS:
        return open_gaps(table, image, descriptor);
    case TABLE_KIND_LINES:
        return open_lines(table, image, descriptor);
    default:
        return false;
    }
}

static bool open_attributes(image_table *table, const crlcheck_image *image,
                            const uint8_t *descriptor) {
    uint64_t size;
    if (!find_section(&table->reasons, &size, image, descriptor, SECTION_REASONS,
                      UINT64_MAX) ||
        (size != 0 && size != bytes_of_bits(table->num_entries * 4))) {
        return false;
    }
    table->size += size;
    return find_dates(&table->revocation_dates, table, image, descriptor,
                      SECTION_REVOCATION_DATES) &&
           find_dates(&table->invalidity_dates, table, image, descriptor,
                      SECTION_INVALIDITY_DATES);
}

static bool open_table(image_table *table, const crlcheck_image *image,
                       const uint8_t *descriptor) {
    table->certificate_issuer = load_le32(descriptor + TABLE_CERTIFICATE_ISSUER);
    table->serial_len = descriptor[TABLE_SERIAL_LEN];
    table->num_entries = load_le64(descriptor + TABLE_NUM_ENTRIES);
    table->kind = descriptor[TABLE_KIND];
    table->bucket_bits = descriptor[TABLE_BUCKET_BITS];
    if (table->certificate_issuer >= image->info.num_issuers || table->serial_len == 0 ||
        table->serial_len > CRLCHECK_MAX_SERIAL || table->num_entries == 0 ||
        table->num_entries > UINT32_MAX / 2) {
        return false;
    }
    key_shape *shape = &table->shape;
    shape->serial_len = table->serial_len;
    memcpy(shape->value, descriptor + TABLE_CONSTANT_VALUE, sizeof shape->value);
    memcpy(shape->mask, descriptor + TABLE_CONSTANT_MASK, sizeof shape->mask);
    if (!key_shape_init(shape) ||
        shape->key_bits != load_le16(descriptor + TABLE_KEY_BITS) ||
        table->bucket_bits > shape->low_bits || table->bucket_bits > MAX_BUCKET_BITS) {
        return false;
    }
    return open_kind(table, image, descriptor) &&
           open_attributes(table, image, descriptor);
}

static bool follows(const image_table *table, const image_table *previous) {
    return table->certificate_issuer > previous->certificate_issuer ||
           (table->certificate_issuer == previous->certificate_issuer &&
            table->serial_len > previous->serial_len);
}

static bool open_tables(crlcheck_image *image, crlcheck_error *out_error) {
    uint64_t num_entries = 0;
    if (image->info.num_tables > 0) {
        image->tables = calloc(image->info.num_tables, sizeof *image->tables);
        if (image->tables == NULL) {
            return fail_no_memory(out_error, 0);
        }
    }
    for (uint32_t i = 0; i < image->info.num_tables; i++) {
        image_table *table = &image->tables[i];
        uint64_t offset = SUPERBLOCK_SIZE + (uint64_t)i * TABLE_SIZE;
        if (!open_table(table, image, image->data + offset) ||
            (i > 0 && !follows(table, table - 1))) {
            return corrupt(out_error, CRLCHECK_RULE_BAD_SECTION, offset);
        }
        if (table->certificate_issuer == 0) {
            image->own_tables[table->serial_len] = table;
        }
        num_entries += table->num_entries;
    }
    return num_entries == image->info.num_entries ||
           corrupt(out_error, CRLCHECK_RULE_BAD_HEADER, SUPERBLOCK_NUM_ENTRIES);
}

static crlcheck_status open_image(crlcheck_image **out_image, crlcheck_error *out_error,
                                  const uint8_t *data, size_t len, uint64_t image_size,
                                  bool is_whole) {
    crlcheck_error error = {.status = CRLCHECK_NO_MEMORY};
    crlcheck_image *image = calloc(1, sizeof *image);
    *out_image = NULL;
    if (image != NULL) {
        image->data = data;
        image->is_whole = is_whole;
        if (check_version(&image->info, &error, data, len) &&
            check_sizes(&image->info, &error, data, len, image_size) &&
            index_issuers(image, &error) && open_tables(image, &error)) {
            *out_image = image;
            return CRLCHECK_OK;
        }
    }
    image_free(image);
    if (out_error != NULL) {
        *out_error = error;
    }
    return (crlcheck_status)error.status;
}

crlcheck_status crlcheck_image_open(crlcheck_image **out_image, crlcheck_error *out_error,
                                    const uint8_t *data, size_t len) {
    return open_image(out_image, out_error, data, len, len, true);
}

crlcheck_status image_open_header(crlcheck_image **out_image, crlcheck_error *out_error,
                                  const uint8_t *header, size_t header_len,
                                  uint64_t image_size) {
    return open_image(out_image, out_error, header, header_len, image_size, false);
}

void image_free(crlcheck_image *image) {
    if (image != NULL) {
        free(image->tables);
        free(image->issuers);
        free(image);
    }
}

void crlcheck_image_free(crlcheck_image *image) {
    image_free(image);
}

const crlcheck_image_info *crlcheck_image_info_of(const crlcheck_image *image) {
    return &image->info;
}

crlcheck_status crlcheck_image_table(const crlcheck_image *image,
                                     crlcheck_table_info *out_table, uint32_t number) {
    if (number >= image->info.num_tables) {
        return CRLCHECK_NOT_FOUND;
    }
    const image_table *table = &image->tables[number];
    *out_table = (crlcheck_table_info){.certificate_issuer = table->certificate_issuer,
                                       .serial_len = table->serial_len,
                                       .kind = table->kind,
                                       .key_bits = table->shape.key_bits,
                                       .bucket_bits = table->bucket_bits,
                                       .num_entries = table->num_entries,
                                       .max_bucket = table->max_bucket,
                                       .size = table->size};
    return CRLCHECK_OK;
}

crlcheck_slice image_issuer(const crlcheck_image *image, uint32_t number) {
    if (number >= image->info.num_issuers) {
        return (crlcheck_slice){NULL, 0};
    }
    const uint8_t *issuer = image->issuers[number];
    return (crlcheck_slice){issuer + 4, load_le32(issuer)};
}

crlcheck_slice crlcheck_image_issuer(const crlcheck_image *image, uint32_t number) {
    return image_issuer(image, number);
}

const image_table *image_find_other_table(const crlcheck_image *image,
                                          uint32_t certificate_issuer,
                                          size_t serial_len) {
    uint32_t low = 0;
    uint32_t high = image->info.num_tables;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const image_table *table = &image->tables[middle];
        if (table->certificate_issuer == certificate_issuer &&
            table->serial_len == serial_len) {
            return table;
        }
        if (table->certificate_issuer < certificate_issuer ||
            (table->certificate_issuer == certificate_issuer &&
             table->serial_len < serial_len)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}
