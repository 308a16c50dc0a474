// serials.c: reads the serial numbers of a column, in whatever form it has them.
//
// Each becomes an unsigned big-endian row of one width, because rows of one width are
// grouped and looked up the fastest. Text is read as crlcheck.encoding.serials reads it,
// as far as it is ASCII.

#include <string.h>

#include "columns/values.h"

enum {
    LIMBS = CRLCHECK_MAX_SERIAL / 4,
    MAX_DECIMAL = 155,   // digits of a number of CRLCHECK_MAX_SERIAL octets, or more
};

static text without_zeros(text value, uint8_t zero) {
    while (value.len > 0 && value.start[0] == zero) {
        value.start++;
        value.len--;
    }
    return value;
}

// ---- width ----

static size_t octets_of(crlcheck_serial_form form, text value) {
    switch (form) {
    case CRLCHECK_SERIAL_BINARY:
        return without_zeros(value, 0).len;
    case CRLCHECK_SERIAL_HEX:
        return value.len / 2 + 1;
    case CRLCHECK_SERIAL_DECIMAL:
        // A digit has less than 0.416 octets.
        return value.len > MAX_DECIMAL ? CRLCHECK_MAX_SERIAL : value.len * 416 / 1000 + 1;
    case CRLCHECK_SERIAL_SIGNED:
    case CRLCHECK_SERIAL_UNSIGNED:
        break;
    }
    return 8;
}

uint32_t crlcheck_column_width(const crlcheck_column *column, crlcheck_serial_form form,
                               size_t num_rows) {
    size_t width = 1;
    for (size_t i = 0; i < num_rows && width < CRLCHECK_MAX_SERIAL; i++) {
        uint64_t row = column->first + i;
        if (is_valid(column->validity, row)) {
            size_t needed = octets_of(form, value_at(column, row));
            width = needed > width ? needed : width;
        }
    }
    return width < CRLCHECK_MAX_SERIAL ? (uint32_t)width : CRLCHECK_MAX_SERIAL;
}

// ---- forms ----

// put_octets writes a number without leading zeros, right-aligned.
static crlcheck_row_state put_octets(uint8_t *row, uint32_t width, text number) {
    if (number.len > width) {
        return CRLCHECK_ROW_OTHER;
    }
    memcpy(row + width - number.len, number.start, number.len);
    return CRLCHECK_ROW_SERIAL;
}

static bool is_space(uint8_t octet) {
    return octet == ' ' || (octet >= '\t' && octet <= '\r') ||
           (octet >= 0x1c && octet <= 0x1f);
}

static text stripped(text value) {
    while (value.len > 0 && is_space(value.start[0])) {
        value.start++;
        value.len--;
    }
    while (value.len > 0 && is_space(value.start[value.len - 1])) {
        value.len--;
    }
    return value;
}

