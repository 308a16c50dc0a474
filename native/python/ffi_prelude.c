// ffi_prelude.c: what the C source that cffi generates includes first. It is
// not compiled on its own.

#include "crlcheck.h"

// What Python calls is in native/python/module.c, which calls this.
#define PyInit__native crlcheck_make_cffi_module
