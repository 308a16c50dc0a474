// fuzz_image.c: any bytes as an image. What opens must be safe to ask anything,
// however wrong the answers are.

#include <stdlib.h>
#include <string.h>

#include "crlcheck.h"
#include "repair_image.h"

enum { SERIALS_PER_TABLE = 24, POSITIONS_PER_TABLE = 24 };

static uint8_t sink;

static void use(crlcheck_slice slice, const uint8_t *data, size_t size) {
    require(slice.data >= data && slice.len <= (size_t)(data + size - slice.data));
    for (size_t i = 0; i < slice.len; i++) {
        sink ^= slice.data[i];
    }
}

// ask asks for a serial in every way there is, which must all answer alike.
static void ask(const crlcheck_image *image, uint32_t certificate_issuer,
                const uint8_t *serial, size_t serial_len) {
    uint8_t *copy = copy_exactly(serial, serial_len);
    uint8_t length = (uint8_t)serial_len;
    uint8_t result = 2;
    crlcheck_found found;
    bool listed = crlcheck_image_contains(image, certificate_issuer, copy, serial_len);
    crlcheck_status status =
        crlcheck_image_find(image, &found, certificate_issuer, copy, serial_len);
    require(status == (listed ? CRLCHECK_OK : CRLCHECK_NOT_FOUND));
    if (listed) {
        require(found.certificate_issuer == certificate_issuer);
        require(found.serial_len == serial_len && found.reason_code <= 15);
        require(memcmp(found.serial, copy, serial_len) == 0);
    }
    crlcheck_image_contains_many(image, &result, certificate_issuer, copy, &length, 1);
    require(result == listed);
    if (serial_len >= 1 && serial_len <= CRLCHECK_MAX_SERIAL) {
        crlcheck_image_contains_packed(image, &result, certificate_issuer, copy, 1,
                                       serial_len);
        require(result <= 1);
    }
    free(copy);
}

// ask_table asks for serials with the table's constant bits, so that they get past
// those, and for serials without.
static void ask_table(const crlcheck_image *image, const crlcheck_table_info *table,
                      const uint8_t *descriptor, choices *choice) {
    for (size_t i = 0; i < SERIALS_PER_TABLE; i++) {
        uint8_t serial[CRLCHECK_MAX_SERIAL];
        bool constant = choose(choice, 8) != 0;
        for (size_t j = 0; j < table->serial_len; j++) {
            uint8_t mask = constant ? descriptor[TABLE_CONSTANT_MASK + j] : 0;
            uint8_t varying = (uint8_t)choose(choice, 256);
            serial[j] = (uint8_t)((descriptor[TABLE_CONSTANT_VALUE + j] & mask) |
                                  (varying & (uint8_t)~mask));
        }
        ask(image, table->certificate_issuer, serial, table->serial_len);
    }
}

// ask_many asks for more serials at once than the core looks up at a time. Most are
// of one table, at places all over it.
static void ask_many(const crlcheck_image *image, choices *choice) {
    enum { NUM_SERIALS = 70 };
    uint8_t lengths[NUM_SERIALS];
    uint8_t serials[NUM_SERIALS * CRLCHECK_MAX_SERIAL];
    uint8_t results[NUM_SERIALS];
    size_t size = 0;
    uint32_t issuer = 0;
    uint32_t num_tables = crlcheck_image_info_of(image)->num_tables;
    for (size_t i = 0; i < NUM_SERIALS; i++) {
        crlcheck_table_info table = {.serial_len = 1};
        crlcheck_found found = {.serial = {0}};
        if (num_tables > 0) {
            uint32_t number = (uint32_t)choose(choice, num_tables);
            crlcheck_image_table(image, &table, number);
            crlcheck_image_entry(image, &found, number,
                                 choose(choice, table.num_entries));
        }
        issuer = table.certificate_issuer;
        found.serial[choose(choice, table.serial_len)] ^= (uint8_t)choose(choice, 256);
        lengths[i] = (uint8_t)table.serial_len;
        memcpy(serials + size, found.serial, table.serial_len);
        size += table.serial_len;
    }
    uint8_t *copy = copy_exactly(serials, size);
    crlcheck_image_contains_many(image, results, issuer, copy, lengths, NUM_SERIALS);
    for (size_t i = 0, at = 0; i < NUM_SERIALS; at += lengths[i++]) {
        require(results[i] ==
                crlcheck_image_contains(image, issuer, copy + at, lengths[i]));
    }
    size_t width = 1 + choose(choice, CRLCHECK_MAX_SERIAL);
    size_t num_rows = size / width < NUM_SERIALS ? size / width : NUM_SERIALS;
    crlcheck_image_contains_packed(image, results, issuer, copy, num_rows, width);
    free(copy);
}

