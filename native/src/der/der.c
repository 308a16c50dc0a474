// der.c: strict DER, X.690 clauses 8 to 11.

#include "der/der.h"

#include <string.h>

static bool wrong_tag(crlcheck_error *out_error, const der_reader *reader) {
    return fail_with_detail(out_error, CRLCHECK_MALFORMED, CRLCHECK_RULE_WRONG_TAG,
                            reader->offset, (crlcheck_slice){reader->data, 1});
}

bool der_take(der_reader *out_taken, der_reader *reader, size_t len) {
    if (len > reader->len) {
        return false;
    }
    *out_taken = (der_reader){reader->data, len, reader->offset};
    reader->data += len;
    reader->len -= len;
    reader->offset += len;
    return true;
}

bool der_peek(der_header *out_header, size_t *out_need, crlcheck_error *out_error,
              const der_reader *reader) {
    *out_need = 2;
    if (reader->len < 2) {
        return true;
    }
    const uint8_t *octets = reader->data;
    if ((octets[0] & 0x1f) == 0x1f) {  // no tag in our profile needs more octets
        return wrong_tag(out_error, reader);
    }
    *out_header = (der_header){.tag = octets[0], .header_len = 2};
    if (octets[1] < 0x80) {
        out_header->content_len = octets[1];
        *out_need = 0;
        return true;
    }
    size_t num_octets = octets[1] & 0x7fU;
    if (num_octets == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_INDEFINITE_LENGTH,
                              reader->offset + 1);
    }
    if (num_octets > 8) {
        return fail_malformed(out_error, CRLCHECK_RULE_LENGTH_TOO_LARGE,
                              reader->offset + 1);
    }
    if (reader->len < 2 + num_octets) {
        *out_need = 2 + num_octets;
        return true;
    }
    uint64_t len = 0;
    for (size_t i = 0; i < num_octets; i++) {
        len = (len << 8) | octets[2 + i];
    }
    if (octets[2] == 0 || len < 0x80) {
        return fail_malformed(out_error, CRLCHECK_RULE_NON_MINIMAL_LENGTH,
                              reader->offset + 1);
    }
    if (len > INT64_MAX) {  // keeps every later sum of offsets within 64 bits
        return fail_malformed(out_error, CRLCHECK_RULE_LENGTH_TOO_LARGE,
                              reader->offset + 1);
    }
    out_header->header_len = (uint8_t)(2 + num_octets);
    out_header->content_len = len;
    *out_need = 0;
    return true;
}

bool der_read_any(uint8_t *out_tag, der_reader *out_contents, der_reader *out_element,
                  der_reader *reader, crlcheck_error *out_error) {
    der_header header;
    size_t need;
    if (!der_peek(&header, &need, out_error, reader)) {
        return false;
    }
    if (need > 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_TRUNCATED, reader->offset);
    }
    if (header.content_len > reader->len - header.header_len) {
        return fail_malformed(out_error, CRLCHECK_RULE_LENGTH_OVERRUN, reader->offset);
    }
    der_reader element;
    der_reader skipped;
    if (!der_take(&element, reader, header.header_len + (size_t)header.content_len)) {
        return fail_malformed(out_error, CRLCHECK_RULE_LENGTH_OVERRUN, reader->offset);
    }
    if (out_element != NULL) {
        *out_element = element;
    }
    if (out_contents != NULL) {
        *out_contents = element;
        der_take(&skipped, out_contents, header.header_len);
    }
    *out_tag = header.tag;
    return true;
}

bool der_next_is(const der_reader *reader, uint8_t tag) {
    return reader->len > 0 && reader->data[0] == tag;
}

bool der_read(der_reader *out_contents, der_reader *reader, crlcheck_error *out_error,
              uint8_t tag) {
    if (reader->len == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_TRUNCATED, reader->offset);
    }
    if (!der_next_is(reader, tag)) {
        return wrong_tag(out_error, reader);
    }
    uint8_t found;
    return der_read_any(&found, out_contents, NULL, reader, out_error);
}

