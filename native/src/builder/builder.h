// builder.h: what compile.c needs of the builder besides its public functions.

#ifndef CRLCHECK_BUILDER_BUILDER_H
#define CRLCHECK_BUILDER_BUILDER_H

#include "crlcheck_image.h"

// builder_add_parsed does what crlcheck_builder_add does, for entries whose dates the
// parser has checked.
crlcheck_status builder_add_parsed(crlcheck_builder *builder, crlcheck_error *out_error,
                                   const crlcheck_entry *entries, size_t num_entries);

#endif
