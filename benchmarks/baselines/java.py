"""
Java's X509CRL, in a JVM of its own that has warmed up.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.baselines.process import PROGRAMS, SOURCES, Program


class JavaProgram(Program):
    """A program of one source file, which has the name of its class."""

    name = "java_program"
    title = "Java"
    how = ""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = SOURCES / source

    def build(self) -> list[str | Path]:
        """Compile to build/bench/programs."""
        subprocess.run(["javac", "-d", PROGRAMS, self._source], check=True)
        return ["java", "-Xmx6g", "-cp", PROGRAMS, self._source.stem]


class Java(JavaProgram):
    """The JDK's own provider: every entry becomes objects in two collections."""

    name = "java"
    title = "Java X509CRL"
    how = "`CertificateFactory.generateCRL`, `verify`; `getRevokedCertificate(BigInteger)`"
    max_entries = 1_000_000  # of ten million objects, most of the time is the collector's

    def __init__(self) -> None:
        super().__init__("CrlServer.java")

    def absent(self) -> str | None:
        """Say which tool is missing."""
        missing = [tool for tool in ("java", "javac") if shutil.which(tool) is None]
        if not missing:
            return None
        return f"no {' and no '.join(missing)} on the PATH (Debian has default-jdk-headless)"

    def version(self) -> str:
        """Return the version of the compiler and the virtual machine."""
        found = subprocess.run(["java", "--version"], capture_output=True, text=True, check=True)
        return " ".join(found.stdout.split()[:2])
