"""
Decide whether a request may pass, by its client's certificate.

``crlcheck.asgi``, ``crlcheck.wsgi`` and their like find the certificate in what their servers
tell of a request. The rules are the same for all:

1. Who verified the certificate is said by the operator (``VerifiedBy``), never guessed. It
   is read from the one place that follows from that, and from no other if it is not there.
2. A header counts only in a request from one of the operator's proxies. It must be there
   once, in its own spelling: a second one, or one with underscores, may be the client's.
3. The client's certificate is checked, and the path above it as the store knows it. What a
   client sent beside it is not looked at: nobody says that it was verified, and a forged
   issuer could stand in for a revoked one.
4. Whatever is unclear, undetermined or fails denies.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import ipaddress
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, Required, TypedDict, TypeVar

from crlcheck.checker.checker import RevocationChecker
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.errors import (
    CertificateError,
    CertificateHeaderError,
    PathValidationError,
    StoreError,
)
from crlcheck.types import CheckResult, RevocationStatus, UndeterminedCause
from crlcheck.x509.headers import certificate_from_header

LOG = logging.getLogger("crlcheck.access")

CAUSES = (
    *("not_revoked", "revoked"),
    *(cause.value for cause in UndeterminedCause),
    *("no_certificate", "unchecked_path", "not_told", "unverified", "not_from_proxy"),
    *("unclear_header", "malformed_certificate", "too_late", "error"),
)
"""Every cause of a decision, as ``Decision`` explains them."""

DECISION = "crlcheck.decision"
"""The member of a request's scope or environ that has the ``Decision``."""

RECHECK_AFTER = timedelta(minutes=1)
"""How long after a check what is still open is checked again, by default."""

EnumT = TypeVar("EnumT", bound=enum.Enum)

UNIX_SOCKET = "unix"
"""What stands for a Unix socket among the addresses of proxies."""

# So many addresses, and values of the header, are remembered with what was read of them. A
# certificate takes about 2,000 characters in a header.
_NUM_REMEMBERED = 1024
_LONGEST_REMEMBERED = 8192
# A path in a line of the log is no longer than this, and so on. A detail may have names of a
# certificate that anybody made.
_LONGEST_PATH = 200
_LONGEST_METHOD = 40
_LONGEST_DETAIL = 1000
# An Accept header that is longer says nothing.
_LONGEST_ACCEPT = 1000

# RFC 9110 12.5.1: media-range *( OWS ";" OWS parameter ), of which "q" is the weight.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf"[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[^\"\\;]*\")"
_MEDIA_RANGE = re.compile(
    rf"[ \t]*(?P<type>{_TOKEN}/{_TOKEN})(?P<parameters>(?:{_PARAMETER})*)[ \t]*", re.ASCII
)
_WEIGHT = re.compile(r";[ \t]*q=([^; \t]*)", re.IGNORECASE)
_WEIGHTS = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class VerifiedBy(enum.Enum):
    """
    Who verified the client's certificate: its chain, its dates and that the client has the key.

    SERVER is the Python server itself, which ended TLS. PROXY is a proxy before it, which
    hands the certificate on in a header. CRLCHECK: the proxy has only seen that the client has
    the key, and crlcheck validates the certificate in the header by the issuers of the store
    (``RevocationChecker.validate``).
    """

    SERVER = "server"
    PROXY = "proxy"
    CRLCHECK = "crlcheck"


