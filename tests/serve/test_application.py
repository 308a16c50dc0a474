"""
The application by ASGI's messages: what is slow or fails concerns its own request alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from crlcheck.access import Access
from crlcheck.checker.checker import RevocationChecker
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.serve import latest
from crlcheck.serve.application import Application, Route, routes
from crlcheck.serve.http import Request, Response, text
from crlcheck.serve.service import Service
from crlcheck.serve.settings import read_serve_settings
from support.checking import CA
from support.guarded import CERTIFICATES, FAILURES, checker_of_one_crl, let_checks_raise
from support.header_forms import WRITERS
from support.pki import make_client, make_imposter
from support.serving import HEADER, settings_of

FORGED = make_client(make_imposter(CA), 7)


@pytest.fixture
def checker() -> Iterator[RevocationChecker]:
    """A checker of one CRL."""
    with checker_of_one_crl() as made:
        yield made


@dataclass
class Answer:
    """What the application sent."""

    status: int
    headers: dict[str, str]
    body: bytes


class Asked:
    """An application, and requests to it."""

    def __init__(
        self, checker: RevocationChecker, table: Sequence[Route] | None = None, **settings: str
    ) -> None:
        given = {"store": "unused", "request_time": "1s", **settings}
        self.settings = read_serve_settings(settings_of(**given), {})
        access = Access(
            checker,
            verified_by=self.settings.verified_by,
            header=self.settings.header,
            form=self.settings.form,
            proxies=self.settings.trusted,
            without_certificate=self.settings.without_certificate,
            observe=self.settings.observe,
        )
        service = Service(self.settings, checker, access)
        self._application = Application(service, routes(service) if table is None else table)

    async def ask(
        self,
        path: str = "/check",
        certificate: bytes | None = None,
        method: str = "GET",
        *,
        client: tuple[str, Any] | None = ("127.0.0.1", "1"),
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: Sequence[bytes] = (b"",),
    ) -> Answer:
        """Return the answer to one request."""
        own = list(headers)
        if certificate is not None:
            value = WRITERS[self.settings.form]([certificate])
            own.append((self.settings.header.encode(), value.encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": own,
            "client": client,
        }
        parts = list(body)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._application(scope, receive, send)
        start, end = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, end["body"])

    def now(self, *arguments: Any, **options: Any) -> Answer:
        """As ``ask``, outside of a loop."""
        return asyncio.run(self.ask(*arguments, **options))


@pytest.mark.parametrize("form", [one for one in HeaderForm if one.value != "alb-passthrough"])
def test_the_certificate_is_read_in_the_form_of_the_proxy(
    checker: RevocationChecker, form: HeaderForm
) -> None:
    """
    And in no other.
    """
    asked = Asked(checker, form=form.value)
    assert asked.now(certificate=CERTIFICATES["good"]).status == 204
    assert asked.now(certificate=CERTIFICATES["revoked"]).status == 403
    header = HEADER.lower().encode()
    answer = asked.now(headers=[(header, b"Subject=x;;")])
    assert (answer.status, answer.headers["crlcheck-cause"]) == (403, "malformed_certificate")


def test_only_a_proxy_hands_a_certificate_on(checker: RevocationChecker) -> None:
    """
    Who says that he is one in a header is none.
    """
    asked = Asked(checker, bind="0.0.0.0:80", proxies="10.0.0.7,fd00::/8")
    good = CERTIFICATES["good"]
    for host in ("10.0.0.7", "::ffff:10.0.0.7", "fd00::1"):
        assert asked.now(certificate=good, client=(host, 1)).status == 204
    said = [(b"x-forwarded-for", b"10.0.0.7"), (b"forwarded", b"for=10.0.0.7")]
    for client in (("10.0.0.8", 1), ("127.0.0.1", 1), ("", 0), None):
        answer = asked.now(certificate=good, client=client, headers=said)
        assert (answer.status, answer.headers["crlcheck-cause"]) == (403, "not_from_proxy")
    over_unix = Asked(checker, bind="unix:/run/crlcheck/s")
    assert over_unix.now(certificate=good, client=("", "0")).status == 204
    assert over_unix.now(certificate=good).status == 403


def test_crlcheck_verifies_where_that_is_set(checker: RevocationChecker) -> None:
    """
    A certificate that anybody made passes where the proxy is said to have verified it.
    """
    for verified_by, status in (("proxy", 204), ("crlcheck", 403)):
        asked = Asked(checker, verified_by=verified_by)
        assert asked.now(certificate=FORGED).status == status
        assert asked.now(certificate=CERTIFICATES["good"]).status == 204
    passthrough = Asked(checker, verified_by="crlcheck", form="alb-passthrough")
    assert passthrough.now(certificate=FORGED).headers["crlcheck-cause"] == "unverified"
    assert passthrough.now(certificate=CERTIFICATES["good"]).status == 204


def test_what_passes_without_a_verdict_is_a_setting(checker: RevocationChecker) -> None:
    """
    No certificate, and what is only observed.
    """
    asked = Asked(checker, without_certificate="pass")
    assert asked.now().headers["crlcheck-decision"] == "allow"
    assert asked.now(certificate=CERTIFICATES["revoked"]).status == 403
    assert asked.now(headers=[(HEADER.lower().encode(), b"x")]).status == 403
    observed = Asked(checker, observe="true")
    for certificate in (None, CERTIFICATES["revoked"], FORGED):
        answer = observed.now(certificate=certificate)
        assert answer.status == 204
        assert answer.headers["crlcheck-decision"] == (
            "allow" if certificate is FORGED else "observe"
        )


def test_slow_checks_hold_up_their_own_requests_only(
    checker: RevocationChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    More of them than there are threads: what is remembered is answered meanwhile, and they
    are denied when their time is up.
    """
    asked = Asked(checker)
    assert asked.now(certificate=CERTIFICATES["good"]).status == 204
    check = checker.check
    may_go_on = threading.Event()

    def slow(certificate: Any) -> Any:
        may_go_on.wait(60)
        return check(certificate)

    monkeypatch.setattr(checker, "check", slow)

    async def flood() -> tuple[list[Answer], list[Answer]]:
        waiting = [
            asyncio.ensure_future(asked.ask(certificate=CERTIFICATES["foreign"])) for _ in range(50)
        ]
        await asyncio.sleep(0)
        meanwhile = [await asked.ask(certificate=CERTIFICATES["good"]) for _ in range(50)]
        assert not any(one.done() for one in waiting)
        return meanwhile, list(await asyncio.gather(*waiting))

    try:
        meanwhile, slow_ones = asyncio.run(flood())
    finally:
        may_go_on.set()
    assert {one.status for one in meanwhile} == {204}
    assert {(one.status, one.headers["crlcheck-cause"]) for one in slow_ones} == {(403, "too_late")}
    monkeypatch.setattr(checker, "check", check)
    assert asked.now(certificate=CERTIFICATES["foreign"]).headers["crlcheck-cause"] == (
        "unknown_issuer"
    )


