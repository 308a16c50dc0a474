// certificate.c: crlcheck._native.certificate_kind, the first step of a check.
//
// A check needs few facts of most certificates: their serial number, when they expire,
// and what they have in common with others on which the same CRLs decide. Making all
// facts would cost several times as much as the rest of the check. Only the limited API
// is used, so one build serves every later Python.

#define _GNU_SOURCE  // for RTLD_DEFAULT

#include <Python.h>

#include <dlfcn.h>
#include <string.h>

#include "crlcheck.h"
#include "module.h"

// What certificates of a kind have in common is written in one piece. A larger one is
// of no CA that there is, and is not worth remembering.
enum { MAX_KIND = 1024 };

typedef struct kind_writer {
    size_t len;
    bool is_full;
    uint8_t octets[MAX_KIND];
} kind_writer;

// put adds a field of the certificate, with its length, so that no two lists of fields
// have the same octets. A field that is absent is told from an empty one.
static void put(kind_writer *kind, crlcheck_slice field) {
    enum { PREFIX = 3 };
    if (field.len > MAX_KIND || kind->len + PREFIX + field.len > MAX_KIND) {
        kind->is_full = true;
        return;
    }
    uint8_t *end = kind->octets + kind->len;
    end[0] = field.data != NULL;
    end[1] = (uint8_t)(field.len >> 8);
    end[2] = (uint8_t)field.len;
    if (field.len > 0) {
        memcpy(end + PREFIX, field.data, field.len);
    }
    kind->len += PREFIX + field.len;
}

// put_kind writes all that a verdict may depend on but the serial number, the time and
// which certificate it is: crlcheck/checker/remembered.py says why that is all.
static void put_kind(kind_writer *kind, const crlcheck_certificate *certificate) {
    const uint8_t is_ca = certificate->is_ca;
    put(kind, certificate->issuer);
    put(kind, certificate->authority_key_id);
    put(kind, certificate->authority_cert_issuer);
    put(kind, certificate->authority_cert_serial);
    put(kind, certificate->crl_distribution_points);
    put(kind, (crlcheck_slice){&is_ca, 1});
}

// The limited API of Python 3.11 has no function that makes an integer of octets. The
// interpreter has had one all the time, as serial_octets.c says of the reverse. Both
// take signed octets in big endian here.
static PyObject *(*from_native_bytes)(const void *, size_t, int);
static PyObject *(*from_byte_array)(const unsigned char *, size_t, int, int);

static PyObject *serial_number(crlcheck_slice serial) {
    if (from_native_bytes != NULL) {
        enum { BIG_ENDIAN_FLAGS = 0 };
        return from_native_bytes(serial.data, serial.len, BIG_ENDIAN_FLAGS);
    }
    if (from_byte_array != NULL) {
        return from_byte_array(serial.data, serial.len, 0, 1);
    }
    PyObject *octets =
        PyBytes_FromStringAndSize((const char *)serial.data, (Py_ssize_t)serial.len);
    PyObject *number = NULL;
    if (octets != NULL) {
        PyObject *method = PyObject_GetAttrString((PyObject *)&PyLong_Type, "from_bytes");
        PyObject *arguments = Py_BuildValue("(Os)", octets, "big");
        PyObject *options = Py_BuildValue("{sO}", "signed", Py_True);
        if (method != NULL && arguments != NULL && options != NULL) {
            number = PyObject_Call(method, arguments, options);
        }
        Py_XDECREF(options);
        Py_XDECREF(arguments);
        Py_XDECREF(method);
        Py_DECREF(octets);
    }
    return number;
}

static PyObject *triple(PyObject *first, PyObject *second, PyObject *third) {
    PyObject *tuple = NULL;
    if (first != NULL && second != NULL && third != NULL) {
        tuple = PyTuple_Pack(3, first, second, third);
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    Py_XDECREF(third);
    return tuple;
}

PyDoc_STRVAR(certificate_kind_doc,
             "certificate_kind(der: bytes) -> tuple[int, int, bytes] | None");

static PyObject *certificate_kind(PyObject *Py_UNUSED(module), PyObject *der) {
    char *octets;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(der, &octets, &len) < 0) {
        return NULL;
    }
    crlcheck_certificate certificate;
    crlcheck_error error;
    if (crlcheck_certificate_parse(&certificate, &error, (const uint8_t *)octets,
                                   (size_t)len) != CRLCHECK_OK) {
        Py_RETURN_NONE;
    }
    kind_writer kind;
    kind.len = 0;
    kind.is_full = false;
    put_kind(&kind, &certificate);
    if (kind.is_full) {
        Py_RETURN_NONE;
    }
    return triple(
        serial_number(certificate.serial), PyLong_FromLongLong(certificate.not_after),
        PyBytes_FromStringAndSize((const char *)kind.octets, (Py_ssize_t)kind.len));
}

static PyMethodDef functions[] = {
    {"certificate_kind", certificate_kind, METH_O, certificate_kind_doc},
    {NULL, NULL, 0, NULL},
};

int crlcheck_add_certificates(PyObject *module) {
    enum { PYTHON_3_13 = 0x030d0000 };
    if (Py_Version >= PYTHON_3_13) {
        *(void **)&from_native_bytes = dlsym(RTLD_DEFAULT, "PyLong_FromNativeBytes");
    } else {
        *(void **)&from_byte_array = dlsym(RTLD_DEFAULT, "_PyLong_FromByteArray");
    }
    return PyModule_AddFunctions(module, functions);
}
