// kind.h: what certificates have in common on which the same CRLs decide.

#ifndef CRLCHECK_X509_KIND_H
#define CRLCHECK_X509_KIND_H

#include "crlcheck_certificate.h"

// certificate_kind writes the kind of a certificate, and returns its length, or 0 where it
// has more than CRLCHECK_MAX_KIND octets.
size_t certificate_kind(uint8_t *out_kind, const crlcheck_certificate *certificate);

#endif
