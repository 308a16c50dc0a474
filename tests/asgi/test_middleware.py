"""
The ASGI middleware by ASGI's messages: settings, places of the certificate, and failures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from crlcheck.asgi import Decision, RevocationMiddleware
from crlcheck.asgi.middleware import STATE
from crlcheck.checker.checker import RevocationChecker
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.types import Policy, RevocationStatus, Rule
from support.checking import BAD, GOOD, make_checker, publish
from support.guarded import (
    CAUSES,
    CERTIFICATES,
    FAILURES,
    PEM,
    PROXY,
    checker_of_one_crl,
    let_checks_raise,
)
from support.hanging_store import HangingStore
from support.header_forms import OF_PATHS, WRITERS
from support.memory_store import MemoryStore

UNVERIFIED = {HeaderForm.ALB_PASSTHROUGH}
IN_ONE_LINE = PEM["good"].replace("\n", " ").encode()


@pytest.fixture
def checker() -> Iterator[RevocationChecker]:
    """A checker of one CRL."""
    with checker_of_one_crl() as made:
        yield made


class Exchange:
    """What one connection brought: the application's scope, if it came so far, and the answer."""

    def __init__(self, checker: RevocationChecker, scope: dict[str, Any], **options: Any) -> None:
        self.scope: dict[str, Any] | None = None
        self.sent: list[Any] = []
        self.first: str = f"{scope['type']}.connect"
        middleware = RevocationMiddleware(
            self._application, checker, **(options or {"verified_by": "server"})
        )
        asyncio.run(middleware(scope, self._receive, self._send))

    async def _application(self, scope: Any, _receive: Any, _send: Any) -> None:
        self.scope = scope

    async def _receive(self) -> dict[str, Any]:
        return {"type": self.first}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def decision(self) -> Decision:
        """What the application was told."""
        assert self.scope is not None
        found = self.scope["crlcheck.decision"]
        assert isinstance(found, Decision)
        return found

    @property
    def is_forbidden(self) -> bool:
        """Whether the application was not reached and the answer is 403, and says nothing."""
        if self.scope is not None:
            return False
        start, body = self.sent
        assert start["type"] == "http.response.start"
        assert dict(start["headers"])[b"content-length"] == b"10"
        assert body == {"type": "http.response.body", "body": b"Forbidden\n"}
        return bool(start["status"] == 403)


def scope_of(name: str | None, kind: str = "http", **more: Any) -> dict[str, Any]:
    """The scope of a connection whose TLS has that client's certificate."""
    chain = [] if name is None else [PEM[name]]
    tls = {"client_cert_chain": chain, "client_cert_error": None}
    scope = {"type": kind, "path": "/hello", "headers": [], "extensions": {"tls": tls}, **more}
    return scope | ({"method": "GET"} if kind == "http" else {})


def scope_by_header(
    *headers: tuple[bytes, bytes], client: Any = ("127.0.0.1", 5000)
) -> dict[str, Any]:
    """The scope of a request with these headers; its TLS has a good certificate, for nothing."""
    return scope_of("good", headers=list(headers), client=client)


# ---- kinds of connection -------------------------------------------------------------


