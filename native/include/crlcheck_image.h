// crlcheck_image.h: builds images, opens them and looks serials up.

#ifndef CRLCHECK_PUBLIC_IMAGE_H
#define CRLCHECK_PUBLIC_IMAGE_H

#include "crlcheck_crl.h"

// cdef: begin

// ---- image: builder -------------------------------------------------------

typedef struct crlcheck_builder crlcheck_builder;

typedef struct crlcheck_builder_stats {
    uint64_t num_entries;      // distinct (certificate issuer, serial) pairs
    uint64_t num_duplicates;   // entries merged away
    uint32_t num_tables;
    uint64_t memory;           // bytes held for entries now
} crlcheck_builder_stats;

// crlcheck_builder_new starts an image; without `attributes` it keeps serials only. The
// functions below are called in this order (native/src/builder/builder.c).
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

// crlcheck_builder_seal states that all entries have been added. After it none may
// follow.
crlcheck_status crlcheck_builder_seal(crlcheck_builder *builder,
                                      crlcheck_error *out_error);

// crlcheck_builder_sort orders the entries and merges duplicates. An entry gets the
// earliest date and the most final reason of its duplicates: the first that is for good,
// else certificateHold or removeFromCRL if all have that, else none. Several threads may
// call it at once to share the work, which is done when all have returned CRLCHECK_OK.
crlcheck_status crlcheck_builder_sort(crlcheck_builder *builder,
                                      crlcheck_error *out_error);

// crlcheck_builder_stats_of counts what is left after sorting.
void crlcheck_builder_stats_of(const crlcheck_builder *builder,
                               crlcheck_builder_stats *out_stats);

// crlcheck_builder_choose_kinds makes each table the kind that takes fewest bytes: a
// table of lines, a bitmap or gaps.
crlcheck_status crlcheck_builder_choose_kinds(crlcheck_builder *builder,
                                              crlcheck_error *out_error);

// crlcheck_builder_next_bitmap finds the next table, from number `first_table` on, that
// is a roaring bitmap, or returns CRLCHECK_NOT_FOUND.
crlcheck_status crlcheck_builder_next_bitmap(const crlcheck_builder *builder,
                                             uint32_t *out_table, uint64_t *out_num_keys,
                                             uint32_t first_table);

// crlcheck_builder_bitmap_keys writes the members of the bitmap of a table, in ascending
// order.
void crlcheck_builder_bitmap_keys(const crlcheck_builder *builder, uint64_t *out_keys,
                                  uint32_t table);

// crlcheck_builder_set_bitmap copies the bitmap of a table: the portable 64-bit
// serialization, optimised for runs. It returns CRLCHECK_MALFORMED if that is not the
// bitmap of the members. Without its bitmap a table becomes one of lines.
crlcheck_status crlcheck_builder_set_bitmap(crlcheck_builder *builder,
                                            crlcheck_error *out_error, uint32_t table,
                                            const uint8_t *bitmap, size_t bitmap_len);

// crlcheck_builder_start_image makes the header, whose size is known from here on.
// `metadata` is copied into it as it stands; `issuers` are the certificate issuers by
// number.
crlcheck_status crlcheck_builder_start_image(crlcheck_builder *builder,
                                             uint32_t *out_header_size,
                                             crlcheck_error *out_error,
                                             const uint8_t *metadata, size_t metadata_len,
                                             const crlcheck_slice *issuers,
                                             uint32_t num_issuers);

// crlcheck_builder_read_body writes the next bytes of the body, which lies behind the
// header, to `out`: `capacity` of them, which is 1 or more, and fewer only at the end,
// where `out_len` may be 0. After an error every call fails.
crlcheck_status crlcheck_builder_read_body(crlcheck_builder *builder, size_t *out_len,
                                           crlcheck_error *out_error, uint8_t *out,
                                           size_t capacity);

// crlcheck_builder_header gives the header, which is complete once the whole body has
// been read. It belongs to the builder. The caller writes the page table, the trailer and
// the image digest behind the body, because they need SHA-256 (docs/reference/index-format.md).
crlcheck_slice crlcheck_builder_header(const crlcheck_builder *builder);

