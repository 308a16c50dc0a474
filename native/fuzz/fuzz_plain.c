// fuzz_plain.c: compares the fast reader of plain entries with the strict one.
//
// The input is taken for the entries of a CRL. Given whole, they are read the fast
// way where they are plain; given in chunks shorter than its window, never. Both
// must find the same entries, and break off at the same octet for the same reason.

#include <stdlib.h>
#include <string.h>

#include "crlcheck.h"
#include "harness.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

// A CRL up to its entries, with lengths that no input uses up.
// clang-format off
static const uint8_t crl_start[] = {
    0x30, 0x84, 0x70, 0x00, 0x00, 0x00,  // CertificateList
    0x30, 0x84, 0x60, 0x00, 0x00, 0x00,  // tbsCertList
    0x02, 0x01, 0x01,                    // version 2
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
    0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 'F',
    0x17, 0x0d, '2', '6', '0', '1', '0', '1', '0', '0', '0', '0', '0', '0', 'Z',
    0x17, 0x0d, '2', '6', '0', '2', '0', '1', '0', '0', '0', '0', '0', '0', 'Z',
    0x30, 0x84, 0x50, 0x00, 0x00, 0x00   // revokedCertificates
};
// clang-format on

enum {
    MOST_ENTRIES = 256,
    WINDOW = 128,  // the fast way wants that many octets
    PADDING = 2 * WINDOW
};

typedef struct outcome {
    crlcheck_status status;
    crlcheck_error error;
    size_t num_entries;
    crlcheck_entry entries[MOST_ENTRIES];
    uint8_t serials[MOST_ENTRIES][CRLCHECK_MAX_SERIAL];
} outcome;

// feed gives a chunk to the parser until it is used up, the entries are full, or the
// parser refuses.
static void feed(outcome *made, crlcheck_crl_parser *parser, const uint8_t *chunk,
                 size_t size) {
    while (size > 0 && made->status == CRLCHECK_OK && made->num_entries < MOST_ENTRIES) {
        size_t consumed;
        size_t num_entries;
        crlcheck_entry *found = made->entries + made->num_entries;
        made->status =
            crlcheck_crl_parser_feed(parser, &consumed, found, &num_entries, &made->error,
                                     MOST_ENTRIES - made->num_entries, chunk, size);
        for (size_t i = 0; i < num_entries; i++) {  // the serials hold for now only
            uint8_t *copy = made->serials[made->num_entries++];
            memcpy(copy, found[i].serial.data, found[i].serial.len);
            found[i].serial.data = copy;
        }
        chunk += consumed;
        size -= consumed;
    }
}

static void parse(outcome *made, const uint8_t *list, size_t size, size_t longest) {
    crlcheck_crl_parser *parser;
    crlcheck_crl_options options = {0};
    made->status = CRLCHECK_OK;
    made->num_entries = 0;
    require(crlcheck_crl_parser_new(&parser, &options) == CRLCHECK_OK);
    feed(made, parser, crl_start, sizeof crl_start);
    require(made->status == CRLCHECK_OK);
    for (size_t at = 0; at < size; at += longest) {
        size_t left = size - at;
        feed(made, parser, list + at, left < longest ? left : longest);
    }
    crlcheck_crl_parser_free(parser);
}

static void require_same_entry(const crlcheck_entry *a, const crlcheck_entry *b) {
    require(a->serial.len == b->serial.len);
    require(memcmp(a->serial.data, b->serial.data, a->serial.len) == 0);
    require(a->revocation_date == b->revocation_date);
    require(a->certificate_issuer == b->certificate_issuer);
    require(a->reason_code == b->reason_code);
    require(a->has_invalidity_date == b->has_invalidity_date);
    require(!a->has_invalidity_date || a->invalidity_date == b->invalidity_date);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static outcome fast;
    static outcome strict;
    choices choice = choices_from(data, size);
    uint8_t *list = calloc(1, size + PADDING);
    require(list != NULL);
    memcpy(list, data, size);
    parse(&fast, list, size + PADDING, size + PADDING);
    parse(&strict, list, size + PADDING, 1 + choose(&choice, WINDOW - 1));
    require(fast.num_entries == strict.num_entries);
    for (size_t i = 0; i < fast.num_entries; i++) {
        require_same_entry(&fast.entries[i], &strict.entries[i]);
    }
    require(fast.status == strict.status);
    if (fast.status != CRLCHECK_OK) {
        require(fast.error.rule == strict.error.rule);
        require(fast.error.offset == strict.error.offset);
    }
    free(list);
    return 0;
}

// Mutations in place: an entry with one octet changed is still nearly plain, which is
// where the two could differ.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed) {
    choices choice = {seed};
    if (size == 0 || choose(&choice, 4) == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    for (size_t left = 1 + choose(&choice, 4); left > 0; left--) {
        uint8_t *octet = &data[choose(&choice, size)];
        switch (choose(&choice, 3)) {
        case 0:
            *octet ^= (uint8_t)(1U << choose(&choice, 8));
            break;
        case 1:
            *octet = (uint8_t)(*octet + (choose(&choice, 2) == 0 ? 1 : 0xff));
            break;
        default:
            *octet = (uint8_t)choose(&choice, 256);
        }
    }
    return size;
}
