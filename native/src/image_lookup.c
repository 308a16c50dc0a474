// image_lookup.c: finds serials in an opened image.

#include "image.h"

typedef struct entry_span {
    uint64_t start;
    uint64_t num_entries;
} entry_span;

// skip_buckets advances `*bit` past `count` zeros of the unary directory.
static bool skip_buckets(uint64_t *bit, const image_table *table, unsigned count) {
    while (count > 0) {
        if (*bit >= table->directory_bits) {
            return false;
        }
        unsigned num_bits = 64 - (unsigned)(*bit % 8);
        uint64_t zeros =
            ~read_bits(table->directory, *bit, num_bits) & low_bits(num_bits);
        unsigned num_zeros = (unsigned)__builtin_popcountll(zeros);
        if (num_zeros >= count) {
            *bit += select_bit(zeros, count - 1) + 1;
            return true;
        }
        count -= num_zeros;
        *bit += num_bits;
    }
    return true;
}

// count_entries counts the ones from `bit` to the next zero.
static uint64_t count_entries(const image_table *table, uint64_t bit) {
    uint64_t num_entries = 0;
    while (bit < table->directory_bits) {
        unsigned num_bits = 64 - (unsigned)(bit % 8);
        uint64_t zeros = ~read_bits(table->directory, bit, num_bits) & low_bits(num_bits);
        if (zeros != 0) {
            return num_entries + (unsigned)__builtin_ctzll(zeros);
        }
        num_entries += num_bits;
        bit += num_bits;
    }
    return num_entries;
}

// find_bucket tells which entries are in a bucket. The directory holds, for each
// bucket, a one for every entry and then a zero; a hint says where each group of
// buckets starts. It returns false where the image contradicts itself.
static bool find_bucket(entry_span *out_span, const image_table *table, uint64_t bucket) {
    uint64_t bit = load_le32(table->hints + bucket / BUCKETS_PER_HINT * 4);
    if (!skip_buckets(&bit, table, (unsigned)(bucket % BUCKETS_PER_HINT)) ||
        bit < bucket) {
        return false;
    }
    out_span->start = bit - bucket;
    out_span->num_entries = count_entries(table, bit);
    return out_span->start <= table->num_entries &&
           out_span->num_entries <= table->num_entries - out_span->start;
}

// compare_entry orders the key against the entry at `rank` of the same bucket.
static int compare_entry(const image_table *table, uint64_t rank, const table_key *key) {
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
static bool search(uint64_t *out_rank, const image_table *table, entry_span span,
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

// lookup finds the rank of a serial in a table.
static bool lookup(uint64_t *out_rank, const image_table *table, const uint8_t *serial) {
    table_key key;
    entry_span span;
    if (!key_from_serial(&key, &table->shape, serial)) {
        return false;
    }
    unsigned shift = table->low_remainder_bits;
    uint64_t bucket = shift == 64 ? 0 : key.low >> shift;
    return find_bucket(&span, table, bucket) && search(out_rank, table, span, &key);
}

bool crlcheck_image_contains(const crlcheck_image *image, uint32_t certificate_issuer,
                             const uint8_t *serial, size_t serial_len) {
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    uint64_t rank;
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
    if (table == NULL || !lookup(&rank, table, serial)) {
        return CRLCHECK_NOT_FOUND;
    }
    describe(out_found, table, serial, rank);
    return CRLCHECK_OK;
}

void crlcheck_image_contains_many(const crlcheck_image *image, uint8_t *out_results,
                                  uint32_t certificate_issuer, const uint8_t *serials,
                                  const uint8_t *lengths, size_t num_serials) {
    for (size_t i = 0; i < num_serials; i++) {
        out_results[i] =
            crlcheck_image_contains(image, certificate_issuer, serials, lengths[i]);
        serials += lengths[i];
    }
}

void crlcheck_image_contains_packed(const crlcheck_image *image, uint8_t *out_results,
                                    uint32_t certificate_issuer, const uint8_t *rows,
                                    size_t num_rows, size_t width) {
    uint8_t serial[CRLCHECK_MAX_SERIAL + 1];
    serial[0] = 0;  // keeps the sign of a row whose first bit is set
    for (size_t i = 0; i < num_rows; i++) {
        memcpy(serial + 1, rows + i * width, width);
        size_t start = 0;
        while (start < width && serial[start] == 0 && serial[start + 1] < 0x80) {
            start++;
        }
        out_results[i] = crlcheck_image_contains(image, certificate_issuer,
                                                 serial + start, width + 1 - start);
    }
}

// entry_bucket finds the bucket of an entry by walking the directory.
static bool entry_bucket(uint64_t *out_bucket, const image_table *table, uint64_t rank) {
    uint64_t low = 0;
    uint64_t high = num_hints(table->bucket_bits);
    while (high - low > 1) {  // the last group that starts at or before the entry
        uint64_t middle = low + (high - low) / 2;
        uint64_t start = load_le32(table->hints + 4 * middle);
        if (start <= rank + middle * BUCKETS_PER_HINT) {
            low = middle;
        } else {
            high = middle;
        }
    }
    uint64_t bit = load_le32(table->hints + 4 * low);
    uint64_t before = bit - low * BUCKETS_PER_HINT;  // entries
    while (bit < table->directory_bits) {
        unsigned num_bits = 64 - (unsigned)(bit % 8);
        uint64_t ones = read_bits(table->directory, bit, num_bits);
        unsigned num_ones = (unsigned)__builtin_popcountll(ones);
        if (rank - before < num_ones) {
            // Before the entry's one lie a one for each entry and a zero for each bucket.
            *out_bucket = bit + select_bit(ones, (unsigned)(rank - before)) - rank;
            return *out_bucket >> table->bucket_bits == 0;
        }
        before += num_ones;
        bit += num_bits;
    }
    return false;
}

crlcheck_status crlcheck_image_entry(const crlcheck_image *image,
                                     crlcheck_found *out_found, uint32_t table_number,
                                     uint64_t position) {
    if (table_number >= image->info.num_tables ||
        position >= image->tables[table_number].num_entries) {
        return CRLCHECK_NOT_FOUND;
    }
    const image_table *table = &image->tables[table_number];
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
    uint8_t serial[CRLCHECK_MAX_SERIAL];
    key_to_serial(serial, &table->shape, &key);
    describe(out_found, table, serial, position);
    return CRLCHECK_OK;
}
