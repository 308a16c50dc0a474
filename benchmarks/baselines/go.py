"""
Go's crypto/x509, in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.baselines.process import PROGRAMS, SOURCES, Program

_SOURCE = SOURCES / "crl_server.go"


class Go(Program):
    """The standard library parses and verifies; a lookup is its caller's to make, so a map."""

    name = "go"
    title = "Go crypto/x509"
    how = "`ParseRevocationList`, `CheckSignatureFrom`, the entries into a `map[string]struct{}`"

    def absent(self) -> str | None:
        """Say whether the toolchain is missing."""
        return None if shutil.which("go") else "no go on the PATH (Debian has golang-go)"

    def version(self) -> str:
        """Return the toolchain's version."""
        found = subprocess.run(["go", "version"], capture_output=True, text=True, check=True)
        return found.stdout.split()[2].replace("go", "Go ", 1)

    def build(self) -> list[str | Path]:
        """Compile to build/bench/programs."""
        program = PROGRAMS / "crl_server"
        environment = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(PROGRAMS / "go-cache")}
        subprocess.run(["go", "build", "-o", program, _SOURCE], check=True, env=environment)
        return [program]
