"""
OpenSSL through its shared library: parse, verify, the sort of the first lookup,
and its binary search.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.baselines.interface import Contender, InContainer, Lookups, count_hits
from crlcheck.demo.encoding import der_integer

_POINTER = ctypes.c_void_p
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "OpenSSL_version": (ctypes.c_char_p, [ctypes.c_int]),
    "d2i_X509": (_POINTER, [_POINTER, _POINTER, ctypes.c_long]),
    "X509_get_pubkey": (_POINTER, [_POINTER]),
    "X509_free": (None, [_POINTER]),
    "EVP_PKEY_free": (None, [_POINTER]),
    "d2i_X509_CRL": (_POINTER, [_POINTER, _POINTER, ctypes.c_long]),
    "X509_CRL_verify": (ctypes.c_int, [_POINTER, _POINTER]),
    "X509_CRL_free": (None, [_POINTER]),
    "d2i_ASN1_INTEGER": (_POINTER, [_POINTER, _POINTER, ctypes.c_long]),
    "ASN1_INTEGER_free": (None, [_POINTER]),
    "ASN1_INTEGER_cmp": (ctypes.c_int, [_POINTER, _POINTER]),
    "X509_CRL_get0_by_serial": (ctypes.c_int, [_POINTER, _POINTER, _POINTER]),
    "X509_STORE_new": (_POINTER, []),
    "X509_STORE_free": (None, [_POINTER]),
    "X509_STORE_add_cert": (ctypes.c_int, [_POINTER, _POINTER]),
    "X509_STORE_add_crl": (ctypes.c_int, [_POINTER, _POINTER]),
    "X509_STORE_set_flags": (ctypes.c_int, [_POINTER, ctypes.c_ulong]),
    "X509_STORE_CTX_new": (_POINTER, []),
    "X509_STORE_CTX_free": (None, [_POINTER]),
    "X509_STORE_CTX_init": (ctypes.c_int, [_POINTER, _POINTER, _POINTER, _POINTER]),
    "X509_STORE_CTX_cleanup": (None, [_POINTER]),
    "X509_STORE_CTX_get_error": (ctypes.c_int, [_POINTER]),
    "X509_verify_cert": (ctypes.c_int, [_POINTER]),
    "OPENSSL_sk_new_null": (_POINTER, []),
    "OPENSSL_sk_push": (ctypes.c_int, [_POINTER, _POINTER]),
    "OPENSSL_sk_free": (None, [_POINTER]),
}


class OpenSsl(Contender):
    """What servers use; a lookup pays for a call through ctypes, which is told apart."""

    name = "openssl"
    title = "OpenSSL (libcrypto)"
    how = (
        "`d2i_X509_CRL`, `X509_CRL_verify`, one `X509_CRL_get0_by_serial`, which sorts;"
        " further ones through ctypes, with ASN1_INTEGERs made before"
    )
    num_queries = 30_000  # making them takes longer than looking them up

    def absent(self) -> str | None:
        """Say whether the shared library is missing."""
        return None if library_name() else "no libcrypto.so.3 was found"

    def version(self) -> str:
        """Return the library's own version."""
        text: bytes = library().OpenSSL_version(0)
        return " ".join(text.decode().split()[:2])

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse, verify and sort."""
        certificate = x509.load_pem_x509_certificate(issuer.read_bytes())
        key = public_key(certificate.public_bytes(Encoding.DER))
        lookups = load_verified(crl.read_bytes(), key)
        lookups.prepare([1])()
        return lookups


class PublicKey:
    """A public key of libcrypto, freed with this object."""

    def __init__(self, address: int) -> None:
        self.address = address
        weakref.finalize(self, library().EVP_PKEY_free, address)


def public_key(issuer: bytes) -> PublicKey:
    """Return the key of a certificate, DER."""
    openssl = library()
    decoded = decode(openssl.d2i_X509, issuer)
    key = PublicKey(openssl.X509_get_pubkey(decoded))
    openssl.X509_free(decoded)
    return key


def load_verified(crl: bytes, key: PublicKey) -> Lookups:
    """Parse and verify a CRL, DER. The first lookup sorts."""
    openssl = library()
    parsed = decode(openssl.d2i_X509_CRL, crl)
    if openssl.X509_CRL_verify(parsed, key.address) != 1:
        openssl.X509_CRL_free(parsed)
        raise ValueError(f"a CRL of {len(crl)} bytes has no valid signature")
    return _OpenSslLookups(_SortedCrl(parsed))


class _SortedCrl:
    """An X509_CRL as a container of ASN1_INTEGERs, given by address."""

    def __init__(self, address: int) -> None:
        self.address: int | None = address
        self._find = library(holds_gil=True).X509_CRL_get0_by_serial
        self._found = ctypes.c_void_p()
        self._out = ctypes.addressof(self._found)

    def __contains__(self, serial: int) -> bool:
        # 2 is an entry with removeFromCRL, which no generated CRL has.
        return bool(self._find(self.address, self._out, serial))


class _AlwaysEqual:
    """As :class:`_SortedCrl` with a function that does next to nothing."""

    def __init__(self) -> None:
        self._compare = library(holds_gil=True).ASN1_INTEGER_cmp

    def __contains__(self, serial: int) -> bool:
        return not self._compare(serial, serial)


class _OpenSslLookups(InContainer):
    container: _SortedCrl

    def __init__(self, container: _SortedCrl) -> None:
        super().__init__(container)
        self._made: list[int] = []

    def queries(self, serials: Sequence[int]) -> Sequence[int]:
        self._free_queries()
        decoder = library().d2i_ASN1_INTEGER
        self._made = [decode(decoder, der_integer(serial)) for serial in serials]
        return self._made

    def call_overhead(self, serials: Sequence[int]) -> float:
        """Return the seconds of a lookup that are ctypes and the loop around it."""
        queries = self.queries(serials)
        start = time.perf_counter()
        count_hits(_AlwaysEqual(), queries)
        return (time.perf_counter() - start) / len(queries)

    def close(self) -> None:
        self._free_queries()
        address, self.container.address = self.container.address, None
        if address is not None:
            library().X509_CRL_free(address)

    def _free_queries(self) -> None:
        free = library().ASN1_INTEGER_free
        for query in self._made:
            free(query)
        self._made = []


def decode(decoder: Callable[..., Any], encoded: bytes) -> int:
    """Call a d2i function, which advances a pointer that it is given the address of."""
    octets = ctypes.c_char_p(encoded)
    address: int | None = decoder(None, ctypes.addressof(octets), len(encoded))
    if not address:
        raise ValueError(f"{len(encoded)} bytes were refused by libcrypto")
    return address


def library_name() -> str | None:
    """Return what the shared library is called here, None where there is none."""
    for name in _library_names():
        try:
            if name:
                ctypes.CDLL(name)
                return name
        except OSError:
            continue
    return None


def _library_names() -> Iterator[str | None]:
    if sys.platform == "darwin":  # it ends a process that loads the system's own
        yield "libcrypto.3.dylib"
    else:
        yield "libcrypto.so.3"
        yield ctypes.util.find_library("crypto")


@lru_cache(maxsize=2)
def library(*, holds_gil: bool = False) -> Any:
    """Return the shared library, its functions with their prototypes."""
    # Giving the GIL up and taking it again would make up a good part of a lookup.
    name = library_name()
    loaded = ctypes.PyDLL(name) if holds_gil else ctypes.CDLL(name)
    for function, (result, arguments) in _PROTOTYPES.items():
        getattr(loaded, function).restype = result
        getattr(loaded, function).argtypes = arguments
    return loaded
