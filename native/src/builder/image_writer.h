// image_writer.h: hands an image over piece by piece, so that it is never in memory as a
// whole.

#ifndef CRLCHECK_BUILDER_IMAGE_WRITER_H
#define CRLCHECK_BUILDER_IMAGE_WRITER_H

#include "builder/header.h"

typedef struct image_writer image_writer;

// image_writer_new copies the metadata and the issuers of `contents` and borrows its
// tables, which it also tells where their sections lie. It returns NULL without memory.
// The size of the header, from header_size_of, is below 2^31.
image_writer *image_writer_new(const image_contents *contents);
void image_writer_free(image_writer *writer);

// image_writer_read writes the next bytes of the body to `out`: `capacity` of them, which
// is 1 or more, and fewer only at the end, where `out_len` may be 0. After a failure every
// call fails.
crlcheck_status image_writer_read(image_writer *writer, size_t *out_len, uint8_t *out,
                                  size_t capacity);

// image_writer_header gives the header, which is complete once the whole body has been
// read.
crlcheck_slice image_writer_header(const image_writer *writer);

#endif
