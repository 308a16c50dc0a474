// rows.c: sorts rows by group, and gives them verdicts.
//
// A row is the serial number of a certificate, its group the certificate's issuer or kind.
// Of a group it is known what is said of a serial that no CRL lists, and in which images
// to look (crlcheck/columns). So:
//
// 1. Rows are sorted by group, their octets with them, so that a group is looked up in
//    one call, and its image stays in the cache.
// 2. The rows that an image lists are flagged, and those that are asked for one by one.
// 3. Each row gets the verdict of its group, then the flagged ones that of their entry.
// 4. Verdicts are numbers till then. Each column is an index for each verdict.

#include <string.h>

#include "crlcheck_columns.h"
#include "reader/batch.h"
#include "reader/lookup.h"

enum { MICROSECONDS = 1000000 };

// The first and last second of the years 1 and 9999.
#define FIRST_SECOND INT64_C(-62135596800)
#define LAST_SECOND INT64_C(253402300799)

void crlcheck_rows_number(int32_t *out_numbers, const int32_t *indices,
                          const uint8_t *validity, uint64_t first, const int32_t *numbers,
                          size_t num_numbers, size_t num_rows) {
    for (size_t i = 0; i < num_rows; i++) {
        uint64_t bit = first + i;
        int32_t number = CRLCHECK_GROUP_NO_VALUE;
        if (validity == NULL || (validity[bit / 8] >> (bit % 8) & 1) != 0) {
            // A negative index is a large one.
            bool is_known = (uint32_t)indices[i] < num_numbers;
            number = is_known ? numbers[indices[i]] : CRLCHECK_GROUP_UNKNOWN;
        }
        out_numbers[i] = number;
    }
}

// ---- groups ----

static bool is_left_out(const int32_t *groups, const uint8_t *states, size_t row) {
    return groups[row] < 0 || (states != NULL && states[row] != CRLCHECK_ROW_SERIAL);
}

// place_rows copies each row to the place of its group. `starts` are moved on.
static inline void place_rows(uint32_t *out_order, uint8_t *out_rows, uint32_t *starts,
                              const int32_t *groups, const uint8_t *states,
                              const uint8_t *rows, size_t num_rows, size_t width) {
    for (size_t i = 0; i < num_rows; i++) {
        if (!is_left_out(groups, states, i)) {
            uint32_t place = starts[groups[i]]++;
            out_order[place] = (uint32_t)i;
            memcpy(out_rows + place * width, rows + i * width, width);
        }
    }
}

void crlcheck_rows_group(uint32_t *out_order, uint8_t *out_rows, uint32_t *out_starts,
                         const int32_t *groups, const uint8_t *states,
                         const uint8_t *rows, size_t num_rows, uint32_t width,
                         uint32_t num_groups) {
    memset(out_starts, 0, (num_groups + (size_t)1) * sizeof *out_starts);
    for (size_t i = 0; i < num_rows; i++) {
        out_starts[is_left_out(groups, states, i) ? num_groups : (uint32_t)groups[i]]++;
    }
    uint32_t start = 0;
    for (uint32_t group = 0; group <= num_groups; group++) {
        uint32_t count = out_starts[group];
        out_starts[group] = start;
        start += count;
    }
    // A copy of a constant width takes a few instructions.
    if (width == 16) {
        place_rows(out_order, out_rows, out_starts, groups, states, rows, num_rows, 16);
    } else if (width == 20) {
        place_rows(out_order, out_rows, out_starts, groups, states, rows, num_rows, 20);
    } else if (width == 8) {
        place_rows(out_order, out_rows, out_starts, groups, states, rows, num_rows, 8);
    } else {
        place_rows(out_order, out_rows, out_starts, groups, states, rows, num_rows,
                   width);
    }
    // Each start is now where the next group begins.
    memmove(out_starts + 1, out_starts, num_groups * sizeof *out_starts);
    out_starts[0] = 0;
}

// ---- flags ----

