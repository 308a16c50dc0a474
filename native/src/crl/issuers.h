// issuers.h: the certificate issuers that an indirect CRL names.

#ifndef CRLCHECK_CRL_ISSUERS_H
#define CRLCHECK_CRL_ISSUERS_H

#include "crlcheck_values.h"

// crl_issuers numbers distinct names from 1 in order of appearance; 0 is left
// for the CRL's own issuer. A zeroed struct is empty. It owns its copies.
typedef struct crl_issuers {
    crlcheck_slice *names;  // by number - 1
    uint32_t *sorted;       // numbers in order of their names
    uint32_t num_names;
    uint32_t capacity;
} crl_issuers;

// crl_issuers_number finds the number of `name`, which it adds where it is new.
crlcheck_status crl_issuers_number(uint32_t *out_number, crl_issuers *issuers,
                                   crlcheck_slice name);

void crl_issuers_clear(crl_issuers *issuers);

#endif
