// certificate.c: what reads certificates, crlcheck._native.certificate_kind and
// certificate_fields.
//
// A check needs few facts of most certificates: their serial number, when they expire,
// and what they have in common with others on which the same CRLs decide. The first
// function reads these alone, the second one all. Each makes nothing but what it
// returns: the values that cffi makes on the way would cost several times as much. Only
// the limited API is used, so one build serves every later Python.

#define _GNU_SOURCE  // for RTLD_DEFAULT

#include <Python.h>

#include <dlfcn.h>
#include <string.h>

#include "crlcheck.h"
#include "module.h"

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

// Whether der, a bytes object, is a certificate; an exception is set where it is no bytes.
static bool parse(crlcheck_certificate *certificate, PyObject *der) {
    char *octets;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(der, &octets, &len) < 0) {
        return false;
    }
    crlcheck_error error;
    return crlcheck_certificate_parse(certificate, &error, (const uint8_t *)octets,
                                      (size_t)len) == CRLCHECK_OK;
}

PyDoc_STRVAR(certificate_kind_doc,
             "certificate_kind(der: bytes) -> tuple[int, int, bytes] | None");

static PyObject *certificate_kind(PyObject *Py_UNUSED(module), PyObject *der) {
    crlcheck_certificate certificate;
    if (!parse(&certificate, der)) {
        return PyErr_Occurred() == NULL ? Py_NewRef(Py_None) : NULL;
    }
    uint8_t kind[CRLCHECK_MAX_KIND];
    size_t kind_len = crlcheck_certificate_kind(kind, &certificate);
    if (kind_len == 0) {
        Py_RETURN_NONE;
    }
    return triple(serial_number(certificate.serial),
                  PyLong_FromLongLong(certificate.not_after),
                  PyBytes_FromStringAndSize((const char *)kind, (Py_ssize_t)kind_len));
}

// ---- all fields ----

// tuple_list is a tuple in the making; `items` is NULL once anything has failed.
typedef struct tuple_list {
    PyObject *items;
} tuple_list;

static void append(tuple_list *list, PyObject *item) {
    if (list->items != NULL && (item == NULL || PyList_Append(list->items, item) < 0)) {
        Py_CLEAR(list->items);
    }
    Py_XDECREF(item);
}

static PyObject *finished(tuple_list *list) {
    PyObject *tuple = list->items == NULL ? NULL : PyList_AsTuple(list->items);
    Py_CLEAR(list->items);
    return tuple;
}

static PyObject *octets_of(crlcheck_slice field) {
    return PyBytes_FromStringAndSize((const char *)field.data, (Py_ssize_t)field.len);
}

static PyObject *optional_octets(crlcheck_slice field) {
    return field.data == NULL ? Py_NewRef(Py_None) : octets_of(field);
}

static PyObject *optional_bits(bool is_there, uint16_t bits) {
    return is_there ? PyLong_FromLong(bits) : Py_NewRef(Py_None);
}

// elements gives each of the DER elements in `contents` whole. They were checked when
// the certificate was parsed, so walking them cannot fail.
static PyObject *elements(crlcheck_slice contents) {
    tuple_list list = {PyList_New(0)};
    crlcheck_slice element;
    crlcheck_error error;
    while (contents.data != NULL &&
           crlcheck_next_element(&element, &contents, &error) == CRLCHECK_OK) {
        append(&list, octets_of(element));
    }
    return finished(&list);
}

static PyObject *point_fields(const crlcheck_distribution_point *point) {
    static const crlcheck_slice none = {NULL, 0};
    tuple_list list = {PyList_New(0)};
    append(&list, elements(point->has_full_name ? point->full_name : none));
    append(&list, point->has_relative_name ? octets_of(point->relative_name)
                                           : Py_NewRef(Py_None));
    append(&list, optional_bits(point->has_reasons, point->reasons));
    append(&list, elements(point->has_crl_issuer ? point->crl_issuer : none));
    return finished(&list);
}

static PyObject *points_fields(crlcheck_slice contents) {
    tuple_list list = {PyList_New(0)};
    crlcheck_distribution_point point;
    crlcheck_error error;
    while (contents.data != NULL &&
           crlcheck_next_distribution_point(&point, &contents, &error) == CRLCHECK_OK) {
        append(&list, point_fields(&point));
    }
    return finished(&list);
}

PyDoc_STRVAR(certificate_fields_doc,
             "certificate_fields(der: bytes) -> tuple | None, in the order of "
             "CertificateFacts");

static PyObject *certificate_fields(PyObject *Py_UNUSED(module), PyObject *der) {
    crlcheck_certificate read;
    if (!parse(&read, der)) {
        return PyErr_Occurred() == NULL ? Py_NewRef(Py_None) : NULL;
    }
    tuple_list list = {PyList_New(0)};
    append(&list, serial_number(read.serial));
    append(&list, octets_of(read.issuer));
    append(&list, octets_of(read.subject));
    append(&list, PyLong_FromLongLong(read.not_before));
    append(&list, PyLong_FromLongLong(read.not_after));
    append(&list, octets_of(read.subject_public_key_info));
    append(&list, optional_octets(read.authority_key_id));
    append(&list, optional_octets(read.subject_key_id));
    append(&list, PyBool_FromLong(read.is_ca));
    append(&list, optional_bits(read.has_key_usage, read.key_usage));
    append(&list, points_fields(read.crl_distribution_points));
    append(&list, elements(read.authority_cert_issuer));
    append(&list, read.authority_cert_serial.data == NULL
                      ? Py_NewRef(Py_None)
                      : serial_number(read.authority_cert_serial));
    return finished(&list);
}

static PyMethodDef functions[] = {
    {"certificate_kind", certificate_kind, METH_O, certificate_kind_doc},
    {"certificate_fields", certificate_fields, METH_O, certificate_fields_doc},
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