bool der_end(const der_reader *reader, crlcheck_error *out_error) {
    return reader->len == 0 ||
           fail_malformed(out_error, CRLCHECK_RULE_TRAILING_DATA, reader->offset);
}

bool der_check_integer(const der_reader *contents, crlcheck_error *out_error) {
    if (contents->len == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_EMPTY_INTEGER, contents->offset);
    }
    if (contents->len > 1) {
        bool leading_zeros = contents->data[0] == 0x00 && contents->data[1] < 0x80;
        bool leading_ones = contents->data[0] == 0xff && contents->data[1] >= 0x80;
        if (leading_zeros || leading_ones) {
            return fail_malformed(out_error, CRLCHECK_RULE_NON_MINIMAL_INTEGER,
                                  contents->offset);
        }
    }
    return true;
}

bool der_read_integer(der_reader *out_contents, der_reader *reader,
                      crlcheck_error *out_error) {
    return der_read(out_contents, reader, out_error, DER_INTEGER) &&
           der_check_integer(out_contents, out_error);
}

bool der_read_boolean(bool *out_value, der_reader *reader, uint8_t tag,
                      crlcheck_error *out_error) {
    der_reader contents;
    if (!der_read(&contents, reader, out_error, tag)) {
        return false;
    }
    if (contents.len != 1 || (contents.data[0] != 0x00 && contents.data[0] != 0xff)) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_BOOLEAN, contents.offset);
    }
    *out_value = contents.data[0] == 0xff;
    return true;
}

bool der_read_bits(uint16_t *out_bits, der_reader *reader, uint8_t tag,
                   crlcheck_error *out_error) {
    der_reader contents;
    if (!der_read(&contents, reader, out_error, tag)) {
        return false;
    }
    // One octet says how many bits of the last octet are unused.
    if (contents.len < 1 || contents.len > 3 || contents.data[0] > 7 ||
        (contents.len == 1 && contents.data[0] != 0)) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_BIT_STRING, contents.offset);
    }
    *out_bits = 0;
    if (contents.len == 1) {
        return true;
    }
    // X.690 11.2.2: a named bit list ends in a one bit, and unused bits are zero.
    unsigned last = contents.data[contents.len - 1];
    unsigned unused = contents.data[0];
    if ((last & ((1U << unused) - 1)) != 0 || ((last >> unused) & 1U) == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_BIT_STRING, contents.offset);
    }
    for (size_t i = 0; i < (contents.len - 1) * 8; i++) {
        if ((contents.data[1 + i / 8] >> (7 - i % 8)) & 1U) {
            *out_bits = (uint16_t)(*out_bits | (1U << i));
        }
    }
    return true;
}

// two_digits reads two decimal digits, or returns -1.
static int two_digits(const uint8_t *digits) {
    unsigned tens = (unsigned)digits[0] - '0';
    unsigned ones = (unsigned)digits[1] - '0';
    return tens <= 9 && ones <= 9 ? (int)(tens * 10 + ones) : -1;
}

// days_before counts the days from 1970-01-01 to a date of the proleptic
// Gregorian calendar. Years start in March here, so that the leap day comes last
// and the days before a month follow from one formula.
static int64_t days_before(int year, int month, int day) {
    int64_t march_year = month > 2 ? year : year - 1;
    int64_t march_month = month > 2 ? month - 3 : month + 9;
    int64_t days =
        march_year * 365 + march_year / 4 - march_year / 100 + march_year / 400;
    return days + (153 * march_month + 2) / 5 + day - 1 - 719468;
}

static bool valid_date(int year, int month, int day) {
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || month < 1 || month > 12 || day < 1) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= month_days[month - 1] + (leap && month == 2 ? 1 : 0);
}

