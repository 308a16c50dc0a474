// certificates.c: reads a column of certificates, and tells their kinds apart.
//
// 1. Each certificate is parsed, and its kind written down (x509/kind.c).
// 2. The kind is looked for in a hash table. Equal kinds are equal octets.
// 3. Its serial becomes a row, as if the column had serials.
//
// Whoever makes certificates may make many whose kinds have one hash. So a kind is looked
// for in a few slots only, and a certificate for which there is no room is left to the
// caller, who asks about it by itself.

#include <stdlib.h>
#include <string.h>

#include "columns/values.h"
#include "x509/certificate.h"
#include "x509/kind.h"

enum {
    MAX_KINDS = 8192,
    NUM_SLOTS = 4 * MAX_KINDS,
    MAX_PROBES = 32,
    MAX_OCTETS = 4 << 20  // of all kinds
};

typedef struct kind_entry {
    uint64_t hash;
    size_t start;
    size_t len;
    size_t row;
} kind_entry;

struct crlcheck_kinds {
    uint32_t count;
    size_t num_octets;
    uint32_t slots[NUM_SLOTS];  // numbers, from 1
    kind_entry entries[MAX_KINDS];
    uint8_t octets[MAX_OCTETS];
};

crlcheck_kinds *crlcheck_kinds_new(void) {
    return calloc(1, sizeof(crlcheck_kinds));
}

void crlcheck_kinds_free(crlcheck_kinds *kinds) {
    free(kinds);
}

void crlcheck_kinds_clear(crlcheck_kinds *kinds) {
    kinds->count = 0;
    kinds->num_octets = 0;
    memset(kinds->slots, 0, sizeof kinds->slots);
}

uint32_t crlcheck_kinds_count(const crlcheck_kinds *kinds) {
    return kinds->count;
}

crlcheck_slice crlcheck_kinds_at(const crlcheck_kinds *kinds, size_t *out_row,
                                 uint32_t number) {
    const kind_entry *entry = &kinds->entries[number];
    *out_row = entry->row;
    return (crlcheck_slice){kinds->octets + entry->start, entry->len};
}

static uint64_t hash_of(const uint8_t *octets, size_t len) {
    uint64_t hash = len;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t eight = 0;
        memcpy(&eight, octets + i, len - i < 8 ? len - i : 8);
        hash = (hash ^ eight) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash;
}

// number_of returns the number of a kind, which is added if it is new and there is room;
// else a negative one.
static int32_t number_of(crlcheck_kinds *kinds, const uint8_t *octets, size_t len,
                         size_t row) {
    uint64_t hash = hash_of(octets, len);
    for (size_t i = 0; i < MAX_PROBES; i++) {
        uint32_t *slot = &kinds->slots[(hash + i) % NUM_SLOTS];
        if (*slot == 0) {
            if (kinds->count == MAX_KINDS || len > MAX_OCTETS - kinds->num_octets) {
                return -1;
            }
            memcpy(kinds->octets + kinds->num_octets, octets, len);
            kinds->entries[kinds->count] =
                (kind_entry){hash, kinds->num_octets, len, row};
            kinds->num_octets += len;
            *slot = ++kinds->count;
            return (int32_t)(*slot - 1);
        }
        const kind_entry *entry = &kinds->entries[*slot - 1];
        if (entry->hash == hash && entry->len == len &&
            memcmp(kinds->octets + entry->start, octets, len) == 0) {
            return (int32_t)(*slot - 1);
        }
    }
    return -1;
}

// looks_like_pem tells whether a value may be a certificate, although it is no DER.
static bool looks_like_pem(text value) {
    static const char begin[] = "-----BEGIN";
    size_t len = sizeof begin - 1;
    for (size_t i = 0; i + len <= value.len; i++) {
        if (memcmp(value.start + i, begin, len) == 0) {
            return true;
        }
    }
    return false;
}

static crlcheck_row_state read_certificate(crlcheck_kinds *kinds, int32_t *out_group,
                                           uint8_t *out_row, text value, size_t row,
                                           uint32_t width, int64_t now) {
    crlcheck_certificate certificate;
    crlcheck_error error;
    uint8_t kind[CRLCHECK_MAX_KIND];
    *out_group = 0;
    if (certificate_parse(&certificate, &error, value.start, value.len) != CRLCHECK_OK) {
        return looks_like_pem(value) ? CRLCHECK_ROW_OTHER : CRLCHECK_ROW_NO_SERIAL;
    }
    crlcheck_slice serial = certificate.serial;
    if (certificate.not_after < now || serial.data[0] >= 0x80) {
        return CRLCHECK_ROW_OTHER;
    }
    if (serial.len > 1 && serial.data[0] == 0) {
        serial.data++;
        serial.len--;
    }
    size_t len = certificate_kind(kind, &certificate);
    int32_t group = len == 0 ? -1 : number_of(kinds, kind, len, row);
    if (serial.len > width || group < 0) {
        return CRLCHECK_ROW_OTHER;
    }
    *out_group = group;
    memcpy(out_row + width - serial.len, serial.data, serial.len);
    return CRLCHECK_ROW_SERIAL;
}

void crlcheck_column_certificates(crlcheck_kinds *kinds, const crlcheck_column *column,
                                  int32_t *out_groups, uint8_t *out_rows,
                                  uint8_t *out_states, size_t num_rows, uint32_t width,
                                  int64_t now) {
    for (size_t i = 0; i < num_rows; i++) {
        uint64_t at = column->first + i;
        memset(out_rows + i * width, 0, width);
        out_groups[i] = 0;
        out_states[i] = CRLCHECK_ROW_NO_VALUE;
        if (is_valid(column->validity, at)) {
            out_states[i] =
                (uint8_t)read_certificate(kinds, &out_groups[i], out_rows + i * width,
                                          value_at(column, at), i, width, now);
        }
    }
}
