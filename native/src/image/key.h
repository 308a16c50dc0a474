// key.h: from a serial number to the key that a table stores, and back.
//
// 1. Bits that are the same in all serials of a table are taken out: whole octets
//    anywhere, and the leading bits of the first octet that varies.
// 2. The rest, read as one big-endian number of `key_bits` bits, is the ordered key. It
//    is split into its low word (up to 64 bits) and the words above, the high ones.
// 3. The low word goes through a mix that depends on the high words. Its leading bits
//    then spread evenly over buckets, however the CA forms its serials. The mix can be
//    undone, so no two serials have one key.
//
// Bitmaps and gaps store the ordered key, lines the mixed one. What runs for
// every entry and every lookup is inline here.

#ifndef CRLCHECK_IMAGE_KEY_H
#define CRLCHECK_IMAGE_KEY_H

#include <stdbool.h>

#include "base/bits.h"
#include "crlcheck_values.h"

enum { KEY_WORDS = CRLCHECK_MAX_SERIAL / 8 };

// Odd multipliers of a well-known 64-bit finaliser (MurmurHash3).
#define KEY_MULTIPLIER_1 UINT64_C(0xff51afd7ed558ccd)
#define KEY_MULTIPLIER_2 UINT64_C(0xc4ceb9fe1a85ec53)

// key_shape is what all serials of one table have in common.
typedef struct key_shape {
    unsigned serial_len;
    unsigned key_bits;
    unsigned low_bits;  // of the low word: at most 64
    unsigned num_high;  // words above it
    unsigned num_varying;
    unsigned first_varying;
    unsigned constant_end;  // behind the last octet that has a constant bit
    uint64_t top_mask;  // of the topmost word
    bool contiguous;    // the varying octets are neighbours
    uint8_t varying[CRLCHECK_MAX_SERIAL];  // their places, in order
    uint8_t value[CRLCHECK_MAX_SERIAL];    // constant bits, the others zero
    uint8_t mask[CRLCHECK_MAX_SERIAL];     // which bits are constant
} key_shape;

// table_key is the key of a serial: `low` has shape->low_bits bits, high[0] is the word
// next above it.
typedef struct table_key {
    uint64_t low;
    uint64_t high[KEY_WORDS];
} table_key;

// key_shape_init fills a shape from value and mask, already set, and
// serial_len. It returns false where the mask is not of the form above.
bool key_shape_init(key_shape *shape);

// key_to_serial computes the serial of a mixed key.
void key_to_serial(uint8_t *out_serial, const key_shape *shape, const table_key *key);

// key_gather copies the octets that vary, end to end, where they are no neighbours.
void key_gather(uint8_t *out_octets, const key_shape *shape, const uint8_t *serial);

// key_unmix undoes key_mix.
uint64_t key_unmix(uint64_t x, unsigned num_bits);

// ordered_to_serial computes the serial of an ordered key without high words.
void ordered_to_serial(uint8_t *out_serial, const key_shape *shape, uint64_t key);

// key_mix maps each number of `num_bits` bits to another one. A shift of at least half
// the width makes x ^= x >> s its own inverse.
static inline uint64_t key_mix(uint64_t x, unsigned num_bits) {
    unsigned shift = (num_bits + 1) / 2;
    uint64_t mask = low_bits(num_bits);
    x ^= x >> shift;
    x = (x * KEY_MULTIPLIER_1) & mask;
    x ^= x >> shift;
    x = (x * KEY_MULTIPLIER_2) & mask;
    return x ^ (x >> shift);
}

// key_fold condenses the high words into what is xored to the low one.
ALWAYS_INLINE uint64_t key_fold(const table_key *key, unsigned num_high) {
    uint64_t folded = 0;
    for (unsigned i = 0; i < num_high; i++) {
        folded = (folded ^ key->high[i]) * KEY_MULTIPLIER_1;
        folded ^= folded >> 32;
    }
    return folded;
}

