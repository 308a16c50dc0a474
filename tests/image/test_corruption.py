"""An image that was damaged is refused, or at worst answers wrongly, never more."""

from __future__ import annotations

import hashlib
import random
import struct
from pathlib import Path

import pytest

from crlcheck import (
    CorruptIndexError,
    UnsupportedIndexVersionError,
    compile_crl,
    open_index,
)
from crlcheck.demo.pki import encode_entry
from support.crls import REVOKED_ON, authority, make_crl


@pytest.fixture(scope="module")
def image() -> bytes:
    """A small image that has every kind of section."""
    entries = [
        encode_entry(serial * 7919, REVOKED_ON, reason=serial % 6, invalidity_date=REVOKED_ON)
        for serial in range(1, 60)
    ]
    made = compile_crl(make_crl(entries), issuer=authority().der).image
    assert made is not None
    return made


def test_every_flipped_bit_is_noticed(image: bytes) -> None:
    """
    With verify=True, one flipped bit anywhere makes an image corrupt.
    """
    for position in range(len(image)):
        for bit in (0, 3, 7):
            damaged = bytearray(image)
            damaged[position] ^= 1 << bit
            with pytest.raises((CorruptIndexError, UnsupportedIndexVersionError)):
                open_index(bytes(damaged), verify=True)


def test_every_truncation_is_noticed(image: bytes) -> None:
    """
    An image that lacks its end, or has something behind it, is corrupt even
    without verify.
    """
    for length in range(len(image)):
        with pytest.raises(CorruptIndexError):
            open_index(image[:length], verify=False)
    with pytest.raises(CorruptIndexError):
        open_index(image + b"\0", verify=False)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    "metadata", [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"1e999", b'{"a":1,"a":1}']
)
def test_metadata_that_no_reader_should_follow_make_an_image_corrupt(
    image: bytes, metadata: bytes, verify: bool
) -> None:
    """
    Also where the digest is right: whoever made the image may have meant it.
    """
    with pytest.raises(CorruptIndexError, match="metadata is not JSON"):
        open_index(with_metadata(image, metadata), verify=verify)


def with_metadata(image: bytes, metadata: bytes) -> bytes:
    """An image without tables that has *metadata* (docs/reference/index-format.md)."""
    (metadata_offset,) = struct.unpack_from("<I", image, 52)
    header = bytearray(image[:metadata_offset] + metadata)
    header += bytes(-len(header) % 64)
    struct.pack_into("<QQQ", header, 16, len(header) + 32, len(header), 0)
    struct.pack_into("<II", header, 40, len(header), 0)
    struct.pack_into("<I", header, 56, len(metadata))
    return bytes(header) + hashlib.sha256(header).digest()


def test_damage_without_verify_does_no_harm(image: bytes) -> None:
    """
    Without verify a damaged image may answer wrongly or be refused; every
    lookup path survives it.
    """
    chance = random.Random(1)
    opened = 0
    for _ in range(3000):
        damaged = bytearray(image)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            index = open_index(bytes(damaged), verify=False)
            opened += 1
            index.contains_many(range(0, 100_000, 7919))
            index.find(7919)
            list(index.iter_entries())
            assert index.stats
        except (CorruptIndexError, UnsupportedIndexVersionError, ValueError):
            pass
    assert opened > 500


def test_a_later_major_version_is_named(image: bytes) -> None:
    """
    An image of a later format says so, rather than being called corrupt.
    """
    later = bytearray(image)
    later[8] = 2
    with pytest.raises(UnsupportedIndexVersionError) as caught:
        open_index(bytes(later))
    assert (caught.value.found, caught.value.supported) == (2, 1)


@pytest.mark.parametrize("octets", [b"", b"\0", b"not an image" * 100], ids=["0", "1", "text"])
def test_what_is_no_image_is_refused(octets: bytes, tmp_path: Path) -> None:
    """
    Files that are no images are corrupt, from memory and from a path.
    """
    path = tmp_path / "index.crlx"
    path.write_bytes(octets)
    for source in (octets, path):
        with pytest.raises(CorruptIndexError):
            open_index(source)


def test_a_missing_image_stays_an_os_error(tmp_path: Path) -> None:
    """
    The system's own errors stay themselves.
    """
    with pytest.raises(FileNotFoundError):
        open_index(tmp_path / "absent.crlx")
    with pytest.raises(IsADirectoryError):
        open_index(tmp_path)
