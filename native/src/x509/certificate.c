// certificate.c: reads the fields of a certificate that a revocation verdict needs,
// RFC 5280 4.1.
//
// Nothing here verifies the certificate: whoever terminated TLS has done that. So an
// unknown extension is ignored even if it is critical. A known one that is broken
// refuses the certificate. Three encodings that DER forbids are read all the same,
// because real CAs write them, TLS stacks accept them and their meaning is not in doubt:
// a critical FALSE, a cA FALSE and the trailing zero bits of keyUsage.

#include <string.h>

#include "x509/certificate.h"
#include "x509/distribution_point.h"

enum {
    TAG_VERSION = DER_CONTEXT_CONSTRUCTED | 0,
    TAG_ISSUER_UNIQUE_ID = DER_CONTEXT | 1,
    TAG_SUBJECT_UNIQUE_ID = DER_CONTEXT | 2,
    TAG_EXTENSIONS = DER_CONTEXT_CONSTRUCTED | 3,
    TAG_KEY_IDENTIFIER = DER_CONTEXT | 0,
    TAG_AUTHORITY_CERT_ISSUER = DER_CONTEXT_CONSTRUCTED | 1,
    TAG_AUTHORITY_CERT_SERIAL = DER_CONTEXT | 2
};

// The last arcs of the extensions known here, all 2.5.29.n (RFC 5280 4.2.1).
enum {
    ARC_SUBJECT_KEY_IDENTIFIER = 14,
    ARC_KEY_USAGE = 15,
    ARC_BASIC_CONSTRAINTS = 19,
    ARC_CRL_DISTRIBUTION_POINTS = 31,
    ARC_AUTHORITY_KEY_IDENTIFIER = 35
};

static bool same_octets(crlcheck_slice a, crlcheck_slice b) {
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

// bit_string_read takes a BIT STRING of any length and hands out its contents: at
// least the octet that counts the unused bits, which are zero (X.690 11.2.1).
static bool bit_string_read(der_reader *out_contents, der_reader *reader,
                            crlcheck_error *out_error, uint8_t tag) {
    if (!der_read(out_contents, reader, out_error, tag)) {
        return false;
    }
    size_t len = out_contents->len;
    unsigned unused = len > 0 ? out_contents->data[0] : 0;
    if (len == 0 || unused > 7 || (len == 1 && unused != 0) ||
        (len > 1 && (out_contents->data[len - 1] & ((1U << unused) - 1)) != 0)) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_BIT_STRING,
                              out_contents->offset);
    }
    return true;
}

// algorithm_read takes an AlgorithmIdentifier.
static bool algorithm_read(der_reader *out_algorithm, der_reader *reader,
                           crlcheck_error *out_error) {
    der_reader fields;
    der_reader oid;
    if (!element_read(out_algorithm, &fields, reader, out_error, DER_SEQUENCE) ||
        !der_read(&oid, &fields, out_error, DER_OBJECT_IDENTIFIER)) {
        return false;
    }
    uint8_t parameters_tag;
    if (fields.len > 0 &&
        !der_read_any(&parameters_tag, NULL, NULL, &fields, out_error)) {
        return false;
    }
    return der_end(&fields, out_error);
}

static bool version_read(int *out_version, der_reader *tbs, crlcheck_error *out_error) {
    *out_version = 1;
    if (!der_next_is(tbs, TAG_VERSION)) {
        return true;
    }
    der_reader field;
    der_reader number;
    if (!der_read(&field, tbs, out_error, TAG_VERSION) ||
        !der_read_integer(&number, &field, out_error) || !der_end(&field, out_error)) {
        return false;
    }
    // v1 is the default, and X.690 11.5 wants a default left out.
    if (number.len != 1 || (number.data[0] != 1 && number.data[0] != 2)) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_VERSION, number.offset);
    }
    *out_version = number.data[0] + 1;
    return true;
}

