"""Name what a file is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.encoding.kinds import LOOKED_AT, found_text, mistaken, recognise
from support.kinds import CERTIFICATE, CRL, samples


@pytest.mark.parametrize("what", samples())
def test_every_kind_is_named(what: str) -> None:
    """
    The kind has a stable name, and words that a reader knows.
    """
    data, name, words = samples()[what]
    kind = recognise(data)
    assert kind is not None
    assert kind.name == name
    assert words in kind.text


@pytest.mark.parametrize("what", samples())
def test_the_beginning_is_enough(what: str) -> None:
    """
    A reader keeps the first bytes only, and cuts a file wherever they end.
    """
    data, name, _ = samples()[what]
    kind = recognise(data[:LOOKED_AT] + b"")
    assert kind is not None
    assert kind.name == name


@pytest.mark.parametrize("what", samples())
def test_names_have_no_contents(what: str) -> None:
    """
    Neither name nor text has eight characters of the file in a row, but for an error's code.
    """
    data, _, _ = samples()[what]
    kind = recognise(data)
    assert kind is not None
    told = f"{kind.text} {kind.remedy}".encode()
    body = data.split(b"\n", 1)[-1] if data.startswith(b"-----") else data
    shared = {body[i : i + 16] for i in range(len(body) - 15)}
    assert not any(told[i : i + 16] in shared for i in range(len(told) - 15))


@given(st.binary(max_size=200), st.sampled_from([data for data, _, _ in samples().values()]))
def test_no_bytes_are_too_strange(junk: bytes, data: bytes) -> None:
    """
    Whatever the bytes are, and wherever a known kind is broken off, there is an answer.
    """
    for hostile in (junk, data[: len(junk)] + junk, junk + data[:100], data[len(junk) : 4000]):
        kind = recognise(hostile)
        assert kind is None or kind.text


@pytest.mark.parametrize(
    "unit",
    [
        b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\xff\xfe", b"%30", b"MIIC", b"0", b"<", b"{",
        b"-----BEGIN ", b" ", b"\x02\x01\x00", b"%25", b"<Code>a", b"30 ",
    ],
)  # fmt: skip
def test_the_time_is_bounded(unit: bytes) -> None:
    """
    A hundred megabytes take no longer than what is looked at.
    """
    hostile = unit * (20_000_000 // len(unit))
    begun = time.perf_counter()
    recognise(hostile)
    assert time.perf_counter() - begun < 0.5


def test_what_was_expected_is_no_mistake() -> None:
    """
    A CRL that is broken is not called a CRL where one is expected.
    """
    assert mistaken(CRL, "crl") is None
    assert mistaken(b"\x99" * 100, "crl") is None
    kind = mistaken(CERTIFICATE, "crl")
    assert kind is not None
    assert found_text(kind, "a CRL") == "found a certificate, expected a CRL"
    kind = mistaken(CERTIFICATE, "crl", remedies={"certificate": "try again"})
    assert kind is not None
    assert found_text(kind, "a CRL") == "found a certificate, expected a CRL: try again"
