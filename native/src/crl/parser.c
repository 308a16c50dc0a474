// parser.c: the push parser for CertificateList, RFC 5280 5.1.
//
// The parser is a list of states, one for each place in the syntax. In each it
// waits for one element: for the wrapping SEQUENCEs only the tag and length
// octets, for everything else the whole element. What a chunk leaves unfinished
// is carried over and completed from the next one.

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crl/fields.h"
#include "crl/plain_entries.h"

crlcheck_status crlcheck_crl_parser_new(crlcheck_crl_parser **out_parser,
                                        const crlcheck_crl_options *options) {
    crlcheck_crl_parser *parser = calloc(1, sizeof *parser);
    if (parser == NULL) {
        return CRLCHECK_NO_MEMORY;
    }
    parser->options = *options;
    parser->info.num_issuers = 1;
    *out_parser = parser;
    return CRLCHECK_OK;
}

void crlcheck_crl_parser_free(crlcheck_crl_parser *parser) {
    if (parser == NULL) {
        return;
    }
    for (int i = 0; i < NUM_KEPT; i++) {
        free(parser->kept[i]);
    }
    free(parser->carry[0].data);
    free(parser->carry[1].data);
    crl_issuers_clear(&parser->issuers);
    free(parser);
}

const crlcheck_crl_info *crlcheck_crl_parser_info(const crlcheck_crl_parser *parser) {
    return &parser->info;
}

crlcheck_slice crlcheck_crl_parser_issuer(const crlcheck_crl_parser *parser,
                                          uint32_t number) {
    if (number == 0) {
        return parser->info.issuer;
    }
    return number <= parser->issuers.num_names ? parser->issuers.names[number - 1]
                                               : (crlcheck_slice){NULL, 0};
}

// enter passes the tag and length of a wrapping SEQUENCE and notes its end.
static bool enter(crlcheck_crl_parser *parser, uint64_t *out_end,
                  const der_header *header, uint64_t offset, crlcheck_error *out_error) {
    if (header->tag != DER_SEQUENCE) {
        return fail_with_detail(out_error, CRLCHECK_MALFORMED, CRLCHECK_RULE_WRONG_TAG,
                                offset, (crlcheck_slice){&header->tag, 1});
    }
    uint64_t start = offset + header->header_len;
    *out_end = start + header->content_len;  // der_peek keeps lengths below 2^63
    uint64_t limit = parser->options.max_source_size;
    if (*out_end < start || (limit != 0 && *out_end > limit)) {
        return fail(out_error, CRLCHECK_LIMIT_EXCEEDED, CRLCHECK_RULE_SOURCE_TOO_LARGE,
                    offset);
    }
    return true;
}

// enclosing_end returns where the element around the next one ends.
static uint64_t enclosing_end(const crlcheck_crl_parser *parser) {
    switch (parser->state) {
    case AT_CERTIFICATE_LIST:
        return UINT64_MAX;
    case AT_TBS_CERT_LIST:
    case AT_SIGNATURE_ALGORITHM:
    case AT_SIGNATURE:
    case AT_END:
        return parser->certificate_list_end;
    case AT_ENTRY:
        return parser->revoked_end;
    default:
        return parser->tbs_end;
    }
}

// skip_absent moves past optional elements that are not there, and past the end
// of a list. `tag` is that of the next element, or -1 where none can follow.
static bool skip_absent(crlcheck_crl_parser *parser, int tag, crlcheck_error *out_error) {
    if (parser->state == AT_VERSION && tag == DER_SEQUENCE) {
        parser->info.version = 1;
        if (!parser->options.allow_v1) {
            return fail(out_error, CRLCHECK_UNSUPPORTED, CRLCHECK_RULE_VERSION_1,
                        parser->offset);
        }
        parser->info.warnings |= CRLCHECK_WARNING_VERSION_1;
        parser->state = AT_TBS_SIGNATURE_ALGORITHM;
    }
    if (parser->state == AT_NEXT_UPDATE && tag != DER_UTC_TIME &&
        tag != DER_GENERALIZED_TIME) {
        parser->info.warnings |= CRLCHECK_WARNING_NO_NEXT_UPDATE;
        parser->info.have_header = true;
        parser->state = AT_REVOKED_CERTIFICATES;
    }
    if (parser->state == AT_REVOKED_CERTIFICATES && tag != DER_SEQUENCE) {
        parser->state = AT_EXTENSIONS;
    }
    if (parser->state == AT_EXTENSIONS && tag == -1) {
        parser->state = AT_SIGNATURE_ALGORITHM;
    }
    return true;
}

// leave_ended moves out of every element that ends at the current offset.
static bool leave_ended(crlcheck_crl_parser *parser, crlcheck_error *out_error) {
    if (parser->state == AT_ENTRY && parser->offset == parser->revoked_end) {
        parser->state = AT_EXTENSIONS;
    }
    bool in_tbs = parser->state >= AT_VERSION && parser->state <= AT_EXTENSIONS;
    if (in_tbs && parser->offset == parser->tbs_end) {
        return skip_absent(parser, -1, out_error) &&
               (parser->state == AT_SIGNATURE_ALGORITHM ||
                fail_malformed(out_error, CRLCHECK_RULE_TRUNCATED, parser->offset));
    }
    return true;
}