// crlcheck_builder_has_trailer tells from then on whether the image has a trailer.
bool crlcheck_builder_has_trailer(const crlcheck_builder *builder);

// ---- image: reader --------------------------------------------------------

typedef struct crlcheck_image crlcheck_image;

typedef struct crlcheck_image_info {
    uint16_t major_version;
    uint16_t minor_version;
    bool has_attributes;
    bool has_trailer;
    uint32_t header_size;
    uint64_t image_size;
    uint64_t page_table_offset;
    uint32_t num_pages;
    uint32_t num_blocks;       // of page digests, 0 without a trailer
    uint64_t num_entries;
    uint32_t num_tables;
    uint32_t num_issuers;
    crlcheck_slice metadata;
} crlcheck_image_info;

typedef struct crlcheck_table_info {
    uint32_t certificate_issuer;
    uint32_t serial_len;       // octets
    uint32_t kind;             // 0: bucket, 1: bitmap, 2: gaps, 3: lines
    uint32_t key_bits;
    uint32_t bucket_bits;
    uint64_t num_entries;
    uint64_t max_bucket;
    uint64_t size;             // bytes of its sections
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

// crlcheck_image_open checks structure and section bounds and sets `*out_image`. After
// that no lookup reads outside of `image`, whatever bytes it has. The bytes are borrowed:
// they must outlive the handle and must not change. The caller checks the digests.
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

// ---- image: reader of single pages -----------------------------------------

// crlcheck_page is a page of the body of an image: its number, and its bytes, which the
// caller has compared with their digest.
typedef struct crlcheck_page {
    uint64_t number;
    const uint8_t *data;
    size_t len;
} crlcheck_page;

// crlcheck_paged_image is an image of which only the header is in memory.
typedef struct crlcheck_paged_image crlcheck_paged_image;

// crlcheck_paged_open does what crlcheck_image_open does, as far as the header
// tells. The image has `image_size` bytes, and `header` the first `header_len` of them,
// which are borrowed like those of an image.
crlcheck_status crlcheck_paged_open(crlcheck_paged_image **out_image,
                                    crlcheck_error *out_error, const uint8_t *header,
                                    size_t header_len, uint64_t image_size);
void crlcheck_paged_free(crlcheck_paged_image *image);

const crlcheck_image_info *crlcheck_paged_info_of(const crlcheck_paged_image *image);
crlcheck_slice crlcheck_paged_issuer(const crlcheck_paged_image *image, uint32_t number);

// crlcheck_paged_find does what crlcheck_image_find does, by nothing but `pages`.
// Where it needs another page, it returns CRLCHECK_PAGE_MISSING and sets `*out_missing`
// to the page's number: the caller asks again with that one beside the others. It returns
// CRLCHECK_CORRUPT_IMAGE where the image contradicts itself in what crlcheck_image_open
// checks. `out_found` may be NULL, so that no page is read for reason and dates.
crlcheck_status crlcheck_paged_find(const crlcheck_paged_image *image,
                                    crlcheck_found *out_found, uint64_t *out_missing,
                                    uint32_t certificate_issuer, const uint8_t *serial,
                                    size_t serial_len, const crlcheck_page *pages,
                                    size_t num_pages);

// ---- image: entries by position --------------------------------------------

// crlcheck_image_entry gives entry `position` of table `table` in stored order,
// or CRLCHECK_NOT_FOUND past the end.
crlcheck_status crlcheck_image_entry(const crlcheck_image *image,
                                     crlcheck_found *out_found, uint32_t table,
                                     uint64_t position);

// crlcheck_image_serials gives the serials of `count` entries of a table, from position
// `first` on, end to end, each of the table's serial_len octets. It returns
// CRLCHECK_NOT_FOUND if the table has not so many.
crlcheck_status crlcheck_image_serials(const crlcheck_image *image, uint8_t *out_serials,
                                       uint32_t table, uint64_t first, size_t count);

// cdef: end

#endif
