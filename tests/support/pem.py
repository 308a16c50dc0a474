"""PEM blocks, and reading them in chunks."""

from __future__ import annotations

import base64
import textwrap

from crlcheck.encoding.pem import CRL, PemDecoder

LABEL = CRL
BEGIN = b"-----BEGIN X509 CRL-----\n"
END = b"-----END X509 CRL-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nnot base64 at all: -----\n-----END PRIVATE KEY-----\n"


def block(octets: bytes, width: int = 64, newline: str = "\n", label: str = LABEL) -> bytes:
    """One block."""
    body = textwrap.wrap(base64.b64encode(octets).decode(), width)
    text = newline.join([f"-----BEGIN {label}-----", *body, f"-----END {label}-----", ""])
    return text.encode()


def decode_in_chunks(data: bytes, size: int) -> tuple[bytes, int]:
    """The first block and the number of blocks, from chunks of *size* bytes."""
    decoder = PemDecoder(LABEL)
    found = b"".join(
        decoder.feed(data[start : start + size]) for start in range(0, len(data), size)
    )
    found += decoder.finish()
    return found, decoder.num_blocks
