// crlcheck_values.h: the values that all functions share: slices, outcomes, limits.

#ifndef CRLCHECK_PUBLIC_VALUES_H
#define CRLCHECK_PUBLIC_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// cdef: begin

// crlcheck_status is what every function that may fail returns: 0-15 are outcomes,
// 16 and above are errors described by a crlcheck_error.
typedef enum crlcheck_status {
    CRLCHECK_OK = 0,
    CRLCHECK_NOT_FOUND = 1,
    CRLCHECK_PAGE_MISSING = 2,         // a look-up needs a page that it was not given
    CRLCHECK_NO_MEMORY = 16,
    CRLCHECK_MALFORMED = 17,           // the bytes break DER or RFC 5280
    CRLCHECK_UNSUPPORTED = 18,         // well-formed, but outside our profile
    CRLCHECK_LIMIT_EXCEEDED = 19,      // a limit given by the caller or fixed here
    CRLCHECK_CORRUPT_IMAGE = 20,       // an image contradicts itself
    CRLCHECK_UNSUPPORTED_VERSION = 21  // an image of a later major version
} crlcheck_status;

// crlcheck_rule names the rule that a refused input broke.
typedef enum crlcheck_rule {
    CRLCHECK_RULE_NONE = 0,
    CRLCHECK_RULE_TRUNCATED,           // the input ends inside an element
    CRLCHECK_RULE_EMPTY,               // there is no input at all
    CRLCHECK_RULE_WRONG_TAG,           // another element was expected here
    CRLCHECK_RULE_INDEFINITE_LENGTH,   // BER: refused, X.690 10.1
    CRLCHECK_RULE_NON_MINIMAL_LENGTH,  // X.690 10.1
    CRLCHECK_RULE_LENGTH_TOO_LARGE,    // more than eight length octets
    CRLCHECK_RULE_LENGTH_OVERRUN,      // an element leaves the one around it
    CRLCHECK_RULE_TRAILING_DATA,       // octets after the last element
    CRLCHECK_RULE_EMPTY_INTEGER,       // X.690 8.3.1
    CRLCHECK_RULE_NON_MINIMAL_INTEGER, // X.690 8.3.2
    CRLCHECK_RULE_BAD_BOOLEAN,         // X.690 11.1
    CRLCHECK_RULE_BAD_BIT_STRING,      // X.690 11.2
    CRLCHECK_RULE_BAD_OBJECT_IDENTIFIER,
    CRLCHECK_RULE_BAD_TIME,            // RFC 5280 5.1.2.4: seconds and Z, no fraction
    CRLCHECK_RULE_NEXT_UPDATE_BEFORE_THIS_UPDATE, // RFC 5280 5.1.2.5
    CRLCHECK_RULE_BAD_VERSION,
    CRLCHECK_RULE_EMPTY_NAME,          // RFC 5280 5.1.2.3: the issuer is non-empty
    CRLCHECK_RULE_SIGNATURE_ALGORITHM_MISMATCH, // RFC 5280 5.1.1.2
    CRLCHECK_RULE_EXTENSIONS_IN_V1,    // RFC 5280 5.1.2.1
    CRLCHECK_RULE_EMPTY_EXTENSIONS,    // RFC 5280 5.1.2.7
    CRLCHECK_RULE_DUPLICATE_EXTENSION, // RFC 5280 4.2
    CRLCHECK_RULE_BAD_EXTENSION,       // a known extension with a broken value
    CRLCHECK_RULE_BAD_REASON_CODE,
    CRLCHECK_RULE_BAD_CRL_NUMBER,      // RFC 5280 5.2.3: 0 to 20 octets, not negative
    CRLCHECK_RULE_CERTIFICATE_ISSUER_WITHOUT_INDIRECT, // RFC 5280 5.3.3
    CRLCHECK_RULE_UNKNOWN_CRITICAL_EXTENSION,       // RFC 5280 5.2
    CRLCHECK_RULE_UNKNOWN_CRITICAL_ENTRY_EXTENSION, // RFC 5280 5.3
    CRLCHECK_RULE_VERSION_1,           // a v1 CRL where v1 was not allowed
    CRLCHECK_RULE_SOURCE_TOO_LARGE,
    CRLCHECK_RULE_ELEMENT_TOO_LARGE,   // one header field, entry or name
    CRLCHECK_RULE_TOO_MANY_EXTENSIONS, // in one list
    CRLCHECK_RULE_SERIAL_TOO_LONG,     // more than CRLCHECK_MAX_SERIAL octets
    CRLCHECK_RULE_TOO_MANY_ENTRIES,
    CRLCHECK_RULE_TOO_MANY_ISSUERS,
    CRLCHECK_RULE_BAD_MAGIC,
    CRLCHECK_RULE_BAD_HEADER,
    CRLCHECK_RULE_BAD_SECTION,
    CRLCHECK_RULE_COUNT                // the number of rules; not a rule
} crlcheck_rule;

