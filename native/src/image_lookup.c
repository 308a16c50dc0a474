// image_lookup.c: finds serials in an opened image.

#include "image.h"
#include "image_directory.h"

// compare_entry orders the key against the entry at `rank` of the same bucket.
static inline int compare_entry(const image_table *table, uint64_t rank,
                                const table_key *key) {
    uint64_t bit = rank * table->remainder_bits;
    unsigned num_bits = table->low_remainder_bits;
    uint64_t wanted = key->low & low_bits(num_bits);
    uint64_t found = read_bits(table->remainders, bit, num_bits);
    if (found != wanted) {
        return wanted < found ? -1 : 1;
    }
    for (unsigned i = table->shape.num_high; i > 0; i--) {
        unsigned above = table->shape.key_bits - 64 * i;
        found = read_bits(table->remainders, bit + num_bits + 64 * (i - 1),
                          above < 64 ? above : 64);
        if (found != key->high[i - 1]) {
            return key->high[i - 1] < found ? -1 : 1;
        }
    }
    return 0;
}

// search finds a key among the entries of its bucket, which are in order.
static inline bool search(uint64_t *out_rank, const image_table *table, entry_span span,
                          const table_key *key) {
    enum { SHORT_BUCKET = 8 };  // even buckets hold two entries on average
    uint64_t low = span.start;
    uint64_t high = span.start + span.num_entries;
    while (high - low > SHORT_BUCKET) {
        uint64_t middle = low + (high - low) / 2;
        if (compare_entry(table, middle, key) < 0) {
            high = middle;
        } else {
            low = middle;
        }
    }
    for (; low < high; low++) {
        if (compare_entry(table, low, key) == 0) {
            *out_rank = low;
            return true;
        }
    }
    return false;
}

// bucket_of returns the leading bits of a key.
static inline uint64_t bucket_of(const image_table *table, const table_key *key) {
    unsigned shift = table->low_remainder_bits;
    return shift == 64 ? 0 : key->low >> shift;
}

// lookup finds the rank of a serial in a sorted table.
static inline bool lookup(uint64_t *out_rank, const image_table *table,
                          const uint8_t *serial) {
    table_key key;
    entry_span span;
    if (!key_from_serial(&key, &table->shape, table->shape.num_high, serial)) {
        return false;
    }
    return find_bucket(&span, table, bucket_of(table, &key)) &&
           search(out_rank, table, span, &key);
}

bool crlcheck_image_contains(const crlcheck_image *image, uint32_t certificate_issuer,
                             const uint8_t *serial, size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    uint64_t rank;
    if (table != NULL && table->kind != TABLE_KIND_SORTED) {
        return image_natural_contains(table, serial);
    }
    return table != NULL && lookup(&rank, table, serial);
}

// read_date returns false where the entry has no such date.
static bool read_date(int64_t *out_date, const image_dates *dates, uint64_t rank) {
    if (dates->blocks == NULL) {
        return false;
    }
    const uint8_t *block = dates->blocks + rank / DATES_PER_BLOCK * DATE_BLOCK_SIZE;
    unsigned width = block[12];
    uint64_t offset = (uint64_t)load_le32(block + 8) * (DATES_PER_BLOCK / 8);
    uint64_t size = (uint64_t)width * (DATES_PER_BLOCK / 8);
    if (width == 0 || width > 64 || offset > dates->payload_size ||
        size > dates->payload_size - offset) {
        return false;
    }
    uint64_t value =
        read_bits(dates->payload + offset, rank % DATES_PER_BLOCK * width, width);
    if (value == 0) {
        return false;
    }
    *out_date = (int64_t)(load_le64(block) + (value - 1));
    return true;
}

static void describe(crlcheck_found *out_found, const image_table *table,
                     const uint8_t *serial, uint64_t rank) {
    *out_found = (crlcheck_found){.certificate_issuer = table->certificate_issuer,
                                  .serial_len = table->serial_len,
                                  .reason_code = CRLCHECK_NO_REASON};
    memcpy(out_found->serial, serial, table->serial_len);
    if (rank >= table->num_entries) {  // of a damaged image
        return;
    }
    if (table->reasons != NULL) {
        out_found->reason_code = (table->reasons[rank / 2] >> (rank % 2 * 4)) & 0x0f;
    }
    out_found->has_revocation_date =
        read_date(&out_found->revocation_date, &table->revocation_dates, rank);
    out_found->has_invalidity_date =
        read_date(&out_found->invalidity_date, &table->invalidity_dates, rank);
}

crlcheck_status crlcheck_image_find(const crlcheck_image *image,
                                    crlcheck_found *out_found,
                                    uint32_t certificate_issuer, const uint8_t *serial,
                                    size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    uint64_t rank;
    if (table == NULL) {
        return CRLCHECK_NOT_FOUND;
    }
    bool listed = table->kind != TABLE_KIND_SORTED
                      ? image_natural_find(&rank, table, serial)
                      : lookup(&rank, table, serial);
    if (!listed) {
        return CRLCHECK_NOT_FOUND;
    }
    describe(out_found, table, serial, rank);
    return CRLCHECK_OK;
}

// The lookups of a batch go through their steps together, so that what each step
// reads is on its way from memory while the others are looked after: 39 ns a serial
// at a million entries, where one lookup after the other takes 149.
enum { BATCH = 32 };

typedef struct batch_item {
    const image_table *table;  // NULL once it is known whether the serial is listed
    bool listed;
    uint64_t bucket;
    entry_span span;
    table_key key;
} batch_item;

