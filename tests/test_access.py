"""
The rules of ``crlcheck.access`` that no server has a part in.
"""

from __future__ import annotations

import inspect
import ssl

import pytest

from crlcheck.access import (
    Access,
    UnclearRequestError,
    WebSettings,
    from_connection,
    prefers_json,
)

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/*",
        "application/json, text/plain, */*",
        "application/json, */*",
        "*/*, application/json",
        "text/html, application/json",
        "text/plain;q=0.5, application/json;q=0.9",
        "text/plain;q=0.5, application/json ; q=0.501",
        "application/json;q=0.001",
        "text/plain;q=0, */*",
        "text/*;q=0.3, application/json;q=1.000",
        ",, application/json,",
        'application/json;profile="a b";q=0.8',
        "application/json;Q=1",
    ],
)
def test_json_is_preferred(accept: str) -> None:
    """
    By a higher weight, by the more precise name, or by coming first, whatever the default.
    """
    for otherwise in (False, True):
        assert prefers_json([accept], otherwise=otherwise)
        assert prefers_json([accept.encode()], otherwise=otherwise)


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "text/*",
        "text/plain, application/json",
        "*/*, text/plain",
        "text/html, text/plain, application/json;q=0.9",
        "application/json;q=0, */*",
        "application/json;q=0.2, text/plain;q=0.3",
        "application/*, text/plain",
    ],
)
def test_plain_text_is_preferred(accept: str) -> None:
    """
    By the same rules.
    """
    for otherwise in (False, True):
        assert not prefers_json([accept], otherwise=otherwise)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        " ",
        ",",
        "*/*",
        BROWSER,
        "image/png",
        "application/json;q=0",
        "application/json;q=0, text/plain;q=0.0",
        "application/problem+json",
        # Nothing that RFC 9110 allows.
        "json",
        "application/json;q=2",
        "application/json;q=1.001",
        "application/json;q=0.0001",
        "application/json;q=-1",
        "application/json;q=nan",
        "application/json;q=",
        "application/json;q=\u0661",
        "application/json;q=1;q=0.5",
        "application/json; q = 1",
        "application/json text/plain",
        "application/json;",
        "application/",
        "/json",
        "application/json/x",
        'application/json;a="b',
        'application/json;a="b;q=1"',
        "application/json\x0b",
        "application/json\n",
        "application/j\u017fon",
        "application/json, <script>",
        "application/json" + ", text/html" * 200,
    ],
)
def test_the_client_leaves_the_choice(accept: str) -> None:
    """
    Where both are as good, and where the header is malformed or too long.
    """
    assert not prefers_json([accept])
    assert prefers_json([accept], otherwise=True)


def test_several_headers_are_one_list() -> None:
    """
    As HTTP says of a field that comes several times (RFC 9110 5.3).
    """
    assert prefers_json([b"text/plain;q=0.5", b"application/json"])
    assert not prefers_json(["application/json;q=0.4", "text/plain;q=0.5"], otherwise=True)
    assert not prefers_json(["application/json", "not a type"])
    assert not prefers_json([])


def test_a_header_of_any_length_ends() -> None:
    """
    It is said to be malformed at once, also where what repeats may be tried in many ways.
    """
    for unit in (" ", "\t", ";", "; ", ';a="', "a/a;", "a", ",", "q=0;"):
        assert not prefers_json(["application/json;a" + unit * 400_000])
        assert not prefers_json(["a/b" + unit * (990 // len(unit))])


def test_the_settings_are_the_arguments() -> None:
    """
    What ``WebSettings`` documents is what ``Access`` takes, and ``verified_by`` alone is needed.
    """
    parameters = inspect.signature(Access).parameters
    own = {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert set(own) == set(WebSettings.__annotations__)
    needed = {name for name, one in own.items() if one.default is one.empty}
    assert needed == {"verified_by"}


def test_an_object_without_tls_is_not_told() -> None:
    """
    A plain socket has no certificate, which is not the same as a client without one.
    """
    with pytest.raises(UnclearRequestError) as caught:
        from_connection(object())
    assert caught.value.cause == "not_told"


def test_a_connection_that_is_not_done_tells_nothing() -> None:
    """
    ``ssl`` says so itself, which denies as any failure does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    with pytest.raises(ValueError, match="handshake"):
        from_connection(connection)
