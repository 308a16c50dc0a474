// crlcheck.h: everything that crlcheck's native core offers.
//
// The core parses CRLs and certificates, builds images and looks serials up.
// It opens no files, reads no clock, does no cryptography and keeps no global
// state. Every buffer that comes in is borrowed; every object that a *_new or
// *_open function hands out is owned by the caller and given back to its *_free
// function, which accepts NULL. Two threads may use one image at once; parsers
// and builders belong to one thread at a time.
//
// In each header, the text between the two "cdef" marks is also what cffi reads, so
// it holds plain declarations only.

#ifndef CRLCHECK_H
#define CRLCHECK_H

#include "crlcheck_certificate.h"
#include "crlcheck_columns.h"
#include "crlcheck_crl.h"
#include "crlcheck_image.h"
#include "crlcheck_values.h"

#endif
