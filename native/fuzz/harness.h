// harness.h: checks, exact copies and choices for the fuzz targets.

#ifndef CRLCHECK_FUZZ_HARNESS_H
#define CRLCHECK_FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// require ends the run if a promise of the core does not hold.
static inline void require(bool held) {
    if (!held) {
        abort();
    }
}

// copy_exactly gives a copy that ends where its memory ends, so that
// AddressSanitizer sees a read of one byte too many. No input is one byte of
// which none may be read.
static inline uint8_t *copy_exactly(const uint8_t *data, size_t size) {
    require(size <= PTRDIFF_MAX);
    uint8_t *copy = calloc(size, 1);
    require(copy != NULL || size == 0);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

// choices is a stream of numbers that follows from the input alone, so that an
// input that fails does so again, and is itself a CRL or an image and nothing
// else: it can become a test vector as it stands.
typedef struct choices {
    uint64_t state;
} choices;

static inline choices choices_from(const uint8_t *data, size_t size) {
    choices made = {UINT64_C(0xcbf29ce484222325)};  // FNV-1a
    for (size_t i = 0; i < size; i++) {
        made.state = (made.state ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return made;
}

// choose returns a number below `limit`.
static inline size_t choose(choices *made, size_t limit) {
    made->state += UINT64_C(0x9e3779b97f4a7c15);  // splitmix64
    uint64_t z = made->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((z ^ (z >> 31)) % limit);
}

#endif
