// error.h: says why an input was refused.
//
// Each `fail` fills the error, if the caller gave one, and returns false, so that a
// check reads `return fail_malformed(...)`. They are inline so that the compiler knows
// the false. Offsets count from the start of the source.

#ifndef CRLCHECK_BASE_ERROR_H
#define CRLCHECK_BASE_ERROR_H

#include "crlcheck_values.h"

// error_set fills an error that is not NULL. `detail` may be empty.
void error_set(crlcheck_error *out_error, crlcheck_status status, crlcheck_rule rule,
               uint64_t offset, crlcheck_slice detail);

// fail_with_detail keeps bytes that help to say what was found.
static inline bool fail_with_detail(crlcheck_error *out_error, crlcheck_status status,
                                    crlcheck_rule rule, uint64_t offset,
                                    crlcheck_slice detail) {
    error_set(out_error, status, rule, offset, detail);
    return false;
}

static inline bool fail(crlcheck_error *out_error, crlcheck_status status,
                        crlcheck_rule rule, uint64_t offset) {
    return fail_with_detail(out_error, status, rule, offset, (crlcheck_slice){NULL, 0});
}

static inline bool fail_malformed(crlcheck_error *out_error, crlcheck_rule rule,
                                  uint64_t offset) {
    return fail(out_error, CRLCHECK_MALFORMED, rule, offset);
}

static inline bool fail_no_memory(crlcheck_error *out_error, uint64_t offset) {
    return fail(out_error, CRLCHECK_NO_MEMORY, CRLCHECK_RULE_NONE, offset);
}

// error_add_extension notes in which extension an error is.
void error_add_extension(crlcheck_error *out_error, crlcheck_slice oid);

// error_add_entry notes in which entry of a CRL an error is. `serial` may be empty.
void error_add_entry(crlcheck_error *out_error, uint64_t number, crlcheck_slice serial);

// fail_status returns the status itself. The failure has no place in the source.
static inline crlcheck_status fail_status(crlcheck_error *out_error,
                                          crlcheck_status status, crlcheck_rule rule) {
    fail(out_error, status, rule, 0);
    return status;
}

#endif
