// certificate.h: reads a certificate.

#ifndef CRLCHECK_X509_CERTIFICATE_H
#define CRLCHECK_X509_CERTIFICATE_H

#include "crlcheck_certificate.h"

// certificate_parse is crlcheck_certificate_parse, for other units.
crlcheck_status certificate_parse(crlcheck_certificate *out_certificate,
                                  crlcheck_error *out_error, const uint8_t *der,
                                  size_t der_len);

#endif