def test_a_store_that_hangs_keeps_no_probe_waiting(
    checker: RevocationChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One thread asks, however many ask. What it said last holds for a while, and no longer.
    """
    checker.preload()
    now = [0.0]
    monkeypatch.setattr(latest, "time", SimpleNamespace(monotonic=lambda: now[0]))
    is_answering = checker.is_answering
    may_go_on = threading.Event()
    calls: list[int] = []

    def slow() -> Any:
        calls.append(1)
        may_go_on.wait(60)
        return is_answering()

    monkeypatch.setattr(checker, "is_answering", slow)
    asked = Asked(checker)

    async def probe() -> list[int]:
        found = [(await asked.ask("/readyz")).status]
        may_go_on.set()
        async with asyncio.timeout(60):
            while (await asked.ask("/readyz")).status != 200:
                await asyncio.sleep(0.01)
        may_go_on.clear()
        now[0] += 10
        several = await asyncio.gather(*(asked.ask("/readyz") for _ in range(50)))
        found += {one.status for one in several}
        now[0] += 60
        found.append((await asked.ask("/readyz")).status)
        may_go_on.set()
        return found

    found = asyncio.run(probe())
    assert found == [503, 200, 503]
    assert len(calls) == 2


@pytest.mark.parametrize("error", FAILURES, ids=lambda one: type(one).__name__)
def test_a_check_that_fails_denies(
    checker: RevocationChecker,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    With 403 like any denial, and nothing of what the error says.
    """
    let_checks_raise(checker, error, monkeypatch)
    answer = Asked(checker).now(certificate=CERTIFICATES["good"])
    assert (answer.status, answer.headers["crlcheck-cause"]) == (403, "error")
    assert "Mallory" not in caplog.text + repr(answer)


def test_an_endpoint_that_fails_ends_its_own_request(
    checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With a status that no proxy takes for a yes.
    """

    async def fail(_: Request) -> Response:
        raise RuntimeError("CN=Mallory")

    async def hang(_: Request) -> Response:
        await asyncio.sleep(60)
        return text(200, "never")

    async def read(request: Request) -> Response:
        return text(200, str(len(await request.body(8))))

    table = [Route("/fail", fail), Route("/hang", hang), Route("/read", read, methods=("POST",))]
    asked = Asked(checker, table)
    with caplog.at_level(logging.DEBUG):
        assert asked.now("/fail").status == 500
        assert asked.now("/hang").status == 503
    assert "/fail failed: RuntimeError" in caplog.text
    assert "Mallory" not in caplog.text
    assert asked.now("/read", method="POST", body=[b"1234", b"5678"]).body == b"8\n"
    for parts in ([b"1234", b"56789"], [b"123456789", b"x"]):
        answer = asked.now("/read", method="POST", body=parts)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert asked.now("/read").headers["allow"] == "POST"


def test_an_endpoint_waits_for_what_it_likes(checker: RevocationChecker) -> None:
    """
    Several times, also for what fails, and it may tidy up when its time is over.
    """
    tidied = []

    async def wait(_: Request) -> Response:
        loop = asyncio.get_running_loop()
        found = [await asyncio.sleep(0, one) for one in "ab"]
        found.append(await asyncio.to_thread(str, "c"))
        failing: asyncio.Future[None] = loop.create_future()
        loop.call_soon(failing.set_exception, LookupError("d"))
        try:
            await failing
        except LookupError as error:
            found.append(str(error))
        return text(200, "".join(found))

    async def tidy(_: Request) -> Response:
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            tidied.append("yes")
        return text(200, "never")

    async def fail_later(_: Request) -> Response:
        await asyncio.sleep(0)
        raise RuntimeError

    table = [Route("/wait", wait), Route("/tidy", tidy), Route("/fail", fail_later)]
    asked = Asked(checker, table)
    assert asked.now("/wait").body == b"abcd\n"
    assert (asked.now("/tidy").status, tidied) == (503, ["yes"])
    assert asked.now("/fail").status == 500


def test_a_route_answers_below_its_path_only_where_that_is_meant(
    checker: RevocationChecker,
) -> None:
    """
    An exact path goes before one that is above it.
    """

    def saying(word: str) -> Any:
        async def answer(_: Request) -> Response:
            return text(200, word)

        return answer

    table = [
        Route("/a", saying("a"), below=True),
        Route("/a/b", saying("b")),
        Route("/c", saying("c")),
    ]
    asked = Asked(checker, table)
    for path, body in (("/a", b"a\n"), ("/a/", b"a\n"), ("/a/x/y", b"a\n"), ("/a/b", b"b\n")):
        assert asked.now(path).body == body
    for path in ("/ab", "/c/", "/c/x", "", "/", "a", "/A"):
        assert asked.now(path).status == 404


def test_head_has_the_headers_of_get_and_no_body(checker: RevocationChecker) -> None:
    """
    And 204 has no length, which it must not have (RFC 9110 8.6).
    """
    asked = Asked(checker)
    certificate = CERTIFICATES["revoked"]
    get, head = (asked.now(certificate=certificate, method=one) for one in ("GET", "HEAD"))
    assert (head.status, head.headers, head.body) == (403, get.headers, b"")
    assert get.body == b"Forbidden\n"
    passed = asked.now(certificate=CERTIFICATES["good"])
    assert "content-length" not in passed.headers
    assert passed.body == b""


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "other"])
def test_other_kinds_of_connections_are_not_served(checker: RevocationChecker, kind: str) -> None:
    """
    The server is told not to offer them.
    """
    asked = Asked(checker)

    async def never(*_: Any) -> Any:
        raise AssertionError("nothing is received or sent")

    with pytest.raises(ValueError, match="are not served"):
        asyncio.run(asked._application({"type": kind}, never, never))
