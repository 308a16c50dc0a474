// state.h: how far a CRL has been parsed.

#ifndef CRLCHECK_CRL_STATE_H
#define CRLCHECK_CRL_STATE_H

#include "crl/issuers.h"
#include "crlcheck_crl.h"
#include "der/der.h"

typedef enum crl_state {
    AT_CERTIFICATE_LIST,
    AT_TBS_CERT_LIST,
    AT_VERSION,
    AT_TBS_SIGNATURE_ALGORITHM,
    AT_ISSUER,
    AT_THIS_UPDATE,
    AT_NEXT_UPDATE,
    AT_REVOKED_CERTIFICATES,
    AT_ENTRY,
    AT_EXTENSIONS,
    AT_SIGNATURE_ALGORITHM,
    AT_SIGNATURE,
    AT_END
} crl_state;

// No element that is read whole may be larger. It bounds the carry buffer.
enum { MAX_ELEMENT = 1 << 20, MAX_ENTRY = 1 << 16 };

// The header fields that the parser keeps copies of.
typedef enum kept_field {
    KEPT_TBS_ALGORITHM,
    KEPT_ISSUER,
    KEPT_EXTENSIONS,
    KEPT_ALGORITHM,
    KEPT_SIGNATURE,
    NUM_KEPT
} kept_field;

typedef struct carry_buffer {
    uint8_t *data;
    size_t len;
    size_t capacity;
} carry_buffer;

struct crlcheck_crl_parser {
    crlcheck_crl_options options;
    crlcheck_crl_info info;
    crl_state state;
    crl_state reading;          // the state in which the last element was begun
    bool failed;
    bool saw_remove_from_crl;
    uint64_t offset;            // of the next octet to read, in the source
    uint64_t certificate_list_end;
    uint64_t tbs_end;
    uint64_t revoked_end;
    uint64_t certificate_issuer_offset;  // of the first certificateIssuer, or 0
    uint32_t certificate_issuer;         // sticky, RFC 5280 5.3.3
    crl_issuers issuers;
    uint8_t *kept[NUM_KEPT];
    // Two, in turn: entries handed out may point into one while the end of the
    // chunk goes to the other.
    carry_buffer carry[2];
    unsigned active_carry;
};

#endif
