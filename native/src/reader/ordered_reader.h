// ordered_reader.h: finds serials in tables that keep their keys in order: bitmaps and
// gaps.

#ifndef CRLCHECK_READER_ORDERED_READER_H
#define CRLCHECK_READER_ORDERED_READER_H

#include "reader/image.h"

// These look up in a table of any kind but sorted. ordered_find may give a rank
// that no entry has, where the image is damaged or has no attributes.
bool ordered_contains(const image_table *table, const uint8_t *serial);
bool ordered_find(uint64_t *out_rank, const image_table *table, const uint8_t *serial);

// ordered_serial returns false where the image contradicts itself.
bool ordered_serial(uint8_t *out_serial, const image_table *table, uint64_t rank);

#endif