class WithoutCertificate(enum.Enum):
    """What a request without a certificate gets."""

    DENY = "deny"
    PASS = "pass"


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What was decided about a request.

    ``cause`` is one word: ``not_revoked``, ``revoked``, the cause of an undetermined
    ``result``, ``no_certificate``, ``unchecked_path``, ``not_told`` (the server does not tell
    whether there is a certificate), ``unverified`` (it is not valid, as far as whoever was to
    verify it can tell), ``not_from_proxy``, ``unclear_header``, ``malformed_certificate``,
    ``too_late`` or ``error``. ``detail`` is a sentence. ``certificate`` is the client's, as DER
    or PEM, and ``result`` that of its check; None where there was none. ``seconds`` is how long
    the decision took.

    With *observe* a request passes that is not ``allowed``. A decision is not a bool, so that
    no typo fails open.
    """

    allowed: bool
    cause: str
    detail: str
    certificate: bytes | None = field(default=None, repr=False)
    result: CheckResult | None = None
    seconds: float = field(default=0.0, repr=False, compare=False)

    def __bool__(self) -> bool:
        raise TypeError("a Decision is not a bool: read decision.allowed")


class UnclearRequestError(Exception):
    """A request from which no certificate may be taken; ``cause`` as in ``Decision``."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Record(Protocol):
    """What takes note of decisions. It must neither fail nor wait."""

    def __call__(self, decision: Decision, word: str, method: str, path: str) -> None:
        """
        Take note of a decision about a request.

        *word* is what the request gets: "allow", "observe" or "deny".
        """


class AccessSettings(TypedDict, total=False):
    """
    The settings of whatever guards a server.

    A setting that is missing or unclear is a ``ValueError``, and one str where several are
    expected a ``TypeError``.
    """

    verified_by: Required[VerifiedBy | str]
    """Who verified the certificate: its chain, its dates, and that the client has its key.
    ``"server"``: it is the certificate of the server's own TLS connection. ``"proxy"``: it is
    read from *header*. ``"crlcheck"``: it is read from *header*, and its signature and dates
    are verified here. There is no default."""
    header: str | None
    """The header that the proxy sets, and takes out of what clients send."""
    form: HeaderForm | str | None
    """The form in which the proxy writes the certificate, such as ``"nginx"``: see
    ``HeaderForm``."""
    proxies: Iterable[str]
    """The addresses or networks from which the proxies connect, or ``"unix"`` for a Unix
    socket. The header counts in their requests only."""
    without_certificate: WithoutCertificate | str
    """``"deny"`` by default; ``"pass"`` lets a request without a certificate through, which
    the application can see in the decision."""
    observe: bool
    """Let everything pass, and only log what would be denied."""


class WebSettings(AccessSettings, total=False):
    """The settings of a middleware for HTTP."""

    unchecked_paths: Iterable[str]
    """Whole paths, as the application sees them, that pass unchecked."""
    prefer_json: bool
    """Answer a denial in JSON unless the client's Accept prefers plain text. By default it is
    plain text unless Accept prefers JSON."""


