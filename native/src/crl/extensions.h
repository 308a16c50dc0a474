// extensions.h: the extensions of a CRL and of its entries.

#ifndef CRLCHECK_CRL_EXTENSIONS_H
#define CRLCHECK_CRL_EXTENSIONS_H

#include "crlcheck_crl.h"
#include "der/der.h"

// crl_read_extensions reads crlExtensions, the whole [0] element of RFC 5280
// 5.1.2.7, into `info`. Slices point into the element.
bool crl_read_extensions(crlcheck_crl_info *info, der_reader element,
                         crlcheck_error *out_error);

// crl_entry_extensions is what the extensions of one entry say.
typedef struct crl_entry_extensions {
    uint8_t reason_code;
    bool has_invalidity_date;
    bool is_odd[3];  // by crlcheck_odd_kind: it was ignored
    int64_t invalidity_date;
    crlcheck_slice certificate_issuer;  // a whole Name, or data NULL
    uint64_t certificate_issuer_offset;
} crl_entry_extensions;

// crl_read_entry_extensions reads crlEntryExtensions from their SEQUENCE on
// (RFC 5280 5.3) to the end of `reader`, and adds to `warnings`.
bool crl_read_entry_extensions(crl_entry_extensions *out_extensions, uint32_t *warnings,
                               der_reader *reader, crlcheck_error *out_error);

#endif
