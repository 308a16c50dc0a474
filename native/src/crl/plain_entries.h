// plain_entries.h: a fast reader for entries as nearly all CAs write them.

#ifndef CRLCHECK_CRL_PLAIN_ENTRIES_H
#define CRLCHECK_CRL_PLAIN_ENTRIES_H

#include "crl/state.h"

// crl_read_plain_entries reads as many plain entries as come in a row, and stops at the
// first that is any different. It accepts nothing that crl_read_element would not, and
// makes the same of it. It advances `window`.
size_t crl_read_plain_entries(crlcheck_crl_parser *parser, crlcheck_entry *out_entries,
                              size_t max_entries, der_reader *window);

#endif