static void walk_entries(const crlcheck_image *image, const crlcheck_table_info *table,
                         uint32_t number, choices *choice) {
    crlcheck_found found;
    require(table->num_entries > 0);
    require(crlcheck_image_entry(image, &found, number, table->num_entries) ==
            CRLCHECK_NOT_FOUND);
    require(crlcheck_image_serials(image, NULL, number, 1, table->num_entries) ==
            CRLCHECK_NOT_FOUND);
    for (size_t i = 0; i < POSITIONS_PER_TABLE; i++) {
        uint64_t position = i < 4 ? i : choose(choice, table->num_entries);
        crlcheck_status status = crlcheck_image_entry(image, &found, number, position);
        if (status == CRLCHECK_OK) {
            require(found.serial_len == table->serial_len);
            require(found.certificate_issuer == table->certificate_issuer);
            uint8_t serial[CRLCHECK_MAX_SERIAL];
            require(crlcheck_image_serials(image, serial, number, position, 1) ==
                        CRLCHECK_OK &&
                    memcmp(serial, found.serial, found.serial_len) == 0);
            ask(image, found.certificate_issuer, found.serial, found.serial_len);
        } else {
            require(status == (position < table->num_entries ? CRLCHECK_CORRUPT_IMAGE
                                                             : CRLCHECK_NOT_FOUND));
        }
    }
}

static void use_image(const crlcheck_image *image, const uint8_t *data, size_t size,
                      choices *choice) {
    static const uint8_t zeros[CRLCHECK_MAX_SERIAL + 2];
    const crlcheck_image_info *info = crlcheck_image_info_of(image);
    require(info->image_size == size && info->major_version == CRLCHECK_MAJOR_VERSION);
    use(info->metadata, data, size);
    for (uint32_t i = 0; i < info->num_issuers; i++) {
        use(crlcheck_image_issuer(image, i), data, size);
    }
    require(crlcheck_image_issuer(image, info->num_issuers).data == NULL);
    uint64_t num_entries = 0;
    crlcheck_table_info table;
    for (uint32_t i = 0; i < info->num_tables; i++) {
        require(crlcheck_image_table(image, &table, i) == CRLCHECK_OK);
        require(table.certificate_issuer < info->num_issuers);
        walk_entries(image, &table, i, choice);
        ask_table(image, &table, data + SUPERBLOCK_SIZE + (size_t)i * TABLE_SIZE, choice);
        num_entries += table.num_entries;
    }
    require(num_entries == info->num_entries);
    require(crlcheck_image_table(image, &table, info->num_tables) == CRLCHECK_NOT_FOUND);
    ask_many(image, choice);
    for (size_t len = 0; len <= sizeof zeros; len++) {
        ask(image, 0, zeros, len);
        ask(image, info->num_issuers, zeros, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    choices choice = choices_from(data, size);
    uint8_t *copy = copy_exactly(data, size);
    crlcheck_image *image;
    crlcheck_error error;
    crlcheck_status status = crlcheck_image_open(&image, &error, copy, size);
    if (status == CRLCHECK_OK) {
        use_image(image, copy, size, &choice);
        crlcheck_image_free(image);
    } else {
        require(image == NULL && error.status == (int)status);
        require(status == CRLCHECK_CORRUPT_IMAGE ||
                status == CRLCHECK_UNSUPPORTED_VERSION);
        require(error.rule < CRLCHECK_RULE_COUNT && error.offset <= size);
    }
    free(copy);
    return 0;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed) {
    choices choice = {seed};
    size = LLVMFuzzerMutate(data, size, max_size);
    if (choose(&choice, 4) != 0) {
        repair_image(data, size, &choice);
    }
    return size;
}