static bool serial_read(crlcheck_slice *out_serial, der_reader *tbs,
                        crlcheck_error *out_error) {
    der_reader number;
    if (!der_read_integer(&number, tbs, out_error)) {
        return false;
    }
    if (number.len > CRLCHECK_MAX_SERIAL) {
        return fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_SERIAL_TOO_LONG,
                    number.offset);
    }
    *out_serial = der_slice(&number);
    return true;
}

static bool validity_read(crlcheck_certificate *certificate, der_reader *tbs,
                          crlcheck_error *out_error) {
    der_reader validity;
    return der_read(&validity, tbs, out_error, DER_SEQUENCE) &&
           der_read_time(&certificate->not_before, NULL, &validity, out_error) &&
           der_read_time(&certificate->not_after, NULL, &validity, out_error) &&
           der_end(&validity, out_error);
}

static bool names_and_key_read(crlcheck_certificate *certificate, der_reader *tbs,
                               crlcheck_error *out_error) {
    der_reader issuer;
    der_reader subject;
    der_reader key_info;
    der_reader key_fields;
    der_reader algorithm;
    der_reader key;
    if (!name_read(&issuer, tbs, out_error)) {
        return false;
    }
    if (name_is_empty(&issuer)) {  // RFC 5280 4.1.2.4
        return fail_malformed(out_error, CRLCHECK_RULE_EMPTY_NAME, issuer.offset);
    }
    if (!validity_read(certificate, tbs, out_error) ||
        !name_read(&subject, tbs, out_error) ||
        !element_read(&key_info, &key_fields, tbs, out_error, DER_SEQUENCE) ||
        !algorithm_read(&algorithm, &key_fields, out_error) ||
        !bit_string_read(&key, &key_fields, out_error, DER_BIT_STRING) ||
        !der_end(&key_fields, out_error)) {
        return false;
    }
    certificate->issuer = der_slice(&issuer);
    certificate->subject = der_slice(&subject);
    certificate->subject_public_key_info = der_slice(&key_info);
    return true;
}

// key_usage_read does without X.690 11.2.2: some CAs write the trailing zero bits
// of the list out, and what they mean is not in doubt.
static bool key_usage_read(crlcheck_certificate *certificate, der_reader *value,
                           crlcheck_error *out_error) {
    der_reader contents;
    if (!bit_string_read(&contents, value, out_error, DER_BIT_STRING)) {
        return false;
    }
    unsigned bits = 0;
    for (size_t i = 0; i < 16 && i / 8 + 1 < contents.len; i++) {
        bits |= ((contents.data[1 + i / 8] >> (7 - i % 8)) & 1U) << i;
    }
    certificate->key_usage = (uint16_t)bits;
    certificate->has_key_usage = true;
    return true;
}

// basic_constraints_read does without X.690 11.5: many CAs write cA FALSE out,
// though it is the default.
static bool basic_constraints_read(crlcheck_certificate *certificate, der_reader *value,
                                   crlcheck_error *out_error) {
    der_reader fields;
    if (!der_read(&fields, value, out_error, DER_SEQUENCE)) {
        return false;
    }
    if (der_next_is(&fields, DER_BOOLEAN) &&
        !der_read_boolean(&certificate->is_ca, &fields, DER_BOOLEAN, out_error)) {
        return false;
    }
    der_reader path_length;
    if (fields.len > 0 && !der_read_integer(&path_length, &fields, out_error)) {
        return false;
    }
    certificate->has_basic_constraints = true;
    return der_end(&fields, out_error);
}

// authority_certificate_keep keeps authorityCertIssuer and authorityCertSerialNumber
// where both are there and can be read. They are a hint that tells keys of one name
// apart (RFC 5280 4.2.1.1), so one that cannot be read is left out: refusing the
// certificate for it would deny a client that everybody else accepts.
static void authority_certificate_keep(crlcheck_certificate *certificate,
                                       const der_reader *issuer,
                                       const der_reader *serial) {
    crlcheck_error ignored;
    if (general_names_check(*issuer, &ignored) && der_check_integer(serial, &ignored) &&
        serial->len <= CRLCHECK_MAX_SERIAL) {
        certificate->authority_cert_issuer = der_slice(issuer);
        certificate->authority_cert_serial = der_slice(serial);
    }
}

