// serial_octets.h: from a Python integer to the octets of a serial number.

#ifndef CRLCHECK_PYTHON_SERIAL_OCTETS_H
#define CRLCHECK_PYTHON_SERIAL_OCTETS_H

#include <Python.h>

#include <stdint.h>

#include "crlcheck.h"

enum { MAX_LIMBS = CRLCHECK_MAX_SERIAL / 8 + 1 };

// serial_octets is a serial in minimal two's complement form, at the end of
// `octets`. Its length is 0 where it has more octets than any serial may.
typedef struct serial_octets {
    size_t len;
    const uint8_t *start;
    uint8_t octets[8 * MAX_LIMBS + 1];
} serial_octets;

// integer_reader is the interpreter's own way to take a large integer apart: one of
// two functions that the limited API of Python 3.11 lacks, or neither.
typedef struct integer_reader {
    Py_ssize_t (*as_native_bytes)(PyObject *, void *, Py_ssize_t, int);
    int (*as_byte_array)(PyObject *, unsigned char *, size_t, int, int);
} integer_reader;

// find_integer_reader finds what the running interpreter has.
integer_reader find_integer_reader(void);

// read_serial returns -1 with an exception where `object` is no integer.
int read_serial(serial_octets *out, PyObject *object, integer_reader reader);

#endif