class Access:
    """
    The rules of one middleware, and the checker that it asks.

    The arguments are those of ``WebSettings``. What is put into ``record`` is told each decision.
    """

    def __init__(
        self,
        checker: RevocationChecker,
        *,
        verified_by: VerifiedBy | str,
        header: str | None = None,
        form: HeaderForm | str | None = None,
        proxies: Iterable[str] = (),
        without_certificate: WithoutCertificate | str = WithoutCertificate.DENY,
        unchecked_paths: Iterable[str] = (),
        observe: bool = False,
        prefer_json: bool = False,
    ) -> None:
        self.record: Record | None = None
        self.verified_by = _read(VerifiedBy, "verified_by", verified_by)
        self._checker = checker
        self._without = _read(WithoutCertificate, "without_certificate", without_certificate)
        self._unchecked = frozenset(map(_read_path, _several("unchecked_paths", unchecked_paths)))
        self._observe = observe
        self._prefer_json = prefer_json
        addresses = _several("proxies", proxies)
        self._networks = [_read_network(one) for one in addresses if one != UNIX_SOCKET]
        self._trusts_unix = UNIX_SOCKET in addresses
        self.header = ""
        # The same few proxies ask all the time, and the same clients come through them.
        self._is_proxy = functools.lru_cache(_NUM_REMEMBERED)(self._find_proxy)
        self._certificate_in = functools.lru_cache(_NUM_REMEMBERED)(self._read_header)
        if self.verified_by is VerifiedBy.SERVER:
            if header is not None or form is not None or addresses:
                raise ValueError(
                    "header, form, proxies: found a value, expected none with "
                    "verified_by='server', which reads the certificate from the connection: "
                    "verified_by='proxy' and 'crlcheck' read a header"
                )
            return
        if header is None or form is None or not addresses:
            raise ValueError(
                f"header, form, proxies: expected all three with verified_by="
                f"'{self.verified_by.value}': the header that the proxy sets, its form, and the "
                "addresses from which the proxy connects"
            )
        self.header = _read_header_name(header)
        self._form = _read(HeaderForm, "form", form)
        if self._form is HeaderForm.ALB_PASSTHROUGH and self.verified_by is VerifiedBy.PROXY:
            raise ValueError(
                "form: found alb-passthrough, expected the form of a proxy that verifies the "
                "certificate, such as alb-verify"
            )

    # ---- where the certificate is ------------------------------------------------

    def is_unchecked(self, path: str) -> bool:
        """Whether requests of a path are not checked."""
        return path in self._unchecked

    def demand_proxy(self, host: str | None) -> None:
        """
        Refuse a request that does not come from a proxy. *host* is the address of whoever
        connected, None or empty for a Unix socket.

        Raises:
            UnclearRequestError: it is somebody else.
        """
        if not host:
            if self._trusts_unix:
                return
            name = "a Unix socket, or an address that the server does not tell,"
        elif self._is_proxy(host):
            return
        else:
            name = host
        raise UnclearRequestError("not_from_proxy", f"{name} is none of the proxies")

    def _find_proxy(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def from_headers(self, headers: Iterable[tuple[str | bytes, str | bytes]]) -> bytes | None:
        """
        Return the client's certificate, as DER, in the headers of a request, by name and
        value; None where there is none.

        Raises:
            CertificateHeaderError, UnclearRequestError: as ``from_header``; or the header came
                twice, or with underscores.
        """
        found = []
        for name, value in headers:
            if len(name) != len(self.header):  # which neither case nor underscores change
                continue
            text = name.decode("latin-1") if isinstance(name, bytes) else name
            if text.lower().replace("_", "-") == self.header:
                found.append((text.lower(), value))
        if len(found) > 1 or any(name != self.header for name, _ in found):
            raise UnclearRequestError(
                "unclear_header",
                f"{self.header} came {len(found)} times, or with underscores: let the proxy "
                "take it out of what clients send",
            )
        return self.from_header(found[0][1], is_joined=False) if found else None

    def from_header(self, value: str | bytes, *, is_joined: bool) -> bytes | None:
        """
        Return the client's certificate, as DER, in the value of the header; None where the
        proxy says that there is none. *is_joined* tells that the server joins the values of
        a header that comes twice, with a comma between them.

        Raises:
            CertificateHeaderError: it has another form.
            UnclearRequestError: it may be several values.
        """
        if len(value) <= _LONGEST_REMEMBERED:
            return self._certificate_in(value, is_joined)
        return self._read_header(value, is_joined)

    def _read_header(self, value: str | bytes, is_joined: bool) -> bytes | None:
        try:
            certificates = certificate_from_header(value, form=self._form)
        except CertificateHeaderError as error:
            if error.rule == "no_certificate":
                return None
            raise
        # Every other form refuses the comma.
        if is_joined and self._form is HeaderForm.TRAEFIK and len(certificates) > 1:
            raise UnclearRequestError(
                "unclear_header",
                f"{self.header} has several certificates, which a WSGI server cannot tell from "
                "a header that came twice: let the proxy send the client's alone, or use ASGI",
            )
        return certificates[0].der

    # ---- the decision ------------------------------------------------------------

    def decide(self, find_certificate: Callable[[], bytes | None]) -> Decision:
        """Return the decision about a request whose certificate *find_certificate* finds."""
        began = time.perf_counter()
        return _timed(self._decide(find_certificate), began)

    def _decide(self, find_certificate: Callable[[], bytes | None]) -> Decision:
        certificate = None
        try:
            certificate = find_certificate()
            if certificate is None:
                return self._without_certificate()
            decision = _by_result(self._checker.check(certificate), certificate)
            if decision.allowed and self.verified_by is VerifiedBy.CRLCHECK:
                self._checker.validate(certificate)
            return decision
        except Exception as error:  # noqa: BLE001 - whatever fails denies
            return _by_failure(error, certificate)

    async def adecide(self, find_certificate: Callable[[], bytes | None]) -> Decision:
        """As ``decide``, for a caller in an event loop."""
        began = time.perf_counter()
        return _timed(await self._adecide(find_certificate), began)

    async def _adecide(self, find_certificate: Callable[[], bytes | None]) -> Decision:
        certificate = None
        try:
            certificate = find_certificate()
            if certificate is None:
                return self._without_certificate()
            decision = _by_result(await self._checker.acheck(certificate), certificate)
            # After the check, which remembers more: what would be denied needs no more work.
            if decision.allowed and self.verified_by is VerifiedBy.CRLCHECK:
                await self._checker.avalidate(certificate)
            return decision
        except Exception as error:  # noqa: BLE001 - whatever fails denies
            return _by_failure(error, certificate)

    async def until_denied(
        self, certificate: bytes, every: timedelta, method: str, path: str
    ) -> Decision:
        """Check what is open every so often; return the decision that is to end it."""
        while True:
            await asyncio.sleep(every.total_seconds())
            decision = await self.adecide(lambda: certificate)
            if not self.passes(decision, method, path):
                return decision

    def _without_certificate(self) -> Decision:
        passes = self._without is WithoutCertificate.PASS
        detail = "the request has no client certificate"
        if self.header:
            detail += (
                f": {self.header} is missing or says that there is none. Where the client sent "
                "one, compare the name of the header with the one that the proxy sets"
            )
        return Decision(passes, "no_certificate", detail)

    def passes(self, decision: Decision, method: str, path: str) -> bool:
        """Log a decision, and return whether the request is passed on."""
        if self.record is not None:
            self.record(decision, self._word(decision), method, path)
        if decision.allowed:
            LOG.debug(
                "%.*s %.*r passes: %s",
                *(_LONGEST_METHOD, method),
                *(_LONGEST_PATH, path),
                decision.cause,
            )
            return True
        level = logging.ERROR if decision.cause == "error" else logging.WARNING
        LOG.log(
            level,
            "%s %.*s %.*r: %s: %.*s",
            "would deny" if self._observe else "denied",
            *(_LONGEST_METHOD, method),
            *(_LONGEST_PATH, path),
            decision.cause,
            *(_LONGEST_DETAIL, decision.detail),
        )
        return self._observe

    def _word(self, decision: Decision) -> str:
        if decision.allowed:
            return "allow"
        return "observe" if self._observe else "deny"

    # ---- the answer to a denial ----------------------------------------------------

    def denial(self, accept: Iterable[str | bytes]) -> tuple[list[tuple[str, str]], bytes]:
        """
        Return headers and body of the answer 403, in JSON or as plain text. *accept* are the
        values of the request's Accept headers. The cause is in the log alone.
        """
        if prefers_json(accept, otherwise=self._prefer_json):
            kind, body = "application/json", b'{"error": "Forbidden"}\n'
        else:
            kind, body = "text/plain; charset=utf-8", b"Forbidden\n"
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        return headers, body


def prefers_json(accept: Iterable[str | bytes], *, otherwise: bool = False) -> bool:
    """
    Whether a client that sent these Accept headers prefers JSON to plain text.

    The higher weight decides. Where both have the same, so does the range that names more of
    the type, and then the one that comes first. *otherwise* is the answer where the client
    leaves the choice, or says nothing that RFC 9110 12.5.1 allows.
    """
    values = [one.decode("latin-1") if isinstance(one, bytes) else one for one in accept]
    ranges = _read_accept(", ".join(values))
    as_json = _rank(ranges, "application/json", "application/*", "*/*")
    as_text = _rank(ranges, "text/plain", "text/*", "*/*")
    return otherwise if as_json == as_text else as_json > as_text


def _read_accept(text: str) -> dict[str, tuple[float, int]]:
    """Return the weight and the place of each media range; nothing where one is malformed."""
    ranges: dict[str, tuple[float, int]] = {}
    if len(text) > _LONGEST_ACCEPT:
        return ranges
    # RFC 9110 5.6.1.2: a recipient takes empty elements of a list for none.
    for place, element in enumerate(text.split(",")):
        if not element.strip(" \t"):
            continue
        found = _MEDIA_RANGE.fullmatch(element)
        weights = _WEIGHT.findall(found["parameters"]) if found is not None else []
        if found is None or len(weights) > 1 or not all(map(_WEIGHTS.fullmatch, weights)):
            return {}
        ranges.setdefault(found["type"].lower(), (float(weights[0]) if weights else 1.0, -place))
    return ranges


def _rank(ranges: dict[str, tuple[float, int]], *names: str) -> tuple[float, int, int]:
    """Return the rank of the first of *names*, from the most specific one, that is there."""
    for breadth, name in enumerate(names):
        if name in ranges:
            weight, place = ranges[name]
            return (weight, -breadth, place) if weight else (0.0, 0, 0)
    return (0.0, 0, 0)


UNCHECKED = Decision(True, "unchecked_path", "requests of this path are not checked")


def from_connection(connection: object) -> bytes | None:
    """
    Return the peer's certificate, as DER, of a TLS connection (``SSLSocket`` or ``SSLObject``);
    None where it sent none.

    Raises:
        UnclearRequestError: it is no such connection, or one that verifies no certificates.
    """
    # gevent and eventlet have classes of their own; a plain socket has no such method.
    read = getattr(connection, "getpeercert", None)
    if read is None:
        raise UnclearRequestError("not_told", "the connection has no TLS")
    der: bytes | None = read(True)
    context: ssl.SSLContext = connection.context  # type: ignore[attr-defined]
    if der is not None and context.verify_mode is ssl.CERT_NONE:
        raise UnclearRequestError("unverified", "the server does not verify certificates")
    return der


def _timed(decision: Decision, began: float) -> Decision:
    """Return a decision that was made just now, with the time that it took."""
    object.__setattr__(decision, "seconds", time.perf_counter() - began)
    return decision


def _by_result(result: CheckResult, certificate: bytes) -> Decision:
    status = result.status
    if status is RevocationStatus.UNDETERMINED and result.cause is not None:
        cause = result.cause.value
    else:
        cause = status.value
    allowed = status is RevocationStatus.NOT_REVOKED
    # A sentence is made only where somebody reads it.
    detail = "" if allowed else result.detail
    return Decision(allowed, cause, detail, certificate, result)


def _by_failure(error: Exception, certificate: bytes | None) -> Decision:
    if isinstance(error, UnclearRequestError):
        return Decision(False, error.cause, str(error))
    if isinstance(error, PathValidationError):
        return Decision(False, "unverified", str(error), certificate)
    if isinstance(error, CertificateError):
        # Its message says what is broken, and repeats nothing of a certificate.
        return Decision(False, "malformed_certificate", str(error), certificate)
    # Other messages may quote a certificate, whose names are personal data.
    detail = type(error).__name__
    if isinstance(error, StoreError):
        detail += f": {error}"
    return Decision(False, "error", detail, certificate)


# ---- settings ----------------------------------------------------------------------


def read_recheck(value: timedelta | None) -> timedelta | None:
    """
    Return how long after a check there is another, None for never.

    Raises:
        ValueError: it is no positive time.
    """
    if value is not None and value <= timedelta(0):
        raise ValueError(f"recheck_after: expected a positive time, found {value}")
    return value


def _read(kind: type[EnumT], name: str, value: EnumT | str) -> EnumT:
    try:
        return kind(value)
    except ValueError:
        expected = ", ".join(repr(one.value) for one in kind)
        raise ValueError(f"{name}: found {value!r}, expected one of {expected}") from None


def _several(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{name}: found one str, expected several, such as ({values!r},)")
    return list(values)


def _read_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(
            f"unchecked_paths: found {path!r}, expected a whole path, such as '/healthz'"
        )
    return path


def _read_network(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(address)
    except ValueError as error:
        raise ValueError(
            f"proxies: found {address!r} ({error}), expected an address, a network such as "
            f"'10.0.0.0/24', or {UNIX_SOCKET!r}"
        ) from None


def _read_header_name(name: str) -> str:
    is_token = name.replace("-", "").isalnum() and name.isascii()
    if not is_token:
        raise ValueError(
            f"header: found {name!r}, expected letters, digits and hyphens: servers drop or "
            "confuse names with underscores, so let the proxy use another name"
        )
    return name.lower()
