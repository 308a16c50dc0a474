// module.h: the steps that make the module crlcheck._native.

#ifndef CRLCHECK_PYTHON_MODULE_H
#define CRLCHECK_PYTHON_MODULE_H

#include <Python.h>

// crlcheck_make_cffi_module is the initialisation that cffi generates, under a name
// of its own (ffi_prelude.c). It returns a new module, or NULL with an exception.
PyObject *crlcheck_make_cffi_module(void);

// crlcheck_add_lookup adds the type Lookup to `module`. It returns 0, or -1 with an
// exception.
int crlcheck_add_lookup(PyObject *module);

// crlcheck_add_certificates adds what reads certificates, likewise.
int crlcheck_add_certificates(PyObject *module);

#endif
