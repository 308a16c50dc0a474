// pages.c: finds bytes of the body in the pages that a look-up was given.

#include "image/pages.h"

#include <string.h>

static const crlcheck_page *page_of(const reader_pages *pages, uint64_t number) {
    for (size_t i = pages->num_pages; i > 0; i--) {  // the last given is needed most
        if (pages->pages[i - 1].number == number) {
            return &pages->pages[i - 1];
        }
    }
    return NULL;
}

// part_at returns how many of `len` bytes at `offset` of the body lie in its page, and
// where: NULL if the page is missing.
static size_t part_at(const uint8_t **out_part, reader_pages *pages, uint64_t offset,
                      size_t len) {
    uint64_t number = offset / CRLCHECK_PAGE_SIZE;
    uint64_t place = offset % CRLCHECK_PAGE_SIZE;
    const crlcheck_page *page = page_of(pages, number);
    uint64_t size = CRLCHECK_PAGE_SIZE - place;
    if (size > pages->body_size - offset) {
        size = pages->body_size - offset;
    }
    *out_part = NULL;
    if (page != NULL && place <= page->len && page->len - place >= size) {
        *out_part = page->data + place;
    } else if (pages->missing == NO_PAGE) {
        pages->missing = number;
    }
    return len < size ? len : (size_t)size;
}

const uint8_t *pages_at(reader_pages *pages, const uint8_t *address, size_t len) {
    uint64_t offset = (uint64_t)((uintptr_t)address - (uintptr_t)pages->body);
    const uint8_t *part;
    memset(pages->copy, 0, sizeof pages->copy);
    for (size_t done = 0; done < len && done < sizeof pages->copy;) {
        if (offset >= pages->body_size) {
            break;  // behind the body, where whole words may end: no answer depends on it
        }
        size_t size = part_at(&part, pages, offset, len - done);
        if (part != NULL && size == len) {
            return part;
        }
        if (part != NULL) {
            memcpy(pages->copy + done, part, size);
        }
        offset += size;
        done += size;
    }
    return pages->copy;
}
