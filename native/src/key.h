// key.h: from a serial number to the key that a table stores, and back.
//
// Bits that are the same in all serials of a table are taken out first: whole
// octets anywhere, and the leading bits of the first octet that varies. What is
// left, read as one big-endian number of `key_bits` bits, is split into its low
// word (up to 64 bits) and the words above. The low word then goes through an
// invertible mix that depends on the others, so that its leading bits spread
// evenly over buckets whatever habits the CA has, and no two serials collide.

#ifndef CRLCHECK_KEY_H
#define CRLCHECK_KEY_H

#include <stdbool.h>

#include "crlcheck.h"
#include "octets.h"

enum { KEY_WORDS = CRLCHECK_MAX_SERIAL / 8 };

// key_shape is what all serials of one table have in common.
typedef struct key_shape {
    unsigned serial_len;
    unsigned key_bits;
    unsigned low_bits;       // of the low word: at most 64
    unsigned num_high;       // words above it
    unsigned num_varying;
    unsigned first_varying;
    bool contiguous;         // the varying octets are neighbours
    uint8_t varying[CRLCHECK_MAX_SERIAL];  // their places, in order
    uint8_t value[CRLCHECK_MAX_SERIAL];    // constant bits, the others zero
    uint8_t mask[CRLCHECK_MAX_SERIAL];     // which bits are constant
} key_shape;

// table_key is a serial's key after mixing: `low` has shape->low_bits bits,
// high[0] is the word next above it.
typedef struct table_key {
    uint64_t low;
    uint64_t high[KEY_WORDS];
} table_key;

// key_shape_init fills a shape from value and mask, already set, and
// serial_len. It returns false where the mask is not of the form above.
bool key_shape_init(key_shape *shape);

// key_from_serial computes the key of a serial of shape->serial_len octets. It
// returns false where a constant bit differs: no serial of the table does that.
bool key_from_serial(table_key *out_key, const key_shape *shape, const uint8_t *serial);

// key_to_serial is the inverse.
void key_to_serial(uint8_t *out_serial, const key_shape *shape, const table_key *key);

#endif
