"""
``openssl verify -crl_check_all`` through its library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.baselines.openssl import OpenSsl, decode, library
from benchmarks.baselines.path_checker import PathChecker, Prepare
from benchmarks.clients import Certificates, Site

_CRL_CHECK, _CRL_CHECK_ALL = 0x4, 0x8
_OK, _REVOKED = 0, 23


class OpenSslVerify(PathChecker):
    """It builds and verifies the path besides, signatures of certificates and CRLs included."""

    name = "openssl_verify"
    title = "openssl verify -crl_check_all"
    how = (
        "`d2i_X509`, and `X509_verify_cert` with `X509_V_FLAG_CRL_CHECK_ALL` through ctypes;"
        " it verifies the path's signatures besides, and each time those of the CRLs"
    )

    def absent(self) -> str | None:
        """Say whether the shared library is missing."""
        return OpenSsl().absent()

    def version(self) -> str:
        """Return the library's own version."""
        return OpenSsl().version()

    @contextmanager
    def open(self, site: Site) -> Iterator[Prepare]:
        """Make a store with the root and the CRLs."""
        openssl = library()
        with ExitStack() as stack:

            def made(address: int, free: Callable[[int], object]) -> int:
                stack.callback(free, address)
                return address

            store = made(openssl.X509_STORE_new(), openssl.X509_STORE_free)
            root = made(decode(openssl.d2i_X509, site.root.der), openssl.X509_free)
            assert openssl.X509_STORE_add_cert(store, root)
            for path in site.crls:
                crl = made(decode(openssl.d2i_X509_CRL, path.read_bytes()), openssl.X509_CRL_free)
                assert openssl.X509_STORE_add_crl(store, crl)
            openssl.X509_STORE_set_flags(store, _CRL_CHECK | _CRL_CHECK_ALL)
            intermediate = made(decode(openssl.d2i_X509, site.intermediate.der), openssl.X509_free)
            untrusted = made(openssl.OPENSSL_sk_new_null(), openssl.OPENSSL_sk_free)
            openssl.OPENSSL_sk_push(untrusted, intermediate)
            context = made(openssl.X509_STORE_CTX_new(), openssl.X509_STORE_CTX_free)
            yield lambda certificates: partial(
                _num_revoked, certificates, context, store, untrusted
            )


def _num_revoked(certificates: Certificates, context: int, store: int, untrusted: int) -> int:
    openssl = library()
    count = 0
    for encoded in certificates:
        certificate = decode(openssl.d2i_X509, encoded)
        openssl.X509_STORE_CTX_init(context, store, certificate, untrusted)
        openssl.X509_verify_cert(context)
        error = openssl.X509_STORE_CTX_get_error(context)
        openssl.X509_STORE_CTX_cleanup(context)
        openssl.X509_free(certificate)
        if error not in (_OK, _REVOKED):
            raise ValueError(f"libcrypto refused a certificate with error {error}")
        count += error == _REVOKED
    return count
