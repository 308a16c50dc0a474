// serial_octets.c: takes Python integers apart.
//
// The limited API of Python 3.11 has no function for that, only shifts, which make an
// integer each. The interpreter has had one all the time: PyLong_AsNativeBytes since
// 3.13, before that one that is private. Looking it up at run time keeps the module
// one build for all; where neither is found, shifts do.

#define _GNU_SOURCE  // for RTLD_DEFAULT

#include "serial_octets.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

// A serial of 20 octets, RFC 5280's longest, and the one that keeps it positive.
enum { LARGE_SERIAL = CRLCHECK_MAX_SERIAL < 21 ? CRLCHECK_MAX_SERIAL : 21 };

integer_reader find_integer_reader(void) {
    enum { PYTHON_3_13 = 0x030d0000 };
    integer_reader found = {0};
    if (Py_Version >= PYTHON_3_13) {
        *(void **)&found.as_native_bytes = dlsym(RTLD_DEFAULT, "PyLong_AsNativeBytes");
    } else {
        // Its parameters are these in 3.11 and 3.12, and changed in 3.13.
        *(void **)&found.as_byte_array = dlsym(RTLD_DEFAULT, "_PyLong_AsByteArray");
    }
    return found;
}

// put_limbs writes a number that is not negative, least significant limb first;
// `flip` makes it the complement, which is how -n-1 is written.
static void put_limbs(serial_octets *out, const uint64_t *limbs, size_t num_limbs,
                      uint8_t flip) {
    uint8_t *end = out->octets + sizeof out->octets;
    uint8_t *start = end - 8 * num_limbs;
    for (size_t i = 0; i < num_limbs; i++) {
        uint64_t limb = __builtin_bswap64(limbs[i]);
        memcpy(end - 8 * (i + 1), &limb, sizeof limb);
    }
    while (start < end && *start == 0) {
        start++;
    }
    if (start == end || *start >= 0x80) {  // zero has an octet, and so has the sign
        *--start = 0;
    }
    for (uint8_t *octet = start; flip != 0 && octet < end; octet++) {
        *octet = (uint8_t)~*octet;
    }
    out->start = start;
    out->len = (size_t)(end - start);
    if (out->len > CRLCHECK_MAX_SERIAL) {
        out->len = 0;
    }
}

// put_large takes a number above 2^63 apart, 64 bits at a time.
static int put_large(serial_octets *out, PyObject *number, uint8_t flip) {
    uint64_t limbs[MAX_LIMBS];
    size_t num_limbs = 0;
    int overflow = 1;
    PyObject *rest = Py_NewRef(number);
    PyObject *width = PyLong_FromLong(64);
    while (overflow != 0 && num_limbs < MAX_LIMBS - 1 && width != NULL) {
        limbs[num_limbs++] = PyLong_AsUnsignedLongLongMask(rest);
        PyObject *shifted = PyNumber_Rshift(rest, width);
        Py_DECREF(rest);
        rest = shifted;
        if (rest == NULL) {
            break;
        }
        long long value = PyLong_AsLongLongAndOverflow(rest, &overflow);
        if (overflow == 0) {
            limbs[num_limbs++] = (uint64_t)value;
        }
    }
    int status = rest == NULL || width == NULL ? -1 : 0;
    Py_XDECREF(rest);
    Py_XDECREF(width);
    out->len = 0;
    if (status == 0 && overflow == 0) {
        put_limbs(out, limbs, num_limbs, flip);
    }
    return status;
}

// skip_sign returns where a number of LARGE_SERIAL octets begins without the octets that
// only repeat its sign. A serial of 16 octets has five of those: eight are looked at at
// once.
static const uint8_t *skip_sign(const uint8_t *start) {
    const uint8_t *last = start + LARGE_SERIAL - 1;
    while (last - start >= 8) {
        uint64_t word;
        memcpy(&word, start, sizeof word);
        word = __builtin_bswap64(word);
        word ^= 0 - (word >> 63);
        if (word != 0) {  // an octet can go where the next one still begins with the sign
            return start + ((unsigned)__builtin_clzll(word) - 1) / 8;
        }
        start += 7;
    }
    uint8_t sign = (uint8_t)(*start >= 0x80 ? 0xff : 0);
    while (start < last && *start == sign && ((start[1] ^ sign) & 0x80) == 0) {
        start++;
    }
    return start;
}

// read_by_interpreter takes a number of no more than LARGE_SERIAL octets apart. It returns
// false where the number has more, or the interpreter cannot do it. It is asked first, for
// numbers of any size: to find out that one is small takes as long as to take it apart.
static bool read_by_interpreter(serial_octets *out, PyObject *number,
                                integer_reader reader) {
    const uint8_t *end = out->octets + sizeof out->octets;
    uint8_t *start = out->octets + sizeof out->octets - LARGE_SERIAL;
    if (reader.as_byte_array != NULL) {
        if (reader.as_byte_array(number, start, LARGE_SERIAL, 0, 1) < 0) {
            PyErr_Clear();  // too large: rare enough for the long way
            return false;
        }
    } else if (reader.as_native_bytes == NULL ||
               reader.as_native_bytes(number, start, LARGE_SERIAL, 0) > LARGE_SERIAL) {
        return false;
    }
    out->start = skip_sign(start);
    out->len = (size_t)(end - out->start);
    return true;
}

// read_by_shifts takes any number apart.
static int read_by_shifts(serial_octets *out, PyObject *number) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow == 0) {
        uint64_t limb = (uint64_t)(value < 0 ? ~value : value);
        put_limbs(out, &limb, 1, value < 0);
        return 0;
    }
    if (overflow > 0) {
        return put_large(out, number, 0);
    }
    PyObject *complement = PyNumber_Invert(number);
    int status = complement == NULL ? -1 : put_large(out, complement, 1);
    Py_XDECREF(complement);
    return status;
}

int read_serial(serial_octets *out, PyObject *object, integer_reader reader) {
    if (PyLong_Check(object) && read_by_interpreter(out, object, reader)) {
        return 0;
    }
    PyObject *number = PyLong_Check(object) ? Py_NewRef(object) : PyNumber_Index(object);
    if (number == NULL) {
        return -1;
    }
    int status =
        read_by_interpreter(out, number, reader) ? 0 : read_by_shifts(out, number);
    Py_DECREF(number);
    return status;
}
