// extensions.c: RFC 5280 5.2 (CRL extensions) and 5.3 (entry extensions).

#include "crl/extensions.h"

#include <string.h>

#include "x509/distribution_point.h"

// Last arcs of id-ce, 2.5.29.
enum {
    ISSUER_ALT_NAME = 18,
    CRL_NUMBER = 20,
    CRL_REASON = 21,
    HOLD_INSTRUCTION_CODE = 23,
    INVALIDITY_DATE = 24,
    DELTA_CRL_INDICATOR = 27,
    ISSUING_DISTRIBUTION_POINT = 28,
    CERTIFICATE_ISSUER = 29,
    AUTHORITY_KEY_IDENTIFIER = 35,
    FRESHEST_CRL = 46,
    EXPIRED_CERTS_ON_CRL = 60
};

static const uint8_t authority_info_access[] = {0x2b, 6, 1, 5, 5, 7, 1, 1};

// RFC 5280 5.2.3: not negative and at most 20 octets; one more for a zero that
// keeps the sign.
static bool read_crl_number(crlcheck_slice *out_number, der_reader value,
                            crlcheck_error *out_error) {
    der_reader number;
    if (!der_read_integer(&number, &value, out_error) || !der_end(&value, out_error)) {
        return false;
    }
    size_t max_len = number.data[0] == 0 ? 21 : 20;
    if (number.data[0] >= 0x80 || number.len > max_len) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_CRL_NUMBER, number.offset);
    }
    *out_number = der_slice(&number);
    return true;
}

static bool read_authority_key_id(crlcheck_slice *out_key_id, der_reader value,
                                  crlcheck_error *out_error) {
    der_reader sequence;
    if (!der_read(&sequence, &value, out_error, DER_SEQUENCE) ||
        !der_end(&value, out_error)) {
        return false;
    }
    if (der_next_is(&sequence, DER_CONTEXT | 0)) {
        der_reader key_id;
        if (!der_read(&key_id, &sequence, out_error, DER_CONTEXT | 0)) {
            return false;
        }
        *out_key_id = der_slice(&key_id);
    }
    // authorityCertIssuer and authorityCertSerialNumber are ignored.
    while (sequence.len > 0) {
        uint8_t tag;
        if (!der_read_any(&tag, NULL, NULL, &sequence, out_error)) {
            return false;
        }
    }
    return true;
}

static bool read_issuing_distribution_point(crlcheck_crl_info *info, der_reader value,
                                            crlcheck_error *out_error) {
    crlcheck_issuing_distribution_point idp;
    info->issuing_distribution_point = der_slice(&value);
    if (!issuing_distribution_point_read(&idp, &value, out_error)) {
        return false;
    }
    info->is_indirect = idp.indirect_crl;
    return der_end(&value, out_error);
}

// An odd value is nobody's loss where the extension is not critical: RFC 5280 5.2 and 5.3
// let such an extension be ignored. `odd` tells that its value could not be read.
static bool may_ignore(const der_extension *extension, bool odd) {
    return odd && !extension->critical;
}

// X.509 9.5.2.8: a GeneralizedTime. Without it expired certificates are not cleared.
static bool read_expired_certs_on_crl(crlcheck_crl_info *info,
                                      const der_extension *extension,
                                      crlcheck_error *out_error) {
    der_reader value = extension->value;
    int64_t since = 0;
    bool valid = (der_next_is(&value, DER_GENERALIZED_TIME) ||
                  fail_malformed(out_error, CRLCHECK_RULE_BAD_EXTENSION, value.offset)) &&
                 der_read_time(&since, NULL, &value, out_error) &&
                 der_end(&value, out_error);
    if (may_ignore(extension, !valid)) {
        info->odd_extensions[CRLCHECK_ODD_EXPIRED_CERTS_ON_CRL].count++;
        info->warnings |= CRLCHECK_WARNING_ODD_EXTENSION;
        return true;
    }
    info->has_expired_certs_on_crl = valid;
    info->expired_certs_on_crl = since;
    return valid;
}

static bool unknown_critical(crlcheck_error *out_error, crlcheck_rule rule,
                             const der_extension *extension) {
    return fail_with_detail(out_error, CRLCHECK_UNSUPPORTED, rule, extension->offset,
                            extension->oid);
}

