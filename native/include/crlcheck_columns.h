// crlcheck_columns.h: looks up columns of serials, many rows at a time.
//
// Columns are as Arrow has them: https://arrow.apache.org/docs/format/Columnar.html

#ifndef CRLCHECK_PUBLIC_COLUMNS_H
#define CRLCHECK_PUBLIC_COLUMNS_H

#include "crlcheck_certificate.h"
#include "crlcheck_image.h"

// cdef: begin

// crlcheck_serial_form is how a column has its serial numbers.
typedef enum crlcheck_serial_form {
    CRLCHECK_SERIAL_BINARY = 0,    // unsigned big-endian numbers
    CRLCHECK_SERIAL_HEX = 1,       // hexadecimal text, bare, with 0x or with colons
    CRLCHECK_SERIAL_DECIMAL = 2,   // decimal text
    CRLCHECK_SERIAL_SIGNED = 3,    // integers of eight octets, little-endian
    CRLCHECK_SERIAL_UNSIGNED = 4   // the same, which are never negative
} crlcheck_serial_form;

// crlcheck_row_state is what became of the value of a row.
typedef enum crlcheck_row_state {
    CRLCHECK_ROW_SERIAL = 0,
    CRLCHECK_ROW_NO_VALUE = 1,
    CRLCHECK_ROW_NO_SERIAL = 2,    // the value is no serial number
    CRLCHECK_ROW_OTHER = 3,  // a negative serial, or one that has too many octets
    CRLCHECK_ROW_NO_GROUP = 4  // the serial has no group
} crlcheck_row_state;

// crlcheck_row_group is what the number of a group is, where there is no such group.
typedef enum crlcheck_row_group {
    CRLCHECK_GROUP_NO_VALUE = -1,
    CRLCHECK_GROUP_UNKNOWN = -2
} crlcheck_row_group;

// crlcheck_column is a column of values. Value i lies at offset i of `data`, where
// `offsets` has `num_rows` + 1 offsets of `offset_size` octets each, 4 or 8. Without
// offsets each value has `width` octets. A value that does not lie in the `data_len`
// octets of `data` is no serial.
typedef struct crlcheck_column {
    const uint8_t *data;
    const uint8_t *offsets;  // NULL for values of one width
    const uint8_t *validity;  // a bitmap, NULL where no value is missing
    uint64_t data_len;
    uint64_t first;  // the row of the buffers that is row 0 here
    uint32_t offset_size;
    uint32_t width;
} crlcheck_column;

// crlcheck_column_width gives how many octets are enough for the serials of a column,
// from 1 to CRLCHECK_MAX_SERIAL.
uint32_t crlcheck_column_width(const crlcheck_column *column, crlcheck_serial_form form,
                               size_t num_rows);

// crlcheck_column_pack writes each serial as an unsigned big-endian row of `width`
// octets, and what became of each value. A row that has no serial is zero.
void crlcheck_column_pack(const crlcheck_column *column, uint8_t *out_rows,
                          uint8_t *out_states, crlcheck_serial_form form, size_t num_rows,
                          uint32_t width);

// crlcheck_kinds are the kinds of certificate in a column, numbered as they come.
typedef struct crlcheck_kinds crlcheck_kinds;

// crlcheck_kinds_new returns NULL where there is no memory.
crlcheck_kinds *crlcheck_kinds_new(void);
void crlcheck_kinds_free(crlcheck_kinds *kinds);

// crlcheck_kinds_clear forgets all kinds.
void crlcheck_kinds_clear(crlcheck_kinds *kinds);

uint32_t crlcheck_kinds_count(const crlcheck_kinds *kinds);

// crlcheck_kinds_at gives the octets of a kind, which are valid until a kind is added, and
// sets `*out_row` to the row of the first certificate of it.
crlcheck_slice crlcheck_kinds_at(const crlcheck_kinds *kinds, size_t *out_row,
                                 uint32_t number);

// crlcheck_column_certificates reads the certificates of a column, DER each. It writes the
// number of each one's kind, and its serial number as crlcheck_column_pack does. The
// state of a row is CRLCHECK_ROW_NO_SERIAL where the value is no certificate, and
// CRLCHECK_ROW_OTHER also where it looks like PEM, where the certificate has expired, so
// that its notAfter is before `now`, and where there is no room for its kind. Those of
// CRLCHECK_ROW_OTHER have the group 0.
void crlcheck_column_certificates(crlcheck_kinds *kinds, const crlcheck_column *column,
                                  int32_t *out_groups, uint8_t *out_rows,
                                  uint8_t *out_states, size_t num_rows, uint32_t width,
                                  int64_t now);

// crlcheck_rows_number writes the number in `numbers` for each index of a dictionary, which
// has `num_numbers` entries; that of another index is CRLCHECK_GROUP_UNKNOWN.
// `validity` is the bitmap of the indices from row `first` on, NULL where none is
// missing; a missing one is CRLCHECK_GROUP_NO_VALUE.
void crlcheck_rows_number(int32_t *out_numbers, const int32_t *indices,
                          const uint8_t *validity, uint64_t first, const int32_t *numbers,
                          size_t num_numbers, size_t num_rows);

// crlcheck_rows_group sorts rows by group, of which there are `num_groups`. Those of
// group g are then from `out_starts[g]` to before `out_starts[g + 1]`: `out_order` has
// their numbers, and `out_rows` their octets. A row of a negative group, or whose state
// is not CRLCHECK_ROW_SERIAL, is left out. `states` is NULL where all are that.
void crlcheck_rows_group(uint32_t *out_order, uint8_t *out_rows, uint32_t *out_starts,
                         const int32_t *groups, const uint8_t *states,
                         const uint8_t *rows, size_t num_rows, uint32_t width,
                         uint32_t num_groups);

