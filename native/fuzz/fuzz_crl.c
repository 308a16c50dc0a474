// fuzz_crl.c: any bytes as a CRL, all the way to lookups in its image.
//
// The input is parsed twice, in one chunk and in chunks of any size, which must
// make no difference. Its entries go into an image, which must open, hold exactly
// what a sorted array of the same entries holds, and come out the same octet for
// octet on either way.

#include <stdlib.h>
#include <string.h>

#include "check_image.h"
#include "mutate_der.h"

// outcome is what one way of parsing came to. Its parser and builder are owned.
typedef struct outcome {
    crlcheck_crl_parser *parser;
    crlcheck_builder *builder;
    crlcheck_status status;
    crlcheck_error error;
} outcome;

static outcome start(bool allow_v1, bool attributes) {
    outcome made = {.status = CRLCHECK_OK};
    crlcheck_crl_options options = {.allow_v1 = allow_v1};
    require(crlcheck_crl_parser_new(&made.parser, &options) == CRLCHECK_OK);
    require(crlcheck_builder_new(&made.builder, attributes) == CRLCHECK_OK);
    return made;
}

static void finish(outcome *made) {
    if (made->status == CRLCHECK_OK) {
        made->status = crlcheck_crl_parser_finish(made->parser, &made->error);
    }
    if (made->status != CRLCHECK_OK) {
        require(made->error.status == (int)made->status);
        require(made->error.rule < CRLCHECK_RULE_COUNT);
        require(made->error.detail_len <= CRLCHECK_MAX_DETAIL);
        require(crlcheck_crl_parser_finish(made->parser, NULL) != CRLCHECK_OK);
    }
    require(crlcheck_crl_parser_info(made->parser)->complete ==
            (made->status == CRLCHECK_OK));
}

static void release(outcome *made) {
    crlcheck_crl_parser_free(made->parser);
    crlcheck_builder_free(made->builder);
}

static outcome parse_at_once(const uint8_t *data, size_t size, bool allow_v1,
                             bool attributes) {
    outcome made = start(allow_v1, attributes);
    uint8_t *chunk = copy_exactly(data, size);
    made.status =
        crlcheck_compile_chunk(made.parser, made.builder, &made.error, chunk, size);
    free(chunk);
    finish(&made);
    return made;
}

// feed_chunk offers a chunk until it is used up, each time what is left in memory
// of its own, and takes a few entries at a time.
static void feed_chunk(outcome *made, reference *all, choices *choice,
                       const uint8_t *data, size_t size) {
    enum { MOST_ENTRIES = 5 };
    while (size > 0 && made->status == CRLCHECK_OK) {
        crlcheck_entry entries[MOST_ENTRIES];
        size_t consumed;
        size_t num_entries;
        size_t max_entries = 1 + choose(choice, MOST_ENTRIES);
        uint8_t *chunk = copy_exactly(data, size);
        made->status =
            crlcheck_crl_parser_feed(made->parser, &consumed, entries, &num_entries,
                                     &made->error, max_entries, chunk, size);
        require(consumed <= size && num_entries <= max_entries);
        require(made->status != CRLCHECK_OK || consumed > 0);
        for (size_t i = 0; i < num_entries; i++) {
            reference_add(all, &entries[i]);
        }
        require(crlcheck_builder_add(made->builder, NULL, entries, num_entries) ==
                CRLCHECK_OK);
        free(chunk);
        data += consumed;
        size -= consumed;
    }
}

static outcome parse_in_chunks(reference *all, const uint8_t *data, size_t size,
                               bool allow_v1, bool attributes) {
    choices choice = choices_from(data, size);
    outcome made = start(allow_v1, attributes);
    size_t longest = (size_t)1 << choose(&choice, 10);
    for (size_t at = 0; at < size && made.status == CRLCHECK_OK;) {
        size_t len = 1 + choose(&choice, longest);
        len = len < size - at ? len : size - at;
        feed_chunk(&made, all, &choice, data + at, len);
        at += len;
    }
    finish(&made);
    return made;
}

