// compile.c: feeds the entries of a CRL from the parser to the builder. No other unit
// knows both.

#include "builder/builder.h"

crlcheck_status crlcheck_compile_chunk(crlcheck_crl_parser *parser,
                                       crlcheck_builder *builder,
                                       crlcheck_error *out_error, const uint8_t *chunk,
                                       size_t chunk_len) {
    enum { BATCH = 128 };  // 7 KiB of entries: they stay in the first-level cache
    crlcheck_entry entries[BATCH];
    while (chunk_len > 0) {
        size_t consumed;
        size_t num_entries;
        crlcheck_status status = crlcheck_crl_parser_feed(
            parser, &consumed, entries, &num_entries, out_error, BATCH, chunk, chunk_len);
        if (status == CRLCHECK_OK) {
            status = builder_add_parsed(builder, out_error, entries, num_entries);
        }
        if (status != CRLCHECK_OK) {
            return status;
        }
        chunk += consumed;
        chunk_len -= consumed;
    }
    return CRLCHECK_OK;
}
