// distribution_point.c: names and distribution points, RFC 5280 4.2.1.13 and 5.2.5.

#include "x509/distribution_point.h"

enum {
    TAG_POINT_NAME = DER_CONTEXT_CONSTRUCTED | 0,
    TAG_FULL_NAME = DER_CONTEXT_CONSTRUCTED | 0,
    TAG_RELATIVE_NAME = DER_CONTEXT_CONSTRUCTED | 1,
    TAG_POINT_REASONS = DER_CONTEXT | 1,
    TAG_POINT_CRL_ISSUER = DER_CONTEXT_CONSTRUCTED | 2,
    TAG_ONLY_USER_CERTS = DER_CONTEXT | 1,
    TAG_ONLY_CA_CERTS = DER_CONTEXT | 2,
    TAG_ONLY_SOME_REASONS = DER_CONTEXT | 3,
    TAG_INDIRECT_CRL = DER_CONTEXT | 4,
    TAG_ONLY_ATTRIBUTE_CERTS = DER_CONTEXT | 5
};

// GeneralName, RFC 5280 4.2.1.6.
enum {
    TAG_OTHER_NAME = DER_CONTEXT_CONSTRUCTED | 0,
    TAG_RFC822_NAME = DER_CONTEXT | 1,
    TAG_DNS_NAME = DER_CONTEXT | 2,
    TAG_X400_ADDRESS = DER_CONTEXT_CONSTRUCTED | 3,
    TAG_DIRECTORY_NAME = DER_CONTEXT_CONSTRUCTED | 4,
    TAG_EDI_PARTY_NAME = DER_CONTEXT_CONSTRUCTED | 5,
    TAG_URI = DER_CONTEXT | 6,
    TAG_IP_ADDRESS = DER_CONTEXT | 7,
    TAG_REGISTERED_ID = DER_CONTEXT | 8
};

bool element_read(der_reader *out_element, der_reader *out_contents, der_reader *reader,
                  crlcheck_error *out_error, uint8_t tag) {
    der_reader start = *reader;
    if (!der_read(out_contents, reader, out_error, tag)) {
        return false;
    }
    *out_element = (der_reader){start.data, start.len - reader->len, start.offset};
    return true;
}

// attributes_check requires the contents of a RelativeDistinguishedName: one or
// more AttributeTypeAndValue. The order of the SET is not looked at, because
// names are compared in a canonical form that sorts it.
static bool attributes_check(der_reader contents, crlcheck_error *out_error) {
    do {
        der_reader attribute;
        der_reader type;
        uint8_t value_tag;
        if (!der_read(&attribute, &contents, out_error, DER_SEQUENCE) ||
            !der_read(&type, &attribute, out_error, DER_OBJECT_IDENTIFIER) ||
            !der_read_any(&value_tag, NULL, NULL, &attribute, out_error) ||
            !der_end(&attribute, out_error)) {
            return false;
        }
        if (type.len == 0) {
            return fail_malformed(out_error, CRLCHECK_RULE_BAD_OBJECT_IDENTIFIER,
                                  type.offset);
        }
    } while (contents.len > 0);
    return true;
}

bool name_read(der_reader *out_name, der_reader *reader, crlcheck_error *out_error) {
    der_reader rdns;
    if (!element_read(out_name, &rdns, reader, out_error, DER_SEQUENCE)) {
        return false;
    }
    while (rdns.len > 0) {
        der_reader attributes;
        if (!der_read(&attributes, &rdns, out_error, DER_SET) ||
            !attributes_check(attributes, out_error)) {
            return false;
        }
    }
    return true;
}

bool name_is_empty(const der_reader *name) {
    return name->len <= 2;
}

