// fuzz_builder.c: entries in numbers that no small CRL has, so that they are spread
// over partitions, and of shapes that a CA may come to: counters, constant octets,
// duplicates, and serials made to fall into one bucket. The input is a list of
// instructions of eight octets.

#include <stdlib.h>

#include "image/key.h"
#include "check_image.h"

enum { INSTRUCTION_SIZE = 8, NUM_ISSUERS = 3 };

// Many take their time, so most runs stay with few.
enum { FEW_ENTRIES = 300, MANY_ENTRIES = 6000 };

typedef enum pattern {
    COUNTER,
    COUNTER_IN_THE_MIDDLE,
    RANDOM,
    RANDOM_BEHIND_PREFIX,
    ONE_SERIAL,
    ONE_BUCKET,
    COUNTER_WITH_GAPS,
    NUM_PATTERNS
} pattern;

typedef struct instruction {
    pattern kind;
    size_t serial_len;
    uint32_t certificate_issuer;
    size_t num_entries;
    uint8_t step;
    uint8_t attributes;  // a bit each: reasons, wide dates, invalidity dates
} instruction;

static instruction read_instruction(const uint8_t *octets) {
    return (instruction){.kind = (pattern)(octets[0] % NUM_PATTERNS),
                         .serial_len = 1 + octets[1] % CRLCHECK_MAX_SERIAL,
                         .certificate_issuer = octets[2] % NUM_ISSUERS,
                         .num_entries = load_le16(octets + 3),
                         .step = octets[5],
                         .attributes = octets[6]};
}

// count adds `step` to the big-endian number of the first `len` octets.
static void count(uint8_t *octets, size_t len, unsigned step) {
    for (size_t i = len; i > 0 && step > 0; i--) {
        step += octets[i - 1];
        octets[i - 1] = (uint8_t)step;
        step >>= 8;
    }
}

static void fill(uint8_t *octets, size_t len, choices *choice) {
    for (size_t i = 0; i < len; i++) {
        octets[i] = (uint8_t)choose(choice, 256);
    }
}

// crowd inverts the mix: the keys are neighbours, as long as no bit is constant.
static void crowd(uint8_t *serial, size_t serial_len, size_t number, choices *choice) {
    key_shape shape = {.serial_len = (unsigned)serial_len};
    table_key key = {.low = number};
    require(key_shape_init(&shape));
    key.low &= low_bits(shape.low_bits);
    for (unsigned i = 0; i < shape.num_high; i++) {
        unsigned above = shape.key_bits - 64 * (i + 1);
        key.high[i] = choose(choice, SIZE_MAX) & low_bits(above < 64 ? above : 64);
    }
    key_to_serial(serial, &shape, &key);
}

// next_serial changes `serial` into the one that follows in the pattern.
static void next_serial(uint8_t *serial, const instruction *told, size_t number,
                        choices *choice) {
    size_t len = told->serial_len;
    switch (told->kind) {
    case COUNTER:
        count(serial, len, told->step);
        break;
    case COUNTER_WITH_GAPS:
        count(serial, len, 1 + (unsigned)choose(choice, 2U * told->step + 1));
        break;
    case COUNTER_IN_THE_MIDDLE:
        count(serial, len - len / 3, told->step);
        break;
    case RANDOM:
        fill(serial, len, choice);
        break;
    case RANDOM_BEHIND_PREFIX:
        fill(serial + len / 2, len - len / 2, choice);
        break;
    case ONE_BUCKET:
        crowd(serial, len, number, choice);
        break;
    default:
        break;
    }
}

static void follow(crlcheck_builder *builder, reference *all, const instruction *told,
                   size_t most_entries, choices *choice) {
    uint8_t serial[CRLCHECK_MAX_SERIAL];
    fill(serial, sizeof serial, choice);
    for (size_t i = 0; i < told->num_entries && all->num_entries < most_entries; i++) {
        next_serial(serial, told, i, choice);
        bool wide_dates = (told->attributes & 2) != 0;
        crlcheck_entry entry = {
            .serial = {serial, told->serial_len},
            .certificate_issuer = told->certificate_issuer,
            .revocation_date = (int64_t)choose(choice, wide_dates ? 300000000000 : 60),
            .has_invalidity_date = (told->attributes & 4) != 0 && choose(choice, 2) == 0,
            .invalidity_date = -(int64_t)choose(choice, wide_dates ? 60000000000 : 60),
            .reason_code =
                told->attributes & 1 ? (uint8_t)choose(choice, 11) : CRLCHECK_NO_REASON};
        reference_add(all, &entry);
        require(crlcheck_builder_add(builder, NULL, &entry, 1) == CRLCHECK_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t name[] = {0x30, 0x00};
    crlcheck_slice issuers[NUM_ISSUERS];
    for (size_t i = 0; i < NUM_ISSUERS; i++) {
        issuers[i] = (crlcheck_slice){name, sizeof name};
    }
    choices choice = choices_from(data, size);
    bool attributes = choose(&choice, 4) != 0;
    size_t most_entries = choose(&choice, 16) == 0 ? MANY_ENTRIES : FEW_ENTRIES;
    reference all = {0};
    crlcheck_builder *builder;
    require(crlcheck_builder_new(&builder, attributes) == CRLCHECK_OK);
    for (; size >= INSTRUCTION_SIZE; size -= INSTRUCTION_SIZE) {
        instruction told = read_instruction(data);
        follow(builder, &all, &told, most_entries, &choice);
        data += INSTRUCTION_SIZE;
    }
    crlcheck_builder_stats stats;
    size_t image_size;
    uint8_t *image =
        write_image(&image_size, &stats, builder, issuers, NUM_ISSUERS, &choice);
    require(stats.num_duplicates == reference_merge(&all));
    require(stats.num_entries == all.num_entries);
    check_image(image, image_size, &all, attributes, &choice);
    free(image);
    free(all.entries);
    crlcheck_builder_free(builder);
    return 0;
}