static bool authority_key_id_read(crlcheck_certificate *certificate, der_reader *value,
                                  crlcheck_error *out_error) {
    der_reader fields;
    der_reader key_id;
    der_reader issuer;
    der_reader serial;
    if (!der_read(&fields, value, out_error, DER_SEQUENCE)) {
        return false;
    }
    if (der_next_is(&fields, TAG_KEY_IDENTIFIER)) {
        if (!der_read(&key_id, &fields, out_error, TAG_KEY_IDENTIFIER)) {
            return false;
        }
        certificate->authority_key_id = der_slice(&key_id);
    }
    bool has_issuer = der_next_is(&fields, TAG_AUTHORITY_CERT_ISSUER);
    if (has_issuer && !der_read(&issuer, &fields, out_error, TAG_AUTHORITY_CERT_ISSUER)) {
        return false;
    }
    bool has_serial = der_next_is(&fields, TAG_AUTHORITY_CERT_SERIAL);
    if (has_serial && !der_read(&serial, &fields, out_error, TAG_AUTHORITY_CERT_SERIAL)) {
        return false;
    }
    if (has_issuer && has_serial) {
        authority_certificate_keep(certificate, &issuer, &serial);
    }
    return der_end(&fields, out_error);
}

// distribution_points_read checks every point now, so that walking them later
// cannot fail.
static bool distribution_points_read(crlcheck_certificate *certificate, der_reader *value,
                                     crlcheck_error *out_error) {
    der_reader points;
    if (!der_read(&points, value, out_error, DER_SEQUENCE)) {
        return false;
    }
    certificate->crl_distribution_points = der_slice(&points);
    do {
        crlcheck_distribution_point point;
        if (!distribution_point_read(&point, &points, out_error)) {
            return false;
        }
    } while (points.len > 0);
    return true;
}

static bool extension_read(crlcheck_certificate *certificate, der_extension *extension,
                           crlcheck_error *out_error) {
    der_reader *value = &extension->value;
    der_reader key_id;
    switch (der_oid_arc(extension->oid)) {
    case ARC_SUBJECT_KEY_IDENTIFIER:
        if (!der_read(&key_id, value, out_error, DER_OCTET_STRING)) {
            return false;
        }
        certificate->subject_key_id = der_slice(&key_id);
        break;
    case ARC_KEY_USAGE:
        if (!key_usage_read(certificate, value, out_error)) {
            return false;
        }
        break;
    case ARC_BASIC_CONSTRAINTS:
        if (!basic_constraints_read(certificate, value, out_error)) {
            return false;
        }
        break;
    case ARC_CRL_DISTRIBUTION_POINTS:
        if (!distribution_points_read(certificate, value, out_error)) {
            return false;
        }
        break;
    case ARC_AUTHORITY_KEY_IDENTIFIER:
        if (!authority_key_id_read(certificate, value, out_error)) {
            return false;
        }
        break;
    default:
        return true;
    }
    return der_end(value, out_error);
}

