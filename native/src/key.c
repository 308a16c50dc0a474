// key.c: constant bits out, mix, and back.

#include "key.h"

// Odd multipliers of a well-known 64-bit finaliser (MurmurHash3), and their
// inverses modulo 2^64, which are inverses modulo any smaller power of two too.
static const uint64_t multiplier_1 = UINT64_C(0xff51afd7ed558ccd);
static const uint64_t multiplier_2 = UINT64_C(0xc4ceb9fe1a85ec53);
static const uint64_t inverse_1 = UINT64_C(0x4f74430c22a54005);
static const uint64_t inverse_2 = UINT64_C(0x9cb4b2f8129337db);

// A shift of at least half the width makes x ^= x >> s its own inverse.
static uint64_t mix(uint64_t x, unsigned num_bits) {
    unsigned shift = (num_bits + 1) / 2;
    uint64_t mask = low_bits(num_bits);
    x ^= x >> shift;
    x = (x * multiplier_1) & mask;
    x ^= x >> shift;
    x = (x * multiplier_2) & mask;
    return x ^ (x >> shift);
}

static uint64_t unmix(uint64_t x, unsigned num_bits) {
    unsigned shift = (num_bits + 1) / 2;
    uint64_t mask = low_bits(num_bits);
    x ^= x >> shift;
    x = (x * inverse_2) & mask;
    x ^= x >> shift;
    x = (x * inverse_1) & mask;
    return x ^ (x >> shift);
}

// fold condenses the high words into what is xored to the low one.
static uint64_t fold(const table_key *key, unsigned num_high) {
    uint64_t folded = 0;
    for (unsigned i = 0; i < num_high; i++) {
        folded = (folded ^ key->high[i]) * multiplier_1;
        folded ^= folded >> 32;
    }
    return folded;
}

bool key_shape_init(key_shape *shape) {
    unsigned leading_bits = 0;
    shape->num_varying = 0;
    for (unsigned i = 0; i < shape->serial_len; i++) {
        uint8_t mask = shape->mask[i];
        if ((shape->value[i] & (uint8_t)~mask) != 0) {
            return false;
        }
        if (mask == 0xff) {
            continue;
        }
        if (shape->num_varying == 0) {
            // Only leading ones: adding the lowest of them carries out.
            unsigned inverse = (uint8_t)~mask;
            if ((inverse & (inverse + 1)) != 0) {
                return false;
            }
            leading_bits = (unsigned)__builtin_popcount(mask);
            shape->first_varying = i;
        } else if (mask != 0) {
            return false;
        }
        shape->varying[shape->num_varying++] = (uint8_t)i;
    }
    shape->key_bits = shape->num_varying * 8 - leading_bits;
    shape->low_bits = shape->key_bits < 64 ? shape->key_bits : 64;
    shape->num_high = (shape->key_bits - shape->low_bits + 63) / 64;
    shape->contiguous =
        shape->num_varying == 0 ||
        shape->varying[shape->num_varying - 1] - shape->first_varying + 1U ==
            shape->num_varying;
    return true;
}

// load_partial reads `len` big-endian octets, at most 8.
static uint64_t load_partial(const uint8_t *data, unsigned len) {
    uint64_t value = 0;
    for (unsigned i = 0; i < len; i++) {
        value = (value << 8) | data[i];
    }
    return value;
}

// split reads the varying octets as words, the last octets first.
static void split(table_key *out_key, const key_shape *shape, const uint8_t *octets) {
    unsigned left = shape->num_varying;
    unsigned len = left < 8 ? left : 8;
    left -= len;
    out_key->low = len == 8 ? load_be64(octets + left) : load_partial(octets, len);
    for (unsigned i = 0; i < shape->num_high; i++) {
        len = left < 8 ? left : 8;
        left -= len;
        out_key->high[i] =
            len == 8 ? load_be64(octets + left) : load_partial(octets, len);
    }
}

// drop_leading clears the constant bits above the key in its topmost word.
static void drop_leading(table_key *key, const key_shape *shape) {
    if (shape->num_high == 0) {
        key->low &= low_bits(shape->low_bits);
    } else {
        unsigned top_bits = shape->key_bits - 64 * shape->num_high;
        key->high[shape->num_high - 1] &= low_bits(top_bits);
    }
}

static bool constants_agree(const key_shape *shape, const uint8_t *serial) {
    unsigned differing = 0;
    for (unsigned i = 0; i < shape->serial_len; i++) {
        differing |= (unsigned)((serial[i] ^ shape->value[i]) & shape->mask[i]);
    }
    return differing == 0;
}

bool key_from_serial(table_key *out_key, const key_shape *shape, const uint8_t *serial) {
    if (!constants_agree(shape, serial)) {
        return false;
    }
    if (shape->contiguous) {
        split(out_key, shape, serial + shape->first_varying);
    } else {
        uint8_t gathered[CRLCHECK_MAX_SERIAL];
        for (unsigned i = 0; i < shape->num_varying; i++) {
            gathered[i] = serial[shape->varying[i]];
        }
        split(out_key, shape, gathered);
    }
    drop_leading(out_key, shape);
    uint64_t low = out_key->low ^ fold(out_key, shape->num_high);
    out_key->low = mix(low & low_bits(shape->low_bits), shape->low_bits);
    return true;
}

void key_to_serial(uint8_t *out_serial, const key_shape *shape, const table_key *key) {
    uint64_t word = unmix(key->low, shape->low_bits) ^ fold(key, shape->num_high);
    word &= low_bits(shape->low_bits);
    memcpy(out_serial, shape->value, shape->serial_len);
    unsigned left = shape->num_varying;
    for (unsigned i = 0; left > 0; i++) {
        for (unsigned j = 0; j < 8 && left > 0; j++) {
            left--;
            out_serial[shape->varying[left]] |= (uint8_t)word;
            word >>= 8;
        }
        word = i < shape->num_high ? key->high[i] : 0;
    }
}
