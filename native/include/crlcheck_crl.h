// crlcheck_crl.h: the push parser for CRLs.

#ifndef CRLCHECK_PUBLIC_CRL_H
#define CRLCHECK_PUBLIC_CRL_H

#include "crlcheck_values.h"

// cdef: begin

typedef struct crlcheck_crl_parser crlcheck_crl_parser;

typedef struct crlcheck_crl_options {
    uint64_t max_source_size;  // bytes; 0: no limit
    uint64_t max_entries;      // 0: no limit
    bool allow_v1;
} crlcheck_crl_options;

// crlcheck_entry is one revoked certificate. `serial` is the minimal two's
// complement form and points into parser memory or the chunk: it holds until
// the next call on the parser. Dates are seconds since 1970-01-01 UTC.
// `certificate_issuer` is 0 for the CRL's own issuer, else a number that
// crlcheck_crl_parser_issuer resolves (RFC 5280 5.3.3).
typedef struct crlcheck_entry {
    crlcheck_slice serial;
    int64_t revocation_date;
    int64_t invalidity_date;
    uint32_t certificate_issuer;
    uint8_t reason_code;       // CRLCHECK_NO_REASON where there is none
    bool has_invalidity_date;
} crlcheck_entry;

// crlcheck_odd_kind names the extensions that count as absent where they are not critical
// and their value has another form than it should. Without them a certificate is revoked
// for good and no verdict permits more. All other extensions that are read must be right.
typedef enum crlcheck_odd_kind {
    CRLCHECK_ODD_EXPIRED_CERTS_ON_CRL = 0,  // 2.5.29.60, of the CRL
    CRLCHECK_ODD_REASON_CODE = 1,           // 2.5.29.21, of an entry
    CRLCHECK_ODD_INVALIDITY_DATE = 2        // 2.5.29.24, of an entry
} crlcheck_odd_kind;

// crlcheck_odd_extension counts the odd extensions of one kind. The first one is that of
// entry number `first_entry` (from 1) with the serial `first_serial`; both are 0 for an
// extension of the CRL.
typedef struct crlcheck_odd_extension {
    uint64_t count;
    uint64_t first_entry;
    uint32_t first_serial_len;
    uint8_t first_serial[64];
} crlcheck_odd_extension;

// crlcheck_crl_info has the fields of a CRL but its entries. The slices
// belong to the parser and hold until it is freed. `have_header` is set once
// everything up to nextUpdate has been read, `complete` by a successful finish.
// AlgorithmIdentifiers, names and the issuingDistributionPoint are whole DER
// elements; numbers, key ids and the signature are their contents only.
typedef struct crlcheck_crl_info {
    bool have_header;
    bool complete;
    int version;               // 1 or 2
    uint64_t tbs_offset;       // of the tbsCertList element in the source
    uint64_t tbs_size;         // its header included
    crlcheck_slice tbs_signature_algorithm;
    crlcheck_slice issuer;
    int64_t this_update;
    int64_t next_update;
    bool has_next_update;
    uint64_t num_entries;      // as listed, duplicates included
    crlcheck_slice signature_algorithm;
    crlcheck_slice signature;
    crlcheck_slice authority_key_id;
    crlcheck_slice crl_number;
    crlcheck_slice base_crl_number;
    crlcheck_slice issuing_distribution_point;
    int64_t expired_certs_on_crl;
    bool has_expired_certs_on_crl;
    bool is_delta;             // deltaCRLIndicator is present
    bool is_indirect;          // indirectCRL is TRUE
    uint32_t num_issuers;      // the CRL's own included
    uint32_t warnings;         // crlcheck_warning bits
    crlcheck_odd_extension odd_extensions[3];  // by crlcheck_odd_kind
} crlcheck_crl_info;

crlcheck_status crlcheck_crl_parser_new(crlcheck_crl_parser **out_parser,
                                        const crlcheck_crl_options *options);
void crlcheck_crl_parser_free(crlcheck_crl_parser *parser);

// crlcheck_crl_parser_feed reads a chunk of the source, of any size, and fills at most
// `max_entries` of `out_entries`. It stops when the chunk is used up or the entries are
// full: `out_consumed` bytes are read, and the caller offers the rest again. After an
// error every call fails.
crlcheck_status crlcheck_crl_parser_feed(crlcheck_crl_parser *parser,
                                         size_t *out_consumed,
                                         crlcheck_entry *out_entries,
                                         size_t *out_num_entries,
                                         crlcheck_error *out_error, size_t max_entries,
                                         const uint8_t *chunk, size_t chunk_len);

// crlcheck_crl_parser_finish states that the source ends here and checks what
// can only be known at the end.
crlcheck_status crlcheck_crl_parser_finish(crlcheck_crl_parser *parser,
                                           crlcheck_error *out_error);

const crlcheck_crl_info *crlcheck_crl_parser_info(const crlcheck_crl_parser *parser);

// crlcheck_crl_parser_issuer gives the Name of a certificate issuer by number.
crlcheck_slice crlcheck_crl_parser_issuer(const crlcheck_crl_parser *parser,
                                          uint32_t number);

// cdef: end

#endif
