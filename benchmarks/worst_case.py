"""
How the time for hostile input grows: the slowest input found for each kind, at three sizes.

``make worst-case``. Each kind of untrusted input has several ways to be made as
slow as can be. Each is timed at a size and at four and sixteen times that size: CPU
time of the process, the least of several runs. The exponent is the slope of the
logarithm of the time over that of the size (least squares): 1 is linear.

The smallest size is raised until it takes ``_LEAST_SECONDS``, so that constants do not
hide the slope; what stays quicker than that at the largest size is linear for all
that matters. Caches make large inputs a little slower: an exponent above 1.1 is
measured again, the least time of each size kept, and then at four and sixteen
times the sizes. It fails the run where all are above: where the caches end is a step, and
what is not linear stays so. The collector of reference cycles is off meanwhile, for
its passes are over all that a process holds, not over the input.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import io
import json
import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

from crlcheck import CrlCheckError, compile_crl, compile_unverified_crl, open_index, split_crls
from crlcheck.catalog.entries import catalog_of
from crlcheck.catalog.history import HistoryRecord
from crlcheck.catalog.published_set import read_denials, set_of
from crlcheck.catalog.tree import Node
from crlcheck.checker.scope import ScopeTable
from crlcheck.demo.encoding import der, encode_entry, encode_extension
from crlcheck.demo.pki import pem_block
from crlcheck.encoding.names import canonical_name, format_name
from crlcheck.publisher.fetch import FetchLimits, fetch
from crlcheck.stores.s3_http import S3Getter, S3RefusalError, S3SilenceError
from crlcheck.x509.certificates import load_certificate, load_certificates
from lambda_authorizer.certificates import presented_certificate
from lambda_authorizer.events import parse_request
from lambda_authorizer.settings import CertificateFrom
from preprocessor.events import MalformedEventError, parse_event
from support.certificate_der import (
    ISSUER,
    encode_attribute,
    encode_certificate,
    encode_name,
    full_name_point,
    with_distribution_points,
)
from support.crls import REVOKED_ON, authority, make_crl
from support.memory_store import MemoryStore
from support.values import make_issuer, make_metadata

MAX_EXPONENT = 1.1
"""What more is not linear, whatever caches do to it."""

_LEAST_SECONDS = 0.001
_FACTOR = 4
_ATTEMPTS = 2
_BEYOND = 8  # times the size that a kind is tried with at first

Make = Callable[[int], bytes]
"""Makes an input of about so many bytes."""

Read = Callable[[bytes], object]
"""Reads an input as the library would; what it refuses is no failure."""


@dataclass(frozen=True)
class Kind:
    """A kind of untrusted input: how it is read, and the ways of making it slow."""

    name: str
    read: Read
    makers: dict[str, Make]
    max_size: int = 1 << 20


@dataclass(frozen=True)
class Growth:
    """Sizes in bytes, seconds for each, and how the one grows with the other."""

    maker: str
    asked: list[int]
    sizes: list[int]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """The slope in logarithms; 0 where nothing takes long enough to tell."""
        if self.seconds[-1] < 8 * _LEAST_SECONDS:
            return 0.0
        x, y = ([math.log(value) for value in values] for values in (self.sizes, self.seconds))
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
        return above / sum((a - mean_x) ** 2 for a in x)

    @property
    def seconds_for_each_byte(self) -> float:
        """At the largest size."""
        return self.seconds[-1] / self.sizes[-1]


# ---- measuring ---------------------------------------------------------------


def measure(kind: Kind, maker: str, *, repeats: int = 3) -> Growth:
    """Return how the time for the inputs of one maker grows."""
    make = kind.makers[maker]
    size = 4096
    while size * _FACTOR**2 < kind.max_size and _time(kind.read, make(size), 1) < _LEAST_SECONDS:
        size *= _FACTOR
    asked = [size, size * _FACTOR, size * _FACTOR**2]
    data = [make(one) for one in asked]
    seconds = [max(_time(kind.read, one, repeats), 1e-9) for one in data]
    return Growth(maker, asked, list(map(len, data)), seconds)


def growth(kind: Kind, maker: str) -> Growth:
    """Measure as ``measure`` does, again if the exponent is too large: it may be chance."""
    found = measure(kind, maker)
    for _ in range(_ATTEMPTS):
        if found.exponent <= MAX_EXPONENT:
            break
        data = [kind.makers[maker](size) for size in found.asked]
        again = [_time(kind.read, one, 5) for one in data]
        seconds = [min(pair) for pair in zip(found.seconds, again, strict=True)]
        found = replace(found, seconds=seconds)
    asked = found.asked
    while found.exponent > MAX_EXPONENT and asked[-1] < _BEYOND * kind.max_size:
        asked = [size * _FACTOR for size in asked]
        data = [kind.makers[maker](size) for size in asked]
        seconds = [_time(kind.read, one, 3) for one in data]
        beyond = Growth(maker, asked, list(map(len, data)), seconds)
        found = min(found, beyond, key=lambda one: one.exponent)
    return found


def _time(read: Read, data: bytes, repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        with contextlib.suppress(
            CrlCheckError, ValueError, MalformedEventError, S3RefusalError, S3SilenceError
        ):
            read(data)
        taken.append(time.process_time() - start)
    return min(taken)


# ---- PEM ---------------------------------------------------------------------


def pem_makers(label: str, good: bytes) -> dict[str, Make]:
    """Ways to make PEM text slow to read, or slow to refuse."""
    begin, end = f"-----BEGIN {label}-----\n".encode(), f"-----END {label}-----\n".encode()
    key = pem_block("PRIVATE KEY", b"k" * 30)

    def block_of(line: bytes) -> Make:
        return lambda size: begin + line * (size // len(line)) + b"\n!!!!\n" + end

    def text_of(line: bytes) -> Make:
        return lambda size: line * (size // len(line)) + b"\n" + good

    lines = {
        "blanks": b" ", "newlines": b"\n", "padding": b"=", "short lines": b"A\n", "CRs": b"\r",
        "groups": b"QQ==", "one line": b"QUJD", "blanks and base64": b"A ",
    }  # fmt: skip
    texts = {
        "hyphens": b"-", "pairs of hyphens": b"-- ", "rules": b"-----\n", "dashes": b"\xe2\x80\x94",
        "hyphens and blanks": b"--   ", "marks": b"\xef\xbb\xbf", "newlines": b"\n", "text": b"x",
        "keys": key, "hyphens, B": b"-----B", "CR": b"\r", "lines": b"some text -- no more\n",
    }  # fmt: skip
    return {
        **{f"block of {name}": block_of(line) for name, line in lines.items()},
        **{f"text of {name}": text_of(line) for name, line in texts.items()},
        "key without end": lambda size: b"-----BEGIN PRIVATE KEY-----\n" + b"--\n" * (size // 3),
        "blocks": lambda size: good * (size // len(good)),
    }


# ---- names -------------------------------------------------------------------


def _marks(*marks: str) -> Make:
    def make(size: int) -> bytes:
        each = size // 2 // len(marks)
        return encode_name(encode_attribute("a" + "".join(mark * each for mark in marks)))

    return make


def _repeated(text: str) -> Make:
    return lambda size: encode_name(encode_attribute(text * (size // len(text.encode()))))


def _rdns(size: int) -> bytes:
    return encode_name(*[encode_attribute("a")] * (size // 12))


def _attributes(prefix: int) -> Make:
    def make(size: int) -> bytes:
        number = size // (prefix + 16)
        values = [
            encode_attribute("x" * prefix + f"{(one * 7919) % number:06}") for one in range(number)
        ]
        return der(0x30, der(0x31, *values))

    return make


NAME_MAKERS: dict[str, Make] = {
    "two runs of marks": _marks("\u0315", "\u0300"),
    "marks in turns": _repeated("\u064b\u0650"),
    "marks that decompose": _repeated("\u0344\u0345"),
    "hidden marks": _repeated("\u0f73\u0f71"),
    "half-width marks": _repeated("\uff9e\u0300"),
    "letters that decompose": _repeated("\u1ea4\u1e69"),
    "letters that fold": _repeated("\u0130\ufb03"),
    "ligatures": _repeated("\ufdfa"),
    "jamo": _repeated("\u1100\u1161\u11a8"),
    "what does not print": _repeated("\x1b\u202e"),
    "what is escaped": _repeated('",+'),
    "white space": _repeated(" \u2003"),
    "RDNs": _rdns,
    "attributes of one RDN": _attributes(0),
    "attributes alike": _attributes(200),
    "object identifier": lambda size: der(
        0x30, der(0x31, der(0x30, der(0x06, b"\x2a" + b"\x81" * size + b"\x01"), der(0x0C, b"a")))
    ),
    "UniversalString": lambda size: encode_name(
        encode_attribute(("\u0315\u0300" * (size // 8)).encode("utf-32-be"), 0x1C)
    ),
    "TeletexString": lambda size: encode_name(encode_attribute(b"\xc4" * size, 0x14)),
}  # fmt: skip


def _general_name(name: bytes) -> bytes:
    return der(0xA4, name)


def read_name(name: bytes) -> None:
    """Bring a Name into its canonical form and into text, as every reader of names does."""
    canonical_name(name)
    format_name(name)


# ---- CRLs --------------------------------------------------------------------

_INDIRECT = encode_extension("2.5.29.28", der(0x30, b"\x84\x01\xff"), critical=True)


def _issuer_entry(serial: int, name: bytes) -> bytes:
    return encode_entry(serial, REVOKED_ON, certificate_issuer=name)


def _crl_of(entry: Callable[[int], bytes], *extensions: bytes) -> Make:
    each = len(entry(1 << 60))
    return lambda size: make_crl(
        [entry(number) for number in range(1, size // each)], extensions=list(extensions)
    )


def _crl_with(oid: str, value: Callable[[int], bytes], *, critical: bool = False) -> Make:
    return lambda size: make_crl(
        [], extensions=[encode_extension(oid, value(size), critical=critical)]
    )


def _issued(name: Make) -> Make:
    return lambda size: make_crl([], issuer=name(size))


def _idp(names: Callable[[int], bytes]) -> Make:
    return _crl_with(
        "2.5.29.28", lambda size: der(0x30, der(0xA0, der(0xA0, names(size)))), critical=True
    )


def _same_hash(number: int) -> bytes:
    return encode_entry((1 << 158) + (number << 96), REVOKED_ON)


_NAME_OF = [encode_name(encode_attribute(f"issuer {number}")) for number in range(2)]


def _nested(size: int) -> bytes:
    found = b"\x05\x00"
    while len(found) < min(size, 1 << 15):
        found = der(0x30, found)
    return found


CRL_MAKERS: dict[str, Make] = {
    **{f"issuer: {name}": _issued(make) for name, make in NAME_MAKERS.items()},
    "entries": _crl_of(lambda number: encode_entry(number, REVOKED_ON)),
    "entries, descending": _crl_of(lambda number: encode_entry((1 << 64) - number, REVOKED_ON)),
    "one serial number": _crl_of(lambda _: encode_entry(7, REVOKED_ON)),
    "two serial numbers": _crl_of(lambda number: encode_entry(number & 1, REVOKED_ON)),
    "serial numbers alike": _crl_of(_same_hash),
    "long serial numbers": _crl_of(lambda number: encode_entry((1 << 500) + number, REVOKED_ON)),
    "reasons": _crl_of(lambda number: encode_entry(number, REVOKED_ON, reason=1 + number % 6)),
    "two certificate issuers": _crl_of(
        lambda number: _issuer_entry(number, _NAME_OF[number & 1]), _INDIRECT
    ),
    "certificate issuers": _crl_of(
        lambda number: _issuer_entry(1, encode_name(encode_attribute(f"i{number:08}"))), _INDIRECT
    ),
    "one serial number, many issuers": _crl_of(
        lambda number: _issuer_entry(1, encode_name(encode_attribute(f"i{number:08}"))), _INDIRECT
    ),
    "distribution point: URIs": _idp(lambda size: b"".join([der(0x86, b"http:/")] * (size // 8))),
    "distribution point: names": _idp(
        lambda size: b"".join([_general_name(_NAME_OF[0])] * (size // 30))
    ),
    "authority key id": _crl_with("2.5.29.35", lambda size: der(0x30, der(0x80, bytes(size)))),
    "authority key id: names": _crl_with(
        "2.5.29.35",
        lambda size: der(
            0x30, der(0xA1, *[_general_name(_NAME_OF[0])] * (size // 30)), der(0x82, b"\x01")
        ),
    ),
    "unknown extension": _crl_with("1.2.3.4", bytes),
    "extension nested deeply": _crl_with("2.5.29.28", _nested, critical=True),
    "octets": bytes,
    "indefinite lengths": lambda size: b"\x30\x80" * (size // 2),
}


def read_crl(data: bytes) -> None:
    """Verify a CRL that nobody who is trusted has signed, from a file."""
    compile_crl(io.BytesIO(data), issuer=authority("Another CA").der)


def read_whole_crl(data: bytes) -> None:
    """Compile a CRL without looking at its signature, as whoever has the key could make it."""
    compile_unverified_crl(data)


def read_crls(data: bytes) -> None:
    """Walk through the CRLs of a file."""
    for source in split_crls(io.BytesIO(data), max_crls=0):
        while source.read(1 << 16):
            pass


# ---- certificates --------------------------------------------------------------

_HELD = ScopeTable(
    [
        make_metadata(
            issuer=name,
            issuing_distribution_point=der(
                0x30, der(0xA0, der(0xA0, der(0x86, b"http:/"))), b"\x84\x01\xff"
            ),
        )
        for name in _NAME_OF
    ],
    [make_issuer(subject=ISSUER), *(make_issuer(subject=name) for name in _NAME_OF)],
)


def _certificate_of(name: Make) -> Make:
    return lambda size: encode_certificate(issuer=name(size // 2), subject=name(size // 2))


def _points(point: bytes) -> Make:
    return lambda size: with_distribution_points(*[point] * (size // len(point)))


def _one_point(name: Callable[[int], bytes], tag: int) -> Make:
    def make(size: int) -> bytes:
        each = len(name(1 << 20))
        names = b"".join(_general_name(name(number)) for number in range(size // (each + 2)))
        return with_distribution_points(
            full_name_point(der(0x86, b"http:/"), rest=der(tag, names))
            if tag == 0xA2
            else der(0x30, der(0xA0, der(0xA0, names)))
        )

    return make


def _fresh(number: int) -> bytes:
    return encode_name(encode_attribute(f"a{number:08}"))


CERTIFICATE_MAKERS: dict[str, Make] = {
    **{f"issuer: {name}": _certificate_of(make) for name, make in NAME_MAKERS.items()},
    "points": _points(full_name_point(der(0x86, b"http:/"))),
    "points with an issuer": _points(
        full_name_point(der(0x86, b"http:/"), rest=der(0xA2, _general_name(_NAME_OF[0])))
    ),
    "points of an issuer alone": _points(der(0x30, der(0xA2, _general_name(_NAME_OF[0])))),
    "relative points": _points(der(0x30, der(0xA0, der(0xA1, encode_attribute("a"))))),
    "CRL issuers alike": _one_point(lambda _: _NAME_OF[0], 0xA2),
    "CRL issuers": _one_point(_fresh, 0xA2),
    "names of a point alike": _one_point(lambda _: _NAME_OF[0], 0xA0),
    "names of a point": _one_point(_fresh, 0xA0),
    "URI without host": lambda size: with_distribution_points(
        full_name_point(der(0x86, b"http://" + b"@" * size))
    ),
    "serial number": lambda size: encode_certificate(serial=der(0x02, b"\x01" * size)),
    "authority key id: names": lambda size: encode_certificate(
        extensions=[
            encode_extension(
                "2.5.29.35",
                der(0x30, der(0xA1, *[_general_name(_NAME_OF[0])] * (size // 30)), b"\x82\x01\x01"),
            )
        ]
    ),
    "unknown extension": lambda size: encode_certificate(
        extensions=[encode_extension("1.2.3.4", bytes(size))]
    ),
    "extensions": lambda size: encode_certificate(
        extensions=[encode_extension(f"1.2.3.{number}", b"") for number in range(size // 12)]
    ),
    "octets": bytes,
}


def read_certificate(data: bytes) -> None:
    """Read a certificate and look for the CRLs that cover it."""
    facts = load_certificate(data)
    _HELD.coverage(facts)
    read_name(facts.subject)


# ---- JSON ----------------------------------------------------------------------


def _members(size: int) -> bytes:
    return json.dumps({f"m{number}": number for number in range(size // 14)}).encode()


JSON_MAKERS: dict[str, Make] = {
    "arrays in arrays": lambda size: b"[" * size,
    "objects in objects": lambda size: b'{"a":' * (size // 5),
    "arrays side by side": lambda size: b"[" + b"[]," * (size // 3) + b"[]]",
    "brackets in strings": lambda size: b'["' + b"[" * size + b'"]',
    "quotes": lambda size: b"[" * 70 + b'"' * size,
    "escaped quotes": lambda size: b"[" * 70 + b'"\\' * (size // 2),
    "backslashes": lambda size: b"[" * 70 + b'"' + b"\\" * size,
    "digits": lambda size: b"[" + b"9" * size + b"]",
    "numbers of many digits": lambda size: b"[" + b",".join([b"9" * 400] * (size // 401)) + b"]",
    "fractions": lambda size: b"[0." + b"1" * size + b"]",
    "members": _members,
    "one member again and again": lambda size: b"{" + b'"a":1,' * (size // 6) + b'"a":1}',
    "surrogates": lambda size: b'["' + b"\\ud800" * (size // 6) + b'"]',
    "white space": lambda size: b" " * size,
}


def _image_of(metadata: bytes) -> bytes:
    """An image without tables that has *metadata* (docs/reference/index-format.md)."""
    (offset,) = struct.unpack_from("<I", _IMAGE, 52)
    header = bytearray(_IMAGE[:offset] + metadata)
    header += bytes(-len(header) % 64)
    struct.pack_into("<QQQ", header, 16, len(header) + 32, len(header), 0)
    struct.pack_into("<II", header, 40, len(header), 0)
    struct.pack_into("<I", header, 56, len(metadata))
    return bytes(header) + hashlib.sha256(header).digest()


_COMPILED = compile_unverified_crl(make_crl([])).image
assert _COMPILED is not None
_IMAGE = _COMPILED


def _catalog(member: str, value: Callable[[int], object], each: int, *, array: bool) -> Make:
    def make(size: int) -> bytes:
        items = {f"{number:032x}": value(number) for number in range(size // each)}
        document = {"format": 1, "generation": 1, "issuers": [], "scopes": {}}
        document[member] = list(items.values()) if array else items
        return json.dumps(document).encode()

    return make


def _root(member: str, value: Callable[[int], object], each: int) -> Make:
    def make(size: int) -> bytes:
        document: dict[str, object] = {
            **_ROOT,
            member: {f"{number:032x}": value(number) for number in range(size // each)},
        }
        return json.dumps(document).encode()

    return make


_ROOT: dict[str, object] = {
    "format": 2,
    "store": "ab" * 16,
    "generation": 1,
    "at": "2026-01-01T00:00:00Z",
    "trusted": [0, "0" * 64],
    "removed": [0, "0" * 64],
    "scopes": 0,
    "cleaned": [0, 0, None],
}
_STORE = MemoryStore()


def read_node(data: bytes) -> object:
    """Read a node, and of a leaf its entries as a catalog."""
    return catalog_of(Node.from_bytes(data, "the node").entries, 1)


def _leaf(key: Callable[[int], str], value: Callable[[int], object], each: int) -> Make:
    def make(size: int) -> bytes:
        entries = {key(number): value(number) for number in range(size // each)}
        return json.dumps({"format": 2, "level": 0, "entries": entries}).encode()

    return make


def _inner(size: int) -> bytes:
    below = [
        [f"{number:032x}", f"nodes/{number:032x}.json", "0" * 64, 1, None, 0]
        for number in range(size // 170)
    ]
    return json.dumps({"format": 2, "level": 1, "nodes": below}).encode()


NODE_MAKERS = {
    **JSON_MAKERS,
    "entries of a later kind": _leaf(lambda number: f"{number:032x}/z/x", lambda _: {}, 45),
    "references to scopes": _leaf(lambda number: f"{number:032x}/s/-/x", lambda _: {"at": "0"}, 60),
    "slashes": _leaf(lambda number: "/" * number, lambda _: {}, 1000),
    "references to nodes": _inner,
}
DENIAL_MAKERS = {
    **JSON_MAKERS,
    "denials": lambda size: json.dumps(
        {
            "denied": [
                {
                    "issuer": "3000",
                    "serial_number": f"{number:x}",
                    "at": "2026-01-01T00:00:00Z",
                    "note": "",
                }
                for number in range(size // 90)
            ]
        }
    ).encode(),
}
RECORD_MAKERS = {
    **JSON_MAKERS,
    "superseded names": lambda size: json.dumps(
        {
            "format": 1,
            "generation": 1,
            "at": "2026-01-01T00:00:00Z",
            "action": "publish",
            "root": _ROOT,
            "superseded": [f"images/{number:064x}.crlx" for number in range(size // 82)],
        }
    ).encode(),
}
CATALOG_MAKERS = {
    **JSON_MAKERS,
    "settings": _root("settings", lambda number: number, 46),
    "unknown members of a root": _root("x", lambda number: {"a": number}, 52),
    "issuers": _catalog("issuers", lambda number: f"{number:08}", 12, array=True),
    "scopes": _catalog("scopes", lambda _: {}, 40, array=False),
    "unknown members": _catalog("x", lambda number: {"a": number}, 50, array=False),
}


# ---- events --------------------------------------------------------------------


def _event(**members: object) -> bytes:
    return json.dumps(members).encode()


def _s3_record(number: int, key: str = "%20a") -> dict[str, object]:
    return {
        "eventSource": "aws:s3",
        "eventVersion": "2.1",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": f"crl/{number}{key}"}},
    }


def _message(number: int) -> dict[str, object]:
    body = json.dumps({"Records": [_s3_record(number)]})
    return {"eventSource": "aws:sqs", "messageId": str(number), "body": body}


def _message_of(body: str) -> dict[str, str]:
    return {"eventSource": "aws:sqs", "messageId": "1", "body": body}


def _wrapped(records: list[dict[str, object]]) -> str:
    """An S3 event as SNS wraps it on its way to a queue."""
    event = json.dumps({"Records": records})
    return json.dumps({"Type": "Notification", "TopicArn": "a:t", "Message": event})


def _nested_wrappers(size: int) -> bytes:
    # Not as text in text: that doubles with each wrapper, and so cannot be many.
    event: dict[str, object] = {"Records": [{}]}
    for _ in range(min(size // 25, 900)):
        event = {"requestPayload": event}
    return _event(requestPayload=event, padding="x" * size)


PREPROCESSOR_MAKERS: dict[str, Make] = {
    **JSON_MAKERS,
    "records": lambda size: _event(Records=[_s3_record(one) for one in range(size // 150)]),
    "messages": lambda size: _event(Records=[_message(one) for one in range(size // 250)]),
    "a body that nests": lambda size: _event(
        Records=[{"eventSource": "aws:sqs", "messageId": "1", "body": "[" * size}]
    ),
    "a body in base64": lambda size: _event(Records=[_message_of("QUFB" * (size // 4))]),
    "wrappers around records": lambda size: _event(
        Records=[_message_of(_wrapped([_s3_record(one) for one in range(size // 300)]))]
    ),
    "wrappers that nest": _nested_wrappers,
    "an encoded key": lambda size: _event(Records=[_s3_record(1, "%20" * (size // 3))]),
    "no member that is known": _members,
}  # fmt: skip

_ARN = "arn:aws:execute-api:eu-central-1:123456789012:abcdef/stage/GET/"


def _with_header(value: Callable[[int], str]) -> Make:
    return lambda size: _event(
        type="REQUEST", version="1.0", methodArn=_ARN, headers={"x-cert": value(size)}
    )


AUTHORIZER_MAKERS: dict[str, Make] = {
    "header: blanks": _with_header(lambda size: " " * size),
    "header: percent signs": _with_header(lambda size: "%" * size),
    "header: encoded": _with_header(lambda size: "%2D" * (size // 3)),
    "header: hyphens": _with_header(lambda size: "-" * size),
    "header: BEGIN": _with_header(lambda size: "-----BEGIN " * (size // 11)),
    "header: PEM": _with_header(
        lambda size: quote(pem_block("CERTIFICATE", bytes(size // 2)).decode())
    ),
    "header: PEM of blanks": _with_header(
        lambda size: f"-----BEGIN CERTIFICATE-----%0A{' ' * size}!!!!%0A-----END CERTIFICATE-----"
    ),
    "headers": lambda size: _event(
        type="REQUEST", methodArn=_ARN, headers={f"h{one}": "x" for one in range(size // 12)}
    ),
    "spellings of a header": lambda size: _event(
        type="REQUEST",
        methodArn=_ARN,
        multiValueHeaders={"x-cert": ["x"] * (size // 5)},
    ),
    "ARN: colons": lambda size: _event(type="REQUEST", methodArn="arn:aws" + ":" * size),
    "ARN: hyphens": lambda size: _event(type="REQUEST", methodArn="arn:" + "aws-" * (size // 4)),
    "ARN: slashes": lambda size: _event(type="REQUEST", methodArn=_ARN + "/" * size),
    "ARN: stage": lambda size: _event(type="REQUEST", methodArn=_ARN[:-11] + "s" * size),
}


def read_authorizer_event(data: bytes) -> None:
    """Find the client's certificate in an authorizer's event, and read it."""
    request = parse_request(json.loads(data))
    pem = presented_certificate(request, CertificateFrom.CLOUDFRONT, "x-cert")
    if pem is not None:
        load_certificate(pem.encode())


def read_preprocessor_event(data: bytes) -> None:
    """Read what invokes the preprocessor."""
    with contextlib.suppress(RecursionError):  # of Lambda's own reader, here json.loads
        parse_event(json.loads(data))


# ---- answers over the network ----------------------------------------------------

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


def _answer(head: bytes, part: bytes, tail: bytes = b"") -> Make:
    return lambda size: head + part * (size // len(part)) + tail


ANSWER_MAKERS: dict[str, Make] = {
    "body": lambda size: _OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size,
    "body without length": _answer(_OK + b"\r\n", b"x"),
    "small chunks": _answer(_CHUNKED, b"1\r\nx\r\n", b"0\r\n\r\n"),
    "chunk size": _answer(_CHUNKED, b"0"),
    "chunk extensions": _answer(_CHUNKED, b"1;aaaaaaaaaaaaaaaaaaa\r\nx\r\n", b"0\r\n\r\n"),
    "trailers": _answer(_CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n", b"\r\n"),
    "continue": _answer(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status line": _answer(b"HTTP/1.1 200 ", b"O"),
    "headers": _answer(_OK, b"X: y\r\n", b"\r\n"),
    "header": _answer(_OK + b"X: ", b"y", b"\r\n\r\n"),
    "folded header": _answer(_OK + b"X: y\r\n", b" y\r\n", b"\r\n"),
    "error body": _answer(b"HTTP/1.1 503 No\r\n\r\n", b"<Code>"),
    "blanks": _answer(b"", b" "),
    "newlines": _answer(b"", b"\r\n"),
}


@contextlib.contextmanager
def _server(data: bytes) -> Iterator[int]:
    """A server on this machine that answers every connection with *data* and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), connection:
                        connection.recv(1 << 16)
                        connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def read_http_answer(data: bytes) -> None:
    """Fetch a CRL; only the time of the reader is counted."""
    limits = FetchLimits(allow_private=True, total_seconds=120)
    with (
        _server(data) as port,
        fetch(f"http://127.0.0.1:{port}/ca.crl", MemoryStore(), limits) as fetched,
    ):
        while fetched is not None and fetched.body.read(1 << 16):
            pass


