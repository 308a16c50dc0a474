// paged.c: looks a serial up in an image of which only the header and some pages are in
// memory. It has the code of lookup.c read in those pages (image/pages.h).

#include <stdlib.h>

#include "reader/attributes_reader.h"
#include "reader/bucket_reader.h"
#include "reader/image.h"
#include "reader/lines_reader.h"

struct crlcheck_paged_image {
    crlcheck_image *image;
};

crlcheck_status crlcheck_paged_open(crlcheck_paged_image **out_image,
                                    crlcheck_error *out_error, const uint8_t *header,
                                    size_t header_len, uint64_t image_size) {
    crlcheck_paged_image *paged = calloc(1, sizeof *paged);
    *out_image = NULL;
    if (paged == NULL) {
        if (out_error != NULL) {
            *out_error = (crlcheck_error){.status = CRLCHECK_NO_MEMORY};
        }
        return CRLCHECK_NO_MEMORY;
    }
    crlcheck_status status =
        image_open_header(&paged->image, out_error, header, header_len, image_size);
    if (status != CRLCHECK_OK) {
        free(paged);
        return status;
    }
    *out_image = paged;
    return CRLCHECK_OK;
}

void crlcheck_paged_free(crlcheck_paged_image *image) {
    if (image != NULL) {
        image_free(image->image);
        free(image);
    }
}

const crlcheck_image_info *crlcheck_paged_info_of(const crlcheck_paged_image *image) {
    return &image->image->info;
}

crlcheck_slice crlcheck_paged_issuer(const crlcheck_paged_image *image, uint32_t number) {
    return image_issuer(image->image, number);
}

// find_in_bitmap opens the bitmap first, because that reads the body. It sets
// `*out_sound` to false where crlcheck_image_open would refuse the image.
static bool find_in_bitmap(reader_pages *pages, uint64_t *out_rank, bool *out_sound,
                           const image_table *table, const uint8_t *serial) {
    bitmap_view view = table->bitmap;
    table_key key;
    *out_sound = bitmap_open_pages(pages, &view);
    return *out_sound && ordered_key(&key, &table->shape, 0, serial) &&
           bitmap_find_pages(pages, out_rank, &view, key.low);
}

static bool find_in_gaps(reader_pages *pages, uint64_t *out_rank,
                         const image_table *table, const uint8_t *serial) {
    table_key key;
    return ordered_key(&key, &table->shape, 0, serial) &&
           gaps_find_pages(pages, out_rank, &table->gaps, key.low);
}

// find_rank finds a serial in a table of any kind; `out_rank` may be NULL.
static bool find_rank(reader_pages *pages, uint64_t *out_rank, bool *out_sound,
                      const image_table *table, const uint8_t *serial) {
    switch (table->kind) {
    case TABLE_KIND_BITMAP:
        return find_in_bitmap(pages, out_rank, out_sound, table, serial);
    case TABLE_KIND_GAPS:
        return find_in_gaps(pages, out_rank, table, serial);
    case TABLE_KIND_LINES:
        return lines_find_in_pages(pages, out_rank, table, serial);
    default:
        return bucket_find(pages, out_rank, table, serial);
    }
}

crlcheck_status crlcheck_paged_find(const crlcheck_paged_image *paged,
                                    crlcheck_found *out_found, uint64_t *out_missing,
                                    uint32_t certificate_issuer, const uint8_t *serial,
                                    size_t serial_len, const crlcheck_page *pages,
                                    size_t num_pages) {
    const crlcheck_image *image = paged->image;
    const image_table *table = image_find_table(image, certificate_issuer, serial_len);
    if (table == NULL) {
        return CRLCHECK_NOT_FOUND;
    }
    reader_pages given = {.body = image->data + image->info.header_size,
                          .body_size =
                              image->info.page_table_offset - image->info.header_size,
                          .pages = pages,
                          .num_pages = num_pages,
                          .missing = NO_PAGE};
    uint64_t rank = 0;
    bool sound = true;
    bool listed =
        find_rank(&given, out_found == NULL ? NULL : &rank, &sound, table, serial);
    if (listed && out_found != NULL) {
        describe_entry(&given, out_found, table, serial, rank);
    }
    // First of all: zeros were read in its place, and decided what was found.
    if (given.missing != NO_PAGE) {
        *out_missing = given.missing;
        return CRLCHECK_PAGE_MISSING;
    }
    if (!sound) {
        return CRLCHECK_CORRUPT_IMAGE;
    }
    return listed ? CRLCHECK_OK : CRLCHECK_NOT_FOUND;
}
