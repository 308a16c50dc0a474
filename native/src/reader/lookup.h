// lookup.h: finds one entry of an image.

#ifndef CRLCHECK_READER_LOOKUP_H
#define CRLCHECK_READER_LOOKUP_H

#include "crlcheck_image.h"

// image_find_entry sets `*out_found` to the entry of a serial in minimal two's complement
// form, and tells whether there is one.
bool image_find_entry(const crlcheck_image *image, crlcheck_found *out_found,
                      uint32_t certificate_issuer, const uint8_t *serial,
                      size_t serial_len);

#endif
