"""Envoy's external authorization over gRPC, as a client of gRPC sees it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from crlcheck.access import Access, VerifiedBy
from crlcheck.checker.checker import RevocationChecker
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.serve import check
from crlcheck.serve.envoy_grpc import SERVICE, EnvoyServer
from crlcheck.serve.envoy_messages import CheckRequest, CheckResponse
from crlcheck.serve.service import Service
from crlcheck.serve.settings import Bind, ServeSettings
from crlcheck.serve.sockets import free_place, own_path
from crlcheck.serve.worker import make_service
from support.authorizer import publish
from support.guarded import CAUSES, FAILURES, PEM, checker_of_one_crl, let_checks_raise
from support.loopback import LOOPBACK
from support.python_servers import PKI, escaped, free_port, listens
from support.serving import serving, wait_until

_OK, _DENIED = 0, 7


@pytest.fixture(scope="module")
def checker() -> Iterator[RevocationChecker]:
    """A checker of a CRL that lists the client ``revoked``."""
    with checker_of_one_crl() as made:
        yield made


def settings_of(place: Bind, /, **given: Any) -> ServeSettings:
    """Settings by which the server listens at *place*."""
    return ServeSettings(
        store="published",
        verified_by=VerifiedBy.PROXY,
        header="x-client-certificate",
        form=HeaderForm.NGINX,
        envoy_grpc=place,
        **given,
    )


def service_of(checker: RevocationChecker, settings: ServeSettings, **given: Any) -> Service:
    """What the server needs."""
    access = Access(
        checker,
        verified_by="proxy",
        header=settings.header,
        form=settings.form,
        **{"proxies": settings.trusted, **given},
    )
    return Service(settings, checker, access)


@contextlib.asynccontextmanager
async def answering(service: Service) -> AsyncIterator[Any]:
    """Run the server, and give what sends it bytes and returns the bytes of its answer."""
    bind = service.settings.envoy_grpc
    assert bind is not None
    server = await start(service, bind)
    async with channel_to(bind) as channel:
        yield channel.unary_unary(f"/{SERVICE}/Check")
    await server.stop()


async def start(service: Service, bind: Bind) -> EnvoyServer:
    """Start a server, and put its socket into place as the supervisor does."""
    server = EnvoyServer(service, bind)
    await server.start()
    if bind.path:
        own_path(bind, os.getpid()).replace(bind.path)
    return server


def channel_to(bind: Bind) -> Any:
    """A connection of a client."""
    # Else all channels of a process share one connection.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    target = f"unix:{quote(bind.path)}" if bind.path else str(bind)
    return grpc.aio.insecure_channel(target, options=alone)


def request_of(client: str | None, **headers: str) -> Any:
    """What Envoy asks about a client."""
    request = CheckRequest()
    if client is not None:
        request.attributes.source.certificate = quote(PEM[client], safe="").encode()
        request.attributes.source.principal = b"CN=Mallory"
    request.attributes.request.http.method = b"GET"
    request.attributes.request.http.path = b"/hello"
    for name, value in headers.items():
        request.attributes.request.http.headers.add(key=name.encode(), value=value.encode())
    return request


async def ask(send: Any, request: Any) -> Any:
    """Send a request, and return the answer, which says something."""
    answer = await send(request.SerializeToString(), timeout=30)
    assert answer, "Envoy takes an empty answer for a yes"
    return CheckResponse.FromString(answer)


def headers_in(part: Any) -> dict[str, str]:
    """The headers of an answer, each of which replaces those of its name."""
    assert {one.append_action for one in part.headers} == {2}
    return {one.header.key: one.header.value for one in part.headers}


@pytest.fixture
def unix(tmp_path: Path) -> Bind:
    """A Unix socket."""
    return Bind(path=str(tmp_path / "50% of é.sock"))


def test_decisions(checker: RevocationChecker, unix: Bind) -> None:
    """
    Whoever is not revoked passes, with headers that tell of it and without those of the
    client; all others are denied.
    """

    async def run() -> None:
        async with answering(service_of(checker, settings_of(unix))) as send:
            for client, cause in CAUSES.items():
                answer = await ask(send, request_of(client))
                if client == "good":
                    assert answer.status.code == _OK
                    assert answer.HasField("ok_response")
                    assert not answer.HasField("denied_response")
                    told = headers_in(answer.ok_response)
                    removed = set(answer.ok_response.headers_to_remove)
                    assert not removed & {name.lower() for name in told}
                    for name in map(str.lower, check.HEADERS):
                        assert name in removed | {one.lower() for one in told}
                        assert name.replace("-", "_") in removed
                else:
                    assert answer.status.code == _DENIED
                    assert answer.denied_response.status.code == 403
                    assert not answer.HasField("ok_response")
                    told = headers_in(answer.denied_response)
                    assert answer.denied_response.body == "Forbidden\n"
                assert told[check.CAUSE] == cause
                assert told[check.DECISION] == ("allow" if client == "good" else "deny")

    asyncio.run(run())


def test_decisions_are_recorded(checker: RevocationChecker, unix: Bind) -> None:
    """
    Each decision is told to whoever counts and logs them, with the path but not its query.
    """
    seen = []
    service = service_of(checker, settings_of(unix))
    service.access.record = lambda decision, word, method, path: seen.append(
        (decision.cause, word, method, path)
    )

    async def run() -> None:
        async with answering(service) as send:
            for client in ("good", "revoked"):
                request = request_of(client)
                request.attributes.request.http.path = b"/hello?token=secret"
                await ask(send, request)

    asyncio.run(run())
    assert seen == [
        ("not_revoked", "allow", "GET", "/hello"),
        ("revoked", "deny", "GET", "/hello"),
    ]


def test_denial_in_json(checker: RevocationChecker, unix: Bind) -> None:
    """
    A client that prefers JSON gets it.
    """

    async def run() -> None:
        async with answering(service_of(checker, settings_of(unix))) as send:
            answer = await ask(send, request_of("revoked", accept="application/json"))
            assert '"revoked"' in answer.denied_response.body
            told = headers_in(answer.denied_response)
            assert told["Content-Type"] == "application/json"

    asyncio.run(run())


def test_without_certificate(checker: RevocationChecker, unix: Bind) -> None:
    """
    Where clients without a certificate pass, nobody does whose certificate Envoy keeps to
    itself, and nobody whose certificate cannot be read.
    """
    kept = request_of("good")
    kept.attributes.source.ClearField("certificate")
    broken = [request_of("good") for _ in range(6)]
    good = quote(PEM["good"], safe="").encode()
    for request, certificate in zip(
        broken,
        (good + good, PEM["good"].encode(), b"\xff\xfe", b"%00", good[:-40], b" "),
        strict=True,
    ):
        request.attributes.source.certificate = certificate

    async def run() -> None:
        service = service_of(checker, settings_of(unix), without_certificate="pass")
        async with answering(service) as send:
            assert (await ask(send, request_of(None))).status.code == _OK
            assert (await ask(send, CheckRequest())).status.code == _OK
            answer = await ask(send, kept)
            assert headers_in(answer.denied_response)[check.CAUSE] == "not_told"
            for request in broken:
                answer = await ask(send, request)
                cause = headers_in(answer.denied_response)[check.CAUSE]
                assert cause == "malformed_certificate"

    asyncio.run(run())


def test_headers_of_a_client_do_not_count(checker: RevocationChecker, unix: Bind) -> None:
    """
    The certificate is what Envoy says of the connection, whatever headers there are.
    """
    good = quote(PEM["good"], safe="")
    forged = {"x-client-certificate": good, "x-forwarded-client-cert": f'Cert="{good}"'}

    async def run() -> None:
        async with answering(service_of(checker, settings_of(unix))) as send:
            for client, cause in CAUSES.items():
                request = request_of(client, **forged)
                request.attributes.request.http.path = b"/\xff?" + b"a" * 100_000
                request.attributes.request.http.method = b"\xff"
                answer = await ask(send, request)
                part = answer.ok_response if client == "good" else answer.denied_response
                assert headers_in(part)[check.CAUSE] == cause

    asyncio.run(run())


def test_observed(checker: RevocationChecker, unix: Bind) -> None:
    """
    In observe-only mode all pass, and the headers say what would be denied.
    """

    async def run() -> None:
        async with answering(service_of(checker, settings_of(unix), observe=True)) as send:
            answer = await ask(send, request_of("revoked"))
            assert answer.status.code == _OK
            told = headers_in(answer.ok_response)
            assert (told[check.DECISION], told[check.CAUSE]) == ("observe", "revoked")

    asyncio.run(run())


@pytest.mark.parametrize("host", LOOPBACK)
def test_addresses(checker: RevocationChecker, host: str) -> None:
    """
    On a port a request counts from a proxy only.
    """
    bind = Bind(host=host, port=free_port())

    async def run() -> None:
        settings = settings_of(bind)
        for proxies, code in (
            (settings.trusted, _OK),
            ((host,), _OK),
            (("unix",), _DENIED),
            (("10.0.0.0/8", "fd00::/8"), _DENIED),
        ):
            async with answering(service_of(checker, settings, proxies=proxies)) as send:
                answer = await ask(send, request_of("good"))
                assert answer.status.code == code, proxies

    asyncio.run(run())


def test_failing_checks_deny(checker: RevocationChecker, unix: Bind) -> None:
    """
    A check that fails denies, and so does one that takes too long.
    """

    async def run() -> None:
        for error in FAILURES:
            with pytest.MonkeyPatch.context() as patched:
                let_checks_raise(checker, error, patched)
                async with answering(service_of(checker, settings_of(unix))) as send:
                    answer = await ask(send, request_of("good"))
                    assert headers_in(answer.denied_response)[check.CAUSE] == "error"
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(checker, "acheck", lambda _: asyncio.sleep(3600))
            settings = settings_of(unix, request_time=timedelta(milliseconds=50))
            async with answering(service_of(checker, settings)) as send:
                answer = await ask(send, request_of("good"))
                assert headers_in(answer.denied_response)[check.CAUSE] == "too_late"

    asyncio.run(run())


def test_bounds(checker: RevocationChecker, unix: Bind) -> None:
    """
    What is no request, or too large, or one more than are answered at once is an error, which
    Envoy takes for a no; and the next request is answered.
    """

    async def run() -> None:
        begun, may_end = asyncio.Semaphore(0), asyncio.Event()

        async def slow(_certificate: object) -> Any:
            begun.release()
            await may_end.wait()
            return checker.check(PEM["good"].encode())

        async with answering(service_of(checker, settings_of(unix, connections=2))) as send:
            for garbage in (b"\xff", b"\x0a\xff", b"\x0a\x02\x0a\x05"):
                with pytest.raises(grpc.aio.AioRpcError):
                    await send(garbage, timeout=30)
            large = request_of("good", cookie="a" * (1 << 20))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await ask(send, large)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(checker, "acheck", slow)
                under_way = [asyncio.create_task(ask(send, request_of("good"))) for _ in range(2)]
                for _ in under_way:
                    await begun.acquire()
                async with channel_to(unix) as other:
                    with pytest.raises(grpc.aio.AioRpcError) as raised:
                        await ask(other.unary_unary(f"/{SERVICE}/Check"), request_of("good"))
                assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                may_end.set()
                assert [one.status.code for one in await asyncio.gather(*under_way)] == [_OK, _OK]
            assert (await ask(send, request_of("good"))).status.code == _OK

    asyncio.run(run())


def test_silent_connections(checker: RevocationChecker, unix: Bind) -> None:
    """
    A connection over which nothing comes is closed in time.
    """

    async def run() -> None:
        settings = settings_of(unix, header_time=timedelta(milliseconds=200))
        server = await start(service_of(checker, settings), unix)
        silent = [await asyncio.open_unix_connection(unix.path) for _ in range(4)]
        closed = asyncio.gather(*(reader.read() for reader, _ in silent))
        await asyncio.wait_for(closed, timeout=30)
        for _, writer in silent:
            writer.close()
        await server.stop()

    asyncio.run(run())


def test_number_of_connections(checker: RevocationChecker, unix: Bind) -> None:
    """
    There are no more connections than the setting allows.
    """

    async def run() -> None:
        server = await start(service_of(checker, settings_of(unix, connections=2)), unix)
        codes = []
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                channel = await stack.enter_async_context(channel_to(unix))
                send = channel.unary_unary(f"/{SERVICE}/Check")
                try:
                    codes.append((await ask(send, request_of("good"))).status.code)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
        await server.stop()
        assert codes == [_OK, _OK, grpc.StatusCode.UNAVAILABLE]

    asyncio.run(run())


def test_pings(checker: RevocationChecker, unix: Bind) -> None:
    """
    A proxy that keeps its connection alive by pings is not cut off.
    """

    async def run() -> None:
        async with answering(service_of(checker, settings_of(unix))):
            reader, writer = await asyncio.open_unix_connection(unix.path)
            settings, ping = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0"
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
            for number in range(5):
                data = number.to_bytes(8)
                writer.write(ping + data)
                # Its acknowledgement, among other frames.
                await asyncio.wait_for(reader.readuntil(b"\6\1\0\0\0\0" + data), timeout=30)
                await asyncio.sleep(0.15)
            writer.close()

    asyncio.run(run())


def test_stop(checker: RevocationChecker, unix: Bind) -> None:
    """
    A request that is under way is answered, and none is taken any more.
    """

    async def run() -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(_certificate: object) -> Any:
            begun.set()
            await may_end.wait()
            return checker.check(PEM["good"].encode())

        server = await start(service_of(checker, settings_of(unix)), unix)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(checker, "acheck", slow)
            async with channel_to(unix) as channel:
                send = channel.unary_unary(f"/{SERVICE}/Check")
                under_way = asyncio.create_task(ask(send, request_of("good")))
                await begun.wait()
                stopping = asyncio.create_task(server.stop())
                await asyncio.sleep(0)
                may_end.set()
                assert (await under_way).status.code == _OK
                await stopping
            async with channel_to(unix) as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await ask(channel.unary_unary(f"/{SERVICE}/Check"), request_of("good"))

    asyncio.run(run())


def test_next_server_takes_the_socket(checker: RevocationChecker, unix: Bind) -> None:
    """
    The socket is for owner and group alone, and the next server's is there at once and stays
    when the one before ends.
    """
    path = Path(unix.path)

    async def run() -> None:
        first = await start(service_of(checker, settings_of(unix)), unix)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with answering(service_of(checker, settings_of(unix))) as send:
            await first.stop()
            del first
            assert (await ask(send, request_of("good"))).status.code == _OK
            async with channel_to(unix) as channel:
                other = channel.unary_unary(f"/{SERVICE}/Check")
                assert (await ask(other, request_of("good"))).status.code == _OK
        assert [one.name for one in path.parent.iterdir()] == [path.name]

    asyncio.run(run())


def test_settings(unix: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where it listens is one more place, from which proxies may connect.
    """
    port = Bind(host="127.0.0.1", port=9191)
    http = settings_of(unix).bind
    assert settings_of(unix).trusted == ("unix", "127.0.0.0/8", "::1")
    assert settings_of(unix, bind=Bind(path="/run/a")).trusted == ("unix",)
    assert settings_of(port).trusted == ("127.0.0.0/8", "::1")
    assert settings_of(unix, proxies=("10.0.0.1",)).trusted == ("10.0.0.1",)
    settings_of(unix, socket_group="adm")
    for bad, given, said in (
        (Bind(host="0.0.0.0", port=9191), {}, "CRLCHECK_ENVOY_GRPC is '0.0.0.0:9191'"),
        (http, {}, "expected two places"),
        (port, {"socket_group": "adm"}, "CRLCHECK_SOCKET_GROUP is 'adm'"),
    ):
        with pytest.raises(ValueError, match=said):
            settings_of(bad, **given)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"crlcheck\[envoy\]"):
        make_service(settings_of(unix))


