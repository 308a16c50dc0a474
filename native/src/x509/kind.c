// kind.c: writes the kind of a certificate.
//
// The kind is all that a verdict may depend on but the serial number, the time and which
// certificate it is: crlcheck/checker/remembered.py says why that is all.

#include <string.h>

#include "x509/kind.h"

typedef struct kind_writer {
    size_t len;
    bool is_full;
    uint8_t *octets;
} kind_writer;

// put adds a field of the certificate, with its length, so that no two lists of fields
// have the same octets. A field that is absent is told from an empty one.
static void put(kind_writer *kind, crlcheck_slice field) {
    enum { PREFIX = 3 };
    if (field.len > CRLCHECK_MAX_KIND ||
        kind->len + PREFIX + field.len > CRLCHECK_MAX_KIND) {
        kind->is_full = true;
        return;
    }
    uint8_t *end = kind->octets + kind->len;
    end[0] = field.data != NULL;
    end[1] = (uint8_t)(field.len >> 8);
    end[2] = (uint8_t)field.len;
    if (field.len > 0) {
        memcpy(end + PREFIX, field.data, field.len);
    }
    kind->len += PREFIX + field.len;
}

size_t certificate_kind(uint8_t *out_kind, const crlcheck_certificate *certificate) {
    kind_writer kind = {0, false, out_kind};
    const uint8_t is_ca = certificate->is_ca;
    put(&kind, certificate->issuer);
    put(&kind, certificate->authority_key_id);
    put(&kind, certificate->authority_cert_issuer);
    put(&kind, certificate->authority_cert_serial);
    put(&kind, certificate->crl_distribution_points);
    put(&kind, (crlcheck_slice){&is_ca, 1});
    return kind.is_full ? 0 : kind.len;
}

size_t crlcheck_certificate_kind(uint8_t *out_kind,
                                 const crlcheck_certificate *certificate) {
    return certificate_kind(out_kind, certificate);
}
