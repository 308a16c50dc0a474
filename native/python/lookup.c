// lookup.c: crlcheck._native.Lookup, the base type of RevocationIndex.
//
// `serial in index` goes straight from the interpreter's slot to the image, because users
// wait for it: a Python __contains__, int.to_bytes and a cffi call would cost three to
// four times as much. Only the limited API is used, so one build serves every later
// Python.

#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "crlcheck.h"
#include "module.h"
#include "serial_octets.h"

// Without the GIL, what a thread reads of an index must not change meanwhile.
#ifdef Py_GIL_DISABLED
#define BEGIN_LOCKED(self) Py_BEGIN_CRITICAL_SECTION(self)
#define END_LOCKED() Py_END_CRITICAL_SECTION()
#else
#define BEGIN_LOCKED(self) {
#define END_LOCKED() }
#endif

// lookup_object borrows `image` from `owner`, a Python object that frees it. Both
// are NULL once the index is closed.
typedef struct lookup_object {
    PyObject_HEAD const crlcheck_image *image;
    PyObject *owner;
    int num_issuers;
    integer_reader reader;
} lookup_object;

// ---- lookups ----

static void raise_closed(void) {
    PyObject *errors = PyImport_ImportModule("crlcheck.errors");
    PyObject *closed =
        errors == NULL ? NULL : PyObject_GetAttrString(errors, "IndexClosedError");
    if (closed != NULL) {
        PyErr_SetString(closed, "the index is closed");
    }
    Py_XDECREF(closed);
    Py_XDECREF(errors);
}

// is_answerable raises an exception where the index is closed, or a serial number may be
// of several issuers.
static bool is_answerable(const lookup_object *self) {
    if (self->image == NULL) {
        raise_closed();
        return false;
    }
    if (self->num_issuers != 1) {
        PyErr_Format(PyExc_ValueError,
                     "the image has entries of %d certificate issuers: name one",
                     self->num_issuers);
        return false;
    }
    return true;
}

// lookup_contains keeps the GIL: giving it up and taking it back costs more than
// the lookup.
static int lookup_contains(PyObject *object, PyObject *number) {
    lookup_object *self = (lookup_object *)object;
    serial_octets serial;
    int found = -1;
    if (read_serial(&serial, number, self->reader) < 0) {
        return -1;
    }
    BEGIN_LOCKED(object)
    if (is_answerable(self)) {
        found = crlcheck_image_contains(self->image, 0, serial.start, serial.len);
    }
    END_LOCKED()
    return found;
}

enum { BLOCK = 1024 };

// lookup_block is room for the serials of one block.
typedef struct lookup_block {
    uint8_t lengths[BLOCK];
    uint8_t results[BLOCK];
    uint8_t serials[BLOCK * CRLCHECK_MAX_SERIAL];
} lookup_block;

// read_block converts list items from `start` on and returns how many, or -1.
static Py_ssize_t read_block(lookup_block *block, PyObject *numbers, Py_ssize_t start,
                             integer_reader reader) {
    Py_ssize_t num_items = PyList_Size(numbers) - start;
    uint8_t *end = block->serials;
    num_items = num_items < BLOCK ? num_items : BLOCK;
    for (Py_ssize_t i = 0; i < num_items; i++) {
        serial_octets serial;
        PyObject *item = PyList_GetItem(numbers, start + i);
        if (item == NULL || read_serial(&serial, item, reader) < 0) {
            return -1;
        }
        memcpy(end, serial.start, serial.len);
        end += serial.len;
        block->lengths[i] = (uint8_t)serial.len;
    }
    return num_items;
}

static int append_results(PyObject *results, const lookup_block *block,
                          Py_ssize_t num_items) {
    for (Py_ssize_t i = 0; i < num_items; i++) {
        if (PyList_Append(results, block->results[i] ? Py_True : Py_False) < 0) {
            return -1;
        }
    }
    return 0;
}

