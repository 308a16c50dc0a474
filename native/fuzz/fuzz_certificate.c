// fuzz_certificate.c: any bytes as a certificate, as distribution points and as an
// issuingDistributionPoint. What is accepted must be safe to use: every slice lies
// in the input, and whatever the parser has checked can be walked without an error.

#include "crlcheck.h"

#include <stdint.h>
#include <stdlib.h>

static void require(bool held) {
    if (!held) {
        abort();
    }
}

typedef struct input {
    const uint8_t *data;
    size_t len;
} input;

static uint8_t sink;

// use reads every octet of a slice, so that the sanitizers see one that is wrong.
static void use(crlcheck_slice slice, const input *within) {
    if (slice.data == NULL) {
        require(slice.len == 0);
        return;
    }
    require(slice.data >= within->data);
    require(slice.len <= (size_t)(within->data + within->len - slice.data));
    for (size_t i = 0; i < slice.len; i++) {
        sink ^= slice.data[i];
    }
}

static void check_error(crlcheck_status status, const crlcheck_error *error, size_t len) {
    require(status == CRLCHECK_MALFORMED || status == CRLCHECK_LIMIT_EXCEEDED);
    require(error->status == (int)status);
    require(error->rule > CRLCHECK_RULE_NONE && error->rule < CRLCHECK_RULE_COUNT);
    require(error->offset <= len);
    require(error->detail_len <= CRLCHECK_MAX_DETAIL);
}

// walk_elements requires a run of whole elements, as checked GeneralNames are.
static void walk_elements(crlcheck_slice rest, const input *within) {
    crlcheck_slice element;
    crlcheck_error error;
    size_t len = 0;
    size_t total = rest.len;
    crlcheck_status status;
    while ((status = crlcheck_next_element(&element, &rest, &error)) == CRLCHECK_OK) {
        require(element.len >= 2);
        use(element, within);
        len += element.len;
    }
    require(status == CRLCHECK_NOT_FOUND && len == total);
}

static void use_point(const crlcheck_distribution_point *point, const input *within) {
    require(!(point->has_full_name && point->has_relative_name));
    require(point->has_full_name == (point->full_name.data != NULL));
    require(point->has_relative_name == (point->relative_name.data != NULL));
    require(point->has_crl_issuer == (point->crl_issuer.data != NULL));
    require(point->has_reasons == (point->reasons != 0));
    walk_elements(point->full_name, within);
    walk_elements(point->relative_name, within);
    walk_elements(point->crl_issuer, within);
}

// walk_points returns how the walk ended.
static crlcheck_status walk_points(crlcheck_slice rest, const input *within) {
    crlcheck_distribution_point point;
    crlcheck_error error;
    crlcheck_status status;
    size_t before = rest.len;
    while ((status = crlcheck_next_distribution_point(&point, &rest, &error)) ==
           CRLCHECK_OK) {
        require(rest.len < before);
        before = rest.len;
        use_point(&point, within);
    }
    if (status != CRLCHECK_NOT_FOUND) {
        check_error(status, &error, within->len);
    }
    return status;
}

static void fuzz_certificate(const input *in) {
    crlcheck_certificate certificate;
    crlcheck_error error;
    crlcheck_status status =
        crlcheck_certificate_parse(&certificate, &error, in->data, in->len);
    if (status != CRLCHECK_OK) {
        check_error(status, &error, in->len);
        return;
    }
    require(certificate.version >= 1 && certificate.version <= 3);
    require(certificate.serial.len >= 1 && certificate.serial.len <= CRLCHECK_MAX_SERIAL);
    require(certificate.issuer.len > 2 && certificate.subject.len >= 2);
    require(certificate.has_basic_constraints || !certificate.is_ca);
    require(certificate.has_key_usage || certificate.key_usage == 0);
    use(certificate.serial, in);
    use(certificate.authority_key_id, in);
    use(certificate.authority_cert_serial, in);
    require((certificate.authority_cert_issuer.data == NULL) ==
            (certificate.authority_cert_serial.data == NULL));
    require(certificate.authority_cert_serial.data == NULL ||
            (certificate.authority_cert_serial.len >= 1 &&
             certificate.authority_cert_serial.len <= CRLCHECK_MAX_SERIAL));
    walk_elements(certificate.authority_cert_issuer, in);
    use(certificate.subject_key_id, in);
    walk_elements(certificate.issuer, in);
    walk_elements(certificate.subject, in);
    walk_elements(certificate.subject_public_key_info, in);
    require(walk_points(certificate.crl_distribution_points, in) == CRLCHECK_NOT_FOUND);
}

static void fuzz_issuing_distribution_point(const input *in) {
    crlcheck_issuing_distribution_point idp;
    crlcheck_error error;
    crlcheck_status status =
        crlcheck_parse_issuing_distribution_point(&idp, &error, in->data, in->len);
    if (status != CRLCHECK_OK) {
        check_error(status, &error, in->len);
        return;
    }
    require(!idp.point.has_crl_issuer);
    use_point(&idp.point, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    fuzz_certificate(&in);
    fuzz_issuing_distribution_point(&in);
    walk_points((crlcheck_slice){data, size}, &in);
    return 0;
}
