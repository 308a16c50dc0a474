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
    left out: whether an anchor is good is for those to say who trust it.
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
    # Its reports of one certificate end with a line of the certificate's name.
    errors: list[list[int]] = []
    for path in paths:
        name = re.escape(str(path))
        good = re.search(rf"^{name}: OK$", done.stdout, re.MULTILINE)
        block = _block(done.stderr, name, [str(other) for other in paths])
        found = re.findall(r"^(.*)\nerror (\d+) at \d+ depth lookup", block, re.MULTILINE)
        assert good or found, done.stderr
        errors.append([int(number) for subject, number in found if not subject.endswith("Root")])
    return errors


def _block(stderr: str, name: str, names: Sequence[str]) -> str:
    """Return what was said until *name* failed, after the failure before."""
    pieces = re.split(r"^error (.*): verification failed$", stderr, flags=re.MULTILINE)
    for said, failed in zip(pieces[::2], pieces[1::2], strict=False):
        if re.fullmatch(name, failed):
            return said
    return ""
