"""List all contenders, crlcheck first."""

from __future__ import annotations

import itertools
from pathlib import Path

import crlcheck
from benchmarks.baselines.asn1crypto_ import Asn1Crypto
from benchmarks.baselines.certvalidator import CertValidator
from benchmarks.baselines.cryptography_ import Cryptography
from benchmarks.baselines.go import Go
from benchmarks.baselines.interface import Contender, InContainer, Lookups
from benchmarks.baselines.java import Java
from benchmarks.baselines.java_pkix import JavaPkix
from benchmarks.baselines.openssl import OpenSsl
from benchmarks.baselines.openssl_verify import OpenSslVerify
from benchmarks.baselines.path_checker import PathChecker
from benchmarks.baselines.pyasn1_ import Pyasn1
from benchmarks.baselines.python_set import PythonSet
from benchmarks.baselines.roaring import Roaring
from benchmarks.baselines.sample_json import SampleJson
from benchmarks.baselines.sorted_array import SortedArray


class Crlcheck(Contender):
    """The library itself: compile the CRL to a file, open the file."""

    name = "crlcheck"
    title = "crlcheck"
    how = "`compile_crl` to a new file, `open_index`; `serial in index`"
    distribution = "crlcheck"

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Verify, compile and open."""
        image = fresh_image(crl)
        crlcheck.compile_crl(crl, image, issuer=issuer, fsync=False, max_source_size=0)
        return _OpenedImage(image)


class _OpenedImage(InContainer):
    def __init__(self, image: Path) -> None:
        self._index = crlcheck.open_index(image, verify=False)
        self._image = image
        super().__init__(self._index)

    def close(self) -> None:
        self._index.close()
        self._image.unlink()


_numbers = itertools.count()


def fresh_image(crl: Path) -> Path:
    """
    Return a name for an image that no file has.

    Renaming over an existing file makes the system write it to the disk first.
    """
    while (image := crl.with_suffix(f".{next(_numbers)}.crlx")).exists():
        pass
    return image


ALL_CONTENDERS: tuple[Contender, ...] = (
    Crlcheck(),
    Cryptography(),
    OpenSsl(),
    PythonSet(),
    SortedArray(),
    Roaring(),
    SampleJson(),
    Asn1Crypto(),
    Pyasn1(),
    Go(),
    Java(),
)

CONTENDERS: tuple[Contender, ...] = tuple(
    contender for contender in ALL_CONTENDERS if contender.absent() is None
)
"""Those that can run on this machine."""

PATH_CHECKERS: tuple[PathChecker, ...] = (OpenSslVerify(), JavaPkix(), CertValidator())
"""All that check a certificate and the one above it; ``absent`` tells which cannot run here."""
