// ffi_prelude.c: what the C source that cffi generates includes first. It is
// not compiled on its own.

#include "crlcheck.h"
#include "lookup.h"