// open_wrapper enters the element, in the states that do not read it whole.
static bool open_wrapper(bool *out_entered, crlcheck_crl_parser *parser,
                         const der_header *header, crlcheck_error *out_error) {
    uint64_t offset = parser->offset;
    *out_entered = true;
    switch (parser->state) {
    case AT_CERTIFICATE_LIST:
        parser->state = AT_TBS_CERT_LIST;
        return enter(parser, &parser->certificate_list_end, header, offset, out_error);
    case AT_TBS_CERT_LIST:
        parser->state = AT_VERSION;
        parser->info.tbs_offset = offset;
        parser->info.tbs_size = header->header_len + header->content_len;
        return enter(parser, &parser->tbs_end, header, offset, out_error);
    case AT_REVOKED_CERTIFICATES:
        parser->state = AT_ENTRY;
        if (header->content_len == 0) {
            parser->info.warnings |= CRLCHECK_WARNING_EMPTY_REVOKED_LIST;
        }
        return enter(parser, &parser->revoked_end, header, offset, out_error);
    default:
        *out_entered = false;
        return true;
    }
}

// read_one reads one element off `window`. `*out_need` is 0 when it did, else how
// many bytes the window must hold before a new try; `*out_is_entry` tells that
// `out_entry` was filled.
static bool read_one(crlcheck_crl_parser *parser, size_t *out_need, bool *out_is_entry,
                     crlcheck_entry *out_entry, der_reader *window,
                     crlcheck_error *out_error) {
    der_header header;
    *out_is_entry = false;
    parser->reading = parser->state;
    if (parser->state == AT_END) {
        return fail_malformed(out_error, CRLCHECK_RULE_TRAILING_DATA, window->offset);
    }
    if (!der_peek(&header, out_need, out_error, window)) {
        return false;
    }
    if (*out_need > 0) {
        return true;
    }
    if (!skip_absent(parser, header.tag, out_error)) {
        return false;
    }
    parser->reading = parser->state;
    uint64_t room = enclosing_end(parser) - parser->offset;
    if (room < header.header_len || room - header.header_len < header.content_len) {
        return fail_malformed(out_error, CRLCHECK_RULE_LENGTH_OVERRUN, parser->offset);
    }
    der_reader element;
    bool entered;
    if (!open_wrapper(&entered, parser, &header, out_error)) {
        return false;
    }
    size_t len = header.header_len;
    if (!entered) {
        uint64_t limit = parser->state == AT_ENTRY ? MAX_ENTRY : MAX_ELEMENT;
        if (header.content_len > limit) {
            return fail(out_error, CRLCHECK_LIMIT_EXCEEDED,
                        CRLCHECK_RULE_ELEMENT_TOO_LARGE, parser->offset);
        }
        len += (size_t)header.content_len;
    }
    if (!der_take(&element, window, len)) {
        *out_need = len;
        return true;
    }
    parser->offset += len;
    *out_is_entry = parser->state == AT_ENTRY && !entered;
    return (entered || crl_read_element(parser, out_entry, element, out_error)) &&
           leave_ended(parser, out_error);
}

// stash appends bytes to a carry buffer.
static bool stash(carry_buffer *carry, const uint8_t *data, size_t len) {
    if (len > carry->capacity - carry->len) {
        size_t capacity = carry->capacity * 2 > carry->len + len ? carry->capacity * 2
                                                                 : carry->len + len;
        uint8_t *grown = realloc(carry->data, capacity);
        if (grown == NULL) {
            return false;
        }
        carry->data = grown;
        carry->capacity = capacity;
    }
    memcpy(carry->data + carry->len, data, len);
    carry->len += len;
    return true;
}

// complete_carried finishes the element that the last chunk broke off, taking
// from `chunk` only as many bytes as it lacks, so the carry ends up empty.
static bool complete_carried(crlcheck_crl_parser *parser, bool *out_is_entry,
                             crlcheck_entry *out_entry, der_reader *chunk,
                             crlcheck_error *out_error) {
    carry_buffer *carry = &parser->carry[parser->active_carry];
    *out_is_entry = false;
    for (;;) {
        der_reader window = {carry->data, carry->len, parser->offset};
        size_t need;
        if (!read_one(parser, &need, out_is_entry, out_entry, &window, out_error)) {
            return false;
        }
        if (need == 0) {
            carry->len = 0;
            return true;
        }
        size_t missing = need - carry->len;
        size_t len = missing < chunk->len ? missing : chunk->len;
        der_reader taken;
        if (!der_take(&taken, chunk, len) || !stash(carry, taken.data, len)) {
            return fail_no_memory(out_error, parser->offset);
        }
        if (len < missing) {
            return true;
        }
    }
}