// parse_time reads "[YY]YYMMDDHHMMSSZ" (RFC 5280 4.1.2.5.1 and 4.1.2.5.2).
static bool parse_time(int64_t *out_seconds, const uint8_t *text, bool generalized) {
    int century = 0;
    if (generalized) {
        century = two_digits(text);
        text += 2;
    }
    int field[6];
    for (int i = 0; i < 6; i++) {
        field[i] = two_digits(text + 2 * i);
        if (field[i] < 0) {
            return false;
        }
    }
    if (!generalized) {
        century = field[0] < 50 ? 20 : 19;
    }
    int year = century * 100 + field[0];
    if (century < 0 || !valid_date(year, field[1], field[2]) || field[3] > 23 ||
        field[4] > 59 || field[5] > 59 || text[12] != 'Z') {
        return false;
    }
    *out_seconds = days_before(year, field[1], field[2]) * 86400 + field[3] * 3600 +
                   field[4] * 60 + field[5];
    return true;
}

bool der_read_time(int64_t *out_seconds, bool *out_generalized, der_reader *reader,
                   crlcheck_error *out_error) {
    bool generalized = der_next_is(reader, DER_GENERALIZED_TIME);
    der_reader contents;
    if (!der_read(&contents, reader, out_error,
                  generalized ? DER_GENERALIZED_TIME : DER_UTC_TIME)) {
        return false;
    }
    if (contents.len != (generalized ? 15U : 13U) ||
        !parse_time(out_seconds, contents.data, generalized)) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_TIME, contents.offset);
    }
    if (out_generalized != NULL) {
        *out_generalized = generalized;
    }
    return true;
}

// check_oid requires complete, minimal arcs (X.690 8.19.2).
static bool check_oid(const der_reader *contents, crlcheck_error *out_error) {
    bool at_arc_start = true;
    bool valid = contents->len > 0 && (contents->data[contents->len - 1] & 0x80) == 0;
    for (size_t i = 0; valid && i < contents->len; i++) {
        valid = !(at_arc_start && contents->data[i] == 0x80);
        at_arc_start = (contents->data[i] & 0x80) == 0;
    }
    return valid || fail_malformed(out_error, CRLCHECK_RULE_BAD_OBJECT_IDENTIFIER,
                                   contents->offset);
}

bool der_read_extension(der_extension *out_extension, der_reader *reader,
                        crlcheck_error *out_error) {
    der_reader extension;
    der_reader oid;
    out_extension->offset = reader->offset;
    out_extension->critical = false;
    out_extension->encodes_default = false;
    if (!der_read(&extension, reader, out_error, DER_SEQUENCE) ||
        !der_read(&oid, &extension, out_error, DER_OBJECT_IDENTIFIER) ||
        !check_oid(&oid, out_error)) {
        return false;
    }
    out_extension->oid = der_slice(&oid);
    if (der_next_is(&extension, DER_BOOLEAN)) {
        if (!der_read_boolean(&out_extension->critical, &extension, DER_BOOLEAN,
                              out_error)) {
            return false;
        }
        out_extension->encodes_default = !out_extension->critical;
    }
    return der_read(&out_extension->value, &extension, out_error, DER_OCTET_STRING) &&
           der_end(&extension, out_error);
}

bool der_read_extension_once(der_extension *out_extension, der_extension_set *seen,
                             der_reader *reader, crlcheck_error *out_error) {
    if (!der_read_extension(out_extension, reader, out_error)) {
        return false;
    }
    crlcheck_slice oid = out_extension->oid;
    for (size_t i = 0; i < seen->num_oids; i++) {
        if (seen->oids[i].len == oid.len &&
            memcmp(seen->oids[i].data, oid.data, oid.len) == 0) {
            return fail_with_detail(out_error, CRLCHECK_MALFORMED,
                                    CRLCHECK_RULE_DUPLICATE_EXTENSION,
                                    out_extension->offset, oid);
        }
    }
    if (seen->num_oids == DER_MAX_EXTENSIONS) {
        return fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_TOO_MANY_EXTENSIONS,
                    out_extension->offset);
    }
    seen->oids[seen->num_oids++] = oid;
    return true;
}

int der_oid_arc(crlcheck_slice oid) {
    bool id_ce = oid.len == 3 && oid.data[0] == 0x55 && oid.data[1] == 0x1d;
    return id_ce && oid.data[2] < 0x80 ? oid.data[2] : 0;
}