static size_t slot_of(uint64_t key, size_t num_slots) {
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (num_slots - 1);
}

void crlcheck_rows_join(uint8_t *flags, const uint8_t *listed, size_t num_rows) {
    for (size_t i = 0; i < num_rows; i++) {
        flags[i] |= listed[i];
    }
}

void crlcheck_rows_key(uint64_t *keys, size_t num_slots, uint64_t key) {
    size_t slot = slot_of(key, num_slots);
    while (keys[slot] != 0 && keys[slot] != key) {
        slot = (slot + 1) & (num_slots - 1);
    }
    keys[slot] = key;
}

static bool has_key(const uint64_t *keys, size_t num_slots, uint64_t key) {
    size_t slot = slot_of(key, num_slots);
    while (keys[slot] != 0 && keys[slot] != key) {
        slot = (slot + 1) & (num_slots - 1);
    }
    return keys[slot] == key;  // zero is the number of a free slot
}

void crlcheck_rows_mark(uint8_t *flags, const uint8_t *rows, size_t num_rows,
                        uint32_t width, const uint64_t *keys, size_t num_slots) {
    uint32_t len = width < 8 ? width : 8;
    for (size_t i = 0; i < num_rows; i++) {
        const uint8_t *end = rows + (i + 1) * width;
        uint64_t key = 0;
        for (const uint8_t *octet = end - len; octet < end; octet++) {
            key = key << 8 | *octet;
        }
        if (key == 0 || has_key(keys, num_slots, key)) {
            flags[i] |= CRLCHECK_ROW_APART;
        }
    }
}

// ---- verdicts ----

void crlcheck_rows_fill(int32_t *out_verdicts, const int32_t *groups, size_t num_rows,
                        const int32_t *verdicts_by_group) {
    for (size_t i = 0; i < num_rows; i++) {
        out_verdicts[i] = groups[i] < 0 ? 0 : verdicts_by_group[groups[i]];
    }
}

size_t crlcheck_rows_flagged(uint32_t *out_places, const uint8_t *flags,
                             size_t num_rows) {
    size_t num_places = 0;
    size_t i = 0;
    for (; i + 8 <= num_rows; i += 8) {
        uint64_t eight;
        memcpy(&eight, flags + i, 8);
        if (eight != 0) {  // few rows have a flag
            for (size_t j = i; j < i + 8; j++) {
                out_places[num_places] = (uint32_t)j;
                num_places += flags[j] != 0;
            }
        }
    }
    for (; i < num_rows; i++) {
        out_places[num_places] = (uint32_t)i;
        num_places += flags[i] != 0;
    }
    return num_places;
}

static void put_date(int64_t *column, uint8_t *validity, uint32_t row, int64_t date) {
    column[row] = date;
    validity[row / 8] = (uint8_t)(validity[row / 8] | 1U << row % 8);
}

void crlcheck_rows_date(int64_t *column, uint8_t *validity, const uint8_t *flags,
                        const uint32_t *order, size_t num_rows, int64_t date) {
    for (size_t i = 0; i < num_rows; i++) {
        if (flags[i] == 0) {
            put_date(column, validity, order[i], date);
        }
    }
}

static bool is_date(bool is_there, int64_t seconds) {
    return !is_there || (seconds >= FIRST_SECOND && seconds <= LAST_SECOND);
}

// find_row finds the entry of an unsigned big-endian row.
static bool find_row(const crlcheck_image *image, crlcheck_found *out_found,
                     uint32_t certificate_issuer, const uint8_t *row, uint32_t width) {
    uint8_t copy[CRLCHECK_MAX_SERIAL + 1];
    copy[0] = 0;  // keeps the sign of a row whose first bit is set
    memcpy(copy + 1, row, width);
    size_t skipped = 0;
    while (skipped < width && copy[skipped] == 0 && copy[skipped + 1] < 0x80) {
        skipped++;
    }
    return image_find_entry(image, out_found, certificate_issuer, copy + skipped,
                            width + 1 - skipped);
}

