// fuzz_memory.c: any bytes as a CRL, while one allocation fails, or that one and
// all behind it. Each failure must come out as CRLCHECK_NO_MEMORY and leave
// everything fit to be freed. The linker sends the core's allocations here.

#include <string.h>

#include "crlcheck.h"
#include "image/format.h"
#include "harness.h"
#include "write_bitmap.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

static size_t num_left;  // allocations that still succeed
static bool all_behind;
static bool failed;
static bool watching;

static bool fails(void) {
    if (!watching || num_left > 0) {
        num_left -= watching ? 1 : 0;
        return false;
    }
    num_left = all_behind ? 0 : SIZE_MAX;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

static crlcheck_status parse(crlcheck_crl_parser *parser, crlcheck_builder *builder,
                             const uint8_t *data, size_t size, size_t longest) {
    for (size_t at = 0; at < size;) {
        size_t len = longest < size - at ? longest : size - at;
        crlcheck_status status =
            crlcheck_compile_chunk(parser, builder, NULL, data + at, len);
        if (status != CRLCHECK_OK) {
            return status;
        }
        at += len;
    }
    return crlcheck_crl_parser_finish(parser, NULL);
}

static crlcheck_status sort(crlcheck_builder *builder) {
    crlcheck_builder_stats stats;
    crlcheck_status status = crlcheck_builder_seal(builder, NULL);
    if (status == CRLCHECK_OK) {
        status = crlcheck_builder_sort(builder, NULL);
    }
    if (status == CRLCHECK_OK) {
        crlcheck_builder_stats_of(builder, &stats);
    }
    return status;
}

// set_bitmaps does without memory of its own, so small tables only.
static crlcheck_status set_bitmaps(crlcheck_builder *builder) {
    enum { MOST_KEYS = 1000 };
    static uint64_t keys[MOST_KEYS];
    static uint8_t bitmap[64 + 64 * MOST_KEYS];
    uint32_t table;
    uint64_t num_keys;
    crlcheck_status status = crlcheck_builder_choose_kinds(builder, NULL);
    for (uint32_t first = 0;
         status == CRLCHECK_OK &&
         crlcheck_builder_next_bitmap(builder, &table, &num_keys, first) == CRLCHECK_OK;
         first = table + 1) {
        if (num_keys <= MOST_KEYS) {
            crlcheck_builder_bitmap_keys(builder, keys, table);
            size_t len = write_bitmap(bitmap, keys, num_keys);
            status = crlcheck_builder_set_bitmap(builder, NULL, table, bitmap, len);
        }
    }
    return status;
}

enum { MOST_ISSUERS = 64, MOST_OCTETS = 1 << 18 };

static crlcheck_status start_image(uint32_t *out_header_size, crlcheck_builder *builder,
                                   const crlcheck_crl_parser *parser) {
    static const uint8_t metadata[] = "{}";
    crlcheck_slice issuers[MOST_ISSUERS];
    uint32_t num_issuers = crlcheck_crl_parser_info(parser)->num_issuers;
    num_issuers = num_issuers < MOST_ISSUERS ? num_issuers : MOST_ISSUERS;
    for (uint32_t i = 0; i < num_issuers; i++) {
        issuers[i] = crlcheck_crl_parser_issuer(parser, i);
    }
    return crlcheck_builder_start_image(builder, out_header_size, NULL, metadata,
                                        sizeof metadata - 1, issuers, num_issuers);
}

// write_body fills `out` and, where it is too small, throws away what it holds.
static crlcheck_status write_body(size_t *out_size, crlcheck_builder *builder,
                                  uint8_t *out, size_t capacity) {
    size_t len = 1;
    *out_size = 0;
    while (len > 0) {
        *out_size = *out_size == capacity ? 0 : *out_size;
        crlcheck_status status = crlcheck_builder_read_body(
            builder, &len, NULL, out + *out_size, capacity - *out_size);
        if (status != CRLCHECK_OK) {  // and it stays so
            require(crlcheck_builder_read_body(builder, &len, NULL, out, capacity) !=
                    CRLCHECK_OK);
            return status;
        }
        *out_size += len;
    }
    return CRLCHECK_OK;
}

static crlcheck_status make_image(crlcheck_builder *builder,
                                  const crlcheck_crl_parser *parser) {
    static uint8_t out[MOST_OCTETS];
    uint32_t header_size;
    size_t body_size;
    crlcheck_status status = start_image(&header_size, builder, parser);
    if (status != CRLCHECK_OK || header_size > MOST_OCTETS / 2) {
        return status;
    }
    status = write_body(&body_size, builder, out + header_size, MOST_OCTETS / 2);
    if (status != CRLCHECK_OK) {
        return status;
    }
    size_t num_pages = (body_size + CRLCHECK_PAGE_SIZE - 1) / CRLCHECK_PAGE_SIZE;
    bool has_trailer = crlcheck_builder_has_trailer(builder);
    size_t size = header_size + body_size +
                  (size_t)size_behind_body(num_pages, header_size, has_trailer);
    memcpy(out, crlcheck_builder_header(builder).data, header_size);
    crlcheck_image *image;
    status = crlcheck_image_open(&image, NULL, out, size);
    require((status == CRLCHECK_OK) == (image != NULL));
    crlcheck_image_free(image);
    // One that did not fit is not whole.
    return status == CRLCHECK_CORRUPT_IMAGE ? CRLCHECK_OK : status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    choices choice = choices_from(data, size);
    crlcheck_crl_options options = {.allow_v1 = true};
    crlcheck_crl_parser *parser = NULL;
    crlcheck_builder *builder = NULL;
    num_left = choose(&choice, 64);
    all_behind = choose(&choice, 2) == 0;
    failed = false;
    watching = true;
    crlcheck_status status = crlcheck_crl_parser_new(&parser, &options);
    if (status == CRLCHECK_OK) {
        status = crlcheck_builder_new(&builder, choose(&choice, 4) != 0);
    }
    if (status == CRLCHECK_OK) {
        status = parse(parser, builder, data, size, 1 + choose(&choice, 600));
    }
    if (status == CRLCHECK_OK) {
        status = sort(builder);
    }
    if (status == CRLCHECK_OK) {
        status = set_bitmaps(builder);
    }
    if (status == CRLCHECK_OK) {
        status = make_image(builder, parser);
    }
    crlcheck_crl_parser_free(parser);
    crlcheck_builder_free(builder);
    watching = false;
    require(failed == (status == CRLCHECK_NO_MEMORY));
    return 0;
}
