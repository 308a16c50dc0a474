// mutate_der.h: mutations that keep DER whole. A mutation at random nearly always
// leaves the lengths around it wrong, and nothing behind the first wrong length is
// ever read; here one element is changed and the lengths around it follow.

#ifndef CRLCHECK_FUZZ_MUTATE_DER_H
#define CRLCHECK_FUZZ_MUTATE_DER_H

#include <stdlib.h>
#include <string.h>

#include "harness.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { MUTATE_MAX_DEPTH = 16 };

typedef struct der_span {
    size_t start;
    size_t contents;
    size_t end;
} der_span;

// span_at finds the element at `start`, if it is whole.
static inline bool span_at(der_span *out, const uint8_t *data, size_t start, size_t end) {
    if (start >= end || end - start < 2) {
        return false;
    }
    size_t contents = start + 2;
    size_t len = data[start + 1];
    if (len >= 0x80) {
        size_t num_octets = len & 0x7f;
        if (num_octets == 0 || num_octets > 4 || end - contents < num_octets) {
            return false;
        }
        len = 0;
        for (size_t i = 0; i < num_octets; i++) {
            len = (len << 8) | data[contents++];
        }
    }
    if (len > end - contents) {
        return false;
    }
    *out = (der_span){start, contents, contents + len};
    return true;
}

// pick_child picks one of the elements that fill another one.
static inline bool pick_child(der_span *out, choices *made, const uint8_t *data,
                              const der_span *parent) {
    size_t num_children = 0;
    der_span child;
    for (size_t at = parent->contents; span_at(&child, data, at, parent->end);
         at = child.end) {
        num_children++;
        if (choose(made, num_children) == 0) {  // each is picked as likely as any other
            *out = child;
        }
    }
    return num_children > 0;
}

static inline size_t put_header(uint8_t *out, uint8_t tag, size_t len) {
    out[0] = tag;
    if (len < 0x80) {
        out[1] = (uint8_t)len;
        return 2;
    }
    size_t num_octets = len < 0x100 ? 1 : len < 0x10000 ? 2 : 3;
    out[1] = (uint8_t)(0x80 | num_octets);
    for (size_t i = 0; i < num_octets; i++) {
        out[2 + i] = (uint8_t)(len >> (8 * (num_octets - 1 - i)));
    }
    return 2 + num_octets;
}

// change_element writes a changed copy of an element to `out`.
static inline size_t change_element(uint8_t *out, size_t capacity, choices *made,
                                    const uint8_t *data, const der_span *element) {
    size_t len = element->end - element->start;
    size_t contents_len = element->end - element->contents;
    switch (choose(made, 8)) {
    case 0:
        return 0;
    case 1:  // twice
        memcpy(out, data + element->start, len);
        memcpy(out + len, data + element->start, len);
        return 2 * len;
    case 2:  // header and all
        memcpy(out, data + element->start, len);
        return LLVMFuzzerMutate(out, len, capacity);
    default: {
        uint8_t *contents = out + 8;
        memcpy(contents, data + element->contents, contents_len);
        size_t changed = LLVMFuzzerMutate(contents, contents_len, capacity - 8);
        size_t header_len = put_header(out, data[element->start], changed);
        memmove(out + header_len, contents, changed);
        return header_len + changed;
    }
    }
}

// mutate_der returns the size of what it leaves in `data`, or 0 where the input
// is no DER, or the result too large.
static inline size_t mutate_der(uint8_t *data, size_t size, size_t max_size,
                                choices *made) {
    der_span path[MUTATE_MAX_DEPTH];
    if (!span_at(&path[0], data, 0, size)) {
        return 0;
    }
    size_t depth = 0;
    while (depth + 1 < MUTATE_MAX_DEPTH && choose(made, 8) != 0 &&
           pick_child(&path[depth + 1], made, data, &path[depth])) {
        depth++;
    }
    size_t capacity = 2 * max_size + 8 * MUTATE_MAX_DEPTH;
    uint8_t *changed = malloc(2 * capacity);
    uint8_t *around = malloc(2 * capacity);
    require(changed != NULL && around != NULL);
    size_t len = change_element(changed, capacity, made, data, &path[depth]);
    for (size_t i = depth; i > 0 && len <= max_size; i--) {
        const der_span *parent = &path[i - 1];
        size_t before = path[i].start - parent->contents;
        size_t after = parent->end - path[i].end;
        size_t at = put_header(around, data[parent->start], before + len + after);
        memcpy(around + at, data + parent->contents, before);
        memcpy(around + at + before, changed, len);
        memcpy(around + at + before + len, data + path[i].end, after);
        len += at + before + after;
        uint8_t *swapped = changed;
        changed = around;
        around = swapped;
    }
    if (len <= max_size) {
        memcpy(data, changed, len);
    }
    free(changed);
    free(around);
    return len <= max_size ? len : 0;
}

#endif
