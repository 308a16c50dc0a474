"""Everyone who is measured, crlcheck first."""

from __future__ import annotations

from pathlib import Path

import crlcheck
from benchmarks.baselines.asn1crypto_ import Asn1Crypto
from benchmarks.baselines.cryptography_ import Cryptography
from benchmarks.baselines.go import Go
from benchmarks.baselines.interface import Contender, InContainer, Lookups, installed
from benchmarks.baselines.java import Java
from benchmarks.baselines.openssl import OpenSsl
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

    def version(self) -> str:
        """Return the library's version."""
        return installed("crlcheck")

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Verify, compile and open."""
        image = crl.with_suffix(".measured.crlx")
        image.unlink(missing_ok=True)  # renaming over a file makes the system flush it
        crlcheck.compile_crl(crl, image, issuer=issuer, fsync=False, max_source_size=0)
        return InContainer(crlcheck.open_index(image, verify=False))


CONTENDERS: tuple[Contender, ...] = tuple(
    contender
    for contender in (
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
    if contender.absent() is None
)
"""Those that can run on this machine."""
