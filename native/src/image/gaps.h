// gaps.h: the parameters by which a table stores its keys as gaps. The writer chooses
// them, and they stand in the descriptor of the table.

#ifndef CRLCHECK_IMAGE_GAPS_H
#define CRLCHECK_IMAGE_GAPS_H

#include <stdint.h>

typedef struct gaps_shape {
    uint64_t first_key;
    uint32_t least_gap;
    unsigned block_bits;  // of a key less the first: the lowest are its place in a block
    unsigned gap_bits;  // of a gap that are not in unary
} gaps_shape;

#endif
