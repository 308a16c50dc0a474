// distribution_point.h: reading Names, GeneralNames and distribution points from a
// der_reader, so that errors carry the offset in the whole source.

#ifndef CRLCHECK_X509_DISTRIBUTION_POINT_H
#define CRLCHECK_X509_DISTRIBUTION_POINT_H

#include "crlcheck_certificate.h"
#include "der/der.h"

// element_read takes one element with the tag expected and hands out both the
// whole of it and its contents.
bool element_read(der_reader *out_element, der_reader *out_contents, der_reader *reader,
                  crlcheck_error *out_error, uint8_t tag);

// name_read takes a Name (RFC 5280 4.1.2.4) and hands out the whole element. An
// empty Name is a Name: the caller decides whether one may stand here.
bool name_read(der_reader *out_name, der_reader *reader, crlcheck_error *out_error);

// name_is_empty tells whether a Name that name_read handed out has no RDN.
bool name_is_empty(const der_reader *name);

// general_names_check requires the contents of GeneralNames (RFC 5280 4.2.1.6):
// at least one, and each of a known kind.
bool general_names_check(der_reader contents, crlcheck_error *out_error);

// distribution_point_read takes one DistributionPoint (RFC 5280 4.2.1.13).
bool distribution_point_read(crlcheck_distribution_point *out_point, der_reader *reader,
                             crlcheck_error *out_error);

// issuing_distribution_point_read takes one IssuingDistributionPoint (RFC 5280
// 5.2.5).
bool issuing_distribution_point_read(crlcheck_issuing_distribution_point *out_idp,
                                     der_reader *reader, crlcheck_error *out_error);

#endif