static int hex_digit(uint8_t octet) {
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    octet |= 0x20;
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

// put_digit writes a hexadecimal digit, the one at `place` from the end.
static void put_digit(uint8_t *row, uint32_t width, size_t place, int digit) {
    uint8_t *octet = row + width - 1 - place / 2;
    *octet = (uint8_t)(*octet | digit << (place % 2 * 4));
}

// put_hex_pairs reads octets with colons between them; the first may have one digit.
static crlcheck_row_state put_hex_pairs(uint8_t *row, uint32_t width, text value) {
    bool is_long = false;
    size_t place = 0;
    for (size_t i = value.len; i-- > 0; place++) {
        // From the end: digit, digit, colon.
        if (place % 3 == 2) {
            if (value.start[i] != ':' || i == 0) {
                return CRLCHECK_ROW_NO_SERIAL;
            }
            continue;
        }
        int digit = hex_digit(value.start[i]);
        if (digit < 0) {
            return CRLCHECK_ROW_NO_SERIAL;
        }
        size_t at = place / 3 * 2 + place % 3;
        if (at / 2 < width) {
            put_digit(row, width, at, digit);
        } else {
            is_long = is_long || digit != 0;
        }
    }
    return is_long ? CRLCHECK_ROW_OTHER : CRLCHECK_ROW_SERIAL;
}

static crlcheck_row_state put_hex_digits(uint8_t *row, uint32_t width, text value) {
    if (value.len > 2 && value.start[0] == '0' && (value.start[1] | 0x20) == 'x') {
        value.start += 2;
        value.len -= 2;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (hex_digit(value.start[i]) < 0) {
            return CRLCHECK_ROW_NO_SERIAL;
        }
    }
    text digits = without_zeros(value, '0');
    if (digits.len > (size_t)width * 2) {
        return CRLCHECK_ROW_OTHER;
    }
    for (size_t i = 0; i < digits.len; i++) {
        put_digit(row, width, digits.len - 1 - i, hex_digit(digits.start[i]));
    }
    return CRLCHECK_ROW_SERIAL;
}

static crlcheck_row_state put_hex(uint8_t *row, uint32_t width, text value) {
    bool has_colon = memchr(value.start, ':', value.len) != NULL;
    return has_colon ? put_hex_pairs(row, width, value)
                     : put_hex_digits(row, width, value);
}

static crlcheck_row_state put_decimal(uint8_t *row, uint32_t width, text value) {
    uint32_t limbs[LIMBS] = {0};  // the lowest first
    for (size_t i = 0; i < value.len; i++) {
        if (value.start[i] < '0' || value.start[i] > '9') {
            return CRLCHECK_ROW_NO_SERIAL;
        }
    }
    text digits = without_zeros(value, '0');
    if (digits.len > MAX_DECIMAL) {
        return CRLCHECK_ROW_OTHER;
    }
    enum { CHUNK = 9 };
    for (size_t i = 0; i < digits.len;) {
        uint64_t carry = 0;
        uint64_t power = 1;
        for (size_t end = i + CHUNK; i < end && i < digits.len; i++) {
            carry = carry * 10 + (uint64_t)(digits.start[i] - '0');
            power *= 10;
        }
        for (size_t limb = 0; limb < LIMBS; limb++) {
            carry += limbs[limb] * power;
            limbs[limb] = (uint32_t)carry;
            carry >>= 32;
        }
        if (carry != 0) {
            return CRLCHECK_ROW_OTHER;
        }
    }
    uint8_t octets[CRLCHECK_MAX_SERIAL];
    for (size_t i = 0; i < CRLCHECK_MAX_SERIAL; i++) {
        octets[CRLCHECK_MAX_SERIAL - 1 - i] = (uint8_t)(limbs[i / 4] >> i % 4 * 8);
    }
    return put_octets(row, width, without_zeros((text){octets, CRLCHECK_MAX_SERIAL}, 0));
}

// put_text reads text; a sign in front is for the caller, where a number follows.
static crlcheck_row_state put_text(uint8_t *row, uint32_t width,
                                   crlcheck_serial_form form, text value) {
    value = stripped(value);
    bool is_negative = value.len > 0 && value.start[0] == '-';
    if (is_negative) {
        value.start++;
        value.len--;
    }
    if (value.len == 0) {
        return CRLCHECK_ROW_NO_SERIAL;
    }
    crlcheck_row_state state = form == CRLCHECK_SERIAL_HEX
                                   ? put_hex(row, width, value)
                                   : put_decimal(row, width, value);
    return is_negative && state == CRLCHECK_ROW_SERIAL ? CRLCHECK_ROW_OTHER : state;
}

static crlcheck_row_state put_integer(uint8_t *row, uint32_t width,
                                      crlcheck_serial_form form, const uint8_t *value) {
    if (form == CRLCHECK_SERIAL_SIGNED && value[7] >= 0x80) {
        return CRLCHECK_ROW_OTHER;
    }
    for (uint32_t i = 0; i < 8; i++) {
        row[width - 1 - i] = value[i];
    }
    return CRLCHECK_ROW_SERIAL;
}

static crlcheck_row_state put_value(uint8_t *row, uint32_t width,
                                    crlcheck_serial_form form, text value) {
    switch (form) {
    case CRLCHECK_SERIAL_BINARY:
        return value.len == 0 ? CRLCHECK_ROW_NO_SERIAL
                              : put_octets(row, width, without_zeros(value, 0));
    case CRLCHECK_SERIAL_HEX:
    case CRLCHECK_SERIAL_DECIMAL:
        return put_text(row, width, form, value);
    case CRLCHECK_SERIAL_SIGNED:
    case CRLCHECK_SERIAL_UNSIGNED:
        break;
    }
    return value.len == 8 ? put_integer(row, width, form, value.start)
                          : CRLCHECK_ROW_NO_SERIAL;
}

void crlcheck_column_pack(const crlcheck_column *column, uint8_t *out_rows,
                          uint8_t *out_states, crlcheck_serial_form form, size_t num_rows,
                          uint32_t width) {
    for (size_t i = 0; i < num_rows; i++) {
        uint64_t at = column->first + i;
        uint8_t *row = out_rows + i * width;
        memset(row, 0, width);
        crlcheck_row_state state = CRLCHECK_ROW_NO_VALUE;
        if (is_valid(column->validity, at)) {
            state = put_value(row, width, form, value_at(column, at));
            if (state != CRLCHECK_ROW_SERIAL) {
                memset(row, 0, width);  // of what was read until it was refused
            }
        }
        out_states[i] = (uint8_t)state;
    }
}
