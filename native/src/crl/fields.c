// fields.c: the fields of CertificateList and of each entry, RFC 5280 5.1.

#include "crl/fields.h"

#include <stdlib.h>
#include <string.h>

#include "crl/extensions.h"
#include "x509/distribution_point.h"

// keep copies an element into memory that the parser owns, because the chunk it
// lies in goes away; `element` then reads the copy.
static bool keep(crlcheck_crl_parser *parser, kept_field field, der_reader *element,
                 crlcheck_error *out_error) {
    uint8_t *copy = malloc(element->len);
    if (copy == NULL) {
        return fail_no_memory(out_error, element->offset);
    }
    memcpy(copy, element->data, element->len);
    parser->kept[field] = copy;
    element->data = copy;
    return true;
}

static bool keep_sequence(crlcheck_slice *out_slice, crlcheck_crl_parser *parser,
                          kept_field field, der_reader element, der_reader *out_contents,
                          crlcheck_error *out_error) {
    if (!keep(parser, field, &element, out_error)) {
        return false;
    }
    *out_slice = der_slice(&element);
    return der_read(out_contents, &element, out_error, DER_SEQUENCE);
}

static bool read_version(crlcheck_crl_parser *parser, der_reader element,
                         crlcheck_error *out_error) {
    der_reader version;
    if (!der_read_integer(&version, &element, out_error)) {
        return false;
    }
    if (version.len != 1 || version.data[0] != 1) {  // "if present, MUST be v2"
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_VERSION, version.offset);
    }
    parser->info.version = 2;
    return true;
}

static bool read_algorithm(crlcheck_crl_parser *parser, der_reader element,
                           crlcheck_error *out_error) {
    der_reader contents;
    return keep_sequence(&parser->info.tbs_signature_algorithm, parser,
                         KEPT_TBS_ALGORITHM, element, &contents, out_error);
}

static bool read_issuer(crlcheck_crl_parser *parser, der_reader element,
                        crlcheck_error *out_error) {
    der_reader name;
    if (!keep(parser, KEPT_ISSUER, &element, out_error) ||
        !name_read(&name, &element, out_error)) {
        return false;
    }
    parser->info.issuer = der_slice(&name);
    return !name_is_empty(&name) ||
           fail_malformed(out_error, CRLCHECK_RULE_EMPTY_NAME, name.offset);
}

// RFC 5280 5.1.2.4: UTCTime through 2049, GeneralizedTime from 2050 on.
static bool read_time(crlcheck_crl_parser *parser, int64_t *out_seconds,
                      der_reader *reader, crlcheck_error *out_error) {
    static const int64_t start_of_2050 = 2524608000;
    bool generalized;
    if (!der_read_time(out_seconds, &generalized, reader, out_error)) {
        return false;
    }
    if (generalized && *out_seconds < start_of_2050) {
        parser->info.warnings |= CRLCHECK_WARNING_TIME_ENCODING;
    }
    return true;
}

// RFC 5280 5.1.2.5: nextUpdate is when the next CRL comes at the latest. Where it is
// before thisUpdate there is no time at which the CRL is current.
static bool read_next_update(crlcheck_crl_parser *parser, der_reader element,
                             crlcheck_error *out_error) {
    crlcheck_crl_info *info = &parser->info;
    uint64_t offset = element.offset;
    if (!read_time(parser, &info->next_update, &element, out_error)) {
        return false;
    }
    if (info->next_update < info->this_update) {
        return fail_malformed(out_error, CRLCHECK_RULE_NEXT_UPDATE_BEFORE_THIS_UPDATE,
                              offset);
    }
    if (info->next_update == info->this_update) {
        info->warnings |= CRLCHECK_WARNING_EQUAL_TIMES;
    }
    info->has_next_update = true;
    info->have_header = true;
    return true;
}

