// bytes.h: little-endian and big-endian loads and stores at any alignment.

#ifndef CRLCHECK_BASE_BYTES_H
#define CRLCHECK_BASE_BYTES_H

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

#endif
