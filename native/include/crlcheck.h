// crlcheck.h: the one public header of crlcheck's native core.
//
// The core parses CRLs and certificates, builds images and looks serials up.
// It opens no files, reads no clock, does no cryptography and keeps no global
// state. Every buffer that comes in is borrowed; every object that a *_new or
// *_open function hands out is owned by the caller and given back to its *_free
// function, which accepts NULL. Two threads may use one image at once; parsers
// and builders belong to one thread at a time.
//
// The text between the two "cdef" marks is also what cffi reads, so it holds
// plain declarations only.

#ifndef CRLCHECK_H
#define CRLCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// cdef: begin

// crlcheck_status is what every fallible function returns: 0-15 are outcomes,
// 16 and above are errors described by a crlcheck_error.
typedef enum crlcheck_status {
    CRLCHECK_OK = 0,
    CRLCHECK_NOT_FOUND = 1,
    CRLCHECK_NO_MEMORY = 16,
    CRLCHECK_MALFORMED = 17,           // the bytes break DER or RFC 5280
    CRLCHECK_UNSUPPORTED = 18,         // well-formed, but outside our profile
    CRLCHECK_LIMIT_EXCEEDED = 19,      // a limit given by the caller or fixed here
    CRLCHECK_CORRUPT_IMAGE = 20,       // an image contradicts itself
    CRLCHECK_UNSUPPORTED_VERSION = 21  // an image of a later major version
} crlcheck_status;

// crlcheck_rule names the rule that a refused input broke.
typedef enum crlcheck_rule {
    CRLCHECK_RULE_NONE = 0,
    CRLCHECK_RULE_TRUNCATED,           // the input ends inside an element
    CRLCHECK_RULE_EMPTY,               // there is no input at all
    CRLCHECK_RULE_WRONG_TAG,           // another element was expected here
    CRLCHECK_RULE_INDEFINITE_LENGTH,   // BER: refused, X.690 10.1
    CRLCHECK_RULE_NON_MINIMAL_LENGTH,  // X.690 10.1
    CRLCHECK_RULE_LENGTH_TOO_LARGE,    // more than eight length octets
    CRLCHECK_RULE_LENGTH_OVERRUN,      // an element leaves the one around it
    CRLCHECK_RULE_TRAILING_DATA,       // octets after the last element
    CRLCHECK_RULE_EMPTY_INTEGER,       // X.690 8.3.1
    CRLCHECK_RULE_NON_MINIMAL_INTEGER, // X.690 8.3.2
    CRLCHECK_RULE_BAD_BOOLEAN,         // X.690 11.1
    CRLCHECK_RULE_BAD_BIT_STRING,      // X.690 11.2
    CRLCHECK_RULE_BAD_OBJECT_IDENTIFIER,
    CRLCHECK_RULE_BAD_TIME,            // RFC 5280 5.1.2.4: seconds and Z, no fraction
    CRLCHECK_RULE_BAD_VERSION,
    CRLCHECK_RULE_EMPTY_NAME,          // RFC 5280 5.1.2.3: the issuer is non-empty
    CRLCHECK_RULE_SIGNATURE_ALGORITHM_MISMATCH, // RFC 5280 5.1.1.2
    CRLCHECK_RULE_EXTENSIONS_IN_V1,    // RFC 5280 5.1.2.1
    CRLCHECK_RULE_EMPTY_EXTENSIONS,    // RFC 5280 5.1.2.7
    CRLCHECK_RULE_DUPLICATE_EXTENSION, // RFC 5280 4.2
    CRLCHECK_RULE_BAD_EXTENSION,       // a known extension with a broken value
    CRLCHECK_RULE_BAD_REASON_CODE,
    CRLCHECK_RULE_BAD_CRL_NUMBER,      // RFC 5280 5.2.3: 0 to 20 octets, not negative
    CRLCHECK_RULE_CERTIFICATE_ISSUER_WITHOUT_INDIRECT, // RFC 5280 5.3.3
    CRLCHECK_RULE_UNKNOWN_CRITICAL_EXTENSION,       // RFC 5280 5.2
    CRLCHECK_RULE_UNKNOWN_CRITICAL_ENTRY_EXTENSION, // RFC 5280 5.3
    CRLCHECK_RULE_VERSION_1,           // a v1 CRL where v1 was not allowed
    CRLCHECK_RULE_SOURCE_TOO_LARGE,
    CRLCHECK_RULE_ELEMENT_TOO_LARGE,   // one header field, entry or name
    CRLCHECK_RULE_TOO_MANY_EXTENSIONS, // in one list
    CRLCHECK_RULE_SERIAL_TOO_LONG,     // more than CRLCHECK_MAX_SERIAL octets
    CRLCHECK_RULE_TOO_MANY_ENTRIES,
    CRLCHECK_RULE_TOO_MANY_ISSUERS,
    CRLCHECK_RULE_BAD_MAGIC,
    CRLCHECK_RULE_BAD_HEADER,
    CRLCHECK_RULE_BAD_SECTION,
    CRLCHECK_RULE_COUNT                // the number of rules; not a rule
} crlcheck_rule;

