// error.c: fills errors, and names the rules that an input may break.

#include "base/error.h"

#include <string.h>

void error_set(crlcheck_error *out_error, crlcheck_status status, crlcheck_rule rule,
               uint64_t offset, crlcheck_slice detail) {
    if (out_error == NULL) {
        return;
    }
    size_t len = detail.len < CRLCHECK_MAX_DETAIL ? detail.len : CRLCHECK_MAX_DETAIL;
    *out_error = (crlcheck_error){.status = (int)status, .rule = (int)rule};
    out_error->offset = offset;
    out_error->detail_len = (uint32_t)len;
    if (len > 0) {
        memcpy(out_error->detail, detail.data, len);
    }
}

// keep_octets copies as many octets as there is room for, and returns how many.
static uint32_t keep_octets(uint8_t *out_octets, size_t room, crlcheck_slice octets) {
    size_t len = octets.len < room ? octets.len : room;
    if (len > 0) {
        memcpy(out_octets, octets.data, len);
    }
    return (uint32_t)len;
}

void error_add_extension(crlcheck_error *out_error, crlcheck_slice oid) {
    if (out_error != NULL) {
        out_error->extension_oid_len =
            keep_octets(out_error->extension_oid, sizeof out_error->extension_oid, oid);
    }
}

void error_add_entry(crlcheck_error *out_error, uint64_t number, crlcheck_slice serial) {
    if (out_error != NULL) {
        out_error->entry_number = number;
        out_error->serial_len =
            keep_octets(out_error->serial, sizeof out_error->serial, serial);
    }
}

// One name for each crlcheck_rule, in its order.
static const char *const rule_names[CRLCHECK_RULE_COUNT] = {
    [CRLCHECK_RULE_NONE] = "none",
    [CRLCHECK_RULE_TRUNCATED] = "truncated",
    [CRLCHECK_RULE_EMPTY] = "empty",
    [CRLCHECK_RULE_WRONG_TAG] = "wrong_tag",
    [CRLCHECK_RULE_INDEFINITE_LENGTH] = "indefinite_length",
    [CRLCHECK_RULE_NON_MINIMAL_LENGTH] = "non_minimal_length",
    [CRLCHECK_RULE_LENGTH_TOO_LARGE] = "length_too_large",
    [CRLCHECK_RULE_LENGTH_OVERRUN] = "length_overrun",
    [CRLCHECK_RULE_TRAILING_DATA] = "trailing_data",
    [CRLCHECK_RULE_EMPTY_INTEGER] = "empty_integer",
    [CRLCHECK_RULE_NON_MINIMAL_INTEGER] = "non_minimal_integer",
    [CRLCHECK_RULE_BAD_BOOLEAN] = "bad_boolean",
    [CRLCHECK_RULE_BAD_BIT_STRING] = "bad_bit_string",
    [CRLCHECK_RULE_BAD_OBJECT_IDENTIFIER] = "bad_object_identifier",
    [CRLCHECK_RULE_BAD_TIME] = "bad_time",
    [CRLCHECK_RULE_NEXT_UPDATE_BEFORE_THIS_UPDATE] = "next_update_before_this_update",
    [CRLCHECK_RULE_BAD_VERSION] = "bad_version",
    [CRLCHECK_RULE_EMPTY_NAME] = "empty_name",
    [CRLCHECK_RULE_SIGNATURE_ALGORITHM_MISMATCH] = "signature_algorithm_mismatch",
    [CRLCHECK_RULE_EXTENSIONS_IN_V1] = "extensions_in_v1",
    [CRLCHECK_RULE_EMPTY_EXTENSIONS] = "empty_extensions",
    [CRLCHECK_RULE_DUPLICATE_EXTENSION] = "duplicate_extension",
    [CRLCHECK_RULE_BAD_EXTENSION] = "bad_extension",
    [CRLCHECK_RULE_BAD_REASON_CODE] = "bad_reason_code",
    [CRLCHECK_RULE_BAD_CRL_NUMBER] = "bad_crl_number",
    [CRLCHECK_RULE_CERTIFICATE_ISSUER_WITHOUT_INDIRECT] =
        "certificate_issuer_without_indirect",
    [CRLCHECK_RULE_UNKNOWN_CRITICAL_EXTENSION] = "unknown_critical_extension",
    [CRLCHECK_RULE_UNKNOWN_CRITICAL_ENTRY_EXTENSION] = "unknown_critical_entry_extension",
    [CRLCHECK_RULE_VERSION_1] = "version_1",
    [CRLCHECK_RULE_SOURCE_TOO_LARGE] = "source_too_large",
    [CRLCHECK_RULE_ELEMENT_TOO_LARGE] = "element_too_large",
    [CRLCHECK_RULE_TOO_MANY_EXTENSIONS] = "too_many_extensions",
    [CRLCHECK_RULE_SERIAL_TOO_LONG] = "serial_too_long",
    [CRLCHECK_RULE_TOO_MANY_ENTRIES] = "too_many_entries",
    [CRLCHECK_RULE_TOO_MANY_ISSUERS] = "too_many_issuers",
    [CRLCHECK_RULE_BAD_MAGIC] = "bad_magic",
    [CRLCHECK_RULE_BAD_HEADER] = "bad_header",
    [CRLCHECK_RULE_BAD_SECTION] = "bad_section",
};

const char *crlcheck_rule_name(int rule) {
    if (rule < 0 || rule >= CRLCHECK_RULE_COUNT) {
        return "unknown";
    }
    return rule_names[rule];
}
