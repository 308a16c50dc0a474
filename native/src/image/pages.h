// pages.h: what a look-up may read of the body of an image.
//
// Nearly all images are in memory as a whole. Of others there is the header, and a
// look-up is given the pages that somebody has verified. Both are read by the same code:
// it asks body_at for every byte of the body. For a whole image `pages` is a NULL that the
// compiler sees, and nothing is left of it.
//
// Where a page is missing, zeros are read, and the number of the page is noted. Zeros
// would say "not listed", so nothing that was computed after that may be used: whoever
// starts a look-up looks at `missing` when it has ended, and nobody else needs to. Any
// bytes are safe to read in, so the look-up ends, whatever it was given.

#ifndef CRLCHECK_IMAGE_PAGES_H
#define CRLCHECK_IMAGE_PAGES_H

#include "base/bits.h"
#include "crlcheck_image.h"

// READER_INLINE is for functions of which there is an instance for whole images and
// another one for pages.
#define READER_INLINE ALWAYS_INLINE

enum { MOST_AT_ONCE = 64 };  // bytes that body_at gives

#define NO_PAGE UINT64_MAX

// reader_pages is the body as a look-up sees it.
typedef struct reader_pages {
    const uint8_t *body;  // the address that the first byte would have
    uint64_t body_size;
    const crlcheck_page *pages;
    size_t num_pages;
    uint64_t missing;  // the first page that was needed and not there, or NO_PAGE
    uint8_t copy[MOST_AT_ONCE];
} reader_pages;

// pages_at is body_at for an image that is not in memory as a whole.
const uint8_t *pages_at(reader_pages *pages, const uint8_t *address, size_t len);

// body_at returns where `len` bytes, at most MOST_AT_ONCE, of the body can be read. It is
// valid until the next call.
READER_INLINE const uint8_t *body_at(reader_pages *pages, const uint8_t *address,
                                     size_t len) {
    return pages == NULL ? address : pages_at(pages, address, len);
}

READER_INLINE uint8_t body_byte(reader_pages *pages, const uint8_t *address) {
    return *body_at(pages, address, 1);
}

READER_INLINE uint16_t body_le16(reader_pages *pages, const uint8_t *address) {
    return load_le16(body_at(pages, address, 2));
}

READER_INLINE uint32_t body_le32(reader_pages *pages, const uint8_t *address) {
    return load_le32(body_at(pages, address, 4));
}

READER_INLINE uint64_t body_le64(reader_pages *pages, const uint8_t *address) {
    return load_le64(body_at(pages, address, 8));
}

// body_bits is read_bits for a bit stream in the body.
READER_INLINE uint64_t body_bits(reader_pages *pages, const uint8_t *data, uint64_t bit,
                                 unsigned num_bits) {
    enum { SPAN = 9 };  // bytes that a field may lie in
    return read_bits(body_at(pages, data + bit / 8, SPAN), bit % 8, num_bits);
}

#endif