// crlcheck_warning is a bit of crlcheck_crl_info.warnings: something a real CA
// does that RFC 5280 forbids and that is harmless enough to accept by name.
typedef enum crlcheck_warning {
    CRLCHECK_WARNING_NEGATIVE_SERIAL = 1,
    CRLCHECK_WARNING_ZERO_SERIAL = 2,
    CRLCHECK_WARNING_LONG_SERIAL = 4,            // more than 20 octets
    CRLCHECK_WARNING_EMPTY_REVOKED_LIST = 8,     // present but empty
    CRLCHECK_WARNING_EMPTY_ENTRY_EXTENSIONS = 16,
    CRLCHECK_WARNING_TIME_ENCODING = 32,         // GeneralizedTime before 2050
    CRLCHECK_WARNING_UNKNOWN_REASON = 64,        // 7 or above 10: kept as none
    CRLCHECK_WARNING_REMOVE_FROM_CRL = 128,      // in a complete CRL: revoked
    CRLCHECK_WARNING_NO_NEXT_UPDATE = 256,
    CRLCHECK_WARNING_NO_CRL_NUMBER = 512,
    CRLCHECK_WARNING_NO_AUTHORITY_KEY_ID = 1024,
    CRLCHECK_WARNING_CRITICALITY = 2048,         // a known extension's flag is wrong
    CRLCHECK_WARNING_VERSION_1 = 4096,
    CRLCHECK_WARNING_DUPLICATE_SERIALS = 8192    // merged by the builder
} crlcheck_warning;

enum {
    CRLCHECK_MAX_SERIAL = 64,      // octets of one serial number
    CRLCHECK_NO_REASON = 15,       // the entry has no reason code
    CRLCHECK_MAX_DETAIL = 32,
    CRLCHECK_DIGEST_SIZE = 32,     // SHA-256
    CRLCHECK_PAGE_SIZE = 65536,
    CRLCHECK_MAJOR_VERSION = 1,
    CRLCHECK_MINOR_VERSION = 0
};

// crlcheck_error says what was wrong and where. `detail` holds octets that help
// to say it (an OID, an unexpected tag).
typedef struct crlcheck_error {
    int status;
    int rule;
    uint64_t offset;
    uint32_t detail_len;
    uint8_t detail[32];
} crlcheck_error;

typedef struct crlcheck_slice {
    const uint8_t *data;
    size_t len;
} crlcheck_slice;

// crlcheck_rule_name returns a static lower-case name such as
// "non_minimal_integer".
const char *crlcheck_rule_name(int rule);

// ---- CRL parser -----------------------------------------------------------

typedef struct crlcheck_crl_parser crlcheck_crl_parser;

typedef struct crlcheck_crl_options {
    uint64_t max_source_size;  // octets; 0: no limit
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

// crlcheck_crl_info is what the parser knows outside the entries. The slices
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
} crlcheck_crl_info;

crlcheck_status crlcheck_crl_parser_new(crlcheck_crl_parser **out_parser,
                                        const crlcheck_crl_options *options);
void crlcheck_crl_parser_free(crlcheck_crl_parser *parser);

// crlcheck_crl_parser_feed reads the next `chunk_len` octets of the source, of
// any number, and fills at most `max_entries` of `out_entries`. It stops when
// the chunk is used up or the entries are full: `out_consumed` octets are done
// with, and the caller offers the rest again. An error is final.
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

