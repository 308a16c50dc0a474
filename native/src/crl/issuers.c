// issuers.c: a sorted array. Insertion moves numbers, but their count is
// limited and nobody can make it slow by choosing names, as with a hash table.

#include "crl/issuers.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ISSUERS = 65535 };

static int compare(crlcheck_slice a, crlcheck_slice b) {
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return memcmp(a.data, b.data, a.len);
}

// find_name finds where `name` stands, or should stand, in the sorted order.
static uint32_t find_name(bool *out_found, const crl_issuers *issuers,
                          crlcheck_slice name) {
    uint32_t low = 0;
    uint32_t high = issuers->num_names;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(issuers->names[issuers->sorted[middle] - 1], name);
        if (order == 0) {
            *out_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out_found = false;
    return low;
}

static bool grow(crl_issuers *issuers) {
    uint32_t capacity = issuers->capacity == 0 ? 16 : issuers->capacity * 2;
    crlcheck_slice *names = realloc(issuers->names, capacity * sizeof *names);
    if (names == NULL) {
        return false;
    }
    issuers->names = names;
    uint32_t *sorted = realloc(issuers->sorted, capacity * sizeof *sorted);
    if (sorted == NULL) {
        return false;
    }
    issuers->sorted = sorted;
    issuers->capacity = capacity;
    return true;
}

crlcheck_status crl_issuers_number(uint32_t *out_number, crl_issuers *issuers,
                                   crlcheck_slice name) {
    bool found;
    uint32_t place = find_name(&found, issuers, name);
    if (found) {
        *out_number = issuers->sorted[place];
        return CRLCHECK_OK;
    }
    if (issuers->num_names == MAX_ISSUERS) {
        return CRLCHECK_LIMIT_EXCEEDED;
    }
    if (issuers->num_names == issuers->capacity && !grow(issuers)) {
        return CRLCHECK_NO_MEMORY;
    }
    uint8_t *copy = malloc(name.len);
    if (copy == NULL) {
        return CRLCHECK_NO_MEMORY;
    }
    memcpy(copy, name.data, name.len);
    issuers->names[issuers->num_names] = (crlcheck_slice){copy, name.len};
    memmove(issuers->sorted + place + 1, issuers->sorted + place,
            (issuers->num_names - place) * sizeof *issuers->sorted);
    issuers->num_names++;
    issuers->sorted[place] = issuers->num_names;
    *out_number = issuers->num_names;
    return CRLCHECK_OK;
}

void crl_issuers_clear(crl_issuers *issuers) {
    for (uint32_t i = 0; i < issuers->num_names; i++) {
        free((void *)(uintptr_t)issuers->names[i].data);
    }
    free(issuers->names);
    free(issuers->sorted);
    *issuers = (crl_issuers){0};
}
