// batch.h: looks up rows of serials at once.

#ifndef CRLCHECK_READER_BATCH_H
#define CRLCHECK_READER_BATCH_H

#include "crlcheck_image.h"

// image_contains_packed is crlcheck_image_contains_packed, for other units.
void image_contains_packed(const crlcheck_image *image, uint8_t *out_results,
                           uint32_t certificate_issuer, const uint8_t *rows,
                           size_t num_rows, size_t width);

#endif