// crlcheck_certificate is what a revocation verdict needs of a certificate. All
// slices point into the DER given. Names and subject_public_key_info are whole
// elements, `crl_distribution_points` is the contents of the SEQUENCE, the rest
// are contents. A missing optional field has data NULL.
typedef struct crlcheck_certificate {
    int version;               // 1 to 3
    crlcheck_slice serial;
    crlcheck_slice issuer;
    crlcheck_slice subject;
    int64_t not_before;
    int64_t not_after;
    crlcheck_slice subject_public_key_info;
    crlcheck_slice authority_key_id;
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

// ---- image: builder -------------------------------------------------------

typedef struct crlcheck_builder crlcheck_builder;

typedef struct crlcheck_builder_stats {
    uint64_t num_entries;      // distinct (certificate issuer, serial) pairs
    uint64_t num_duplicates;   // entries merged away
    uint32_t num_tables;
    uint64_t memory;           // octets held for entries now
} crlcheck_builder_stats;

// crlcheck_builder_new starts an image; without `attributes` it keeps the
// serials only.
crlcheck_status crlcheck_builder_new(crlcheck_builder **out_builder, bool attributes);
void crlcheck_builder_free(crlcheck_builder *builder);

// crlcheck_builder_add copies entries in. Their dates lie in the years 0 to 9999.
crlcheck_status crlcheck_builder_add(crlcheck_builder *builder, crlcheck_error *out_error,
                                     const crlcheck_entry *entries, size_t num_entries);

// crlcheck_compile_chunk feeds a whole chunk through parser and builder.
crlcheck_status crlcheck_compile_chunk(crlcheck_crl_parser *parser,
                                       crlcheck_builder *builder,
                                       crlcheck_error *out_error, const uint8_t *chunk,
                                       size_t chunk_len);

// crlcheck_builder_complete states that all entries have been added: no other may
// be added afterwards.
crlcheck_status crlcheck_builder_complete(crlcheck_builder *builder,
                                          crlcheck_error *out_error);

// crlcheck_builder_sort orders the entries and merges duplicates: the earliest date,
// and the first reason that is for good, else certificateHold, else removeFromCRL. It
// follows crlcheck_builder_complete. Several threads may call it at once to share the work,
// which is done when all of them have returned CRLCHECK_OK.
crlcheck_status crlcheck_builder_sort(crlcheck_builder *builder,
                                      crlcheck_error *out_error);

// crlcheck_builder_finish counts what is left after sorting.
void crlcheck_builder_finish(crlcheck_builder *builder,
                             crlcheck_builder_stats *out_stats);

// crlcheck_builder_next_dense finds the next table, from number `first_table` on, that
// is smallest as a roaring bitmap, or returns CRLCHECK_NOT_FOUND. It is called after
// crlcheck_builder_finish. A table for which no bitmap is set stays sorted; those passed
// over become what they are smallest as.
crlcheck_status crlcheck_builder_next_dense(crlcheck_builder *builder,
                                            uint32_t *out_table, uint64_t *out_num_keys,
                                            crlcheck_error *out_error,
                                            uint32_t first_table);

// crlcheck_builder_dense_keys writes the members of the bitmap of a table that
// crlcheck_builder_next_dense named, in ascending order.
void crlcheck_builder_dense_keys(const crlcheck_builder *builder, uint64_t *out_keys,
                                 uint32_t table);

// crlcheck_builder_set_bitmap gives the bitmap of such a table, which is copied: the
// portable 64-bit serialization, optimised for runs. CRLCHECK_MALFORMED says that it
// is not the one that was asked for.
crlcheck_status crlcheck_builder_set_bitmap(crlcheck_builder *builder,
                                            crlcheck_error *out_error, uint32_t table,
                                            const uint8_t *bitmap, size_t bitmap_len);

// crlcheck_builder_start_image fixes the size of the header: `metadata` is copied
// into it as it stands, `issuers` are the certificate issuers by number.
crlcheck_status crlcheck_builder_start_image(crlcheck_builder *builder,
                                             uint32_t *out_header_size,
                                             crlcheck_error *out_error,
                                             const uint8_t *metadata, size_t metadata_len,
                                             const crlcheck_slice *issuers,
                                             uint32_t num_issuers);

// crlcheck_builder_read_body writes the next octets of the body, which lies behind
// the header, to `out`, at most `capacity`, which must be 256 or more; `out_len` is
// 0 at the end. An error is final.
crlcheck_status crlcheck_builder_read_body(crlcheck_builder *builder, size_t *out_len,
                                           crlcheck_error *out_error, uint8_t *out,
                                           size_t capacity);

// crlcheck_builder_header gives the header, complete once the whole body has been
// read; it belongs to the builder. The page table and the image digest follow the
// body and are the caller's to write, because they need SHA-256
// (docs/index-format.md).
crlcheck_slice crlcheck_builder_header(const crlcheck_builder *builder);

// ---- image: reader --------------------------------------------------------

typedef struct crlcheck_image crlcheck_image;

typedef struct crlcheck_image_info {
    uint16_t major_version;
    uint16_t minor_version;
    bool has_attributes;
    uint32_t header_size;
    uint64_t image_size;
    uint64_t page_table_offset;
    uint32_t num_pages;
    uint64_t num_entries;
    uint32_t num_tables;
    uint32_t num_issuers;
    crlcheck_slice metadata;
} crlcheck_image_info;

typedef struct crlcheck_table_info {
    uint32_t certificate_issuer;
    uint32_t serial_len;       // octets
    uint32_t kind;             // 0: sorted, 1: bitmap, 2: gaps
    uint32_t key_bits;
    uint32_t bucket_bits;
    uint64_t num_entries;
    uint64_t max_bucket;
    uint64_t size;             // octets of its sections
} crlcheck_table_info;

// crlcheck_found is an entry of an image; dates as in crlcheck_entry. The
// `has_` members are false too where the image was built without attributes.
typedef struct crlcheck_found {
    uint32_t certificate_issuer;
    uint32_t serial_len;
    uint8_t serial[64];
    int64_t revocation_date;
    int64_t invalidity_date;
    bool has_revocation_date;
    bool has_invalidity_date;
    uint8_t reason_code;
} crlcheck_found;

// crlcheck_image_open checks structure and section bounds and sets `*out_image`;
// afterwards no lookup can leave `image`, whatever its octets. The octets are
// borrowed: they must outlive the handle and must not change. Digests are the
// caller's to check.
crlcheck_status crlcheck_image_open(crlcheck_image **out_image, crlcheck_error *out_error,
                                    const uint8_t *image, size_t image_len);
void crlcheck_image_free(crlcheck_image *image);

const crlcheck_image_info *crlcheck_image_info_of(const crlcheck_image *image);
crlcheck_status crlcheck_image_table(const crlcheck_image *image,
                                     crlcheck_table_info *out_table, uint32_t number);

// crlcheck_image_issuer gives the Name of a certificate issuer by number; its
// data is NULL where the number is too large.
crlcheck_slice crlcheck_image_issuer(const crlcheck_image *image, uint32_t number);

// crlcheck_image_contains takes a serial in minimal two's complement form.
bool crlcheck_image_contains(const crlcheck_image *image, uint32_t certificate_issuer,
                             const uint8_t *serial, size_t serial_len);

// crlcheck_image_find sets `*out_found` and returns CRLCHECK_OK, or returns
// CRLCHECK_NOT_FOUND.
crlcheck_status crlcheck_image_find(const crlcheck_image *image,
                                    crlcheck_found *out_found,
                                    uint32_t certificate_issuer, const uint8_t *serial,
                                    size_t serial_len);

// crlcheck_image_contains_packed looks up `num_rows` unsigned big-endian serials
// of `width` octets each, from 1 to CRLCHECK_MAX_SERIAL, and writes 0 or 1 for
// each to `out_results`.
void crlcheck_image_contains_packed(const crlcheck_image *image, uint8_t *out_results,
                                    uint32_t certificate_issuer, const uint8_t *rows,
                                    size_t num_rows, size_t width);

// crlcheck_image_contains_many looks up serials in minimal two's complement
// form that lie end to end in `serials`; serial i has `lengths[i]` octets, at
// most CRLCHECK_MAX_SERIAL.
void crlcheck_image_contains_many(const crlcheck_image *image, uint8_t *out_results,
                                  uint32_t certificate_issuer, const uint8_t *serials,
                                  const uint8_t *lengths, size_t num_serials);

// crlcheck_image_entry gives entry `position` of table `table` in stored order,
// or CRLCHECK_NOT_FOUND past the end.
crlcheck_status crlcheck_image_entry(const crlcheck_image *image,
                                     crlcheck_found *out_found, uint32_t table,
                                     uint64_t position);

// cdef: end

#endif
