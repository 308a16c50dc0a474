// bit_writer.h: appends fields to a little-endian bit stream.

#ifndef CRLCHECK_BASE_BIT_WRITER_H
#define CRLCHECK_BASE_BIT_WRITER_H

#include "base/bytes.h"

// bit_writer writes at `out`, whose first byte already holds `filled` bits. It writes
// each field as nine bytes, so that many must be free behind `out`.
typedef struct bit_writer {
    uint8_t *out;
    unsigned filled;  // 0 to 7
    uint8_t partial;  // the byte that holds them
} bit_writer;

// bit_writer_put appends the low `num_bits`, 0 to 64; `value` has no others. It has no
// branch: fields end anywhere, so none could be predicted.
static inline void bit_writer_put(bit_writer *writer, uint64_t value, unsigned num_bits) {
    unsigned filled = writer->filled;
    uint64_t word = writer->partial | value << filled;
    uint8_t above = (uint8_t)(value >> 1 >> (63 - filled));
    store_le64(writer->out, word);
    writer->out[8] = above;
    unsigned end = filled + num_bits;
    writer->out += end / 8;
    writer->filled = end % 8;
    // With up to seven bits more than 64, the last byte is the ninth.
    writer->partial = end < 64 ? (uint8_t)(word >> (end & 56)) : above;
}

#endif
