"""``openssl verify`` as another opinion on revocation."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from crlcheck.demo.pki import pem_block

# Errors of openssl-verify(1) that concern CRLs.
NO_CRL = 3
CRL_NOT_YET_VALID = 11
CRL_EXPIRED = 12
REVOKED = 23
NO_CRL_ISSUER = 33
DIFFERENT_SCOPE = 44
NO_PATH_FOR_CRL = 54
UNDECIDED = {
    NO_CRL, CRL_NOT_YET_VALID, CRL_EXPIRED, NO_CRL_ISSUER, DIFFERENT_SCOPE, NO_PATH_FOR_CRL,
}  # fmt: skip


def curves() -> list[str]:
    """Return the elliptic curves that the command has; distributions leave some out."""
    said = subprocess.run(
        ["openssl", "ecparam", "-list_curves"], capture_output=True, text=True, check=True
    ).stdout
    return [line.partition(":")[0].strip() for line in said.splitlines() if ":" in line]


def verify(
    directory: Path,
    leaves: Sequence[bytes],
    *,
    anchors: Sequence[bytes],
    issuers: Sequence[bytes],
    crls: Sequence[bytes],
    now: datetime,
) -> list[list[int]]:
    """
    Return the numbers of the errors that ``openssl verify`` reports for each of
    *leaves*, in the order in which they occurred.

    It goes on after an expired certificate or CRL, and stops at other errors.
    What it finds wrong with an anchor, whose common name ends with "Root", is
    left out: whether an anchor is good is for those to say who trust it. A
    revoked signer of a CRL counts as NO_PATH_FOR_CRL.
    """

    def write(name: str, label: str, parts: Sequence[bytes]) -> Path:
        path = directory / name
        path.write_bytes(b"".join(pem_block(label, part) for part in parts))
        return path

    paths = [write(f"{i}.pem", "CERTIFICATE", [leaf]) for i, leaf in enumerate(leaves)]
    command: list[str | Path] = [
        "openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile",
        write("anchors.pem", "CERTIFICATE", anchors),
        "-crl_check_all", "-extended_crl", "-use_deltas", "-attime", str(int(now.timestamp())),
    ]  # fmt: skip
    if issuers:
        command += ["-untrusted", write("issuers.pem", "CERTIFICATE", issuers)]
    if crls:
        command += ["-CRLfile", write("crls.pem", "X509 CRL", crls)]
    done = subprocess.run(
        [*command, *paths], capture_output=True, text=True, timeout=60, check=False
    )
    errors: list[list[int]] = []
    for path in paths:
        good = f"{path}: OK" in done.stdout.splitlines()
        found = _ERROR.findall(_said_of(path, done.stderr))
        assert good or found, done.stderr
        errors.append(
            [
                NO_PATH_FOR_CRL if of_signer and int(number) == REVOKED else int(number)
                for subject, of_signer, number in found
                if not subject.endswith("Root")
            ]
        )
    return errors


_ERROR = re.compile(r"^(.*)\n(\[CRL path\] )?error (\d+) at \d+ depth", re.MULTILINE)
"""Subject, whether it is on the path of a CRL's signer, and number."""


def _said_of(path: Path, stderr: str) -> str:
    """Return the part of *stderr* that ends with the failure of the certificate at *path*."""
    pieces = re.split(r"^error (.*): verification failed$", stderr, flags=re.MULTILINE)
    said = dict(zip(pieces[1::2], pieces[::2], strict=False))
    return said.get(str(path), "")
