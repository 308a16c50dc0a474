"""The native core without the Python around it, for tests of its limits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from crlcheck._binding import NativeImage
from crlcheck._native import ffi, lib

_PIECE_SIZE = 1 << 16


class Entry(NamedTuple):
    """A revoked certificate: its serial's bytes, its issuer's number, seconds since 1970."""

    serial: bytes
    issuer: int = 0
    revocation_date: int = 0
    reason: int | None = None
    invalidity_date: int | None = None


class Parsed(NamedTuple):
    """What parsing came to: the rule that was broken and where, or None."""

    rule: str | None
    offset: int
    entries: list[Entry]


class Built(NamedTuple):
    """An image, its digests zero, and the builder's counts."""

    image: bytes
    num_entries: int
    num_duplicates: int
    memory: int


def parse(source: bytes, sizes: Iterable[int], *, max_entries: int = 7, limit: int = 0) -> Parsed:
    """Parse *source* in chunks of *sizes*, repeated, taking *max_entries* at a time."""
    made = ffi.new("crlcheck_crl_parser **")
    options = ffi.new("crlcheck_crl_options *", {"max_entries": limit})
    assert lib.crlcheck_crl_parser_new(made, options) == lib.CRLCHECK_OK
    parser = ffi.gc(made[0], lib.crlcheck_crl_parser_free)
    error = ffi.new("crlcheck_error *")
    entries: list[Entry] = []
    for chunk in _chunks(source, sizes):
        if _feed(parser, error, entries, chunk, max_entries):
            break
    else:
        lib.crlcheck_crl_parser_finish(parser, error)
    if not error.status:
        return Parsed(None, 0, entries)
    rule = ffi.string(lib.crlcheck_rule_name(error.rule)).decode()
    return Parsed(rule, error.offset, entries)


def _chunks(source: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(source):
            return
        yield source[start : start + size]
        start += size


def _feed(parser: Any, error: Any, entries: list[Entry], chunk: bytes, max_entries: int) -> int:
    """Offer *chunk* until it is used up; return the status."""
    found = ffi.new("crlcheck_entry[]", max_entries)
    num_found = ffi.new("size_t *")
    consumed = ffi.new("size_t *")
    while chunk:
        status: int = lib.crlcheck_crl_parser_feed(
            parser, consumed, found, num_found, error, max_entries, chunk, len(chunk)
        )
        entries.extend(_read_entry(found[i]) for i in range(num_found[0]))
        if status:
            return status
        chunk = chunk[consumed[0] :]
    return 0


def _read_entry(found: Any) -> Entry:
    return Entry(
        serial=ffi.buffer(found.serial.data, found.serial.len)[:],
        issuer=found.certificate_issuer,
        revocation_date=found.revocation_date,
        reason=None if found.reason_code == lib.CRLCHECK_NO_REASON else found.reason_code,
        invalidity_date=found.invalidity_date if found.has_invalidity_date else None,
    )


def build(
    entries: Sequence[Entry], *, attributes: bool = True, issuers: Sequence[bytes] = (b"\x30\x00",)
) -> Built:
    """Build the image of *entries*; *issuers* are Names by number."""
    made = ffi.new("crlcheck_builder **")
    assert lib.crlcheck_builder_new(made, attributes) == lib.CRLCHECK_OK
    builder = ffi.gc(made[0], lib.crlcheck_builder_free)
    error = ffi.new("crlcheck_error *")
    octets = ffi.new("uint8_t[]", b"".join(entry.serial for entry in entries))
    given = ffi.new("crlcheck_entry[]", len(entries))
    start = 0
    for entry, place in zip(entries, given, strict=True):
        place.serial.data = octets + start
        place.serial.len = len(entry.serial)
        start += len(entry.serial)
        _write_entry(place, entry)
    assert not lib.crlcheck_builder_add(builder, error, given, len(entries))
    stats = ffi.new("crlcheck_builder_stats *")
    assert not lib.crlcheck_builder_seal(builder, error)
    assert not lib.crlcheck_builder_sort(builder, error)
    lib.crlcheck_builder_stats_of(builder, stats)
    assert not lib.crlcheck_builder_choose_kinds(builder, error)
    image = _write_image(builder, error, issuers)
    return Built(image, stats.num_entries, stats.num_duplicates, stats.memory)


def _write_entry(place: Any, entry: Entry) -> None:
    place.certificate_issuer = entry.issuer
    place.revocation_date = entry.revocation_date
    place.reason_code = lib.CRLCHECK_NO_REASON if entry.reason is None else entry.reason
    place.has_invalidity_date = entry.invalidity_date is not None
    place.invalidity_date = entry.invalidity_date or 0


def _write_image(builder: Any, error: Any, issuers: Sequence[bytes]) -> bytes:
    kept = [ffi.new("uint8_t[]", name) for name in issuers]
    names = ffi.new("crlcheck_slice[]", [{"data": name, "len": len(name)} for name in kept])
    header_size = ffi.new("uint32_t *")
    assert not lib.crlcheck_builder_start_image(
        builder, header_size, error, b"{}", 2, names, len(names)
    )
    pieces = []
    out = ffi.new("uint8_t[]", _PIECE_SIZE)
    length = ffi.new("size_t *")
    while True:
        assert not lib.crlcheck_builder_read_body(builder, length, error, out, len(out))
        if not length[0]:
            break
        pieces.append(ffi.buffer(out, length[0])[:])
    body = b"".join(pieces)
    header = lib.crlcheck_builder_header(builder)
    assert header.len == header_size[0]
    octets: bytes = ffi.buffer(header.data, header.len)[:]
    size = int.from_bytes(octets[16:24], "little")
    return (octets + body).ljust(size, b"\0")


def contains(image: NativeImage, issuer: int, serial: bytes) -> bool:
    """Look a serial up by its bytes, whatever they are."""
    handle = ffi.cast("crlcheck_image *", image.address)
    listed: bool = lib.crlcheck_image_contains(handle, issuer, serial, len(serial))
    return listed


def contains_many(image: NativeImage, issuer: int, serials: Sequence[bytes]) -> list[bool]:
    """Look serials up by their bytes, in one native call."""
    handle = ffi.cast("crlcheck_image *", image.address)
    results = ffi.new("uint8_t[]", len(serials))
    lengths = bytes(map(len, serials))
    lib.crlcheck_image_contains_many(
        handle, results, issuer, b"".join(serials), lengths, len(serials)
    )
    return list(map(bool, results))
