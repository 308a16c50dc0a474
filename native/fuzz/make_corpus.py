#!/usr/bin/env python3
"""
Write seeds for the fuzz targets, one directory for each target.

Usage: make_corpus.py DIRECTORY

The seeds are the certificates and CRLs of cryptography-vectors, NIST's PKITS
among them, as DER; a few CRLs of unusual shape; and the images of all of these
CRLs. Those for the builder are instructions. Seeds that are there already are kept.
"""

from __future__ import annotations

import hashlib
import random
import struct
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cryptography_vectors

from crlcheck import CrlError, compile_unverified_crl
from crlcheck.demo.encoding import (
    der,
    der_integer,
    der_oid,
    der_time,
    encode_entry,
    encode_extension,
)
from crlcheck.encoding.pem import pem_blocks

VECTORS = Path(cryptography_vectors.__file__).parent
# Larger seeds slow a fuzzer down more than they teach it.
MAX_SEED = 4096

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INDIRECT_CRL = encode_extension("2.5.29.28", bytes.fromhex("30038401ff"), critical=True)


def vectors(label: str, patterns: tuple[str, ...]) -> Iterator[bytes]:
    """Yield each certificate or CRL of the vectors as DER."""
    for path in sorted((VECTORS / "x509").rglob("*.pem")):
        if path.parent.name != "requests":
            yield from pem_blocks(path.read_bytes(), label)
    for pattern in patterns:
        for path in sorted((VECTORS / "x509").rglob(pattern)):
            yield path.read_bytes()


def common_name(text: str) -> bytes:
    """Return a Name."""
    return der(0x30, der(0x31, der(0x30, der_oid("2.5.4.3"), der(0x0C, text.encode()))))


def unsigned_crl(entries: list[bytes], *extensions: bytes) -> bytes:
    """Return a CRL whose signature is empty, so that it is the same every time."""
    algorithm = der(0x30, der_oid("1.2.840.10045.4.3.2"))
    crl_number = encode_extension("2.5.29.20", der_integer(1))
    tbs = der(
        0x30,
        der_integer(1),
        algorithm,
        common_name("Seeds"),
        der_time(NOW) * 2,
        der(0x30, *entries),
        der(0xA0, der(0x30, crl_number, *extensions)),
    )
    return der(0x30, tbs, algorithm, der(0x03, b"\0"))


def crowded(number: int) -> int:
    """Return a serial of three octets, of which 23 bits vary: the key is *number*."""
    serial, mask = number ^ number >> 12, (1 << 23) - 1
    for inverse in (0x9CB4B2F8129337DB, 0x4F74430C22A54005):
        serial = serial * inverse & mask
        serial ^= serial >> 12
    return serial


def unusual_crls() -> Iterator[bytes]:
    """Yield small CRLs that no vector resembles."""
    numbers = random.Random("seeds")
    lists = {
        "short": [encode_entry(serial, NOW) for serial in range(-20, 80)],
        "random": [encode_entry(numbers.getrandbits(127), NOW) for _ in range(60)],
        "prefix": [encode_entry((1 << 152) + numbers.getrandbits(20), NOW) for _ in range(60)],
        "longest": [encode_entry(numbers.getrandbits(511), NOW) for _ in range(10)],
        "one serial": [encode_entry(4711, NOW - timedelta(days=day)) for day in range(70)],
        "dates": [
            encode_entry(serial, NOW + serial * timedelta(days=3), reason=serial % 7)
            for serial in range(0, 90_000, 1001)
        ],
        "invalidity dates": [
            encode_entry(serial, NOW, invalidity_date=NOW if serial % 3 else None)
            for serial in range(50)
        ],
        "runs": [
            encode_entry((start << 16) + number, NOW, reason=number % 7)
            for start in (1, 2, 5, 7 << 20)
            for number in range(40)
        ],
        "groups": [
            encode_entry((start << 32) + number * 3, NOW)
            for start in (4, 5, 1027)
            for number in range(40)
        ],
        "gaps": [
            encode_entry(serial + numbers.getrandbits(3), NOW) for serial in range(0, 9000, 15)
        ],
        "one bucket": [encode_entry(crowded(number), NOW) for number in range(40)],
        "even gaps": [encode_entry(serial, NOW, reason=1) for serial in range(0, 9000, 15)],
    }
    yield from map(unsigned_crl, lists.values())
    indirect = [
        encode_entry(
            serial,
            NOW,
            certificate_issuer=common_name(f"Seed {serial % 5}") if serial % 3 else None,
        )
        for serial in range(30)
    ]
    yield unsigned_crl(indirect, INDIRECT_CRL)


def images(crls: set[bytes]) -> Iterator[bytes]:
    """Yield the image of each CRL that has one, with attributes and without."""
    for crl in crls:
        for attributes in (False, True):
            try:
                report = compile_unverified_crl(
                    crl, attributes=attributes, allow_v1=True, require_next_update=False
                )
            except CrlError:
                continue
            assert report.image is not None
            yield report.image


def earlier_images() -> Iterator[bytes]:
    """Yield images of a kind of table that is no longer written."""
    golden = Path(__file__).parents[2] / "tests" / "data" / "golden" / "earlier"
    for path in sorted(golden.iterdir()):
        yield path.read_bytes()


def lines() -> Iterator[bytes]:
    """Yield lines of empty, full and other buckets."""
    numbers = random.Random("lines")
    yield from (bytes(64), b"\xff" * 64, bytes(4) + bytes(range(60)), numbers.randbytes(64))


def instructions() -> Iterator[bytes]:
    """Yield lists of instructions for fuzz_builder, which explains them."""
    for pattern in range(7):
        for serial_len in (1, 3, 8, 16, 64):
            first = struct.pack("<BBBHBBB", pattern, serial_len - 1, 0, 5000, 1, pattern, 0)
            second = struct.pack("<BBBHBBB", pattern + 3, serial_len, 1, 100, 255, 7, 0)
            yield from (first, first + second, second + first + second)


def plain_entries() -> Iterator[bytes]:
    """Yield lists of entries such as nearly all CAs write, without what is around them."""
    numbers = random.Random("plain")
    for serial_bits in (7, 63, 127, 159):
        for reason in (None, 1, 6, 10):
            yield b"".join(
                encode_entry(
                    numbers.getrandbits(serial_bits) | 1 << serial_bits - 1,
                    NOW - timedelta(seconds=numbers.getrandbits(30)),
                    reason=reason if number % 2 else None,
                )
                for number in range(4)
            )


def write_corpus(directory: Path) -> None:
    """Write every seed under the hash of its bytes."""
    crls = {*vectors("X509 CRL", ("*.crl", "*crl*.der")), *unusual_crls()}
    seeds = {
        "fuzz_builder": set(instructions()),
        "fuzz_certificate": set(vectors("CERTIFICATE", ("*.crt", "*.der"))),
        "fuzz_crl": crls,
        "fuzz_image": {*images(crls), *earlier_images()},
        "fuzz_pages": {*images(crls), *earlier_images()},
        "fuzz_line": set(lines()),
        "fuzz_memory": crls,
        "fuzz_plain": set(plain_entries()),
    }
    for target, found in seeds.items():
        corpus = directory / target
        corpus.mkdir(parents=True, exist_ok=True)
        small = [seed for seed in found if len(seed) <= MAX_SEED]
        for seed in small:
            (corpus / hashlib.sha256(seed).hexdigest()[:32]).write_bytes(seed)
        print(f"{corpus}: {len(small)} seeds")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_corpus.py DIRECTORY")
    write_corpus(Path(sys.argv[1]))