// look_up_all fills `results` for the list `numbers`. The GIL is free while a block
// is looked up, so `image` belongs to an owner that the caller holds.
static int look_up_all(PyObject *results, const crlcheck_image *image, unsigned issuer,
                       PyObject *numbers, integer_reader reader) {
    lookup_block *block = malloc(sizeof *block);
    if (block == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int status = 0;
    for (Py_ssize_t start = 0; status == 0 && start < PyList_Size(numbers);
         start += BLOCK) {
        Py_ssize_t num_items = read_block(block, numbers, start, reader);
        if (num_items < 0) {
            status = -1;
            break;
        }
        Py_BEGIN_ALLOW_THREADS crlcheck_image_contains_many(
            image, block->results, issuer, block->serials, block->lengths,
            (size_t)num_items);
        Py_END_ALLOW_THREADS status = append_results(results, block, num_items);
    }
    free(block);
    return status;
}

// optional_integer is None where there is no number.
static PyObject *optional_integer(bool is_there, long long number) {
    return is_there ? PyLong_FromLongLong(number) : Py_NewRef(Py_None);
}

// tuple_of gives reason, revocation date and invalidity date of an entry.
static PyObject *tuple_of(const crlcheck_found *entry) {
    PyObject *reason =
        optional_integer(entry->reason_code != CRLCHECK_NO_REASON, entry->reason_code);
    PyObject *revoked =
        optional_integer(entry->has_revocation_date, entry->revocation_date);
    PyObject *invalid =
        optional_integer(entry->has_invalidity_date, entry->invalidity_date);
    PyObject *tuple = NULL;
    if (reason != NULL && revoked != NULL && invalid != NULL) {
        tuple = PyTuple_Pack(3, reason, revoked, invalid);
    }
    Py_XDECREF(reason);
    Py_XDECREF(revoked);
    Py_XDECREF(invalid);
    return tuple;
}

PyDoc_STRVAR(find_doc,
             "_find(serial_number) -> (reason, revocation_date, invalidity_date) | None");

static PyObject *lookup_find(PyObject *object, PyObject *number) {
    lookup_object *self = (lookup_object *)object;
    serial_octets serial;
    crlcheck_found entry;
    int found = -1;
    if (read_serial(&serial, number, self->reader) < 0) {
        return NULL;
    }
    BEGIN_LOCKED(object)
    if (is_answerable(self)) {
        found = crlcheck_image_find(self->image, &entry, 0, serial.start, serial.len) ==
                CRLCHECK_OK;
    }
    END_LOCKED()
    if (found <= 0) {
        return found < 0 ? NULL : Py_NewRef(Py_None);
    }
    return tuple_of(&entry);
}

PyDoc_STRVAR(contains_many_doc,
             "_contains_many(issuer_number, serial_numbers) -> list[bool]");

static PyObject *lookup_contains_many(PyObject *object, PyObject *arguments) {
    lookup_object *self = (lookup_object *)object;
    unsigned issuer;
    PyObject *iterable;
    if (!PyArg_ParseTuple(arguments, "IO", &issuer, &iterable)) {
        return NULL;
    }
    PyObject *numbers = PySequence_List(iterable);
    if (numbers == NULL) {
        return NULL;
    }
    const crlcheck_image *image;
    PyObject *owner;
    BEGIN_LOCKED(object)
    image = self->image;
    owner = Py_XNewRef(self->owner);
    END_LOCKED()
    PyObject *results = NULL;
    if (image == NULL) {
        raise_closed();
    } else {
        results = PyList_New(0);
        if (results != NULL &&
            look_up_all(results, image, issuer, numbers, self->reader) < 0) {
            Py_DECREF(results);
            results = NULL;
        }
    }
    Py_XDECREF(owner);
    Py_DECREF(numbers);
    return results;
}

// ---- life ----

PyDoc_STRVAR(attach_doc, "_attach(owner, image_address, num_issuers): open the index");

static PyObject *lookup_attach(PyObject *object, PyObject *arguments) {
    lookup_object *self = (lookup_object *)object;
    PyObject *owner;
    unsigned long long address;
    int num_issuers;
    if (!PyArg_ParseTuple(arguments, "OKi", &owner, &address, &num_issuers)) {
        return NULL;
    }
    PyObject *old;
    integer_reader reader = find_integer_reader();
    BEGIN_LOCKED(object)
    old = self->owner;
    self->reader = reader;
    self->owner = Py_NewRef(owner);
    self->image = (const crlcheck_image *)(uintptr_t)address;
    self->num_issuers = num_issuers;
    END_LOCKED()
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(detach_doc, "_detach(): close the index");

static PyObject *lookup_detach(PyObject *object, PyObject *Py_UNUSED(ignored)) {
    lookup_object *self = (lookup_object *)object;
    PyObject *old;
    BEGIN_LOCKED(object)
    old = self->owner;
    self->owner = NULL;
    self->image = NULL;
    END_LOCKED()
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static void lookup_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((lookup_object *)object)->owner);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef lookup_methods[] = {
    {"_find", lookup_find, METH_O, find_doc},
    {"_contains_many", lookup_contains_many, METH_VARARGS, contains_many_doc},
    {"_attach", lookup_attach, METH_VARARGS, attach_doc},
    {"_detach", lookup_detach, METH_NOARGS, detach_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lookup_slots[] = {
    {Py_tp_dealloc, (void *)lookup_dealloc},
    {Py_tp_methods, lookup_methods},
    {Py_sq_contains, (void *)lookup_contains},
    {0, NULL},
};

static PyType_Spec lookup_spec = {
    .name = "crlcheck._native.Lookup",
    .basicsize = sizeof(lookup_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = lookup_slots,
};

int crlcheck_add_lookup(PyObject *module) {
    PyObject *type = PyType_FromSpec(&lookup_spec);
    int status = -1;
    if (type != NULL) {
        status = PyModule_AddObjectRef(module, "Lookup", type);
        Py_DECREF(type);
    }
    return status;
}