size_t crlcheck_rows_entries(const crlcheck_image *image, int32_t *verdicts,
                             const crlcheck_dates *dates, uint32_t *places,
                             const uint8_t *flags, uint32_t certificate_issuer,
                             const uint8_t *rows, uint32_t width, const uint32_t *order,
                             size_t num_places, const int32_t *verdicts_by_reason) {
    enum { NUM_REASONS = 16 };
    size_t num_kept = 0;
    for (size_t i = 0; i < num_places; i++) {
        uint32_t place = places[i];
        uint32_t row = order[place];
        crlcheck_found found;
        if ((flags[place] & CRLCHECK_ROW_APART) != 0 ||
            !find_row(image, &found, certificate_issuer, rows + (size_t)place * width,
                      width) ||
            found.reason_code >= NUM_REASONS ||
            verdicts_by_reason[found.reason_code] < 0 ||
            !is_date(found.has_revocation_date, found.revocation_date) ||
            !is_date(found.has_invalidity_date, found.invalidity_date)) {
            places[num_kept++] = place;
            continue;
        }
        verdicts[row] = verdicts_by_reason[found.reason_code];
        if (found.has_revocation_date) {
            put_date(dates->revocation, dates->revocation_validity, row,
                     found.revocation_date * MICROSECONDS);
        }
        if (found.has_invalidity_date) {
            put_date(dates->invalidity, dates->invalidity_validity, row,
                     found.invalidity_date * MICROSECONDS);
        }
    }
    return num_kept;
}

// ---- plain groups ----

size_t crlcheck_rows_look_up(const crlcheck_plain_group *groups, const uint32_t *starts,
                             uint32_t num_groups, uint8_t *flags, uint32_t *out_places,
                             const uint8_t *rows, uint32_t width) {
    size_t num_places = 0;
    for (uint32_t i = 0; i < num_groups; i++) {
        const crlcheck_plain_group *group = &groups[i];
        uint32_t start = starts[i];
        size_t num_rows = starts[i + 1] - start;
        if (num_rows == 0 || group->is_plain == 0) {
            continue;
        }
        uint8_t *of_group = flags + start;
        const uint8_t *first = rows + (size_t)start * width;
        if (group->image == NULL) {
            memset(of_group, 0, num_rows);
        } else {  // it writes 0 or CRLCHECK_ROW_LISTED
            image_contains_packed(group->image, of_group, group->certificate_issuer,
                                  first, num_rows, width);
        }
        if (group->apart != NULL) {
            crlcheck_rows_mark(of_group, first, num_rows, width, group->apart,
                               group->num_slots);
        }
        // At most as many places as rows came before, so there is room.
        uint32_t *places = out_places + num_places;
        size_t num_flagged = crlcheck_rows_flagged(places, of_group, num_rows);
        for (size_t j = 0; j < num_flagged; j++) {
            places[j] += start;
        }
        num_places += num_flagged;
    }
    return num_places;
}

size_t crlcheck_rows_take(const crlcheck_plain_group *groups, const uint32_t *starts,
                          uint32_t num_groups, int32_t *verdicts,
                          const crlcheck_dates *dates, uint32_t *places,
                          size_t num_places, const uint8_t *flags, const uint8_t *rows,
                          uint32_t width, const uint32_t *order) {
    size_t num_kept = 0;
    size_t next = 0;
    for (uint32_t i = 0; i < num_groups && next < num_places; i++) {
        size_t first = next;
        while (next < num_places && places[next] < starts[i + 1]) {
            next++;
        }
        const crlcheck_plain_group *group = &groups[i];
        size_t count = next - first;
        if (count != 0 && group->image != NULL && group->verdicts_by_reason != NULL) {
            count = crlcheck_rows_entries(group->image, verdicts, dates, places + first,
                                          flags, group->certificate_issuer, rows, width,
                                          order, count, group->verdicts_by_reason);
        }
        memmove(places + num_kept, places + first, count * sizeof *places);
        num_kept += count;
    }
    return num_kept;
}

