// octets.h: little-endian and big-endian loads and stores at any alignment.

#ifndef CRLCHECK_OCTETS_H
#define CRLCHECK_OCTETS_H

#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the image is little-endian and is read as it stands; port these loads first"
#endif

static inline uint64_t load_le64(const uint8_t *data) {
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

static inline uint32_t load_le32(const uint8_t *data) {
    uint32_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

static inline uint16_t load_le16(const uint8_t *data) {
    uint16_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

static inline uint64_t load_be64(const uint8_t *data) {
    return __builtin_bswap64(load_le64(data));
}

static inline void store_le64(uint8_t *data, uint64_t value) {
    memcpy(data, &value, sizeof value);
}

static inline void store_le32(uint8_t *data, uint32_t value) {
    memcpy(data, &value, sizeof value);
}

static inline void store_le16(uint8_t *data, uint16_t value) {
    memcpy(data, &value, sizeof value);
}

// low_bits is a mask of the lowest `num_bits`, 0 to 64.
static inline uint64_t low_bits(unsigned num_bits) {
    return num_bits >= 64 ? UINT64_MAX : (UINT64_C(1) << num_bits) - 1;
}

// select_bit returns the place of one bit of `word`: number `number` from 0.
static inline unsigned select_bit(uint64_t word, unsigned number) {
    for (; number > 0; number--) {
        word &= word - 1;
    }
    return (unsigned)__builtin_ctzll(word);
}

#endif
