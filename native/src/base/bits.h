// bits.h: bit fields, and counting and finding the ones of a word.

#ifndef CRLCHECK_BASE_BITS_H
#define CRLCHECK_BASE_BITS_H

#include "base/bytes.h"

// ALWAYS_INLINE is for functions that are called with a constant: left to themselves,
// compilers make one copy of a large one, for all values.
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// UNLIKELY marks a condition that few tables meet, so that what they need lies apart. A
// lookup after a pause has to fetch its instructions from memory, too.
#define UNLIKELY(condition) __builtin_expect((condition), false)
#define NEVER_INLINE __attribute__((noinline))

// low_bits is a mask of the lowest `num_bits`, 0 to 64.
static inline uint64_t low_bits(unsigned num_bits) {
    return num_bits >= 64 ? UINT64_MAX : (UINT64_C(1) << num_bits) - 1;
}

// count_bits counts the ones of each byte and of those below it, so that the top byte
// of the result counts them all. Not all processors that a wheel must run on have an
// instruction for that, and without one the compiler calls a function.
static inline uint64_t count_bits(uint64_t word) {
    word -= (word >> 1) & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) +
           ((word >> 2) & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return word * UINT64_C(0x0101010101010101);
}

// bytes_not_above counts the bytes of a word that are not above `number`. The bytes are
// in ascending order, the last is above `number`, and all are below 128.
static inline unsigned bytes_not_above(uint64_t bytes, unsigned number) {
    uint64_t top_bits = UINT64_C(0x8080808080808080);
    uint64_t reached = (number * UINT64_C(0x0101010101010101) | top_bits) - bytes;
    return (unsigned)__builtin_ctzll(~reached & top_bits) / 8;
}

// select_bit returns the place of one of the ones of `word`: that of `number`, counted
// from 0, which there is. `counts` is count_bits(word).
static inline unsigned select_bit(uint64_t word, uint64_t counts, unsigned number) {
    unsigned place = bytes_not_above(counts, number) * 8;
    unsigned before = (unsigned)(counts << 8 >> place) & 0xff;
    // The same within the byte, whose bits are spread over eight: a loop over them would
    // be mispredicted every other time.
    uint64_t byte = (word >> place & 0xff) * UINT64_C(0x0101010101010101);
    uint64_t spread =
        (byte & UINT64_C(0x8040201008040201)) + UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t inner =
        (spread >> 7 & UINT64_C(0x0101010101010101)) * UINT64_C(0x0101010101010101);
    return place + bytes_not_above(inner, number - before);
}

// read_bits reads a field of up to 64 bits from a little-endian bit stream.
static inline uint64_t read_bits(const uint8_t *data, uint64_t bit, unsigned num_bits) {
    const uint8_t *octets = data + bit / 8;
    unsigned shift = (unsigned)(bit % 8);
    uint64_t value = load_le64(octets) >> shift;
    // No branch: whether a field ends in the ninth byte cannot be predicted.
    value |= (uint64_t)octets[8] << 1 << (63 - shift);
    return value & low_bits(num_bits);
}

#endif
