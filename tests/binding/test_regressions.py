"""Bugs of the native core that fuzzing or review found, each of which stays fixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crlcheck import UnsupportedCrlError, compile_unverified_crl
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


def read_pieces(builder: Any, capacity: int) -> Iterator[int]:
    """Yield the sizes of the pieces in which the body comes."""
    out = ffi.new("uint8_t[]", capacity)
    length = ffi.new("size_t *")
    while True:
        assert not lib.crlcheck_builder_read_body(builder, length, ffi.NULL, out, capacity)
        if not length[0]:
            return
        yield length[0]


def test_small_tables_come_in_large_pieces() -> None:
    """
    Every piece of the body but the last fills the buffer, however small the
    tables: a piece for each section made compiling 60 times slower.
    """
    builder = new_builder([bytes([1] * length) for length in range(1, 65)])
    assert not lib.crlcheck_builder_seal(builder, ffi.NULL)
    assert not lib.crlcheck_builder_sort(builder, ffi.NULL)
    assert not lib.crlcheck_builder_choose_kinds(builder, ffi.NULL)
    assert not lib.crlcheck_builder_start_image(
        builder, ffi.new("uint32_t *"), ffi.NULL, b"{}", 2, ISSUERS, 0
    )
    *full, last = read_pieces(builder, 512)
    assert len(full) > 2
    assert all(size > 512 - 80 for size in full)
    assert last <= 512


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
