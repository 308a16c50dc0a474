// key.c: finds out which bits are constant, and turns a key back into a serial.

#include "image/key.h"

#include <string.h>

// Inverses of the multipliers modulo 2^64, and so modulo any smaller power of two.
static const uint64_t inverse_1 = UINT64_C(0x4f74430c22a54005);
static const uint64_t inverse_2 = UINT64_C(0x9cb4b2f8129337db);

uint64_t key_unmix(uint64_t x, unsigned num_bits) {
    unsigned shift = (num_bits + 1) / 2;
    uint64_t mask = low_bits(num_bits);
    x ^= x >> shift;
    x = (x * inverse_2) & mask;
    x ^= x >> shift;
    x = (x * inverse_1) & mask;
    return x ^ (x >> shift);
}

bool key_shape_init(key_shape *shape) {
    unsigned leading_bits = 0;
    shape->num_varying = 0;
    shape->first_varying = 0;
    shape->constant_end = 0;
    for (unsigned i = 0; i < shape->serial_len; i++) {
        uint8_t mask = shape->mask[i];
        if ((shape->value[i] & (uint8_t)~mask) != 0) {
            return false;
        }
        shape->constant_end = mask != 0 ? i + 1 : shape->constant_end;
        if (mask == 0xff) {
            continue;
        }
        if (shape->num_varying == 0) {
            // Only leading bits may be constant: the others are 2^n - 1.
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
    shape->num_high = (shape->num_varying + 7) / 8;
    shape->num_high -= shape->num_high > 0 ? 1 : 0;
    shape->top_mask = low_bits(shape->key_bits - 64 * shape->num_high);
    shape->contiguous =
        shape->num_varying == 0 ||
        shape->varying[shape->num_varying - 1] - shape->first_varying + 1U ==
            shape->num_varying;
    return true;
}

void key_gather(uint8_t *out_octets, const key_shape *shape, const uint8_t *serial) {
    for (unsigned i = 0; i < shape->num_varying; i++) {
        out_octets[i] = serial[shape->varying[i]];
    }
}

// put_words puts the words of an ordered key where the serial varies.
static void put_words(uint8_t *out_serial, const key_shape *shape, uint64_t low,
                      const uint64_t *high) {
    uint64_t word = low & low_bits(shape->low_bits);
    memcpy(out_serial, shape->value, shape->serial_len);
    unsigned left = shape->num_varying;
    for (unsigned i = 0; left > 0; i++) {
        for (unsigned j = 0; j < 8 && left > 0; j++) {
            left--;
            out_serial[shape->varying[left]] |= (uint8_t)word;
            word >>= 8;
        }
        word = i < shape->num_high ? high[i] : 0;
    }
}

void key_to_serial(uint8_t *out_serial, const key_shape *shape, const table_key *key) {
    uint64_t low = key_unmix(key->low, shape->low_bits);
    put_words(out_serial, shape, low ^ key_fold(key, shape->num_high), key->high);
}

void ordered_to_serial(uint8_t *out_serial, const key_shape *shape, uint64_t key) {
    put_words(out_serial, shape, key, NULL);
}