// key_constants_agree compares the constant bits, a word at a time; the last
// word overlaps the one before, so that nothing behind the serial is read.
ALWAYS_INLINE bool key_constants_agree(const key_shape *shape, const uint8_t *serial) {
    uint64_t differing = 0;
    unsigned len = shape->serial_len;
    unsigned end = shape->constant_end;
    if (UNLIKELY(len < 8)) {
        for (unsigned i = 0; i < end; i++) {
            differing |= (unsigned)((serial[i] ^ shape->value[i]) & shape->mask[i]);
        }
        return differing == 0;
    }
    for (unsigned i = 0; i < end; i += 8) {
        unsigned at = i + 8 <= len ? i : len - 8;
        differing |= (load_le64(serial + at) ^ load_le64(shape->value + at)) &
                     load_le64(shape->mask + at);
    }
    return differing == 0;
}

// key_split reads the varying octets, which lie end to end, as words. `num_high` is
// shape->num_high.
ALWAYS_INLINE void key_split(table_key *out_key, const key_shape *shape,
                             unsigned num_high, const uint8_t *octets) {
    unsigned num_varying = shape->num_varying;
    uint64_t top_mask = shape->top_mask;  // for the constant bits above the key
    if (num_high == 0 && UNLIKELY(num_varying < 8)) {
        uint64_t value = 0;
        for (unsigned i = 0; i < num_varying; i++) {
            value = (value << 8) | octets[i];
        }
        out_key->low = value & top_mask;
        return;
    }
    uint64_t low = load_be64(octets + num_varying - 8);
    out_key->low = num_high == 0 ? low & top_mask : low;
    for (unsigned i = 1; i < num_high; i++) {
        out_key->high[i - 1] = load_be64(octets + num_varying - 8 * (i + 1));
    }
    if (num_high > 0) {  // the topmost word has one to eight octets
        unsigned shift = 64 * (num_high + 1) - 8 * num_varying;
        out_key->high[num_high - 1] = load_be64(octets) >> shift & top_mask;
    }
}

// ordered_key does steps 1 and 2 for a serial of shape->serial_len octets. It returns
// false where a constant bit differs: no serial of the table does that.
ALWAYS_INLINE bool ordered_key(table_key *out_key, const key_shape *shape,
                               unsigned num_high, const uint8_t *serial) {
    if (!key_constants_agree(shape, serial)) {
        return false;
    }
    uint8_t gathered[CRLCHECK_MAX_SERIAL];
    const uint8_t *octets = serial + shape->first_varying;
    if (UNLIKELY(!shape->contiguous)) {
        key_gather(gathered, shape, serial);
        octets = gathered;
    }
    key_split(out_key, shape, num_high, octets);
    return true;
}

// key_from_serial does all three steps, or returns false like ordered_key. `num_high` is
// shape->num_high: where the compiler knows it, all loops over words are unrolled.
ALWAYS_INLINE bool key_from_serial(table_key *out_key, const key_shape *shape,
                                   unsigned num_high, const uint8_t *serial) {
    if (!ordered_key(out_key, shape, num_high, serial)) {
        return false;
    }
    unsigned num_bits = num_high > 0 ? 64 : shape->low_bits;
    uint64_t low = out_key->low ^ key_fold(out_key, num_high);
    out_key->low = key_mix(low & low_bits(num_bits), num_bits);
    return true;
}

// key_store writes a key as num_varying bytes and up to seven more, for which the caller
// leaves room. key_load reads it back.
static inline void key_store(uint8_t *out, unsigned num_high, const table_key *key) {
    store_le64(out, key->low);
    for (unsigned i = 0; i < num_high; i++) {
        store_le64(out + 8 * (i + 1), key->high[i]);
    }
}

static inline uint64_t key_load_low(const uint8_t *octets, const key_shape *shape) {
    return load_le64(octets) & low_bits(shape->low_bits);
}

static inline void key_load(table_key *out_key, const uint8_t *octets,
                            const key_shape *shape) {
    out_key->low = key_load_low(octets, shape);
    for (unsigned i = 0; i < shape->num_high; i++) {
        out_key->high[i] = load_le64(octets + 8 * (i + 1));
    }
    if (shape->num_high > 0) {
        out_key->high[shape->num_high - 1] &= shape->top_mask;
    }
}

#endif
