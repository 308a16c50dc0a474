// fuzz_pages.c: any bytes as an image that is read by pages. A look-up must say what the
// one in the whole image says, or name a page that it misses, and touch nothing else.

#include <stdlib.h>
#include <string.h>

#include "crlcheck.h"
#include "repair_image.h"

enum { SERIALS_PER_TABLE = 32, MOST_PAGES = 64 };

// pages_of has the pages of a body, each in memory of its own, so that AddressSanitizer
// sees a read of one byte too many.
typedef struct pages_of {
    crlcheck_page pages[MOST_PAGES];
    size_t num_pages;
} pages_of;

static void split(pages_of *out, const crlcheck_image_info *info, const uint8_t *data) {
    out->num_pages = 0;
    for (uint64_t at = info->header_size; at < info->page_table_offset;
         at += CRLCHECK_PAGE_SIZE) {
        uint64_t left = info->page_table_offset - at;
        size_t len = left < CRLCHECK_PAGE_SIZE ? (size_t)left : CRLCHECK_PAGE_SIZE;
        require(out->num_pages < MOST_PAGES);
        out->pages[out->num_pages] = (crlcheck_page){
            .number = out->num_pages, .data = copy_exactly(data + at, len), .len = len};
        out->num_pages++;
    }
}

static void join(pages_of *pages) {
    for (size_t i = 0; i < pages->num_pages; i++) {
        free((void *)(uintptr_t)pages->pages[i].data);
    }
}

// look_up gives the pages that are asked for, one more each time, and returns the outcome.
static crlcheck_status look_up(const crlcheck_paged_image *image,
                               crlcheck_found *out_found, const pages_of *all,
                               uint32_t issuer, const uint8_t *serial,
                               size_t serial_len) {
    crlcheck_page given[MOST_PAGES];
    size_t num_given = 0;
    for (;;) {
        uint64_t missing = UINT64_MAX;
        crlcheck_status status = crlcheck_paged_find(
            image, out_found, &missing, issuer, serial, serial_len, given, num_given);
        if (status != CRLCHECK_PAGE_MISSING) {
            return status;
        }
        require(missing < all->num_pages);
        for (size_t i = 0; i < num_given; i++) {
            require(given[i].number != missing);
        }
        given[num_given++] = all->pages[missing];
    }
}

// ask compares a look-up by pages with one in the whole image, which may be NULL where
// that is refused.
static void ask(const crlcheck_image *whole, const crlcheck_paged_image *paged,
                const pages_of *pages, uint32_t issuer, const uint8_t *serial,
                size_t serial_len) {
    uint8_t *copy = copy_exactly(serial, serial_len);
    crlcheck_found found = {0};
    crlcheck_found expected = {0};
    crlcheck_status listed = look_up(paged, NULL, pages, issuer, copy, serial_len);
    crlcheck_status entry = look_up(paged, &found, pages, issuer, copy, serial_len);
    require(listed == entry);
    if (whole != NULL) {
        require(entry == crlcheck_image_find(whole, &expected, issuer, copy, serial_len));
        // In a damaged image a serial may be there twice, with other attributes each.
        require(entry != CRLCHECK_OK || found.reason_code <= 15);
    }
    free(copy);
}

static void ask_table(const crlcheck_image *whole, const crlcheck_paged_image *paged,
                      const pages_of *pages, const uint8_t *descriptor, choices *choice) {
    size_t serial_len = descriptor[TABLE_SERIAL_LEN];
    for (size_t i = 0; i < SERIALS_PER_TABLE; i++) {
        uint8_t serial[CRLCHECK_MAX_SERIAL] = {0};
        crlcheck_found entry;
        for (size_t j = 0; j < serial_len; j++) {
            uint8_t mask = descriptor[TABLE_CONSTANT_MASK + j];
            serial[j] = (uint8_t)((descriptor[TABLE_CONSTANT_VALUE + j] & mask) |
                                  ((uint8_t)choose(choice, 256) & (uint8_t)~mask));
        }
        uint32_t number =
            (uint32_t)choose(choice, crlcheck_paged_info_of(paged)->num_tables);
        if (whole != NULL && choose(choice, 2) == 0 &&
            crlcheck_image_entry(whole, &entry, number, choose(choice, 64)) ==
                CRLCHECK_OK) {
            ask(whole, paged, pages, entry.certificate_issuer, entry.serial,
                entry.serial_len);
        }
        ask(whole, paged, pages, load_le32(descriptor), serial, serial_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    choices choice = choices_from(data, size);
    size_t header_len = size < SUPERBLOCK_SIZE ? size : load_le32(data + 40);
    header_len = header_len < size ? header_len : size;
    uint8_t *copy = copy_exactly(data, size);
    uint8_t *header = copy_exactly(data, header_len);
    crlcheck_image *whole;
    crlcheck_paged_image *paged;
    crlcheck_status status = crlcheck_image_open(&whole, NULL, copy, size);
    crlcheck_error error;
    crlcheck_status by_pages =
        crlcheck_paged_open(&paged, &error, header, header_len, size);
    // What is refused whole may only be noticed when its pages are read.
    require(status != CRLCHECK_OK || by_pages == CRLCHECK_OK);
    require((by_pages == CRLCHECK_OK) == (paged != NULL));
    if (paged != NULL && crlcheck_paged_info_of(paged)->num_pages <= MOST_PAGES) {
        const crlcheck_image_info *info = crlcheck_paged_info_of(paged);
        pages_of pages;
        split(&pages, info, data);
        for (uint32_t i = 0; i < info->num_tables; i++) {
            ask_table(whole, paged, &pages,
                      header + SUPERBLOCK_SIZE + (size_t)i * TABLE_SIZE, &choice);
        }
        join(&pages);
    }
    crlcheck_image_free(whole);
    crlcheck_paged_free(paged);
    free(header);
    free(copy);
    return 0;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed) {
    choices choice = {seed};
    size = LLVMFuzzerMutate(data, size, max_size);
    if (choose(&choice, 4) != 0) {
        repair_image(data, size, &choice);
    }
    return size;
}