static bool note_certificate_issuer(crlcheck_crl_parser *parser,
                                    const crl_entry_extensions *extensions,
                                    crlcheck_error *out_error) {
    uint64_t offset = extensions->certificate_issuer_offset;
    if (parser->certificate_issuer_offset == 0) {
        parser->certificate_issuer_offset = offset;
    }
    crlcheck_slice name = extensions->certificate_issuer;
    crlcheck_slice own = parser->info.issuer;
    if (name.len == own.len && memcmp(name.data, own.data, own.len) == 0) {
        parser->certificate_issuer = 0;
        return true;
    }
    crlcheck_status status =
        crl_issuers_number(&parser->certificate_issuer, &parser->issuers, name);
    parser->info.num_issuers = parser->issuers.num_names + 1;
    if (status == CRLCHECK_LIMIT_EXCEEDED) {
        return fail(out_error, status, CRLCHECK_RULE_TOO_MANY_ISSUERS, offset);
    }
    return status == CRLCHECK_OK || fail_no_memory(out_error, offset);
}

static bool check_serial(crlcheck_crl_parser *parser, const der_reader *serial,
                         crlcheck_error *out_error) {
    uint32_t *warnings = &parser->info.warnings;
    if (serial->len > CRLCHECK_MAX_SERIAL) {
        return fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_SERIAL_TOO_LONG,
                    serial->offset);
    }
    if (serial->len > 20) {  // RFC 5280 4.1.2.2
        *warnings |= CRLCHECK_WARNING_LONG_SERIAL;
    }
    if (serial->data[0] >= 0x80) {
        *warnings |= CRLCHECK_WARNING_NEGATIVE_SERIAL;
    }
    if (serial->len == 1 && serial->data[0] == 0) {
        *warnings |= CRLCHECK_WARNING_ZERO_SERIAL;
    }
    return true;
}

// note_odd_extensions counts the extensions of an entry that were ignored.
static void note_odd_extensions(crlcheck_crl_info *info, crlcheck_slice serial,
                                const crl_entry_extensions *extensions) {
    for (int kind = 0; kind < 3; kind++) {
        crlcheck_odd_extension *odd = &info->odd_extensions[kind];
        if (!extensions->is_odd[kind]) {
            continue;
        }
        info->warnings |= CRLCHECK_WARNING_ODD_EXTENSION;
        if (odd->count++ == 0) {
            odd->first_entry = info->num_entries + 1;
            odd->first_serial_len = (uint32_t)serial.len;
            memcpy(odd->first_serial, serial.data, serial.len);
        }
    }
}

static bool read_entry_tail(crlcheck_crl_parser *parser, crlcheck_entry *entry,
                            der_reader *contents, crlcheck_error *out_error) {
    if (parser->info.version == 1) {
        return fail_malformed(out_error, CRLCHECK_RULE_EXTENSIONS_IN_V1,
                              contents->offset);
    }
    crl_entry_extensions extensions;
    if (!crl_read_entry_extensions(&extensions, &parser->info.warnings, contents,
                                   out_error)) {
        return false;
    }
    static const uint8_t remove_from_crl = 8;
    parser->saw_remove_from_crl |= extensions.reason_code == remove_from_crl;
    note_odd_extensions(&parser->info, entry->serial, &extensions);
    entry->reason_code = extensions.reason_code;
    entry->has_invalidity_date = extensions.has_invalidity_date;
    entry->invalidity_date = extensions.invalidity_date;
    return extensions.certificate_issuer.data == NULL ||
           note_certificate_issuer(parser, &extensions, out_error);
}

static bool read_entry_fields(crlcheck_crl_parser *parser, crlcheck_entry *entry,
                              der_reader element, crlcheck_error *out_error) {
    der_reader contents;
    der_reader serial;
    if (!der_read(&contents, &element, out_error, DER_SEQUENCE) ||
        !der_read_integer(&serial, &contents, out_error)) {
        return false;
    }
    entry->serial = der_slice(&serial);
    if (!check_serial(parser, &serial, out_error) ||
        !read_time(parser, &entry->revocation_date, &contents, out_error)) {
        return false;
    }
    entry->reason_code = CRLCHECK_NO_REASON;
    entry->has_invalidity_date = false;
    entry->invalidity_date = 0;
    if (contents.len > 0 && !read_entry_tail(parser, entry, &contents, out_error)) {
        return false;
    }
    entry->certificate_issuer = parser->certificate_issuer;
    parser->info.num_entries++;
    return parser->options.max_entries == 0 ||
           parser->info.num_entries <= parser->options.max_entries ||
           fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_TOO_MANY_ENTRIES,
                element.offset);
}

