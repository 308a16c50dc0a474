"""
Answer OCSP requests: find the issuer, ask the checker, sign.

1. A request that cannot be read is malformedRequest.
2. The issuer is found by its name and key, hashed by SHA-1, SHA-256, SHA-384 or SHA-512,
   among those trusted issuers for which there is a responder's key. The hashes are made once
   for each published set. Any other issuer is unauthorized.
3. Every answer goes by a check of its own: nothing is remembered of verdicts. What is kept is
   the signature over a statement, while the next check leads to the same statement. The least
   recently used ones are dropped, and all of them with the published set.
4. An answer with a nonce is for one client, so it is not kept. So many of them are signed in
   a second, and further ones are tryLater.
5. A responder's certificate that the published set revokes signs nothing, nor does one that
   has expired, nor one of which it cannot be read whether it is revoked.
6. Whatever fails is internalError, and never ``good``.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.views import OneView, UnansweredError, Views
from crlcheck.encoding.der import read_elements
from crlcheck.ocsp.request import CertId, OcspRequestError, read_request
from crlcheck.ocsp.responder_keys import ResponderKey, describe
from crlcheck.ocsp.statement import CertStatus, Refusal, Statement, answer_of
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ReasonCode,
    RevocationStatus,
    UndeterminedCause,
)

LOG = logging.getLogger("crlcheck.ocsp")

NONCES_PER_SECOND = 100
"""How many answers with a nonce are signed in a second, unless another number is set."""

_CAPACITY = 4_096
"""Signed answers that are kept: each takes two to three kilobytes."""

_UNAVAILABLE = UndeterminedCause.STORE_UNAVAILABLE

# Those with which clients hash: RFC 6960 4.3 and RFC 5019 2.1.1 have SHA-1, others SHA-256.
_HASHES = ("sha1", "sha256", "sha384", "sha512")


class OcspAnswer(NamedTuple):
    """
    A response in DER, and what it says.

    ``outcome`` is ``good``, ``revoked`` or ``unknown``, or ``malformed_request``,
    ``internal_error``, ``try_later`` or ``unauthorized``. ``cause`` says in one word why.
    ``this_update`` and ``next_update`` are set where others may keep the response until
    then.
    """

    body: bytes
    outcome: str
    cause: str
    this_update: datetime | None = None
    next_update: datetime | None = None


class _Issuer(NamedTuple):
    """A trusted issuer's key: one of its certificates, and the keys that answer for it."""

    certificate: CertificateFacts
    keys: list[ResponderKey]


class _Book(NamedTuple):
    """The issuers of one published set that are answered for, and the answers signed by it."""

    views: weakref.ref[Views | OneView]
    issuers: dict[tuple[str, bytes, bytes], _Issuer]
    signed: OrderedDict[tuple[CertId, Statement, ResponderKey], OcspAnswer]