// read_chunk reads elements until the chunk is used up or the entries are full.
static bool read_chunk(crlcheck_crl_parser *parser, size_t *out_num_entries,
                       crlcheck_entry *out_entries, der_reader *chunk, size_t max_entries,
                       crlcheck_error *out_error) {
    bool is_entry;
    if (parser->carry[parser->active_carry].len > 0 && max_entries > 0) {
        if (!complete_carried(parser, &is_entry, out_entries, chunk, out_error)) {
            return false;
        }
        *out_num_entries += is_entry ? 1 : 0;
    }
    while (chunk->len > 0 && *out_num_entries < max_entries) {
        if (parser->state == AT_ENTRY) {
            *out_num_entries +=
                crl_read_plain_entries(parser, out_entries + *out_num_entries,
                                       max_entries - *out_num_entries, chunk);
            if (*out_num_entries == max_entries) {
                break;
            }
        }
        chunk->offset = parser->offset;
        size_t need;
        if (!read_one(parser, &need, &is_entry, &out_entries[*out_num_entries], chunk,
                      out_error)) {
            return false;
        }
        *out_num_entries += is_entry ? 1 : 0;
        if (need > 0) {
            parser->active_carry ^= 1U;
            der_reader rest;
            der_take(&rest, chunk, chunk->len);
            if (!stash(&parser->carry[parser->active_carry], rest.data, rest.len)) {
                return fail_no_memory(out_error, parser->offset);
            }
        }
    }
    return true;
}

// field_of returns the field that is read in a state.
static int field_of(crl_state state) {
    return state < AT_END ? CRLCHECK_FIELD_CERTIFICATE_LIST + (int)state
                          : CRLCHECK_FIELD_CERTIFICATE_LIST;
}

// add_entry_number names the entry where it could not even be begun.
static void add_entry_number(crlcheck_error *error, const crlcheck_crl_parser *parser) {
    if (parser->reading == AT_ENTRY && error->entry_number == 0) {
        error->entry_number = parser->info.num_entries + 1;
    }
}

crlcheck_status crlcheck_crl_parser_feed(crlcheck_crl_parser *parser,
                                         size_t *out_consumed,
                                         crlcheck_entry *out_entries,
                                         size_t *out_num_entries,
                                         crlcheck_error *out_error, size_t max_entries,
                                         const uint8_t *chunk, size_t chunk_len) {
    crlcheck_error error = {.status = CRLCHECK_OK};
    *out_num_entries = 0;
    *out_consumed = 0;
    if (parser->failed) {
        fail(out_error, CRLCHECK_MALFORMED, CRLCHECK_RULE_NONE, parser->offset);
        return CRLCHECK_MALFORMED;
    }
    if (chunk_len == 0) {
        return CRLCHECK_OK;
    }
    der_reader reader = {chunk, chunk_len, parser->offset};
    parser->failed =
        !read_chunk(parser, out_num_entries, out_entries, &reader, max_entries, &error);
    *out_consumed = chunk_len - reader.len;
    if (parser->failed && out_error != NULL) {
        error.field = field_of(parser->reading);
        add_entry_number(&error, parser);
        *out_error = error;
    }
    return parser->failed ? (crlcheck_status)error.status : CRLCHECK_OK;
}

// check_whole checks the rules between parts that lie far from each other.
static bool check_whole(crlcheck_crl_parser *parser, crlcheck_error *out_error) {
    crlcheck_crl_info *info = &parser->info;
    if (parser->state != AT_END) {
        parser->reading = parser->state;
        bool empty = parser->offset == 0 && parser->carry[parser->active_carry].len == 0;
        return fail_malformed(out_error,
                              empty ? CRLCHECK_RULE_EMPTY : CRLCHECK_RULE_TRUNCATED,
                              parser->offset + parser->carry[parser->active_carry].len);
    }
    if (parser->certificate_issuer_offset != 0 && !info->is_indirect) {
        return fail_malformed(out_error,
                              CRLCHECK_RULE_CERTIFICATE_ISSUER_WITHOUT_INDIRECT,
                              parser->certificate_issuer_offset);
    }
    if (parser->saw_remove_from_crl && !info->is_delta) {
        info->warnings |= CRLCHECK_WARNING_REMOVE_FROM_CRL;
    }
    if (info->crl_number.data == NULL) {
        info->warnings |= CRLCHECK_WARNING_NO_CRL_NUMBER;
    }
    if (info->authority_key_id.data == NULL) {
        info->warnings |= CRLCHECK_WARNING_NO_AUTHORITY_KEY_ID;
    }
    info->complete = true;
    return true;
}

crlcheck_status crlcheck_crl_parser_finish(crlcheck_crl_parser *parser,
                                           crlcheck_error *out_error) {
    crlcheck_error error = {.status = CRLCHECK_MALFORMED};
    error.offset = parser->offset;
    if (!parser->failed && check_whole(parser, &error)) {
        return CRLCHECK_OK;
    }
    parser->failed = true;
    if (out_error != NULL) {
        error.field = field_of(parser->state);
        if (error.rule == CRLCHECK_RULE_TRUNCATED) {
            add_entry_number(&error, parser);
        }
        *out_error = error;
    }
    return (crlcheck_status)error.status;
}
