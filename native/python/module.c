// module.c: the initialisation of crlcheck._native.
//
// cffi supports the main interpreter only. What it generates has single-phase
// initialisation (PEP 489), which cannot refuse other interpreters: Python 3.13 runs it in
// the main one, whichever imports. So the creation step of a module with multi-phase
// initialisation makes the module of cffi, and each interpreter takes that step itself.

#include <Python.h>

#include "module.h"

static PyObject *create_module(PyObject *Py_UNUSED(spec),
                               PyModuleDef *Py_UNUSED(definition)) {
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "crlcheck does not support loading in subinterpreters: use it "
                        "in the main interpreter, there in as many threads as you like, "
                        "or in processes");
        return NULL;
    }
    return crlcheck_make_cffi_module();
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_create, (void *)create_module},
    {Py_mod_exec, (void *)crlcheck_add_lookup},
    {Py_mod_exec, (void *)crlcheck_add_certificates},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "crlcheck._native",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&module_definition);
}
