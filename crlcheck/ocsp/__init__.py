"""
Answer OCSP requests by a published set (RFC 6960, RFC 5019, RFC 9654).

``OcspResponder.respond`` takes the bytes of a request and returns those of a response. It
has no server in it: ``crlcheck serve`` gives it what comes to ``/ocsp``.

The verdict is that of ``RevocationChecker.check_serial`` by a policy that waives nothing.
``crlcheck.ocsp.statement`` says what becomes of it, ``crlcheck.ocsp.request`` what a request
may be, and ``crlcheck.ocsp.responder_keys`` with which keys responses are signed.
"""

from __future__ import annotations

from crlcheck.ocsp.request import MAX_REQUEST, OcspRequestError, request_in_path
from crlcheck.ocsp.responder import (
    MALFORMED,
    NONCES_PER_SECOND,
    TOO_BUSY,
    TOO_LATE,
    OcspAnswer,
    OcspResponder,
)
from crlcheck.ocsp.responder_keys import ResponderKey, load_responder_keys

__all__ = [
    "MALFORMED",
    "MAX_REQUEST",
    "NONCES_PER_SECOND",
    "TOO_BUSY",
    "TOO_LATE",
    "OcspAnswer",
    "OcspRequestError",
    "OcspResponder",
    "ResponderKey",
    "load_responder_keys",
    "request_in_path",
]