static void start_item(batch_item *item, const crlcheck_image *image,
                       uint32_t certificate_issuer, const uint8_t *serial, size_t len) {
    item->table = image_find_table(image, certificate_issuer, len);
    item->listed = false;
    if (item->table == NULL) {
        return;
    }
    if (item->table->kind != TABLE_KIND_SORTED) {
        item->listed = image_natural_contains(item->table, serial);
        item->table = NULL;
        return;
    }
    if (!key_from_serial(&item->key, &item->table->shape, item->table->shape.num_high,
                         serial)) {
        item->table = NULL;
        return;
    }
    item->bucket = bucket_of(item->table, &item->key);
    __builtin_prefetch(item->table->fine_hints +
                       item->bucket / BUCKETS_PER_FINE_HINT * 2);
}

static void prefetch_directory(const batch_item *item) {
    const image_table *table = item->table;
    unsigned skip;
    uint64_t bit = hint_for_bucket(&skip, table, item->bucket);
    // A place that a damaged image makes up is never read, only fetched.
    __builtin_prefetch(table->directory + bit / 8);
    __builtin_prefetch(table->directory + bit / 8 + 15);
}

static void find_item_bucket(batch_item *item) {
    const image_table *table = item->table;
    if (!find_bucket(&item->span, table, item->bucket) || item->span.num_entries == 0) {
        item->table = NULL;
        return;
    }
    uint64_t first_bit = item->span.start * table->remainder_bits;
    uint64_t last_bit = first_bit + item->span.num_entries * table->remainder_bits;
    __builtin_prefetch(table->remainders + first_bit / 8);
    __builtin_prefetch(table->remainders + last_bit / 8);
}

static void finish_batch(uint8_t *out_results, batch_item *items, size_t num_items) {
    for (size_t i = 0; i < num_items; i++) {
        if (items[i].table != NULL) {
            prefetch_directory(&items[i]);
        }
    }
    for (size_t i = 0; i < num_items; i++) {
        if (items[i].table != NULL) {
            find_item_bucket(&items[i]);
        }
    }
    for (size_t i = 0; i < num_items; i++) {
        const batch_item *item = &items[i];
        uint64_t rank;
        out_results[i] = item->table == NULL
                             ? item->listed
                             : search(&rank, item->table, item->span, &item->key);
    }
}

void crlcheck_image_contains_many(const crlcheck_image *image, uint8_t *out_results,
                                  uint32_t certificate_issuer, const uint8_t *serials,
                                  const uint8_t *lengths, size_t num_serials) {
    batch_item items[BATCH];
    for (size_t start = 0; start < num_serials; start += BATCH) {
        size_t left = num_serials - start;
        size_t num_items = left < BATCH ? left : BATCH;
        for (size_t i = 0; i < num_items; i++) {
            start_item(&items[i], image, certificate_issuer, serials, lengths[start + i]);
            serials += lengths[start + i];
        }
        finish_batch(out_results + start, items, num_items);
    }
}

// start_row starts the lookup of an unsigned big-endian number.
static void start_row(batch_item *item, const crlcheck_image *image,
                      uint32_t certificate_issuer, const uint8_t *row, size_t width) {
    if (row[0] - 1U < 0x7f) {  // minimal as it stands, as most rows are
        start_item(item, image, certificate_issuer, row, width);
        return;
    }
    uint8_t serial[CRLCHECK_MAX_SERIAL + 1];
    serial[0] = 0;  // keeps the sign of a row whose first bit is set
    memcpy(serial + 1, row, width);
    size_t skipped = 0;
    while (skipped < width && serial[skipped] == 0 && serial[skipped + 1] < 0x80) {
        skipped++;
    }
    start_item(item, image, certificate_issuer, serial + skipped, width + 1 - skipped);
}

void crlcheck_image_contains_packed(const crlcheck_image *image, uint8_t *out_results,
                                    uint32_t certificate_issuer, const uint8_t *rows,
                                    size_t num_rows, size_t width) {
    batch_item items[BATCH];
    for (size_t start = 0; start < num_rows; start += BATCH) {
        size_t left = num_rows - start;
        size_t num_items = left < BATCH ? left : BATCH;
        for (size_t i = 0; i < num_items; i++) {
            start_row(&items[i], image, certificate_issuer, rows + (start + i) * width,
                      width);
        }
        finish_batch(out_results + start, items, num_items);
    }
}

crlcheck_status crlcheck_image_entry(const crlcheck_image *image,
                                     crlcheck_found *out_found, uint32_t table_number,
                                     uint64_t position) {
    if (table_number >= image->info.num_tables ||
        position >= image->tables[table_number].num_entries) {
        return CRLCHECK_NOT_FOUND;
    }
    const image_table *table = &image->tables[table_number];
    uint8_t serial[CRLCHECK_MAX_SERIAL];
    if (table->kind != TABLE_KIND_SORTED) {
        if (!image_natural_serial(serial, table, position)) {
            return CRLCHECK_CORRUPT_IMAGE;
        }
        describe(out_found, table, serial, position);
        return CRLCHECK_OK;
    }
    uint64_t bucket;
    if (!entry_bucket(&bucket, table, position)) {
        return CRLCHECK_CORRUPT_IMAGE;
    }
    uint64_t bit = position * table->remainder_bits;
    unsigned left = table->low_remainder_bits;
    table_key key = {.low = read_bits(table->remainders, bit, left)};
    key.low |= left == 64 ? 0 : bucket << left;
    for (unsigned i = 0; i < table->shape.num_high; i++) {
        unsigned above = table->shape.key_bits - 64 * (i + 1);
        key.high[i] =
            read_bits(table->remainders, bit + left + 64 * i, above < 64 ? above : 64);
    }
    key_to_serial(serial, &table->shape, &key);
    describe(out_found, table, serial, position);
    return CRLCHECK_OK;
}