// general_name_read takes one GeneralName. Only directoryName is looked into:
// no other kind is ever compared by its parts, so that x400Address and
// ediPartyName are octets here and nothing else.
static bool general_name_read(der_reader *names, crlcheck_error *out_error) {
    uint8_t tag;
    der_reader contents;
    der_reader element;
    if (!der_read_any(&tag, &contents, &element, names, out_error)) {
        return false;
    }
    switch (tag) {
    case TAG_OTHER_NAME:
    case TAG_RFC822_NAME:
    case TAG_DNS_NAME:
    case TAG_X400_ADDRESS:
    case TAG_EDI_PARTY_NAME:
    case TAG_URI:
    case TAG_IP_ADDRESS:
    case TAG_REGISTERED_ID:
        return true;
    case TAG_DIRECTORY_NAME: {
        der_reader name;
        return name_read(&name, &contents, out_error) && der_end(&contents, out_error);
    }
    default:
        return fail_with_detail(out_error, CRLCHECK_MALFORMED, CRLCHECK_RULE_WRONG_TAG,
                                element.offset, (crlcheck_slice){element.data, 1});
    }
}

bool general_names_check(der_reader contents, crlcheck_error *out_error) {
    do {
        if (!general_name_read(&contents, out_error)) {
            return false;
        }
    } while (contents.len > 0);
    return true;
}

// general_names_read takes GeneralNames under an implicit tag.
static bool general_names_read(crlcheck_slice *out_names, der_reader *reader,
                               crlcheck_error *out_error, uint8_t tag) {
    der_reader contents;
    if (!der_read(&contents, reader, out_error, tag) ||
        !general_names_check(contents, out_error)) {
        return false;
    }
    *out_names = der_slice(&contents);
    return true;
}

// point_name_read takes a DistributionPointName, which is a CHOICE and so stands
// inside an explicit [0].
static bool point_name_read(crlcheck_distribution_point *point, der_reader *reader,
                            crlcheck_error *out_error) {
    der_reader choice;
    if (!der_read(&choice, reader, out_error, TAG_POINT_NAME)) {
        return false;
    }
    if (der_next_is(&choice, TAG_RELATIVE_NAME)) {
        der_reader attributes;
        if (!der_read(&attributes, &choice, out_error, TAG_RELATIVE_NAME) ||
            !attributes_check(attributes, out_error)) {
            return false;
        }
        point->has_relative_name = true;
        point->relative_name = der_slice(&attributes);
    } else {
        if (!general_names_read(&point->full_name, &choice, out_error, TAG_FULL_NAME)) {
            return false;
        }
        point->has_full_name = true;
    }
    return der_end(&choice, out_error);
}

static bool reasons_read(crlcheck_distribution_point *point, der_reader *reader,
                         crlcheck_error *out_error, uint8_t tag) {
    uint64_t offset = reader->offset;
    if (!der_read_bits(&point->reasons, reader, tag, out_error)) {
        return false;
    }
    // A list of no reasons would be a CRL or a point for nothing at all.
    if (point->reasons == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_BIT_STRING, offset);
    }
    point->has_reasons = true;
    return true;
}

bool distribution_point_read(crlcheck_distribution_point *out_point, der_reader *reader,
                             crlcheck_error *out_error) {
    *out_point = (crlcheck_distribution_point){0};
    uint64_t offset = reader->offset;
    der_reader fields;
    if (!der_read(&fields, reader, out_error, DER_SEQUENCE)) {
        return false;
    }
    if (der_next_is(&fields, TAG_POINT_NAME) &&
        !point_name_read(out_point, &fields, out_error)) {
        return false;
    }
    if (der_next_is(&fields, TAG_POINT_REASONS) &&
        !reasons_read(out_point, &fields, out_error, TAG_POINT_REASONS)) {
        return false;
    }
    if (der_next_is(&fields, TAG_POINT_CRL_ISSUER)) {
        if (!general_names_read(&out_point->crl_issuer, &fields, out_error,
                                TAG_POINT_CRL_ISSUER)) {
            return false;
        }
        out_point->has_crl_issuer = true;
    }
    if (!der_end(&fields, out_error)) {
        return false;
    }
    // RFC 5280 4.2.1.13: a point must say where, or by whom; reasons alone say
    // neither.
    if (!out_point->has_full_name && !out_point->has_relative_name &&
        !out_point->has_crl_issuer) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_EXTENSION, offset);
    }
    return true;
}

