"""
Run the demo's second half: real mutual TLS. nginx ends it, and a gateway asks the
authorizer, which runs under AWS's runtime client. A new CRL counts from the next
request on.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from crlcheck.demo.apis import EXPECTED, REST, Answer
from crlcheck.demo.events import PATH
from crlcheck.demo.gateway import Gateway, access_log_line, gateway
from crlcheck.demo.nginx import find_nginx, nginx
from crlcheck.demo.site import BUCKET, CRL_KEY, STORE, Site, Step, words
from crlcheck.demo.tls import get, write_client


@dataclass(frozen=True, slots=True)
class Call:
    """
    A request of one client: its answers, and its lines in the access log.

    ``answers`` and ``access_log`` have one member each, unless something went wrong.
    """

    client: str
    expected: Answer
    status: int
    answers: tuple[Answer, ...]
    access_log: tuple[str, ...]
    seconds: float

    @property
    def expected_status(self) -> int:
        """The status that the client should get."""
        return 200 if self.expected.allowed else 403

    @property
    def is_right(self) -> bool:
        """Whether the client got what it should, for the right reason."""
        return self.status == self.expected_status and self.answers == (self.expected,)

    @property
    def detail(self) -> str:
        """The line of the access log, and the expected one if that differs."""
        found = f"access log: {'; '.join(self.access_log) or 'nothing'}"
        wanted = f"{self.expected_status}, {self.expected.verdict}"
        return found if self.is_right else f"{found}; WRONG, expected {wanted}"


@dataclass(frozen=True, slots=True)
class MutualTlsReport:
    """The calls of all clients."""

    steps: tuple[Step, ...]
    calls: tuple[Call, ...]

    @property
    def is_right(self) -> bool:
        """Whether each client called, the good one again once revoked, with the right answers."""
        clients = [call.client for call in self.calls]
        return clients == [*EXPECTED, "good"] and all(call.is_right for call in self.calls)


def run_mutual_tls(site: Site) -> MutualTlsReport | None:
    """
    Let each client call through nginx, then revoke the good one; None without nginx.

    Raises:
        DemoError: a part did not run at all.
    """
    program = find_nginx()
    if program is None:
        return None
    num_steps = len(site.steps)
    with contextlib.ExitStack() as running:
        front = _start(site, program, running)
        calls = [front.call(client, EXPECTED[client]) for client in site.world.clients]
        with site.step("a new CRL is uploaded, which lists the good client too") as notes:
            crl = site.world.next_crl(revoked=site.world.good, now=datetime.now(UTC))
            event = site.upload(crl)
            notes.append(f"s3://{BUCKET}/{CRL_KEY}")
        site.publish(event, "the S3 event arrives: verify, compile, publish")
        calls.append(front.call("good", EXPECTED["revoked"]))
    return MutualTlsReport(tuple(site.steps[num_steps:]), tuple(calls))


def _start(site: Site, program: str, running: contextlib.ExitStack) -> _Front:
    """Start gateway, authorizer and nginx, until *running* is closed."""
    settings = {"CRLCHECK_STORE": STORE, "CRLCHECK_RESPONSE": REST.response}
    with site.step("a gateway starts, and its authorizer under AWS's runtime client") as notes:
        started = running.enter_context(gateway(REST, {**site.environ, **settings}))
        notes.append(words(settings))
    with site.step("nginx starts: it ends TLS, and for clients it trusts both CAs") as notes:
        for name, client in site.world.clients.items():
            write_client(site.directory, name, client)
        authorities = [site.world.authority.pem, site.world.stranger.pem]
        url = running.enter_context(nginx(program, started.url, authorities, site.directory))
        notes.append(url)
    return _Front(site, started, url)


@dataclass(frozen=True, slots=True)
class _Front:
    """The address for clients: nginx at ``url``, before ``gateway``."""

    site: Site
    gateway: Gateway
    url: str

    def call(self, client: str, expected: Answer) -> Call:
        """Call as *client*, and return the answer with the lines of the access log."""
        num_before = len(self.gateway.access_log)
        started = time.perf_counter()
        status, _ = get(f"{self.url}{PATH}", self.site.directory, client)
        seconds = time.perf_counter() - started
        records = self.gateway.access_log[num_before:]
        call = Call(
            client,
            expected,
            status,
            tuple(
                Answer(r["status"] == 200, r.get("verdict", "-"), r.get("cause")) for r in records
            ),
            tuple(map(access_log_line, records)),
            seconds,
        )
        self.site.add(Step(f"the {client} client calls and gets {status}", call.detail, seconds))
        return call