static bool read_entry(crlcheck_crl_parser *parser, crlcheck_entry *out_entry,
                       der_reader element, crlcheck_error *out_error) {
    uint64_t number = parser->info.num_entries + 1;
    out_entry->serial = (crlcheck_slice){NULL, 0};
    if (!read_entry_fields(parser, out_entry, element, out_error)) {
        error_add_entry(out_error, number, out_entry->serial);
        return false;
    }
    return true;
}

static bool read_extensions(crlcheck_crl_parser *parser, der_reader element,
                            crlcheck_error *out_error) {
    if (parser->info.version == 1) {
        return fail_malformed(out_error, CRLCHECK_RULE_EXTENSIONS_IN_V1, element.offset);
    }
    return keep(parser, KEPT_EXTENSIONS, &element, out_error) &&
           crl_read_extensions(&parser->info, element, out_error);
}

static bool read_outer_algorithm(crlcheck_crl_parser *parser, der_reader element,
                                 crlcheck_error *out_error) {
    crlcheck_slice inner = parser->info.tbs_signature_algorithm;
    der_reader contents;
    if (!keep_sequence(&parser->info.signature_algorithm, parser, KEPT_ALGORITHM, element,
                       &contents, out_error)) {
        return false;
    }
    // RFC 5280 5.1.1.2: the unsigned field must repeat the signed one.
    return (element.len == inner.len &&
            memcmp(parser->info.signature_algorithm.data, inner.data, inner.len) == 0) ||
           fail_malformed(out_error, CRLCHECK_RULE_SIGNATURE_ALGORITHM_MISMATCH,
                          element.offset);
}

static bool read_signature(crlcheck_crl_parser *parser, der_reader element,
                           crlcheck_error *out_error) {
    der_reader bits;
    der_reader unused;
    if (!keep(parser, KEPT_SIGNATURE, &element, out_error) ||
        !der_read(&bits, &element, out_error, DER_BIT_STRING)) {
        return false;
    }
    uint64_t offset = bits.offset;
    if (!der_take(&unused, &bits, 1) || unused.data[0] != 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_BIT_STRING, offset);
    }
    parser->info.signature = der_slice(&bits);
    return true;
}

bool crl_read_element(crlcheck_crl_parser *parser, crlcheck_entry *out_entry,
                      der_reader element, crlcheck_error *out_error) {
    crlcheck_crl_info *info = &parser->info;
    switch (parser->state) {
    case AT_VERSION:
        parser->state = AT_TBS_SIGNATURE_ALGORITHM;
        return read_version(parser, element, out_error);
    case AT_TBS_SIGNATURE_ALGORITHM:
        parser->state = AT_ISSUER;
        return read_algorithm(parser, element, out_error);
    case AT_ISSUER:
        parser->state = AT_THIS_UPDATE;
        return read_issuer(parser, element, out_error);
    case AT_THIS_UPDATE:
        parser->state = AT_NEXT_UPDATE;
        return read_time(parser, &info->this_update, &element, out_error);
    case AT_NEXT_UPDATE:
        parser->state = AT_REVOKED_CERTIFICATES;
        return read_next_update(parser, element, out_error);
    case AT_ENTRY:
        return read_entry(parser, out_entry, element, out_error);
    case AT_EXTENSIONS:
        parser->state = AT_SIGNATURE_ALGORITHM;
        return read_extensions(parser, element, out_error) &&
               (parser->offset == parser->tbs_end ||
                fail_malformed(out_error, CRLCHECK_RULE_TRAILING_DATA, parser->offset));
    case AT_SIGNATURE_ALGORITHM:
        parser->state = AT_SIGNATURE;
        return read_outer_algorithm(parser, element, out_error);
    case AT_SIGNATURE:
        parser->state = AT_END;
        return read_signature(parser, element, out_error) &&
               (parser->offset == parser->certificate_list_end ||
                fail_malformed(out_error, CRLCHECK_RULE_TRAILING_DATA, parser->offset));
    default:
        return fail_malformed(out_error, CRLCHECK_RULE_TRAILING_DATA, element.offset);
    }
}