static void require_same_slice(crlcheck_slice a, crlcheck_slice b) {
    require((a.data == NULL) == (b.data == NULL) && a.len == b.len);
    require(a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void require_same_info(const outcome *first, const outcome *second) {
    const crlcheck_crl_info *a = crlcheck_crl_parser_info(first->parser);
    const crlcheck_crl_info *b = crlcheck_crl_parser_info(second->parser);
    require(a->have_header == b->have_header && a->version == b->version);
    require(a->tbs_offset == b->tbs_offset && a->tbs_size == b->tbs_size);
    require(a->this_update == b->this_update && a->next_update == b->next_update);
    require(a->has_next_update == b->has_next_update);
    require(a->num_entries == b->num_entries && a->num_issuers == b->num_issuers);
    require(a->warnings == b->warnings);
    require(a->is_delta == b->is_delta && a->is_indirect == b->is_indirect);
    require(a->has_expired_certs_on_crl == b->has_expired_certs_on_crl);
    require(a->expired_certs_on_crl == b->expired_certs_on_crl);
    for (int kind = 0; kind < 3; kind++) {
        const crlcheck_odd_extension *x = &a->odd_extensions[kind];
        const crlcheck_odd_extension *y = &b->odd_extensions[kind];
        require(x->count == y->count && x->first_entry == y->first_entry);
        require(x->first_serial_len == y->first_serial_len);
        require(memcmp(x->first_serial, y->first_serial, x->first_serial_len) == 0);
    }
    require_same_slice(a->tbs_signature_algorithm, b->tbs_signature_algorithm);
    require_same_slice(a->issuer, b->issuer);
    require_same_slice(a->signature_algorithm, b->signature_algorithm);
    require_same_slice(a->signature, b->signature);
    require_same_slice(a->authority_key_id, b->authority_key_id);
    require_same_slice(a->crl_number, b->crl_number);
    require_same_slice(a->base_crl_number, b->base_crl_number);
    require_same_slice(a->issuing_distribution_point, b->issuing_distribution_point);
    for (uint32_t i = 0; i < a->num_issuers; i++) {
        require_same_slice(crlcheck_crl_parser_issuer(first->parser, i),
                           crlcheck_crl_parser_issuer(second->parser, i));
    }
}

static void require_same_outcome(const outcome *a, const outcome *b, size_t size) {
    require(a->status == b->status);
    if (a->status != CRLCHECK_OK) {
        require(a->error.rule == b->error.rule && a->error.offset == b->error.offset);
        require(a->error.offset <= size);
        require(a->error.detail_len == b->error.detail_len);
        require(memcmp(a->error.detail, b->error.detail, a->error.detail_len) == 0);
    }
    require_same_info(a, b);
}

static uint8_t *image_of(size_t *out_size, crlcheck_builder_stats *out_stats,
                         const outcome *made, choices *choice) {
    uint32_t num_issuers = crlcheck_crl_parser_info(made->parser)->num_issuers;
    crlcheck_slice *issuers = malloc(num_issuers * sizeof *issuers);
    require(issuers != NULL);
    for (uint32_t i = 0; i < num_issuers; i++) {
        issuers[i] = crlcheck_crl_parser_issuer(made->parser, i);
    }
    uint8_t *image =
        write_image(out_size, out_stats, made->builder, issuers, num_issuers, choice);
    free(issuers);
    return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    choices choice = choices_from(data, size);
    bool allow_v1 = choose(&choice, 4) != 0;
    bool attributes = choose(&choice, 4) != 0;
    reference all = {0};
    outcome whole = parse_at_once(data, size, allow_v1, attributes);
    outcome chunked = parse_in_chunks(&all, data, size, allow_v1, attributes);
    require_same_outcome(&whole, &chunked, size);
    // Entries read before a CRL turned out to be broken make an image all the same.
    if (crlcheck_crl_parser_info(chunked.parser)->have_header) {
        crlcheck_builder_stats stats;
        size_t image_size;
        uint8_t *image = image_of(&image_size, &stats, &chunked, &choice);
        require(stats.num_duplicates == reference_merge(&all));
        require(stats.num_entries == all.num_entries);
        check_image(image, image_size, &all, attributes, &choice);
        if (whole.status == CRLCHECK_OK) {
            size_t other_size;
            uint8_t *other = image_of(&other_size, &stats, &whole, &choice);
            require(other_size == image_size && memcmp(other, image, image_size) == 0);
            free(other);
        }
        free(image);
    }
    free(all.entries);
    release(&whole);
    release(&chunked);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed) {
    choices choice = {seed};
    size_t changed = 0;
    if (choose(&choice, 4) != 0) {
        changed = mutate_der(data, size, max_size, &choice);
    }
    return changed > 0 ? changed : LLVMFuzzerMutate(data, size, max_size);
}
