// crlcheck_certificate.h: certificates, names and distribution points.

#ifndef CRLCHECK_PUBLIC_CERTIFICATE_H
#define CRLCHECK_PUBLIC_CERTIFICATE_H

#include "crlcheck_values.h"

// cdef: begin

// ---- names and distribution points ----------------------------------------

// crlcheck_distribution_point is one DistributionPoint (RFC 5280 4.2.1.13) or
// the matching part of an IssuingDistributionPoint (5.2.5). `full_name` and
// `crl_issuer` are the contents of GeneralNames, read with
// crlcheck_next_element; `relative_name` is the contents of the [1] element.
typedef struct crlcheck_distribution_point {
    bool has_full_name;
    bool has_relative_name;
    bool has_reasons;
    bool has_crl_issuer;
    crlcheck_slice full_name;
    crlcheck_slice relative_name;
    crlcheck_slice crl_issuer;
    uint16_t reasons;          // bit i is set for ReasonFlags bit i
} crlcheck_distribution_point;

typedef struct crlcheck_issuing_distribution_point {
    crlcheck_distribution_point point;
    bool only_contains_user_certs;
    bool only_contains_ca_certs;
    bool only_contains_attribute_certs;
    bool indirect_crl;
} crlcheck_issuing_distribution_point;

// crlcheck_next_element takes the first whole DER element off `rest`:
// CRLCHECK_NOT_FOUND when `rest` is empty.
crlcheck_status crlcheck_next_element(crlcheck_slice *out_element, crlcheck_slice *rest,
                                      crlcheck_error *out_error);

// crlcheck_next_distribution_point takes the next DistributionPoint off `rest`,
// which starts as the contents of CRLDistributionPoints.
crlcheck_status crlcheck_next_distribution_point(crlcheck_distribution_point *out_point,
                                                 crlcheck_slice *rest,
                                                 crlcheck_error *out_error);

// crlcheck_parse_issuing_distribution_point reads a whole
// IssuingDistributionPoint element.
crlcheck_status crlcheck_parse_issuing_distribution_point(
    crlcheck_issuing_distribution_point *out_idp, crlcheck_error *out_error,
    const uint8_t *der, size_t der_len);

// ---- certificate ----------------------------------------------------------

// crlcheck_certificate has the fields that a revocation verdict needs. All
// slices point into the DER given. Names and subject_public_key_info are whole
// elements, `crl_distribution_points` is the contents of the SEQUENCE and
// `authority_cert_issuer` that of GeneralNames, read with crlcheck_next_element; the
// rest are contents. A missing optional field has data NULL; authority_cert_issuer
// and authority_cert_serial are there together or not at all.
typedef struct crlcheck_certificate {
    int version;               // 1 to 3
    crlcheck_slice serial;
    crlcheck_slice issuer;
    crlcheck_slice subject;
    int64_t not_before;
    int64_t not_after;
    crlcheck_slice subject_public_key_info;
    crlcheck_slice authority_key_id;
    crlcheck_slice authority_cert_issuer;
    crlcheck_slice authority_cert_serial;
    crlcheck_slice subject_key_id;
    crlcheck_slice crl_distribution_points;
    bool has_basic_constraints;
    bool is_ca;
    bool has_key_usage;
    uint16_t key_usage;        // bit i is set for KeyUsage bit i (cRLSign: 6)
} crlcheck_certificate;

crlcheck_status crlcheck_certificate_parse(crlcheck_certificate *out_certificate,
                                           crlcheck_error *out_error, const uint8_t *der,
                                           size_t der_len);

// crlcheck_certificate_kind writes what certificates have in common on which the same CRLs
// decide, and returns its length: at most CRLCHECK_MAX_KIND, or 0 where it has more. A
// larger one is of no CA that there is, and is not worth remembering.
size_t crlcheck_certificate_kind(uint8_t *out_kind,
                                 const crlcheck_certificate *certificate);

// cdef: end

#endif