// read_crl_extension also tells whether RFC 5280 wants the extension critical.
static bool read_crl_extension(crlcheck_crl_info *info, bool *out_want_critical,
                               const der_extension *extension,
                               crlcheck_error *out_error) {
    der_reader value = extension->value;
    *out_want_critical = false;
    switch (der_oid_arc(extension->oid)) {
    case CRL_NUMBER:
        return read_crl_number(&info->crl_number, value, out_error);
    case DELTA_CRL_INDICATOR:
        *out_want_critical = true;
        info->is_delta = true;
        return read_crl_number(&info->base_crl_number, value, out_error);
    case ISSUING_DISTRIBUTION_POINT:
        *out_want_critical = true;
        return read_issuing_distribution_point(info, value, out_error);
    case AUTHORITY_KEY_IDENTIFIER:
        return read_authority_key_id(&info->authority_key_id, value, out_error);
    case EXPIRED_CERTS_ON_CRL:
        return read_expired_certs_on_crl(info, extension, out_error);
    case ISSUER_ALT_NAME:  // known, and nothing in them changes a verdict
    case FRESHEST_CRL:
        return true;
    default:
        break;
    }
    if (extension->oid.len == sizeof authority_info_access &&
        memcmp(extension->oid.data, authority_info_access,
               sizeof authority_info_access) == 0) {
        return true;
    }
    if (extension->critical) {  // RFC 5280 5.2: such a CRL must not be used
        return unknown_critical(out_error, CRLCHECK_RULE_UNKNOWN_CRITICAL_EXTENSION,
                                extension);
    }
    return true;
}

bool crl_read_extensions(crlcheck_crl_info *info, der_reader element,
                         crlcheck_error *out_error) {
    der_reader wrapper;
    der_reader extensions;
    if (!der_read(&wrapper, &element, out_error, DER_CONTEXT_CONSTRUCTED | 0) ||
        !der_read(&extensions, &wrapper, out_error, DER_SEQUENCE) ||
        !der_end(&wrapper, out_error)) {
        return false;
    }
    if (extensions.len == 0) {
        return fail_malformed(out_error, CRLCHECK_RULE_EMPTY_EXTENSIONS,
                              extensions.offset);
    }
    der_extension_set seen = {0};
    while (extensions.len > 0) {
        der_extension extension;
        bool want_critical;
        extension.oid = (crlcheck_slice){NULL, 0};
        if (!der_read_extension_once(&extension, &seen, &extensions, out_error) ||
            !read_crl_extension(info, &want_critical, &extension, out_error)) {
            error_add_extension(out_error, extension.oid);
            return false;
        }
        if (extension.critical != want_critical || extension.encodes_default) {
            info->warnings |= CRLCHECK_WARNING_CRITICALITY;
        }
    }
    return true;
}

// RFC 5280 5.3.1. Values outside the enumeration are kept as "no reason": the
// entry is revoked whatever the reason says.
static bool read_reason(uint8_t *out_reason, uint32_t *warnings, der_reader value,
                        crlcheck_error *out_error) {
    der_reader reason;
    if (!der_read(&reason, &value, out_error, DER_ENUMERATED) ||
        !der_end(&value, out_error) || !der_check_integer(&reason, out_error)) {
        return false;
    }
    if (reason.len != 1) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_REASON_CODE, reason.offset);
    }
    bool known = reason.data[0] <= 10 && reason.data[0] != 7;
    *out_reason = known ? reason.data[0] : (uint8_t)CRLCHECK_NO_REASON;
    *warnings |= known ? 0 : (uint32_t)CRLCHECK_WARNING_UNKNOWN_REASON;
    return true;
}

// An odd reason, such as one of two octets, is no reason: the entry is revoked for good,
// neither on hold nor removed, whatever was meant.
static bool read_reason_or_none(crl_entry_extensions *out, uint32_t *warnings,
                                const der_extension *extension,
                                crlcheck_error *out_error) {
    bool valid = read_reason(&out->reason_code, warnings, extension->value, out_error);
    if (may_ignore(extension, !valid)) {
        out->is_odd[CRLCHECK_ODD_REASON_CODE] = true;
        out->reason_code = CRLCHECK_NO_REASON;
        return true;
    }
    return valid;
}