@pytest.mark.parametrize("client", [*CERTIFICATES, None])
def test_a_request_passes_with_a_good_certificate_only(
    client: str | None, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The application is told the result; every other client gets the same 403, and the log
    the cause.
    """
    found = Exchange(checker, scope_of(client))
    if client == "good":
        assert found.sent == []
        assert found.decision.result == checker.check(GOOD)
        assert found.decision.certificate == PEM["good"].encode()
        assert caplog.records == []
    else:
        assert found.is_forbidden
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("crlcheck.access", logging.WARNING)
        assert record.getMessage().startswith(f"denied GET '/hello': {CAUSES[client]}: ")


@pytest.mark.parametrize("client", ["revoked", None])
def test_a_websocket_is_refused_before_it_is_accepted(
    client: str | None, checker: RevocationChecker
) -> None:
    """
    With the answer 403 where the server can give one, else by closing it. One that is gone
    already gets nothing.
    """
    closed = Exchange(checker, scope_of(client, "websocket"))
    assert closed.scope is None
    assert closed.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    scope = scope_of(client, "websocket")
    scope["extensions"]["websocket.http.response"] = {}
    start, body = Exchange(checker, scope).sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert body == {"type": "websocket.http.response.body", "body": b"Forbidden\n"}


@pytest.mark.parametrize("kind", ["http.response", "websocket.http.response"])
def test_a_client_that_reads_json_is_answered_in_json(
    kind: str, checker: RevocationChecker
) -> None:
    """
    Where its headers prefer that, of which there may be several; or all clients that do not
    mind, by a setting.
    """
    one, *_ = kind.partition(".")
    extensions: dict[str, Any] = {"tls": {}, "websocket.http.response": {}}
    accept = [(b"Accept", b"text/html"), (b"accept", b"application/json")]
    for headers, options, expected in (
        (accept, {}, "application/json"),
        (accept[:1], {}, "text/plain; charset=utf-8"),
        ([], {"prefer_json": True}, "application/json"),
        ([(b"accept", b"text/plain")], {"prefer_json": True}, "text/plain; charset=utf-8"),
    ):
        scope = scope_of(None, one, headers=headers, extensions=extensions)
        start, body = Exchange(checker, scope, verified_by="server", **options).sent
        assert (start["type"], start["status"]) == (f"{kind}.start", 403)
        told = dict(start["headers"])
        assert told[b"content-type"].decode() == expected
        assert told[b"content-length"] == str(len(body["body"])).encode()
        is_json = expected == "application/json"
        assert body["body"] == (b'{"error": "Forbidden"}\n' if is_json else b"Forbidden\n")


def test_a_websocket_that_is_gone_gets_nothing(checker: RevocationChecker) -> None:
    """
    A client that leaves before it is refused is sent no answer.
    """
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        sent.append(message)

    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    middleware = RevocationMiddleware(application, checker, verified_by="server")
    asyncio.run(middleware(scope_of("revoked", "websocket"), receive, send))
    assert sent == []


def test_a_good_client_opens_a_websocket(checker: RevocationChecker) -> None:
    """
    The application has it to accept, and the decision.
    """
    found = Exchange(checker, scope_of("good", "websocket"))
    assert found.sent == []
    assert found.decision.cause == "not_revoked"


def test_lifespan_passes_and_an_unknown_kind_does_not(checker: RevocationChecker) -> None:
    """
    ``lifespan`` comes from no client. Of a kind that is not known nobody can say how its
    clients are turned away.
    """
    lifespan = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    assert Exchange(checker, lifespan).scope is lifespan
    with pytest.raises(ValueError, match="webtransport"):
        Exchange(checker, scope_of("good", "webtransport"))


# ---- the TLS extension ---------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"extensions": None},
        {"extensions": {"tls": None}, "state": None},
        {"extensions": {}, "state": {STATE: None}},
        {"extensions": {"tls": {"client_cert_chain": None}}},
        {"extensions": {"tls": {"client_cert_chain": ()}}, "state": {STATE: {}}},
    ],
)
def test_nobody_passes_where_the_server_says_nothing_of_tls(
    members: dict[str, Any], checker: RevocationChecker
) -> None:
    """
    What ASGI leaves out or sets to None is no certificate, and no failure of the server.
    """
    scope = {"type": "http", "method": "GET", "path": "/hello", "headers": [], **members}
    assert Exchange(checker, scope).is_forbidden


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ({}, "not_told"),
        ({"extensions": None, "state": None}, "not_told"),
        ({"extensions": {"tls": None}, "state": {STATE: None}}, "not_told"),
        ({"extensions": {"tls": {"client_cert_name": "CN=device 7"}}}, "not_told"),
        ({"extensions": {"tls": {"client_cert_error": "expired"}}}, "unverified"),
        ({"extensions": {"tls": {}}}, None),
        ({"extensions": {"tls": {"client_cert_chain": None, "client_cert_name": None}}}, None),
        ({"state": {STATE: {"client_cert_chain": []}}}, None),
    ],
)
def test_what_is_not_told_is_not_missing(
    members: dict[str, Any],
    cause: str | None,
    checker: RevocationChecker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Where requests without a certificate pass, a server that hides it would make a client that
    is revoked into one without.
    """
    scope = {"type": "http", "method": "GET", "path": "/hello", "headers": [], **members}
    found = Exchange(checker, scope, verified_by="server", without_certificate="pass")
    if cause is None:
        assert found.decision.cause == "no_certificate"
    else:
        assert found.is_forbidden
        assert f": {cause}: " in caplog.text


def test_the_first_of_the_chain_is_the_client_s(checker: RevocationChecker) -> None:
    """
    The chain is any iterable, and what the client sent behind its own certificate neither
    helps nor harms.
    """
    for names, passes in ((("good", "revoked"), True), (("revoked", "good"), False)):
        chain = iter([PEM[one] for one in names])
        scope = scope_of(None, extensions={"tls": {"client_cert_chain": chain}})
        assert Exchange(checker, scope).is_forbidden is not passes


def test_a_certificate_that_the_server_could_not_verify_denies(
    checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A server may serve such a client all the same, and say so (``client_cert_error``).
    """
    scope = scope_of("good")
    scope["extensions"]["tls"]["client_cert_error"] = "certificate has expired"
    assert Exchange(checker, scope).is_forbidden
    assert "unverified: the server could not verify it: 'certificate has expired'" in caplog.text


@pytest.mark.parametrize("pem", ["rubbish", "", "-----BEGIN CERTIFICATE-----\nMII\n", "ü", b"x", 7])
def test_what_is_no_certificate_denies(pem: Any, checker: RevocationChecker) -> None:
    """
    Whatever a server puts in the place of one.
    """
    scope = scope_of(None, extensions={"tls": {"client_cert_chain": [pem]}})
    assert Exchange(checker, scope).is_forbidden


# ---- a proxy's header ----------------------------------------------------------------


def header(name: bytes = b"x-client-certificate", client: str = "good") -> tuple[bytes, bytes]:
    """The header of a client, as nginx sets it."""
    return name, quote(PEM[client], safe="").encode()


@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        ([header()], "not_revoked"),
        ([header(b"X-Client-Certificate")], "not_revoked"),
        ([], "no_certificate"),
        ([(b"x-client-certificate", b"")], "no_certificate"),
        ([(b"x-client-certificate", b"rubbish")], "malformed_certificate"),
        (
            [(b"x-client-certificate", PEM["good"].replace("\n", " ").encode())],
            "malformed_certificate",
        ),
        ([header(), header()], "unclear_header"),
        ([header(), (b"x-client-certificate", b"")], "unclear_header"),
        ([header(b"x_client_certificate")], "unclear_header"),
        ([header(b"X_Client-certificate")], "unclear_header"),
        ([header(), header(b"x-client_certificate")], "unclear_header"),
        ([header(client="foreign")], "unknown_issuer"),
    ],
)
def test_the_header_counts_once_and_in_its_own_spelling(
    headers: list[tuple[bytes, bytes]],
    cause: str,
    checker: RevocationChecker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A second header, or one with underscores, may be the client's, so it denies; what the
    server says of TLS is not looked at.
    """
    found = Exchange(checker, scope_by_header(*headers), **PROXY)
    if cause == "not_revoked":
        assert found.decision.cause == cause
    else:
        assert found.is_forbidden
        assert f": {cause}: " in caplog.text


@pytest.mark.parametrize("form", [one for one in HeaderForm if one not in UNVERIFIED])
def test_every_form_is_read(form: HeaderForm, checker: RevocationChecker) -> None:
    """
    By each proxy's own way to write the certificate, and by no other proxy's. Of several
    certificates the first one counts, whatever the client sent behind it.
    """
    has_path = form in OF_PATHS
    others = {"good": [BAD] if has_path else [], "revoked": [GOOD] if has_path else []}
    for client, more in others.items():
        value = WRITERS[form]([CERTIFICATES[client], *more]).encode()
        scope = scope_by_header((b"x-client-certificate", value))
        found = Exchange(checker, scope, **{**PROXY, "form": form})
        assert (found.scope is not None) is (client == "good")
        wrong = HeaderForm.NGINX if form is HeaderForm.APACHE else HeaderForm.APACHE
        assert Exchange(checker, scope, **{**PROXY, "form": wrong.value}).is_forbidden


@pytest.mark.parametrize(
    ("client", "passes"),
    [
        (("127.0.0.1", 1), True),
        (["10.9.8.7", 1], True),
        (("::ffff:10.9.8.7", 1), True),
        (("fd12::1", 1), True),
        (("127.0.0.2", 1), False),
        (("::ffff:192.0.2.1", 1), False),
        (("fe80::1%eth0", 1), False),
        (("testclient", 1), False),
        (("", 0), False),
        (None, False),
    ],
)
def test_the_header_counts_from_a_proxy_only(
    client: Any, passes: bool, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The same header from another address, or from one that is not told, is denied.
    """
    found = Exchange(checker, scope_by_header(header(), client=client), **PROXY)
    if passes:
        assert found.decision.cause == "not_revoked"
    else:
        assert found.is_forbidden
        assert ": not_from_proxy: " in caplog.text


def test_a_unix_socket_is_a_proxy_where_that_is_said(checker: RevocationChecker) -> None:
    """
    A server tells no address of who connects there.
    """
    scope = scope_by_header(header(), client=None)
    assert Exchange(checker, scope, **{**PROXY, "proxies": ["unix"]}).decision.allowed
    scope = scope_by_header(header())
    assert Exchange(checker, scope, **{**PROXY, "proxies": ["unix"]}).is_forbidden


def test_a_header_counts_for_nothing_where_the_server_verifies(checker: RevocationChecker) -> None:
    """
    The certificate comes from one place only.
    """
    scope = scope_of("revoked", headers=[header()], client=("127.0.0.1", 1))
    assert Exchange(checker, scope).is_forbidden
    assert Exchange(checker, scope_of(None, headers=[header()])).is_forbidden


# ---- settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"verified_by": "nobody"}, "verified_by: found 'nobody', expected one of 'server', 'pro"),
        ({"verified_by": None}, "verified_by: found None"),
        ({"verified_by": "server", "header": "X"}, "expected none with verified_by='server'"),
        ({"verified_by": "server", "form": "nginx"}, "expected none with verified_by='server'"),
        ({"verified_by": "server", "proxies": ["::1"]}, "expected none with verified_by='server'"),
        ({"verified_by": "proxy"}, "expected all three"),
        ({**PROXY, "header": None}, "expected all three"),
        ({**PROXY, "form": None}, "expected all three"),
        ({**PROXY, "proxies": ()}, "expected all three"),
        ({**PROXY, "header": "SSL_CLIENT_CERT"}, "letters, digits and hyphens"),
        ({**PROXY, "header": "X Client"}, "letters, digits and hyphens"),
        ({**PROXY, "header": ""}, "letters, digits and hyphens"),
        ({**PROXY, "form": "iis"}, "form: found 'iis', expected one of 'nginx'"),
        ({**PROXY, "form": "alb-passthrough"}, "form of a proxy that verifies"),
        ({**PROXY, "proxies": ["proxy.example"]}, "proxies: found 'proxy.example'"),
        ({**PROXY, "proxies": ["10.0.0.1/8"]}, "has host bits set"),
        ({"verified_by": "server", "without_certificate": "allow"}, "one of 'deny', 'pass'"),
        ({"verified_by": "server", "unchecked_paths": ["healthz"]}, "found 'healthz'"),
        ({"verified_by": "server", "recheck_after": timedelta(0)}, "expected a positive time"),
    ],
)
def test_a_setting_that_is_unclear_stops_the_start(
    settings: dict[str, Any], expected: str, checker: RevocationChecker
) -> None:
    """
    The message says what was found and what was expected.
    """
    with pytest.raises(ValueError, match=expected):
        Exchange(checker, scope_of("good"), **settings)


@pytest.mark.parametrize("settings", [{"proxies": "::1"}, {"unchecked_paths": "/healthz"}])
def test_one_text_is_not_several(settings: dict[str, Any], checker: RevocationChecker) -> None:
    """
    A str would be taken for its characters.
    """
    with pytest.raises(TypeError, match="found one str"):
        Exchange(checker, scope_of("good"), **{**PROXY, **settings})


def test_who_verified_the_certificate_has_no_default(checker: RevocationChecker) -> None:
    """
    It is never guessed.
    """
    with pytest.raises(TypeError, match="verified_by"):
        RevocationMiddleware(lambda *_: asyncio.sleep(0), checker)  # type: ignore[call-arg]


def test_a_request_without_a_certificate_passes_where_that_is_said(
    checker: RevocationChecker,
) -> None:
    """
    The application sees that there was none. A certificate that is revoked is denied as ever,
    and so is a header that is unclear: it is not none.
    """
    options = {"verified_by": "server", "without_certificate": "pass"}
    found = Exchange(checker, scope_of(None), **options)
    assert (found.decision.allowed, found.decision.cause) == (True, "no_certificate")
    assert found.decision.result is None
    for client in ("revoked", "foreign"):
        assert Exchange(checker, scope_of(client), **options).is_forbidden
    by_header = {**PROXY, "without_certificate": "pass"}
    assert Exchange(checker, scope_by_header(), **by_header).decision.cause == "no_certificate"
    for headers, address in (
        ([header(), header()], ("127.0.0.1", 1)),
        ([header(b"x_client_certificate")], ("127.0.0.1", 1)),
        ([], ("192.0.2.1", 1)),
    ):
        assert Exchange(
            checker, scope_by_header(*headers, client=address), **by_header
        ).is_forbidden


@pytest.mark.parametrize(
    ("path", "root", "passes"),
    [
        ("/healthz", "", True),
        ("/app/healthz", "/app", True),
        ("/healthz", "/app", True),
        ("/app/healthz", "", False),
        ("/apphealthz", "/app", False),
        ("/healthz/", "", False),
        ("/healthz/x", "", False),
        ("/HEALTHZ", "", False),
        ("/x/healthz", "/app", False),
        ("", "", False),
        ("/healthz", "/healthz", False),
    ],
)
def test_a_path_that_is_left_out_is_the_application_s(
    path: str, root: str, passes: bool, checker: RevocationChecker
) -> None:
    """
    It is compared as a whole, without the prefix under which the application is mounted.
    """
    options = {"verified_by": "server", "unchecked_paths": ["/healthz"]}
    found = Exchange(checker, scope_of("revoked", path=path, root_path=root), **options)
    if passes:
        assert (found.decision.cause, found.decision.result) == ("unchecked_path", None)
    else:
        assert found.is_forbidden


@pytest.mark.parametrize("client", [*CERTIFICATES, None])
def test_observing_lets_everything_pass(
    client: str | None, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The application and the log are told what would have been denied.
    """
    found = Exchange(checker, scope_of(client), verified_by="server", observe=True)
    assert found.decision.allowed is (client == "good")
    assert found.decision.cause == CAUSES[client]
    assert ("would deny GET '/hello': " in caplog.text) is (client != "good")


def test_a_policy_of_the_checker_counts() -> None:
    """
    What a policy waives passes, and the result tells it.
    """
    store = MemoryStore()
    publish(store)
    with make_checker(store, policy=Policy(unknown_issuer=Rule.ALLOW)) as checker:
        found = Exchange(checker, scope_of("foreign"))
    assert found.decision.result is not None
    assert [one.value for one in found.decision.result.waived] == ["unknown_issuer"]


def test_what_is_in_front_cannot_decide(checker: RevocationChecker) -> None:
    """
    A decision that the scope has already is replaced, and the scope itself stays as it was.
    """
    forged = Decision(True, "not_revoked", "")
    scope = scope_of(None) | {"crlcheck.decision": forged}
    found = Exchange(checker, scope, verified_by="server", without_certificate="pass")
    assert found.decision.cause == "no_certificate"
    assert scope["crlcheck.decision"] is forged


def test_a_decision_is_not_a_bool(checker: RevocationChecker) -> None:
    """
    So that no typo fails open.
    """
    with pytest.raises(TypeError, match="read decision.allowed"):
        bool(Exchange(checker, scope_of("good")).decision)


# ---- failures ------------------------------------------------------------------------


@pytest.mark.parametrize("error", FAILURES)
def test_a_check_that_raises_denies(
    error: Exception,
    checker: RevocationChecker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The log says that it failed, and repeats nothing that may be the client's.
    """
    let_checks_raise(checker, error, monkeypatch)
    assert Exchange(checker, scope_of("good")).is_forbidden
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"denied GET '/hello': error: {type(error).__name__}"


def test_a_closed_checker_denies(checker: RevocationChecker) -> None:
    """
    A checker that was closed too early lets nobody pass.
    """
    checker.close()
    assert Exchange(checker, scope_of("good")).is_forbidden


def test_a_cancelled_request_ends(checker: RevocationChecker) -> None:
    """
    A server that ends a request while its check waits is not answered.
    """
    store = HangingStore()
    publish(store)
    store.hang()

    async def ask(made: RevocationChecker) -> None:
        middleware = RevocationMiddleware(unreachable, made, verified_by="server")
        task = asyncio.ensure_future(middleware(scope_of("good"), unreachable, unreachable))
        while not store.is_asked.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.go_on()

    with make_checker(store) as made:
        asyncio.run(ask(made))


async def unreachable(*_arguments: Any) -> Any:
    """Stand for what must not be called."""
    raise AssertionError


def test_a_line_of_the_log_is_one_line(
    checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A path is the client's text: it cannot begin a line of its own, nor fill the log.
    """
    scope = scope_of(None, path="/a\nGET '/b': passes\x1b[0m" + "x" * 9999)
    assert Exchange(checker, scope).is_forbidden
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 400


# ---- a slow store --------------------------------------------------------------------


@pytest.mark.parametrize("is_known", [False, True])
def test_a_slow_store_does_not_stop_other_requests(is_known: bool) -> None:
    """
    While more requests are there than checks may wait at once, a path that is left out is
    served, and so is all else that the loop does. Before the first set they wait for the
    store; after it only the one that asks does. When the store answers, all are decided.
    """
    store = HangingStore()
    publish(store)
    served: list[str] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        served.append(scope["path"])

    async def ask(checker: RevocationChecker) -> None:
        middleware = RevocationMiddleware(
            application, checker, verified_by="server", unchecked_paths=["/healthz"]
        )
        store.hang()
        waiting = [
            asyncio.ensure_future(middleware(scope_of("good"), unreachable, unreachable))
            for _ in range(20)
        ]
        while not store.is_asked.is_set() or (is_known and served.count("/hello") < 19):
            await asyncio.sleep(0.001)
        await middleware(scope_of(None, path="/healthz"), unreachable, unreachable)
        assert store.hangs
        assert served == [*["/hello"] * (19 if is_known else 0), "/healthz"]
        store.go_on()
        await asyncio.gather(*waiting)
        assert served.count("/hello") == 20

    with make_checker(store) as checker:
        if is_known:
            assert checker.check(GOOD).status is RevocationStatus.NOT_REVOKED
        asyncio.run(ask(checker))


# ---- open WebSockets -----------------------------------------------------------------


class OpenWebSocket:
    """A WebSocket of a good client whose application waits for messages, and what it sees."""

    def __init__(self, checker: RevocationChecker, **options: Any) -> None:
        self.to_application: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[Any] = []
        self.received: list[Any] = []
        self.failures: list[Exception] = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.middleware = RevocationMiddleware(
            self._application,
            checker,
            **{"verified_by": "server", "recheck_after": timedelta(milliseconds=20), **options},
        )

    async def open(self, scope: dict[str, Any]) -> asyncio.Task[None]:
        """Serve it until the application waits."""
        await self.to_application.put({"type": "websocket.connect"})
        task = asyncio.ensure_future(self.middleware(scope, self.to_application.get, self._send))
        await until(lambda: self.sent)
        return task

    async def _application(self, _scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            self.received.append(message["type"])
            if message["type"] == "websocket.disconnect":
                self.received.append(message["code"])
                try:
                    await send({"type": "websocket.send", "text": "too late"})
                except OSError as error:
                    self.failures.append(error)
                return
            answer = "accept" if message["type"] == "websocket.connect" else "send"
            await send({"type": f"websocket.{answer}"})

    async def _send(self, message: Any) -> None:
        await self.may_send.wait()
        self.sent.append(message["type"])
        if message["type"] == "websocket.close":  # as a server does
            await self.to_application.put({"type": "websocket.disconnect", "code": 1006})


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until *condition* is true."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("as_iterator", [False, True])
def test_an_open_websocket_is_closed_when_its_certificate_is_revoked(
    as_iterator: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It stays open while the certificate is good, however often it is checked. Then it is
    closed, and the application receives the end and can send no more.
    """
    store = MemoryStore()
    publish(store, 1)
    scope = scope_of("good", "websocket")
    if as_iterator:
        tls = scope["extensions"]["tls"]
        tls["client_cert_chain"] = iter(tls["client_cert_chain"])

    async def serve(checker: RevocationChecker) -> OpenWebSocket:
        opened = OpenWebSocket(checker)
        task = await opened.open(scope)
        polls = checker.freshness().num_polls
        await until(lambda: checker.freshness().num_polls > polls + 2)
        assert opened.sent == ["websocket.accept"]
        publish(store, 2, revoked=[1, 2])
        await asyncio.wait_for(task, 20)
        return opened

    with make_checker(store) as checker:
        opened = asyncio.run(serve(checker))
    assert opened.sent == ["websocket.accept", "websocket.close"]
    assert opened.received == ["websocket.connect", "websocket.disconnect", 1008]
    assert len(opened.failures) == 1
    assert "denied WebSocket '/hello': revoked: " in caplog.text


def test_a_client_that_reads_nothing_is_denied_too() -> None:
    """
    A message that is held up for ever keeps the close back, but the client's messages do not
    reach the application any more.
    """
    store = MemoryStore()
    publish(store, 1)

    async def serve(checker: RevocationChecker) -> OpenWebSocket:
        opened = OpenWebSocket(checker)
        task = await opened.open(scope_of("good", "websocket"))
        opened.may_send.clear()
        await opened.to_application.put({"type": "websocket.receive", "text": "1"})
        await until(lambda: "websocket.receive" in opened.received)
        publish(store, 2, revoked=[1, 2])
        await until(lambda: checker.check(GOOD).status is RevocationStatus.REVOKED)
        await asyncio.sleep(0.1)
        await opened.to_application.put({"type": "websocket.receive", "text": "2"})
        opened.may_send.set()
        await asyncio.wait_for(task, 20)
        return opened

    with make_checker(store) as checker:
        opened = asyncio.run(serve(checker))
    assert opened.received.count("websocket.receive") == 1
    assert opened.received[-1] == 1008


@pytest.mark.parametrize(
    "options", [{"recheck_after": None}, {"observe": True}, {"unchecked_paths": ["/hello"]}]
)
def test_an_open_websocket_stays_where_that_is_said(options: dict[str, Any]) -> None:
    """
    Without a recheck, where all is only observed, and on a path that is left out.
    """
    store = MemoryStore()
    publish(store, 1)

    async def serve(checker: RevocationChecker) -> None:
        opened = OpenWebSocket(checker, **options)
        task = await opened.open(scope_of("good", "websocket"))
        publish(store, 2, revoked=[1, 2])
        assert checker.check(GOOD).status is RevocationStatus.REVOKED
        await asyncio.sleep(0.1)
        await opened.to_application.put({"type": "websocket.receive", "text": "1"})
        await until(lambda: len(opened.sent) == 2)
        assert opened.sent == ["websocket.accept", "websocket.send"]
        await opened.to_application.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(task, 20)
        assert len(asyncio.all_tasks()) == 1

    with make_checker(store) as checker:
        asyncio.run(serve(checker))


@pytest.mark.parametrize("ending", ["websocket.close", "websocket.http.response.start"])
def test_a_websocket_that_the_application_ends_is_not_closed_twice(ending: str) -> None:
    """
    An application may go on after it has closed a WebSocket, or refused it with an answer
    of several messages.
    """
    store = MemoryStore()
    publish(store, 1)
    sent: list[str] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": ending})
        publish(store, 2, revoked=[1, 2])
        await asyncio.sleep(0.1)
        await send({"type": "more"})

    async def send(message: Any) -> None:
        sent.append(message["type"])

    with make_checker(store) as checker:
        middleware = RevocationMiddleware(
            application, checker, verified_by="server", recheck_after=timedelta(milliseconds=10)
        )
        asyncio.run(middleware(scope_of("good", "websocket"), unreachable, send))
    assert sent == [ending, "more"]


def test_a_server_that_cannot_close_it_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """
    The client may have gone meanwhile, of which servers complain.
    """
    caplog.set_level(logging.INFO)
    store = MemoryStore()
    publish(store, 1)

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        publish(store, 2, revoked=[1, 2])
        await until(lambda: "could not be closed: RuntimeError" in caplog.text)
        with pytest.raises(OSError, match="denied"):
            await send({"type": "websocket.send", "text": "too late"})

    async def send(_message: Any) -> None:
        raise RuntimeError

    with make_checker(store) as checker:
        middleware = RevocationMiddleware(
            application, checker, verified_by="server", recheck_after=timedelta(milliseconds=10)
        )
        asyncio.run(middleware(scope_of("good", "websocket"), unreachable, send))


# ---- long responses ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"recheck_after": timedelta(milliseconds=10)}, True),
        ({"recheck_after": timedelta(hours=1)}, False),
        ({"recheck_after": None}, False),
        ({"recheck_after": timedelta(milliseconds=10), "observe": True}, False),
    ],
)
def test_a_long_response_ends_when_its_certificate_is_revoked(
    options: dict[str, Any], ends: bool
) -> None:
    """
    It goes on while the certificate is good. Then the application can send no more, however
    often it tries.
    """
    store = MemoryStore()
    publish(store, 1)
    sent: list[str] = []
    failures: list[Exception] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send("start")
        await asyncio.sleep(0.02)
        await send("event 1")
        publish(store, 2, revoked=[1, 2])
        await asyncio.sleep(0.02)
        for number in (2, 3):
            try:
                await send(f"event {number}")
            except OSError as error:
                failures.append(error)

    async def send(message: Any) -> None:
        sent.append(message)

    with make_checker(store) as checker:
        middleware = RevocationMiddleware(application, checker, verified_by="server", **options)
        asyncio.run(middleware(scope_of("good"), unreachable, send))
    assert sent == ["start", "event 1", *([] if ends else ["event 2", "event 3"])]
    assert len(failures) == (2 if ends else 0)
