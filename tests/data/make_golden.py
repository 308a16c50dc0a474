"""
Makes the golden files: CRLs whose octets never change, and their images.

``python tests/data/make_golden.py`` writes them anew. An image may change only
together with docs/reference/index-format.md; a CRL or the issuer's certificate never.
The images in ``earlier`` are of kinds of table that are no longer written; they
never change either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from crlcheck import compile_crl
from crlcheck.demo.pki import CertificateAuthority, encode_entry, encode_extension, sign_crl

DIRECTORY = Path(__file__).parent / "golden"
ISSUER = DIRECTORY / "issuer.der"
# Of the CRLs of the same names.
EARLIER = DIRECTORY / "earlier"

_THIS_UPDATE = datetime(2026, 11, 1, tzinfo=UTC)
_REVOKED = datetime(2026, 10, 5, 7, 30, 1, tzinfo=UTC)
_REASONS = (None, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10)
# A critical issuingDistributionPoint with indirectCRL TRUE and nothing else.
_INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)


@dataclass(frozen=True, slots=True)
class Golden:
    """One CRL: its entries, its extensions beyond the usual, and how it is compiled."""

    entries: Callable[[], Iterable[bytes]]
    extensions: tuple[bytes, ...] = ()
    attributes: bool = True


def _octets(name: str, size: int) -> bytes:
    """Octets that look random and depend on *name* alone."""
    return hashlib.shake_256(name.encode()).digest(size)


def _example() -> Iterable[bytes]:
    """The worked example of docs/reference/index-format.md."""
    return (
        encode_entry(5, _REVOKED),
        encode_entry(23, _REVOKED - timedelta(seconds=5), reason=1),
        encode_entry(-1, _REVOKED),
        encode_entry(10001, _REVOKED),
    )


def _random() -> Iterable[bytes]:
    """Serials as CAs make them, of 16 and of 20 octets, and every reason."""
    for number in range(300):
        serial = int.from_bytes(b"\x40" + _octets(f"short {number}", 15), "big")
        revoked = _REVOKED - timedelta(seconds=number * number * 977)
        yield encode_entry(serial, revoked, reason=_REASONS[number % len(_REASONS)])
    for number in range(70):
        serial = int.from_bytes(b"\x05" + _octets(f"long {number}", 19), "big")
        yield encode_entry(serial, _REVOKED)


def _patterns() -> Iterable[bytes]:
    """Serials that have much in common, and some of one octet and of sixty-four."""
    serials = [(0xC0FFEE << 72) + (number << 40) + 0x123456789A for number in range(100)]
    serials += [(number % 7 << 90) + number * number for number in range(2, 90)]
    serials += [-(1 << 60) - 3 * number for number in range(60)]
    serials += [int.from_bytes(b"\x11" + _octets(str(number), 63), "big") for number in range(9)]
    serials += [0, 1, 127, -128, 128, -129, 1 << 62]
    return (encode_entry(serial, _REVOKED) for serial in serials)


def _indirect() -> Iterable[bytes]:
    """Several certificate issuers, duplicates, and dates of both kinds on some entries."""
    for number in range(140):
        yield encode_entry(
            1000 + number * 3,
            _REVOKED + timedelta(days=number % 5),
            reason=_REASONS[number % 3],
            invalidity_date=_REVOKED - timedelta(days=9000) if number % 3 == 1 else None,
        )
    for number in range(20):
        yield encode_entry(
            1000 + number * 3,
            _REVOKED,
            invalidity_date=_REVOKED if number % 2 else None,
            certificate_issuer=_name(f"Golden Issuer {number % 3}") if number % 5 == 0 else None,
        )
    yield encode_entry(1015, _REVOKED, reason=4, certificate_issuer=_name("Golden CA"))


def _dense() -> Iterable[bytes]:
    """Serials counted up from several starts: bitmaps of several groups and containers."""
    starts = [7 << 40, (7 << 40) + 0x30000, (7 << 40) + (0x203 << 16), (8 << 40) + (9 << 32)]
    serials = [start + number * 3 for start in starts for number in range(30)]
    serials += [start + 0x1000 + number for start in starts[1:3] for number in range(70)]
    serials += [-(1 << 30) + number for number in range(50)]
    return (
        encode_entry(serial, _REVOKED - timedelta(days=serial % 13), reason=_REASONS[serial % 11])
        for serial in serials
    )


def _runs() -> Iterable[bytes]:
    """The worked example of a bitmap."""
    return (encode_entry(1000 + number + number // 20 * 80, _REVOKED) for number in range(60))


def _gaps() -> Iterable[bytes]:
    """The worked example of gaps."""
    for number in range(300):
        serial = 4000 + 7 * number + _octets(f"gap {number}", 1)[0] % 5
        yield encode_entry(serial, _REVOKED)


def _lines() -> Iterable[bytes]:
    """The worked example of lines."""
    for number in range(40):
        yield encode_entry(int.from_bytes(b"\x40" + _octets(f"line {number}", 7), "big"), _REVOKED)


def _spilled() -> Iterable[bytes]:
    """
    Serials of three octets in lines of which some are spilled.

    Keys that begin alike after the mix (docs/reference/index-format.md) are in one bucket;
    23 bits vary.
    """
    mask = (1 << 23) - 1
    for start in (0x12345, 0x12346, 0x7FFF0):
        for key in range(start * 16, start * 16 + 20):
            serial = key ^ key >> 12
            for inverse in (0x9CB4B2F8129337DB, 0x4F74430C22A54005):
                serial = serial * inverse & mask
                serial ^= serial >> 12
            yield encode_entry(serial, _REVOKED)
    for number in range(1000):
        yield encode_entry(int.from_bytes(_octets(f"spilled {number}", 3), "big") & mask, _REVOKED)


GOLDEN = {
    "example": Golden(_example),
    "empty": Golden(tuple),
    "random": Golden(_random),
    "patterns": Golden(_patterns, attributes=False),
    "dense": Golden(_dense),
    "runs": Golden(_runs),
    "gaps": Golden(_gaps),
    "lines": Golden(_lines),
    "spilled": Golden(_spilled),
    "indirect": Golden(_indirect, extensions=(_INDIRECT,)),
}


def _name(common_name: str) -> bytes:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]).public_bytes()


def _authority() -> CertificateAuthority:
    # Ed25519 signs the same octets the same way every time.
    return CertificateAuthority.create(
        "Golden CA",
        private_key=Ed25519PrivateKey.from_private_bytes(_octets("key", 32)),
        serial_number=1,
        now=_THIS_UPDATE,
    )


def issuer_certificate() -> bytes:
    """The DER certificate of the issuer of all golden CRLs."""
    return _authority().der


def source_crl(name: str) -> bytes:
    """The DER CRL of that name."""
    golden = GOLDEN[name]
    return sign_crl(
        _authority(),
        golden.entries(),
        this_update=_THIS_UPDATE,
        next_update=_THIS_UPDATE + timedelta(days=30),
        crl_number=7,
        extensions=golden.extensions,
    )


def compiled_image(name: str) -> bytes:
    """The image that this version makes of the CRL lying in the directory."""
    crl = DIRECTORY / f"{name}.crl"
    image = compile_crl(crl, issuer=ISSUER, attributes=GOLDEN[name].attributes).image
    assert image is not None
    return image


def main() -> None:
    """Write everything."""
    DIRECTORY.mkdir(exist_ok=True)
    ISSUER.write_bytes(issuer_certificate())
    for name in GOLDEN:
        (DIRECTORY / f"{name}.crl").write_bytes(source_crl(name))
        (DIRECTORY / f"{name}.crlx").write_bytes(compiled_image(name))


if __name__ == "__main__":
    main()