// flag_read takes a BOOLEAN DEFAULT FALSE where it is there.
static bool flag_read(bool *out_flag, der_reader *fields, crlcheck_error *out_error,
                      uint8_t tag) {
    *out_flag = false;
    if (!der_next_is(fields, tag)) {
        return true;
    }
    uint64_t offset = fields->offset;
    if (!der_read_boolean(out_flag, fields, tag, out_error)) {
        return false;
    }
    // X.690 11.5: a default is not encoded.
    return *out_flag || fail_malformed(out_error, CRLCHECK_RULE_BAD_BOOLEAN, offset);
}

bool issuing_distribution_point_read(crlcheck_issuing_distribution_point *out_idp,
                                     der_reader *reader, crlcheck_error *out_error) {
    *out_idp = (crlcheck_issuing_distribution_point){.indirect_crl = false};
    uint64_t offset = reader->offset;
    der_reader fields;
    if (!der_read(&fields, reader, out_error, DER_SEQUENCE)) {
        return false;
    }
    bool empty = fields.len == 0;
    if (der_next_is(&fields, TAG_POINT_NAME) &&
        !point_name_read(&out_idp->point, &fields, out_error)) {
        return false;
    }
    if (!flag_read(&out_idp->only_contains_user_certs, &fields, out_error,
                   TAG_ONLY_USER_CERTS) ||
        !flag_read(&out_idp->only_contains_ca_certs, &fields, out_error,
                   TAG_ONLY_CA_CERTS)) {
        return false;
    }
    if (der_next_is(&fields, TAG_ONLY_SOME_REASONS) &&
        !reasons_read(&out_idp->point, &fields, out_error, TAG_ONLY_SOME_REASONS)) {
        return false;
    }
    if (!flag_read(&out_idp->indirect_crl, &fields, out_error, TAG_INDIRECT_CRL) ||
        !flag_read(&out_idp->only_contains_attribute_certs, &fields, out_error,
                   TAG_ONLY_ATTRIBUTE_CERTS) ||
        !der_end(&fields, out_error)) {
        return false;
    }
    // RFC 5280 5.2.5: never empty, and at most one of the three kinds; a CRL of
    // two kinds at once would speak for no certificate.
    int num_kinds = out_idp->only_contains_user_certs + out_idp->only_contains_ca_certs +
                    out_idp->only_contains_attribute_certs;
    if (empty || num_kinds > 1) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_EXTENSION, offset);
    }
    return true;
}

crlcheck_status crlcheck_next_element(crlcheck_slice *out_element, crlcheck_slice *rest,
                                      crlcheck_error *out_error) {
    if (rest->len == 0) {
        return CRLCHECK_NOT_FOUND;
    }
    der_reader reader = {rest->data, rest->len, 0};
    der_reader element;
    uint8_t tag;
    if (!der_read_any(&tag, NULL, &element, &reader, out_error)) {
        return (crlcheck_status)out_error->status;
    }
    *out_element = der_slice(&element);
    *rest = der_slice(&reader);
    return CRLCHECK_OK;
}

crlcheck_status crlcheck_next_distribution_point(crlcheck_distribution_point *out_point,
                                                 crlcheck_slice *rest,
                                                 crlcheck_error *out_error) {
    if (rest->len == 0) {
        return CRLCHECK_NOT_FOUND;
    }
    der_reader reader = {rest->data, rest->len, 0};
    if (!distribution_point_read(out_point, &reader, out_error)) {
        return (crlcheck_status)out_error->status;
    }
    *rest = der_slice(&reader);
    return CRLCHECK_OK;
}

crlcheck_status crlcheck_parse_issuing_distribution_point(
    crlcheck_issuing_distribution_point *out_idp, crlcheck_error *out_error,
    const uint8_t *der, size_t der_len) {
    der_reader reader = {der, der_len, 0};
    if (!issuing_distribution_point_read(out_idp, &reader, out_error) ||
        !der_end(&reader, out_error)) {
        return (crlcheck_status)out_error->status;
    }
    return CRLCHECK_OK;
}
