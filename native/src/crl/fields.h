// fields.h: reads the fields of a CRL and of each entry, RFC 5280 5.1.

#ifndef CRLCHECK_CRL_FIELDS_H
#define CRLCHECK_CRL_FIELDS_H

#include "crl/state.h"

// crl_read_element reads the whole element that the parser's state asks for and
// moves to the next state. `out_entry` is filled at AT_ENTRY.
bool crl_read_element(crlcheck_crl_parser *parser, crlcheck_entry *out_entry,
                      der_reader element, crlcheck_error *out_error);

#endif