class OcspResponder:
    """
    Answers OCSP requests by a checker. Threads may share it.

    *keys* sign the answers. *nonces_per_second* bounds the answers with a nonce, and *clock*
    is that of the bound.
    """

    def __init__(
        self,
        checker: RevocationChecker,
        keys: Iterable[ResponderKey],
        *,
        nonces_per_second: float = NONCES_PER_SECOND,
        capacity: int = _CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checker = checker
        self._keys = tuple(keys)
        self._capacity = capacity
        self._nonces = _Bucket(nonces_per_second, clock)
        self._lock = threading.Lock()
        self._book: _Book | None = None
        self._told: frozenset[str] = frozenset()

    def respond(self, request: bytes) -> OcspAnswer:
        """
        Return the response to a request, however broken that is.

        It may ask the store and signs, so it is not for an event loop.
        """
        try:
            return self._respond(request)
        except OcspRequestError as error:
            LOG.debug("malformed request: %s", error)
            return MALFORMED
        except Exception as error:  # noqa: BLE001 - a fault here must not look like an answer
            # Without the message, which may quote a certificate.
            where = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("internal error: %s\n%s", type(error).__name__, where)
            return REFUSALS[Refusal.INTERNAL_ERROR]

    def _respond(self, body: bytes) -> OcspAnswer:
        cert_id, nonce = read_request(body)
        book = self._book_in_use()
        if book is None:
            return _refused(Refusal.TRY_LATER, "store_unavailable")
        issuer = _find_issuer(book, cert_id)
        if issuer is None:
            return _refused(Refusal.UNAUTHORIZED, "unknown_issuer")
        found = self._checker.status_of_serial(issuer.certificate, cert_id.serial_number)
        result = found.result
        cause = result.status.value if result.cause is None else result.cause.value
        if result.waived:
            cause = result.waived[0].value
        answer = answer_of(found)
        if isinstance(answer, Refusal):
            return _refused(answer, cause)
        key = self._valid_key(issuer, found.at)
        if key is None:
            return _refused(Refusal.TRY_LATER, "responder_certificate")
        if nonce is not None:
            if not self._nonces.take():
                return _refused(Refusal.TRY_LATER, "too_many_nonces")
            return OcspAnswer(_sign(cert_id, answer, key, nonce), answer.status.value, cause)
        return self._signed(book, cert_id, answer, key, cause)

    def _signed(
        self, book: _Book, cert_id: CertId, answer: Statement, key: ResponderKey, cause: str
    ) -> OcspAnswer:
        """Return the answer without a nonce, signed before or now."""
        same = cert_id._replace(algorithm=None), answer, key
        with self._lock:
            known = book.signed.get(same)
            if known is not None:
                book.signed.move_to_end(same)
                return known
        may_be_kept = answer.next_update is not None
        made = OcspAnswer(
            _sign(cert_id, answer, key, None),
            answer.status.value,
            cause,
            answer.this_update if may_be_kept else None,
            answer.next_update,
        )
        with self._lock:
            book.signed[same] = made
            while len(book.signed) > self._capacity:
                book.signed.popitem(last=False)
        return made

    # ---- the issuers of a published set ------------------------------------------------

    def _book_in_use(self) -> _Book | None:
        """Return the book of the set in use, None where there is no set or it cannot be read."""
        views = self._checker.views_in_use()
        if views is None:
            return None
        book = self._book
        if book is not None and book.views() is views:
            return book
        try:
            issuers = self._find_issuers(views)
        except UnansweredError as error:
            LOG.error("the issuers that are answered for cannot be read: %s", error.reason)
            return None
        made = _Book(weakref.ref(views), issuers, OrderedDict())
        # Of two threads that made one for the same set, either may win.
        self._book = made
        return made

    def _find_issuers(self, views: Views | OneView) -> dict[tuple[str, bytes, bytes], _Issuer]:
        """
        Return the trusted issuers that a key answers for, by the hashes of name and key.

        Raises:
            UnansweredError: the published set cannot be read.
        """
        found: dict[tuple[str, bytes, bytes], _Issuer] = {}
        problems = []
        for key in self._keys:
            named = [*views.issuers_named(key.issuer_name)]
            faults = [key.fault_of(one) for one in named]
            trusted = [one for one, fault in zip(named, faults, strict=True) if fault is None]
            if not trusted:
                why = "no trusted issuer of the published set has that name"
                if named:
                    why = f"of the trusted issuers of that name none fits: {faults[0]}"
                problems.append(f"{describe(key)}: it answers for nobody: {why}")
            elif self._is_revoked(key):
                problems.append(f"{describe(key)}: the certificate is revoked, so it signs nothing")
                continue
            for issuer in trusted:
                # The issuer's name as in its own certificates, and as in those it issues.
                for name in {issuer.subject, key.issuer_name}:
                    for identity in _identities(name, issuer):
                        known = found.setdefault(identity, _Issuer(issuer, []))
                        if key not in known.keys:
                            known.keys.append(key)
        self._tell(problems)
        return found

    def _tell(self, problems: Iterable[str]) -> None:
        """Log the problems that were not there with the set before."""
        before, self._told = self._told, frozenset(problems)
        for one in sorted(self._told - before):
            LOG.error("%s", one)

    def _is_revoked(self, key: ResponderKey) -> bool:
        return _revokes(self._checker.check(key.facts.der), key)

    def _valid_key(self, issuer: _Issuer, now: datetime) -> ResponderKey | None:
        """Return the key that signs now: of several the one whose certificate is valid longest."""
        valid = [key for key in issuer.keys if key.is_valid(now)]
        if not valid:
            LOG.error("%s: the certificate is not valid now", describe(issuer.keys[0]))
        for key in sorted(valid, key=lambda key: key.facts.not_after, reverse=True):
            # Again, because it may not have been known when the set was new: an image could not
            # be had, or a denial counts that came with a set that is refused.
            result = self._checker.check(key.facts.der)
            if result.cause is not _UNAVAILABLE and not _revokes(result, key):
                return key
        return None


def _identities(name: bytes, issuer: CertificateFacts) -> list[tuple[str, bytes, bytes]]:
    """Return how requests may name an issuer: by each hash (RFC 6960 4.1.1)."""
    # The key without tag, length and number of unused bits.
    (whole,) = read_elements(issuer.subject_public_key_info)
    _, bits = read_elements(whole.contents)
    key = bits.contents[1:]
    return [
        (algorithm, hashlib.new(algorithm, name).digest(), hashlib.new(algorithm, key).digest())
        for algorithm in _HASHES
    ]


def _find_issuer(book: _Book, cert_id: CertId) -> _Issuer | None:
    if cert_id.algorithm is None:
        return None
    return book.issuers.get((cert_id.algorithm.name, cert_id.name_hash, cert_id.key_hash))


def _revokes(result: CheckResult, key: ResponderKey) -> bool:
    # Where an issuer above is revoked, that is what is answered.
    is_own = result.certificate is not None and result.certificate.der == key.facts.der
    return is_own and result.status is RevocationStatus.REVOKED


# ---- responses ---------------------------------------------------------------------------

_CERT_STATUSES = {
    CertStatus.GOOD: ocsp.OCSPCertStatus.GOOD,
    CertStatus.REVOKED: ocsp.OCSPCertStatus.REVOKED,
    CertStatus.UNKNOWN: ocsp.OCSPCertStatus.UNKNOWN,
}

_REASONS = {
    ReasonCode.UNSPECIFIED: x509.ReasonFlags.unspecified,
    ReasonCode.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    ReasonCode.CA_COMPROMISE: x509.ReasonFlags.ca_compromise,
    ReasonCode.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    ReasonCode.SUPERSEDED: x509.ReasonFlags.superseded,
    ReasonCode.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
    ReasonCode.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
    ReasonCode.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
    ReasonCode.AA_COMPROMISE: x509.ReasonFlags.aa_compromise,
}

_RESPONSE_STATUSES = {
    Refusal.MALFORMED_REQUEST: ocsp.OCSPResponseStatus.MALFORMED_REQUEST,
    Refusal.INTERNAL_ERROR: ocsp.OCSPResponseStatus.INTERNAL_ERROR,
    Refusal.TRY_LATER: ocsp.OCSPResponseStatus.TRY_LATER,
    Refusal.UNAUTHORIZED: ocsp.OCSPResponseStatus.UNAUTHORIZED,
}


def _sign(cert_id: CertId, answer: Statement, key: ResponderKey, nonce: bytes | None) -> bytes:
    """
    Return a signed response in DER.

    ``cryptography`` writes no singleExtensions, so an entry's invalidityDate is left out.
    """
    assert cert_id.algorithm is not None, "the issuer was found by it"
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        cert_id.name_hash,
        cert_id.key_hash,
        cert_id.serial_number,
        cert_id.algorithm,
        _CERT_STATUSES[answer.status],
        answer.this_update,
        answer.next_update,
        answer.revocation_time,
        None if answer.reason is None else _REASONS[answer.reason],
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, key.certificate)
    if key.is_delegated:
        builder = builder.certificates([key.certificate])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(key.private_key, key.algorithm).public_bytes(Encoding.DER)


def _unsuccessful(refusal: Refusal) -> OcspAnswer:
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(_RESPONSE_STATUSES[refusal])
    return OcspAnswer(response.public_bytes(Encoding.DER), refusal.value, refusal.value)


REFUSALS = {refusal: _unsuccessful(refusal) for refusal in Refusal}
"""The responses without a status of a certificate. They have no signature, and are constant."""


def _refused(refusal: Refusal, cause: str) -> OcspAnswer:
    return REFUSALS[refusal]._replace(cause=cause)


MALFORMED = REFUSALS[Refusal.MALFORMED_REQUEST]
TOO_BUSY = _refused(Refusal.TRY_LATER, "too_busy")
TOO_LATE = _refused(Refusal.TRY_LATER, "too_late")
"""What a server answers for itself, which has not asked."""


class _Bucket:
    """Lets so many through in a second, and as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._left = float(rate)
        self._since = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether another one may pass now."""
        with self._lock:
            now = self._clock()
            self._left = min(self._rate, self._left + (now - self._since) * self._rate)
            self._since = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