def test_places(unix: Bind) -> None:
    """
    A place that somebody else listens at is refused before any worker starts, and nothing is
    left of a socket afterwards.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Bind(host="127.0.0.1", port=other.getsockname()[1])
        with pytest.raises(OSError, match="in use"), free_place(taken, None):
            pass
    path = Path(unix.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(unix.path)
        other.listen()
        with pytest.raises(FileExistsError, match="listens there"), free_place(unix, None):
            pass
    assert path.exists()  # of a service that has ended
    with free_place(unix, None):
        assert not path.exists()
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(unix.path)
    assert not path.exists()
    below = Bind(path=str(path.parent / "made" / "envoy.sock"))
    with free_place(below, None):
        assert stat.S_IMODE(Path(below.path).parent.stat().st_mode) == 0o750
    assert not Path(below.path).parent.exists()


async def codes_at(place: Bind) -> list[int]:
    """What a real service answers to eight clients, each over a connection of its own."""
    found = []
    for client in ("good", "revoked") * 4:
        request = CheckRequest()
        request.attributes.source.certificate = escaped(client).encode()
        async with channel_to(place) as channel:
            answer = await ask(channel.unary_unary(f"/{SERVICE}/Check"), request)
            found.append(answer.status.code)
    return found


@pytest.mark.uninstrumented
def test_all_workers_answer_on_a_port(tmp_path: Path) -> None:
    """
    Each connection to the port of a real service is answered, also when its workers are
    replaced.
    """
    publish(tmp_path / "published", PKI.crl())
    place = Bind(host="127.0.0.1", port=free_port())
    with serving(
        tmp_path / "published",
        tmp_path,
        proxies="unix,127.0.0.1",
        workers="2",
        envoy_grpc=place,
    ) as service:
        wait_until(lambda: len(service.workers()) == 2 and listens(place.port), service)
        assert asyncio.run(codes_at(place)) == [_OK, _DENIED] * 4
        old = set(service.workers())
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not old & set(service.workers()), service)
        assert asyncio.run(codes_at(place)) == [_OK, _DENIED] * 4
        assert service.stop() == 0


@pytest.mark.uninstrumented
def test_another_worker_takes_the_socket(tmp_path: Path) -> None:
    """
    Where the worker ends that has the Unix socket, another has it, and so on; at the end there
    is none.
    """
    publish(tmp_path / "published", PKI.crl())
    place = Bind(path=str(tmp_path / "socket" / "envoy.sock"))
    path = Path(place.path)
    with serving(tmp_path / "published", tmp_path, workers="2", envoy_grpc=place) as service:
        for _ in range(2):
            wait_until(lambda: len(service.workers()) == 2 and listens(path), service)
            wait_until(lambda: len(own_sockets(path)) == 1, service)
            (waits,) = own_sockets(path)
            (has_it,) = (one for one in service.workers() if own_path(place, one) != waits)
            os.kill(has_it, signal.SIGKILL)
            wait_until(lambda waits=waits: waits not in own_sockets(path), service)
            assert asyncio.run(codes_at(place)) == [_OK, _DENIED] * 4
        wait_until(lambda: len(own_sockets(path)) == 1, service)
        (waits,) = own_sockets(path)
        os.kill(int(waits.name.removeprefix(".")), signal.SIGKILL)
        wait_until(lambda: waits not in own_sockets(path), service)
        assert asyncio.run(codes_at(place)) == [_OK, _DENIED] * 4
        assert service.stop() == 0
    assert not path.exists()


def own_sockets(path: Path) -> list[Path]:
    """The sockets of workers that wait for the place of *path*."""
    return [one for one in path.parent.iterdir() if one.name.startswith(".")]
