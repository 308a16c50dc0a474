"""The one reader of JSON: catalogs, images' metadata, statuses, what fetch remembers."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.encoding.strict_json import canonical_json, members_of, parse_json, typed

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text('[]{}"\\aé\ud800', max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    """
    Brackets and quotes in strings are no structure.
    """
    assert parse_json(canonical_json(value)) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 100_000, "nested more than 64 levels deep"),
        (b'{"a":' * 100_000, "nested more than 64 levels deep"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 levels deep"),
        (b'["' + b"[" * 100 + b'",' + b"[" * 64 + b"]" * 65, "nested more than 64 levels deep"),
        (b'"' + b"[" * 100_000, "Unterminated string"),
        (b"9" * 401, "is not a number"),
        (b"9" * 100_000, "is not a number"),
        (b"-" + b"9" * 400, "is not a number"),
        (b"1e999", "is not a number"),
        (b"-1e999", "is not a number"),
        (b"NaN", "is not a number"),
        (b"-Infinity", "is not a number"),
        (b'{"a": 1, "a": 1}', "two members 'a'"),
        (b'{"a": 1, "\\u0061": 2}', "two members 'a'"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "utf-8"),
        (b'"\xed\xa0\x80"', "utf-8"),
        (b"{}{}", "Extra data"),
        (b'{"a": 1,}', "double quotes|trailing comma"),  # the latter from Python 3.13 on
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_is_ambiguous_or_without_measure_is_refused(body: bytes, message: str) -> None:
    """
    As ValueError, whatever it is: too deep for a walk, too long to be printed again,
    or read differently elsewhere.
    """
    with pytest.raises(ValueError, match=message):
        parse_json(body)


def test_brackets_in_strings_are_no_nesting() -> None:
    """
    A name may have many of them; what is nested as deep as is allowed is read.
    """
    assert parse_json(json.dumps(["[" * 1000 + '"\\"[']).encode()) == ["[" * 1000 + '"\\"[']
    deep = b"[" * 64 + b"]" * 64
    assert canonical_json(parse_json(deep)) == deep
    assert parse_json(b"9" * 400) == int("9" * 400)


def test_a_refusal_shows_little_of_what_was_found() -> None:
    """
    However large or deep a value is, the message stays short.
    """
    deep = parse_json(b"[" * 60 + b"1" + b"]" * 60)
    for value in (deep, ["x" * 1000] * 1000, {"x" * 1000: deep}):
        with pytest.raises(ValueError, match=re.escape("where: expected an integer")) as caught:
            typed(value, int, "where")
        assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match="expected an object"):
        members_of(deep, "where")


def test_reading_takes_linear_time() -> None:
    """
    Quotes and backslashes without end do not make looking for strings slow.
    """
    for body in (
        b'"\\' * 500_000,
        b'["' * 500_000,
        b'"' * 500_000,
        b"\\" * 1_000_000,
        b"]" * 10**6,
    ):
        start = time.thread_time()
        with pytest.raises(ValueError, match=r".*"):
            parse_json(b"[" * 65 + body)
        assert time.thread_time() - start < 5
