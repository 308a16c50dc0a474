// reference.h: revoked entries in an array that is sorted with qsort and searched with
// bsearch. The answers of the core are compared with it.

#ifndef CRLCHECK_FUZZ_REFERENCE_H
#define CRLCHECK_FUZZ_REFERENCE_H

#include <stdlib.h>
#include <string.h>

#include "crlcheck.h"
#include "harness.h"

typedef struct reference_entry {
    uint32_t certificate_issuer;
    uint8_t serial_len;
    uint8_t serial[CRLCHECK_MAX_SERIAL];
    size_t order;  // in the CRL
    int64_t revocation_date;
    int64_t invalidity_date;
    bool has_invalidity_date;
    uint8_t reason_code;
    bool seen;
} reference_entry;

typedef struct reference {
    reference_entry *entries;
    size_t num_entries;
    size_t capacity;
} reference;

static inline void reference_add(reference *all, const crlcheck_entry *entry) {
    require(entry->serial.len >= 1 && entry->serial.len <= CRLCHECK_MAX_SERIAL);
    if (all->num_entries == all->capacity) {
        all->capacity = all->capacity * 2 + 16;
        all->entries = realloc(all->entries, all->capacity * sizeof *all->entries);
        require(all->entries != NULL);
    }
    reference_entry *added = &all->entries[all->num_entries];
    *added = (reference_entry){.certificate_issuer = entry->certificate_issuer,
                               .serial_len = (uint8_t)entry->serial.len,
                               .order = all->num_entries,
                               .revocation_date = entry->revocation_date,
                               .invalidity_date = entry->invalidity_date,
                               .has_invalidity_date = entry->has_invalidity_date,
                               .reason_code = entry->reason_code};
    memcpy(added->serial, entry->serial.data, entry->serial.len);
    all->num_entries++;
}

static inline int reference_compare_keys(const void *first, const void *second) {
    const reference_entry *a = first;
    const reference_entry *b = second;
    if (a->certificate_issuer != b->certificate_issuer) {
        return a->certificate_issuer < b->certificate_issuer ? -1 : 1;
    }
    if (a->serial_len != b->serial_len) {
        return a->serial_len < b->serial_len ? -1 : 1;
    }
    return memcmp(a->serial, b->serial, a->serial_len);
}

static inline int reference_compare(const void *first, const void *second) {
    const reference_entry *a = first;
    const reference_entry *b = second;
    int order = reference_compare_keys(a, b);
    return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

static inline void reference_fold(reference_entry *kept,
                                  const reference_entry *duplicate) {
    enum { CERTIFICATE_HOLD = 6, REMOVE_FROM_CRL = 8 };
    if (duplicate->revocation_date < kept->revocation_date) {
        kept->revocation_date = duplicate->revocation_date;
    }
    bool kept_lasts =
        kept->reason_code != CERTIFICATE_HOLD && kept->reason_code != REMOVE_FROM_CRL;
    bool other_lasts = duplicate->reason_code != CERTIFICATE_HOLD &&
                       duplicate->reason_code != REMOVE_FROM_CRL;
    if (!kept_lasts && other_lasts) {
        kept->reason_code = duplicate->reason_code;
    } else if (!kept_lasts && kept->reason_code != duplicate->reason_code) {
        kept->reason_code = CRLCHECK_NO_REASON;
    }
    if (duplicate->has_invalidity_date &&
        (!kept->has_invalidity_date ||
         duplicate->invalidity_date < kept->invalidity_date)) {
        kept->invalidity_date = duplicate->invalidity_date;
        kept->has_invalidity_date = true;
    }
}

// reference_merge sorts, merges duplicates as crlcheck_builder_sort promises to,
// and returns how many there were.
static inline size_t reference_merge(reference *all) {
    if (all->num_entries == 0) {
        return 0;
    }
    qsort(all->entries, all->num_entries, sizeof *all->entries, reference_compare);
    size_t kept = 0;
    for (size_t i = 1; i < all->num_entries; i++) {
        if (reference_compare_keys(&all->entries[kept], &all->entries[i]) == 0) {
            reference_fold(&all->entries[kept], &all->entries[i]);
        } else {
            all->entries[++kept] = all->entries[i];
        }
    }
    size_t num_duplicates = all->num_entries - (kept + 1);
    all->num_entries = kept + 1;
    return num_duplicates;
}

// reference_find returns NULL where no such entry is.
static inline reference_entry *reference_find(const reference *all,
                                              uint32_t certificate_issuer,
                                              const uint8_t *serial, size_t serial_len) {
    if (all->num_entries == 0 || serial_len == 0 || serial_len > CRLCHECK_MAX_SERIAL) {
        return NULL;
    }
    reference_entry wanted = {.certificate_issuer = certificate_issuer,
                              .serial_len = (uint8_t)serial_len};
    memcpy(wanted.serial, serial, serial_len);
    return bsearch(&wanted, all->entries, all->num_entries, sizeof *all->entries,
                   reference_compare_keys);
}

#endif