def read_s3_answer(data: bytes) -> None:
    """Read an object by a GET of our own; only the time of the reader is counted."""
    with _server(data) as port:
        environment = {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "eu-central-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
        own = S3Getter.from_environment("crl-images", environment)
        assert own is not None
        own.get("catalog.json", deadline=time.monotonic() + 120)


# ---- the whole -------------------------------------------------------------------

_GOOD_CRL = pem_block("X509 CRL", make_crl([]))
_GOOD_CERTIFICATE = pem_block("CERTIFICATE", encode_certificate())
_ELEMENT = 1 << 20  # bytes of the longest element that is taken

KINDS = [
    Kind("name", read_name, NAME_MAKERS),
    Kind("CRL, PEM", read_crl, pem_makers("X509 CRL", _GOOD_CRL)),
    Kind("CRLs of a file", read_crls, pem_makers("X509 CRL", _GOOD_CRL)),
    Kind("CRL, DER", read_crl, CRL_MAKERS, _ELEMENT),
    Kind("CRL, compiled", read_whole_crl, CRL_MAKERS, _ELEMENT),
    Kind("certificate, PEM", load_certificates, pem_makers("CERTIFICATE", _GOOD_CERTIFICATE)),
    Kind("certificate, DER", read_certificate, CERTIFICATE_MAKERS, _ELEMENT),
    Kind("image", lambda data: open_index(_image_of(data)), JSON_MAKERS, _ELEMENT),
    Kind("catalog", lambda data: set_of(data, _STORE), CATALOG_MAKERS),
    Kind("node of the catalog", read_node, NODE_MAKERS),
    Kind("denials", lambda data: read_denials(data, "denials"), DENIAL_MAKERS),
    Kind("record of the history", lambda data: HistoryRecord.from_bytes(data, ""), RECORD_MAKERS),
    Kind("preprocessor's event", read_preprocessor_event, PREPROCESSOR_MAKERS, _ELEMENT),
    Kind("authorizer's event", read_authorizer_event, AUTHORIZER_MAKERS, _ELEMENT),
    Kind("answer to fetch", read_http_answer, ANSWER_MAKERS, _ELEMENT),
    Kind("answer of S3", read_s3_answer, ANSWER_MAKERS, _ELEMENT),
]


def _line(kind: str, found: Growth) -> str:
    sizes = "  ".join(
        f"{size / 1024:7,.0f} KiB {seconds * 1e3:9,.2f} ms"
        for size, seconds in zip(found.sizes, found.seconds, strict=True)
    )
    return f"{kind:<21} {found.maker:<40} {sizes}  exponent {found.exponent:.2f}"


def main() -> int:
    """Print the slowest input of each kind; 1 where an exponent is too large."""
    gc.disable()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--all", action="store_true", help="print every input, not the slowest")
    parser.add_argument("--kind", help="only the kinds whose name has this in it")
    arguments = parser.parse_args()
    too_large = []
    for kind in KINDS:
        if arguments.kind and arguments.kind not in kind.name:
            continue
        found = []
        for maker in kind.makers:
            one = growth(kind, maker)
            found.append(one)
            if arguments.all:
                print(_line(kind.name, one), flush=True)
        steep = [one for one in found if one.exponent > MAX_EXPONENT]
        too_large += [(kind.name, one) for one in steep]
        slowest = max(found, key=lambda one: one.seconds_for_each_byte)
        if not arguments.all:
            for one in [slowest, *(one for one in steep if one is not slowest)]:
                print(_line(kind.name, one), flush=True)
    for name, one in too_large:
        print(f"above {MAX_EXPONENT}: {name}: {one.maker}", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
