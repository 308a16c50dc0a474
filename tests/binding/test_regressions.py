"""Bugs of the native core that fuzzing or review found, each of which stays fixed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from crlcheck import UnsupportedCrlError, compile_unverified_crl
from crlcheck._binding import PAGE_SIZE, CrlParser
from crlcheck._native import ffi, lib
from crlcheck.demo.encoding import der, encode_entry, encode_extension
from support.certificate_der import encode_attribute, encode_name
from support.crls import REVOKED_ON, make_crl

INDIRECT_CRL = encode_extension("2.5.29.28", der(0x30, der(0x84, b"\xff")), critical=True)
ISSUERS = ffi.new("crlcheck_slice[]", 1)


def new_builder(serials: list[bytes]) -> Any:
    """A builder with these serials added."""
    made = ffi.new("crlcheck_builder **")
    assert not lib.crlcheck_builder_new(made, True)
    builder = ffi.gc(made[0], lib.crlcheck_builder_free)
    assert [add(builder, serial) for serial in serials] == [lib.CRLCHECK_OK] * len(serials)
    return builder


def add(builder: Any, serial: bytes, **fields: object) -> int:
    """Add one entry; return the status."""
    octets = ffi.new("uint8_t[]", serial)
    entry = {"serial": {"data": octets, "len": len(serial)}, **fields}
    status: int = lib.crlcheck_builder_add(builder, ffi.NULL, ffi.new("crlcheck_entry *", entry), 1)
    return status


def test_nothing_is_added_to_a_complete_builder() -> None:
    """
    Completing puts tables in order, so that a serial added afterwards would have
    gone to the table of another length, and out of its bounds: it is refused.
    """
    builder = new_builder([bytes([length] * length) for length in (60, 2, 30)])
    assert lib.crlcheck_builder_seal(builder, ffi.NULL) == lib.CRLCHECK_OK
    assert add(builder, b"\x07\x07") == lib.CRLCHECK_LIMIT_EXCEEDED
    assert add(builder, b"\x07") == lib.CRLCHECK_LIMIT_EXCEEDED


@pytest.mark.parametrize("date", [-(2**63), -62167219201, 2**40, 2**63 - 1])
def test_dates_that_no_crl_can_hold_are_refused(date: int) -> None:
    """
    A date outside the years of GeneralizedTime is refused, not cut to what fits.
    """
    builder = new_builder([b"\x05"])
    assert add(builder, b"\x06", revocation_date=date) == lib.CRLCHECK_LIMIT_EXCEEDED
    status = add(builder, b"\x06", has_invalidity_date=True, invalidity_date=date)
    assert status == lib.CRLCHECK_LIMIT_EXCEEDED


def test_no_room_for_entries_reads_none() -> None:
    """
    A parser with an entry half read that is given room for none leaves the chunk
    alone, rather than writing the entry where there is no room.
    """
    made = ffi.new("crlcheck_crl_parser **")
    assert not lib.crlcheck_crl_parser_new(made, ffi.new("crlcheck_crl_options *"))
    parser = ffi.gc(made[0], lib.crlcheck_crl_parser_free)
    crl = make_crl([0x1234567890ABCDEF])
    half = crl.index(0x1234567890ABCDEF.to_bytes(8, "big")) + 3
    entries = ffi.new("crlcheck_entry[]", 1)
    num_entries, consumed = ffi.new("size_t *"), ffi.new("size_t *")

    def feed(chunk: bytes, max_entries: int, out: Any) -> tuple[int, int]:
        assert not lib.crlcheck_crl_parser_feed(
            parser, consumed, out, num_entries, ffi.NULL, max_entries, chunk, len(chunk)
        )
        return consumed[0], num_entries[0]

    assert feed(crl[:half], 1, entries) == (half, 0)
    assert feed(crl[half:], 0, ffi.NULL) == (0, 0)
    assert feed(crl[half:], 1, entries)[1] == 1


def sealed_tables() -> Any:
    """A builder whose image is begun: tables of every length of serial, one of them large."""
    serials = [bytes([1] * length) for length in range(1, 65)]
    builder = new_builder([*serials, *(b"\x05" + (i * i).to_bytes(15, "big") for i in range(900))])
    assert not lib.crlcheck_builder_seal(builder, ffi.NULL)
    assert not lib.crlcheck_builder_sort(builder, ffi.NULL)
    assert not lib.crlcheck_builder_choose_kinds(builder, ffi.NULL)
    assert not lib.crlcheck_builder_start_image(
        builder, ffi.new("uint32_t *"), ffi.NULL, b"{}", 2, ISSUERS, 0
    )
    return builder


def read_pieces(builder: Any, capacity: int) -> Iterator[bytes]:
    """Yield the pieces in which the body comes."""
    out = ffi.new("uint8_t[]", capacity)
    length = ffi.new("size_t *")
    while True:
        assert not lib.crlcheck_builder_read_body(builder, length, ffi.NULL, out, capacity)
        if not length[0]:
            return
        yield ffi.buffer(out, length[0])[:]


@pytest.mark.parametrize("capacity", [1, 2, 7, 63, 79, 80, 81, 255, 256, 257, 512, 4096])
def test_buffers_are_filled_whatever_their_size(capacity: int) -> None:
    """
    Every piece of the body but the last fills the buffer, also where the room that is left
    is too small for an entry, and the bytes are those of one large buffer. Pieces were
    short of a page once, so a caller that hashes whole pages had to keep what was behind
    them, and had no room for it in a buffer of one page.
    """
    (whole,) = read_pieces(sealed_tables(), 1 << 20)
    *full, last = read_pieces(sealed_tables(), capacity)
    assert len(full) >= 3
    assert {len(piece) for piece in full} == {capacity}
    assert b"".join((*full, last)) == whole


CRL_OF_SEVERAL_PAGES = make_crl(1 << 120 | i * i * 0x9E3779B97F4A7C15 for i in range(20_000))


def body_by(sizes: Iterable[int]) -> bytes:
    """The body of the image of a CRL, by way of buffers of these sizes."""
    parser = CrlParser(attributes=True, max_source_size=0, allow_v1=False)
    parser.feed(CRL_OF_SEVERAL_PAGES)
    entries = parser.finish().sort(lambda share: share())
    image = entries.start_image(b"{}", lambda _: b"")
    return b"".join(bytes(buffer[:size]) for buffer, size in image.body(map(bytearray, sizes)))


@pytest.mark.parametrize("pages", [[1], [2], [3], [1, 2, 4, 8], [2, 1], [16]])
def test_buffers_of_any_number_of_pages_give_the_same_image(pages: list[int]) -> None:
    """
    A buffer of one page is enough: it failed as "unsupported CRL: none at offset 0" for
    ten thousand entries.
    """
    body = body_by(PAGE_SIZE * count for count in itertools.cycle(pages))
    assert len(body) > 2 * PAGE_SIZE
    assert body == body_by([1 << 20])


@pytest.mark.parametrize("size", [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1, PAGE_SIZE * 3 // 2])
def test_buffers_of_broken_pages_are_refused(size: int) -> None:
    """
    A piece that ends within a page would give that page two digests.
    """
    with pytest.raises(ValueError, match=f"{size} bytes: expected whole pages"):
        body_by([size])


def test_a_buffer_without_room_is_refused() -> None:
    """
    No bytes stand for the end of the body, so they cannot stand for a buffer of none.
    """
    length = ffi.new("size_t *")
    status = lib.crlcheck_builder_read_body(sealed_tables(), length, ffi.NULL, ffi.NULL, 0)
    assert status == lib.CRLCHECK_LIMIT_EXCEEDED


def test_the_number_of_tables_is_limited() -> None:
    """
    Thousands of certificate issuers with a serial of every length each would take
    20 octets of memory for one of the CRL: beyond 131072 tables it is refused.
    """
    lengths = b"".join(encode_entry(1 << (8 * length), REVOKED_ON) for length in range(1, 64))
    entries = []
    for number in range(2100):
        name = encode_name(encode_attribute(f"{number}"))
        entries += [encode_entry(1, REVOKED_ON, certificate_issuer=name), lengths]
    allowed = make_crl(entries[:200], extensions=[INDIRECT_CRL])
    assert compile_unverified_crl(allowed).num_entries == 100 * 64
    with pytest.raises(UnsupportedCrlError) as caught:
        compile_unverified_crl(make_crl(entries, extensions=[INDIRECT_CRL]))
    assert caught.value.feature == "too_many_issuers"
