// counts.h: the counts of a line of buckets, four bits each, and how they are added up.

#ifndef CRLCHECK_IMAGE_COUNTS_H
#define CRLCHECK_IMAGE_COUNTS_H

#include "base/bits.h"
#include "image/format.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// count_at returns how many entries bucket `number` of a line has.
static inline unsigned count_at(const uint8_t *line, unsigned number) {
    return line[LINE_COUNTS + number / 2] >> number % 2 * 4 & LARGEST_COUNT;
}

// sum_by_words adds up the counts of the buckets before `number`, a word at a time.
static inline unsigned sum_by_words(const uint8_t *line, unsigned number) {
    const uint64_t nibbles = UINT64_C(0x0f0f0f0f0f0f0f0f);
    const uint64_t octets = UINT64_C(0x00ff00ff00ff00ff);
    unsigned end = 8 * LINE_COUNTS + 4 * number;  // in bits, from the start of the line
    uint64_t sums = 0;  // of every eighth byte: 240 at most
    for (unsigned i = 0; i < LINE_SIZE / 8; i++) {
        uint64_t word = load_le64(line + 8 * i);
        word &= low_bits(end > 64 * i ? end - 64 * i : 0);
        word &= i == 0 ? UINT64_MAX << 8 * LINE_COUNTS : UINT64_MAX;
        sums += (word & nibbles) + (word >> 4 & nibbles);
    }
    sums = (sums & octets) + (sums >> 8 & octets);
    return (unsigned)(sums * UINT64_C(0x0001000100010001) >> 48);
}

#if defined(__SSE2__) || (defined(__aarch64__) && defined(__ARM_NEON))

// The 64 bytes from `LINE_SIZE - n` on are n times ones, then zeros.
#define ONES_8 255, 255, 255, 255, 255, 255, 255, 255
static const uint8_t counts_window[2 * LINE_SIZE] = {ONES_8, ONES_8, ONES_8, ONES_8,
                                                     ONES_8, ONES_8, ONES_8, ONES_8};
#undef ONES_8

// sum_whole_octets adds up the counts in the bytes of a line from LINE_COUNTS to the one
// before `end`. They are 120 at most in each column of the sum.
static inline unsigned sum_whole_octets(const uint8_t *line, unsigned end) {
    const uint8_t *window = counts_window + LINE_SIZE - end;
#if defined(__SSE2__)
    const __m128i nibble = _mm_set1_epi8(LARGEST_COUNT);
    const __m128i counts = _mm_setr_epi32(0, -1, -1, -1);
    __m128i sums = _mm_setzero_si128();
    for (unsigned i = 0; i < LINE_SIZE; i += 16) {
        __m128i octets = _mm_and_si128(_mm_loadu_si128((const __m128i *)(line + i)),
                                       _mm_loadu_si128((const __m128i *)(window + i)));
        octets = i == 0 ? _mm_and_si128(octets, counts) : octets;
        sums = _mm_add_epi8(sums, _mm_and_si128(octets, nibble));
        sums = _mm_add_epi8(sums, _mm_and_si128(_mm_srli_epi16(octets, 4), nibble));
    }
    sums = _mm_sad_epu8(sums, _mm_setzero_si128());
    return (unsigned)_mm_cvtsi128_si32(sums) + (unsigned)_mm_extract_epi16(sums, 4);
#else
    const uint8x16_t nibble = vdupq_n_u8(LARGEST_COUNT);
    const uint8x16_t counts =
        vreinterpretq_u8_u32(vsetq_lane_u32(0, vdupq_n_u32(UINT32_MAX), 0));
    uint8x16_t sums = vdupq_n_u8(0);
    for (unsigned i = 0; i < LINE_SIZE; i += 16) {
        uint8x16_t octets = vandq_u8(vld1q_u8(line + i), vld1q_u8(window + i));
        octets = i == 0 ? vandq_u8(octets, counts) : octets;
        sums = vaddq_u8(sums, vandq_u8(octets, nibble));
        sums = vaddq_u8(sums, vshrq_n_u8(octets, 4));
    }
    return vaddlvq_u8(sums);
#endif
}

// sum_counts adds up the counts of the buckets before `number`.
static inline unsigned sum_counts(const uint8_t *line, unsigned number) {
    unsigned end = LINE_COUNTS + number / 2;
    unsigned odd = line[end] & (0U - number % 2) & LARGEST_COUNT;
    return sum_whole_octets(line, end) + odd;
}

#else

static inline unsigned sum_counts(const uint8_t *line, unsigned number) {
    return sum_by_words(line, number);
}

#endif

#endif
