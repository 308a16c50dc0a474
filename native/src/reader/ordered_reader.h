// ordered_reader.h: finds serials in tables of ordered keys: bitmaps and gaps.

#ifndef CRLCHECK_READER_ORDERED_READER_H
#define CRLCHECK_READER_ORDERED_READER_H

#include "reader/image.h"

// ordered_contains and ordered_find look a serial up in a table of either kind. The rank
// may be one that no entry has, if the image is damaged or has no attributes.
bool ordered_contains(const image_table *table, const uint8_t *serial);
bool ordered_find(uint64_t *out_rank, const image_table *table, const uint8_t *serial);

// ordered_serial gives the serial of a rank: false if the image contradicts itself.
bool ordered_serial(uint8_t *out_serial, const image_table *table, uint64_t rank);

#endif