// crlcheck_row_flag is why a row is not answered with its group.
typedef enum crlcheck_row_flag {
    CRLCHECK_ROW_LISTED = 1,
    CRLCHECK_ROW_APART = 2         // it is asked about by itself
} crlcheck_row_flag;

// crlcheck_rows_mark sets CRLCHECK_ROW_APART for each row whose last eight octets, as a number, are
// among `keys`: a hash table of `num_slots` slots, a power of two, made by
// crlcheck_rows_key. A row that ends with eight zeros is marked too.
void crlcheck_rows_mark(uint8_t *flags, const uint8_t *rows, size_t num_rows,
                        uint32_t width, const uint64_t *keys, size_t num_slots);

// crlcheck_rows_join sets CRLCHECK_ROW_LISTED for each row for which `listed` is 1.
void crlcheck_rows_join(uint8_t *flags, const uint8_t *listed, size_t num_rows);

// crlcheck_rows_key adds a number to such a table, which has a free slot.
void crlcheck_rows_key(uint64_t *keys, size_t num_slots, uint64_t key);

// crlcheck_rows_fill gives each row of a group the verdict of its group.
void crlcheck_rows_fill(int32_t *out_verdicts, const int32_t *groups, size_t num_rows,
                        const int32_t *verdicts_by_group);

// crlcheck_rows_flagged writes the places of the rows of a group that have a flag to
// `out_places`, which has room for `num_rows` + 8; it returns how many.
size_t crlcheck_rows_flagged(uint32_t *out_places, const uint8_t *flags, size_t num_rows);

// crlcheck_dates are two columns of microseconds since 1970, with their bitmaps.
typedef struct crlcheck_dates {
    int64_t *revocation;
    uint8_t *revocation_validity;
    int64_t *invalidity;
    uint8_t *invalidity_validity;
} crlcheck_dates;

// crlcheck_rows_date writes a date of all rows of a group without a flag to a column, in
// microseconds since 1970.
void crlcheck_rows_date(int64_t *column, uint8_t *validity, const uint8_t *flags,
                        const uint32_t *order, size_t num_rows, int64_t date);

// crlcheck_rows_entries gives each row of a group at `places` the verdict of its entry's
// reason in `verdicts_by_reason`, 16 of them, and the dates of the entry. Where there is
// no such entry, its verdict is negative, the row is CRLCHECK_ROW_APART, or a date is none of the years 1 to 9999, the
// place is kept at the beginning of `places`; it returns how many.
size_t crlcheck_rows_entries(const crlcheck_image *image, int32_t *verdicts,
                             const crlcheck_dates *dates, uint32_t *places,
                             const uint8_t *flags, uint32_t certificate_issuer,
                             const uint8_t *rows, uint32_t width, const uint32_t *order,
                             size_t num_places, const int32_t *verdicts_by_reason);

// crlcheck_plain_group says how the rows of a group are looked up, where that is always
// the same: in one image, or in none. The caller keeps alive what it points to.
typedef struct crlcheck_plain_group {
    const crlcheck_image *image;  // NULL where there is nothing to look up
    const uint64_t *apart;  // made by crlcheck_rows_key; NULL where no serial is apart
    const int32_t *verdicts_by_reason;  // NULL where each listed row is asked about
    size_t num_slots;  // of `apart`
    uint32_t certificate_issuer;
    uint32_t is_plain;  // 0 where the group is looked up in another way
} crlcheck_plain_group;

// crlcheck_rows_look_up flags the rows of all plain groups, which are sorted by
// crlcheck_rows_group, and writes the places of those with a flag to `out_places`, which
// has room for all rows and 8; it returns how many. `flags` has one octet for each place.
size_t crlcheck_rows_look_up(const crlcheck_plain_group *groups, const uint32_t *starts,
                             uint32_t num_groups, uint8_t *flags, uint32_t *out_places,
                             const uint8_t *rows, uint32_t width);

// crlcheck_rows_take does for these places what crlcheck_rows_entries does for those of
// one group.
size_t crlcheck_rows_take(const crlcheck_plain_group *groups, const uint32_t *starts,
                          uint32_t num_groups, int32_t *verdicts,
                          const crlcheck_dates *dates, uint32_t *places,
                          size_t num_places, const uint8_t *flags, const uint8_t *rows,
                          uint32_t width, const uint32_t *order);

// crlcheck_rows_translate writes `table[verdict]` for each row, in `index_size` octets,
// 1 or 4, and the bitmap of those that are not negative. It returns how many are.
// `out_validity` may be NULL where none is.
size_t crlcheck_rows_translate(uint8_t *out_indices, uint8_t *out_validity,
                               const int32_t *verdicts, size_t num_rows,
                               const int32_t *table, uint32_t index_size);

// crlcheck_rows_settle gives each row that crlcheck_rows_group leaves out the verdict of
// its state: CRLCHECK_ROW_NO_VALUE where value or group is missing, then
// CRLCHECK_ROW_NO_GROUP. Where that is negative it writes the row's number to `out_rows`;
// it returns how many.
size_t crlcheck_rows_settle(int32_t *verdicts, uint32_t *out_rows, const int32_t *groups,
                            const uint8_t *states, size_t num_rows,
                            const int32_t *verdicts_by_state);

// cdef: end

#endif