static bool extensions_read(crlcheck_certificate *certificate, der_reader *tbs,
                            crlcheck_error *out_error) {
    uint64_t offset = tbs->offset;
    der_reader field;
    der_reader extensions;
    if (!der_read(&field, tbs, out_error, TAG_EXTENSIONS) ||
        !der_read(&extensions, &field, out_error, DER_SEQUENCE) ||
        !der_end(&field, out_error)) {
        return false;
    }
    if (certificate->version != 3) {
        return fail_malformed(out_error, CRLCHECK_RULE_EXTENSIONS_IN_V1, offset);
    }
    if (extensions.len == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_EMPTY_EXTENSIONS, offset);
    }
    der_extension_set seen;
    seen.num_oids = 0;
    while (extensions.len > 0) {
        der_extension extension;
        extension.oid = (crlcheck_slice){NULL, 0};
        if (!der_read_extension_once(&extension, &seen, &extensions, out_error) ||
            !extension_read(certificate, &extension, out_error)) {
            error_add_extension(out_error, extension.oid);
            return false;
        }
    }
    return true;
}

// unique_id_read takes a UniqueIdentifier where it is there: versions 2 and 3 only
// (RFC 5280 4.1.2.8).
static bool unique_id_read(const crlcheck_certificate *certificate, der_reader *tbs,
                           crlcheck_error *out_error, uint8_t tag) {
    if (!der_next_is(tbs, tag)) {
        return true;
    }
    if (certificate->version == 1) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_VERSION, tbs->offset);
    }
    der_reader unique_id;
    return bit_string_read(&unique_id, tbs, out_error, tag);
}

static bool tbs_read(crlcheck_certificate *certificate, der_reader *out_algorithm,
                     der_reader *tbs, crlcheck_error *out_error) {
    if (!version_read(&certificate->version, tbs, out_error) ||
        !serial_read(&certificate->serial, tbs, out_error) ||
        !algorithm_read(out_algorithm, tbs, out_error) ||
        !names_and_key_read(certificate, tbs, out_error) ||
        !unique_id_read(certificate, tbs, out_error, TAG_ISSUER_UNIQUE_ID) ||
        !unique_id_read(certificate, tbs, out_error, TAG_SUBJECT_UNIQUE_ID)) {
        return false;
    }
    if (der_next_is(tbs, TAG_EXTENSIONS) &&
        !extensions_read(certificate, tbs, out_error)) {
        return false;
    }
    return der_end(tbs, out_error);
}

static bool certificate_read(crlcheck_certificate *certificate, der_reader *source,
                             crlcheck_error *out_error) {
    der_reader fields;
    der_reader tbs;
    der_reader inner_algorithm;
    der_reader outer_algorithm;
    der_reader signature;
    if (!der_read(&fields, source, out_error, DER_SEQUENCE) ||
        !der_end(source, out_error) ||
        !der_read(&tbs, &fields, out_error, DER_SEQUENCE) ||
        !tbs_read(certificate, &inner_algorithm, &tbs, out_error) ||
        !algorithm_read(&outer_algorithm, &fields, out_error)) {
        return false;
    }
    if (!same_octets(der_slice(&inner_algorithm), der_slice(&outer_algorithm))) {
        return fail_malformed(out_error, CRLCHECK_RULE_SIGNATURE_ALGORITHM_MISMATCH,
                              outer_algorithm.offset);  // RFC 5280 4.1.1.2
    }
    return bit_string_read(&signature, &fields, out_error, DER_BIT_STRING) &&
           der_end(&fields, out_error);
}

crlcheck_status certificate_parse(crlcheck_certificate *out_certificate,
                                  crlcheck_error *out_error, const uint8_t *der,
                                  size_t der_len) {
    *out_certificate = (crlcheck_certificate){0};
    der_reader source = {der, der_len, 0};
    bool accepted = der_len > 0 ? certificate_read(out_certificate, &source, out_error)
                                : fail_malformed(out_error, CRLCHECK_RULE_EMPTY, 0);
    if (accepted) {
        return CRLCHECK_OK;
    }
    *out_certificate = (crlcheck_certificate){0};
    return (crlcheck_status)out_error->status;
}

crlcheck_status crlcheck_certificate_parse(crlcheck_certificate *out_certificate,
                                           crlcheck_error *out_error, const uint8_t *der,
                                           size_t der_len) {
    return certificate_parse(out_certificate, out_error, der, der_len);
}