static crlcheck_row_state state_of(int32_t group, const uint8_t *states, size_t row) {
    crlcheck_row_state state =
        states == NULL ? CRLCHECK_ROW_SERIAL : (crlcheck_row_state)states[row];
    if (group == CRLCHECK_GROUP_NO_VALUE || state == CRLCHECK_ROW_NO_VALUE) {
        return CRLCHECK_ROW_NO_VALUE;
    }
    return group < 0 ? CRLCHECK_ROW_NO_GROUP : state;
}

size_t crlcheck_rows_settle(int32_t *verdicts, uint32_t *out_rows, const int32_t *groups,
                            const uint8_t *states, size_t num_rows,
                            const int32_t *verdicts_by_state) {
    size_t num_found = 0;
    for (size_t i = 0; i < num_rows; i++) {
        crlcheck_row_state state = state_of(groups[i], states, i);
        if (state != CRLCHECK_ROW_SERIAL) {
            verdicts[i] = verdicts_by_state[state];
            if (verdicts[i] < 0) {
                out_rows[num_found++] = (uint32_t)i;
            }
        }
    }
    return num_found;
}

// ---- columns ----

static inline void put_index(uint8_t *out_indices, size_t row, int32_t index,
                             size_t index_size) {
    if (index_size == 1) {
        out_indices[row] = (uint8_t)index;
    } else {
        memcpy(out_indices + row * 4, &index, 4);
    }
}

// translate_whole does what translate does where no index is negative.
static inline void translate_whole(uint8_t *restrict out_indices,
                                   const int32_t *restrict verdicts, size_t num_rows,
                                   const int32_t *restrict table, size_t index_size) {
    for (size_t i = 0; i < num_rows; i++) {
        put_index(out_indices, i, table[verdicts[i]], index_size);
    }
}

// translate_rows writes the indices of `count` rows, up to 8, and returns a bit for each
// that is not negative.
static inline unsigned translate_rows(uint8_t *restrict out_indices,
                                      const int32_t *restrict verdicts, size_t first,
                                      size_t count, const int32_t *restrict table,
                                      size_t index_size) {
    unsigned bits = 0;
    for (size_t j = 0; j < count; j++) {
        int32_t index = table[verdicts[first + j]];
        unsigned is_there = index >= 0;
        bits |= is_there << j;
        put_index(out_indices, first + j, index & -(int32_t)is_there, index_size);
    }
    return bits;
}

static inline size_t translate(uint8_t *restrict out_indices,
                               uint8_t *restrict out_validity,
                               const int32_t *restrict verdicts, size_t num_rows,
                               const int32_t *restrict table, size_t index_size) {
    size_t num_there = 0;
    size_t i = 0;
    for (; i + 8 <= num_rows; i += 8) {
        unsigned bits = translate_rows(out_indices, verdicts, i, 8, table, index_size);
        out_validity[i / 8] = (uint8_t)bits;
        num_there += (unsigned)__builtin_popcount(bits);
    }
    if (i < num_rows) {
        unsigned bits =
            translate_rows(out_indices, verdicts, i, num_rows - i, table, index_size);
        out_validity[i / 8] = (uint8_t)bits;
        num_there += (unsigned)__builtin_popcount(bits);
    }
    return num_rows - num_there;
}

size_t crlcheck_rows_translate(uint8_t *out_indices, uint8_t *out_validity,
                               const int32_t *verdicts, size_t num_rows,
                               const int32_t *table, uint32_t index_size) {
    // A constant size makes a loop of its own.
    if (out_validity == NULL) {
        if (index_size == 1) {
            translate_whole(out_indices, verdicts, num_rows, table, 1);
        } else {
            translate_whole(out_indices, verdicts, num_rows, table, 4);
        }
        return 0;
    }
    if (index_size == 1) {
        return translate(out_indices, out_validity, verdicts, num_rows, table, 1);
    }
    return translate(out_indices, out_validity, verdicts, num_rows, table, 4);
}