// crlcheck_field is a part of a CRL, RFC 5280 5.1, in its order.
typedef enum crlcheck_field {
    CRLCHECK_FIELD_NONE = 0,
    CRLCHECK_FIELD_CERTIFICATE_LIST,
    CRLCHECK_FIELD_TBS_CERT_LIST,
    CRLCHECK_FIELD_VERSION,
    CRLCHECK_FIELD_SIGNATURE,
    CRLCHECK_FIELD_ISSUER,
    CRLCHECK_FIELD_THIS_UPDATE,
    CRLCHECK_FIELD_NEXT_UPDATE,
    CRLCHECK_FIELD_REVOKED_CERTIFICATES,
    CRLCHECK_FIELD_ENTRY,
    CRLCHECK_FIELD_CRL_EXTENSIONS,
    CRLCHECK_FIELD_SIGNATURE_ALGORITHM,
    CRLCHECK_FIELD_SIGNATURE_VALUE
} crlcheck_field;

// crlcheck_warning is a bit of crlcheck_crl_info.warnings: something a real CA
// does that RFC 5280 forbids and that is harmless enough to accept by name.
typedef enum crlcheck_warning {
    CRLCHECK_WARNING_NEGATIVE_SERIAL = 1,
    CRLCHECK_WARNING_ZERO_SERIAL = 2,
    CRLCHECK_WARNING_LONG_SERIAL = 4,            // more than 20 octets
    CRLCHECK_WARNING_EMPTY_REVOKED_LIST = 8,     // present but empty
    CRLCHECK_WARNING_EMPTY_ENTRY_EXTENSIONS = 16,
    CRLCHECK_WARNING_TIME_ENCODING = 32,         // GeneralizedTime before 2050
    CRLCHECK_WARNING_UNKNOWN_REASON = 64,        // 7 or above 10: kept as none
    CRLCHECK_WARNING_REMOVE_FROM_CRL = 128,      // in a complete CRL: revoked
    CRLCHECK_WARNING_NO_NEXT_UPDATE = 256,
    CRLCHECK_WARNING_NO_CRL_NUMBER = 512,
    CRLCHECK_WARNING_NO_AUTHORITY_KEY_ID = 1024,
    CRLCHECK_WARNING_CRITICALITY = 2048,         // a known extension's flag is wrong
    CRLCHECK_WARNING_VERSION_1 = 4096,
    CRLCHECK_WARNING_DUPLICATE_SERIALS = 8192,   // merged by the builder
    CRLCHECK_WARNING_EQUAL_TIMES = 16384,        // nextUpdate is thisUpdate
    CRLCHECK_WARNING_ODD_EXTENSION = 32768       // see crlcheck_odd_extension
} crlcheck_warning;

enum {
    CRLCHECK_MAX_SERIAL = 64,      // octets of one serial number
    CRLCHECK_MAX_KIND = 1024,  // octets of what certificates of a kind have in common
    CRLCHECK_NO_REASON = 15,  // the entry has no reason code
    CRLCHECK_MAX_DETAIL = 32,
    CRLCHECK_DIGEST_SIZE = 32,  // SHA-256
    CRLCHECK_PAGE_SIZE = 65536,
    CRLCHECK_DIGESTS_PER_BLOCK = 256,
    CRLCHECK_MAJOR_VERSION = 1,
    CRLCHECK_MINOR_VERSION = 0
};

// crlcheck_error says what was wrong and where. `detail` holds octets that help
// to say it (an OID, an unexpected tag). The rest names the place: of a CRL the field,
// and in its list the number of the entry, from 1, and the octets of its serial number;
// the contents of the OID of an extension. Numbers and lengths are 0 where there is none.
typedef struct crlcheck_error {
    int status;
    int rule;
    uint64_t offset;
    uint32_t detail_len;
    uint8_t detail[32];
    int field;  // a crlcheck_field
    uint64_t entry_number;
    uint32_t serial_len;
    uint8_t serial[64];
    uint32_t extension_oid_len;
    uint8_t extension_oid[32];
} crlcheck_error;

typedef struct crlcheck_slice {
    const uint8_t *data;
    size_t len;
} crlcheck_slice;

// crlcheck_rule_name returns a static lower-case name such as
// "non_minimal_integer".
const char *crlcheck_rule_name(int rule);

// cdef: end

#endif