// RFC 5280 5.3.2: always GeneralizedTime, whatever the year.
static bool read_invalidity_date(crl_entry_extensions *out,
                                 const der_extension *extension,
                                 crlcheck_error *out_error) {
    der_reader value = extension->value;
    int64_t date = 0;
    bool valid = (der_next_is(&value, DER_GENERALIZED_TIME) ||
                  fail_malformed(out_error, CRLCHECK_RULE_BAD_TIME, value.offset)) &&
                 der_read_time(&date, NULL, &value, out_error) &&
                 der_end(&value, out_error);
    if (may_ignore(extension, !valid)) {
        out->is_odd[CRLCHECK_ODD_INVALIDITY_DATE] = true;
        return true;
    }
    out->has_invalidity_date = valid;
    out->invalidity_date = date;
    return valid;
}

// RFC 5280 5.3.3: GeneralNames with the Name of the issuer, a directoryName [4].
static bool read_certificate_issuer(crl_entry_extensions *out, der_reader value,
                                    crlcheck_error *out_error) {
    der_reader names;
    if (!der_read(&names, &value, out_error, DER_SEQUENCE) ||
        !der_end(&value, out_error)) {
        return false;
    }
    out->certificate_issuer_offset = names.offset;
    while (names.len > 0) {
        uint8_t tag;
        der_reader contents;
        if (!der_read_any(&tag, &contents, NULL, &names, out_error)) {
            return false;
        }
        if (tag != (DER_CONTEXT_CONSTRUCTED | 4)) {
            continue;
        }
        der_reader name;
        if (!name_read(&name, &contents, out_error) || !der_end(&contents, out_error)) {
            return false;
        }
        if (out->certificate_issuer.data != NULL || name_is_empty(&name)) {
            return fail_malformed(out_error, CRLCHECK_RULE_BAD_EXTENSION, name.offset);
        }
        out->certificate_issuer = der_slice(&name);
    }
    if (out->certificate_issuer.data == NULL) {
        return fail_malformed(out_error, CRLCHECK_RULE_BAD_EXTENSION, names.offset);
    }
    return true;
}

static bool read_entry_extension(crl_entry_extensions *out, uint32_t *warnings,
                                 const der_extension *extension,
                                 crlcheck_error *out_error) {
    bool want_critical = false;
    bool valid = true;
    switch (der_oid_arc(extension->oid)) {
    case CRL_REASON:
        valid = read_reason_or_none(out, warnings, extension, out_error);
        break;
    case INVALIDITY_DATE:
        valid = read_invalidity_date(out, extension, out_error);
        break;
    case CERTIFICATE_ISSUER:
        want_critical = true;
        valid = read_certificate_issuer(out, extension->value, out_error);
        break;
    case HOLD_INSTRUCTION_CODE:
        break;
    default:
        if (extension->critical) {  // RFC 5280 5.3: it voids the whole CRL
            return unknown_critical(
                out_error, CRLCHECK_RULE_UNKNOWN_CRITICAL_ENTRY_EXTENSION, extension);
        }
    }
    if (extension->critical != want_critical || extension->encodes_default) {
        *warnings |= CRLCHECK_WARNING_CRITICALITY;
    }
    return valid;
}

bool crl_read_entry_extensions(crl_entry_extensions *out_extensions, uint32_t *warnings,
                               der_reader *reader, crlcheck_error *out_error) {
    *out_extensions = (crl_entry_extensions){.reason_code = CRLCHECK_NO_REASON};
    der_reader extensions;
    if (!der_read(&extensions, reader, out_error, DER_SEQUENCE) ||
        !der_end(reader, out_error)) {
        return false;
    }
    if (extensions.len == 0) {
        *warnings |= CRLCHECK_WARNING_EMPTY_ENTRY_EXTENSIONS;
    }
    der_extension_set seen;
    seen.num_oids = 0;  // the slots need no clearing, and this runs per entry
    while (extensions.len > 0) {
        der_extension extension;
        extension.oid = (crlcheck_slice){NULL, 0};
        if (!der_read_extension_once(&extension, &seen, &extensions, out_error) ||
            !read_entry_extension(out_extensions, warnings, &extension, out_error)) {
            error_add_extension(out_error, extension.oid);
            return false;
        }
    }
    return true;
}
