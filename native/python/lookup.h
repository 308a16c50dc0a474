// lookup.h: registers the Python type that carries single lookups.

#ifndef CRLCHECK_PYTHON_LOOKUP_H
#define CRLCHECK_PYTHON_LOOKUP_H

// cdef: begin

// crlcheck_register_lookup adds the type Lookup to the module crlcheck._native.
// It returns 0, or -1 with a Python exception printed.
int crlcheck_register_lookup(void);

// cdef: end

#endif
