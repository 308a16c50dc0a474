// der.h: reading DER with every bound checked in one place.
//
// A der_reader walks a span of octets; der_take is the only function that
// advances one. Functions return false and fill the error on the first broken
// rule; the offset in the error counts from the start of the source.

#ifndef CRLCHECK_DER_DER_H
#define CRLCHECK_DER_DER_H

#include "base/error.h"

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OBJECT_IDENTIFIER = 0x06,
    DER_ENUMERATED = 0x0a,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_CONTEXT = 0x80,
    DER_CONTEXT_CONSTRUCTED = 0xa0
};

typedef struct der_reader {
    const uint8_t *data;
    size_t len;
    uint64_t offset;  // of data[0] in the source, for messages
} der_reader;

// der_header is what the tag and length octets of one element say.
typedef struct der_header {
    uint8_t tag;
    uint8_t header_len;
    uint64_t content_len;
} der_header;

// der_peek reads tag and length without advancing. `*out_need` is 0 when
// `out_header` is set, else how many octets must be there before a new try.
bool der_peek(der_header *out_header, size_t *out_need, crlcheck_error *out_error,
              const der_reader *reader);

// der_take hands out the next `len` octets and advances.
bool der_take(der_reader *out_taken, der_reader *reader, size_t len);

// der_read takes one element with the tag expected and hands out its contents.
bool der_read(der_reader *out_contents, der_reader *reader, crlcheck_error *out_error,
              uint8_t tag);

// der_read_any takes one element of any tag. Either output may be NULL.
bool der_read_any(uint8_t *out_tag, der_reader *out_contents, der_reader *out_element,
                  der_reader *reader, crlcheck_error *out_error);

// der_next_is tells whether the next element has this tag.
bool der_next_is(const der_reader *reader, uint8_t tag);

// der_end requires that nothing is left.
bool der_end(const der_reader *reader, crlcheck_error *out_error);

// der_check_integer requires the contents of a minimal INTEGER or ENUMERATED.
bool der_check_integer(const der_reader *contents, crlcheck_error *out_error);

// der_read_integer takes an INTEGER and hands out its minimal contents.
bool der_read_integer(der_reader *out_contents, der_reader *reader,
                      crlcheck_error *out_error);

// der_read_boolean takes a BOOLEAN: 0x00 or 0xff.
bool der_read_boolean(bool *out_value, der_reader *reader, uint8_t tag,
                      crlcheck_error *out_error);

// der_read_bits takes a BIT STRING of at most 16 named bits: bit i of
// `out_bits` is set for named bit i. X.690 11.2 is enforced, and a BIT STRING
// without any octet is refused rather than read.
bool der_read_bits(uint16_t *out_bits, der_reader *reader, uint8_t tag,
                   crlcheck_error *out_error);

// der_read_time takes a UTCTime or GeneralizedTime as seconds since 1970.
// `*out_generalized` tells which it was and may be NULL.
bool der_read_time(int64_t *out_seconds, bool *out_generalized, der_reader *reader,
                   crlcheck_error *out_error);

// der_extension is one Extension of RFC 5280 4.1.
typedef struct der_extension {
    crlcheck_slice oid;    // contents
    bool critical;
    bool encodes_default;  // critical FALSE is spelled out, against X.690 11.5
    der_reader value;      // contents of the OCTET STRING
    uint64_t offset;
} der_extension;

// der_read_extension takes one Extension.
bool der_read_extension(der_extension *out_extension, der_reader *reader,
                        crlcheck_error *out_error);

enum { DER_MAX_EXTENSIONS = 64 };

// der_extension_set remembers the extensions already read of one list.
typedef struct der_extension_set {
    size_t num_oids;
    crlcheck_slice oids[DER_MAX_EXTENSIONS];
} der_extension_set;

// der_read_extension_once is der_read_extension for a list in which no
// extension may come twice (RFC 5280 4.2).
bool der_read_extension_once(der_extension *out_extension, der_extension_set *seen,
                             der_reader *reader, crlcheck_error *out_error);

// der_oid_arc returns n where `oid` is 2.5.29.n (id-ce, n below 128), else 0.
int der_oid_arc(crlcheck_slice oid);

static inline crlcheck_slice der_slice(const der_reader *reader) {
    return (crlcheck_slice){reader->data, reader->len};
}

#endif
