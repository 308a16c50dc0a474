"""
Java's PKIX validator with its revocation checker, in a virtual machine of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.baselines.java import Java, JavaProgram
from benchmarks.baselines.path_checker import PathChecker, Prepare
from benchmarks.baselines.process import PROGRAMS
from benchmarks.clients import Certificates, Site

_WARM_UP_SECONDS = 3.0
_WARM_UP_CERTIFICATES = 4  # of a million entries, one takes a second


class JavaPkix(PathChecker):
    """The JDK's own provider."""

    name = "java_pkix"
    title = "Java PKIXRevocationChecker"
    how = (
        "`generateCertificate`, and `CertPathValidator` PKIX with CRLs only from a `CertStore`;"
        " it verifies the path's signatures besides"
    )

    def absent(self) -> str | None:
        """Say which tool is missing."""
        return Java().absent()

    def version(self) -> str:
        """Return the version of the compiler and the virtual machine."""
        return Java().version()

    @contextmanager
    def open(self, site: Site) -> Iterator[Prepare]:
        """Start a virtual machine that reads certificates and CRLs."""
        program = JavaProgram("PathServer.java")
        PROGRAMS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=PROGRAMS) as name:
            files = [Path(name) / "root.cer", Path(name) / "intermediate.cer"]
            for path, authority in zip(files, (site.root, site.intermediate), strict=True):
                path.write_bytes(authority.der)
            try:
                program.ask("load", *files, *site.crls)
                few = site.rounds[-1][:_WARM_UP_CERTIFICATES]
                deadline = time.monotonic() + _WARM_UP_SECONDS
                while time.monotonic() < deadline:
                    _prepare(program, few)()
                yield partial(_prepare, program)
            finally:
                program.stop()


def _prepare(program: JavaProgram, certificates: Certificates) -> Callable[[], int]:
    with tempfile.NamedTemporaryFile(dir=PROGRAMS) as file:
        file.write(b"".join(len(each).to_bytes(4, "big") + each for each in certificates))
        file.flush()
        program.ask("certificates", file.name)
    return partial(program.ask, "check")
