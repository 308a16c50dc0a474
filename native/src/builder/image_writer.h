// image_writer.h: where the writing of an image has got to.

#ifndef CRLCHECK_BUILDER_IMAGE_WRITER_H
#define CRLCHECK_BUILDER_IMAGE_WRITER_H

#include "builder/attributes.h"
#include "builder/table.h"
#include "base/bit_writer.h"

struct image_writer {
    bool failed;
    uint8_t *header;
    size_t header_size;
    uint64_t offset;  // in the image, of the next section
    uint32_t table;
    unsigned section;
    uint8_t *piece;  // a section while it is handed over
    size_t piece_len;
    size_t piece_at;
    // While the remainders of a table are packed:
    bool packing;
    entry_cursor cursor;
    uint64_t rank;
    bit_packer packer;
    // Gathered meanwhile, until they are handed over:
    uint8_t *directory;
    attribute_streams attributes;
};

// header_complete enters the places of all sections, which are known only once
// the body has been made, and the sizes that follow from them.
void header_complete(crlcheck_builder *builder);

#endif
