"""gRPC servers with an interceptor and four methods, and their clients."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from crlcheck.checker.checker import RevocationChecker
from crlcheck.grpc import AioRevocationInterceptor, RevocationInterceptor, current_decision

SERVERS = ("sync", "aio", "aio-plain")
"""``aio-plain`` is ``grpc.aio`` with handlers that have no async, which it calls in threads."""
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
PATIENCE = 30.0


def told() -> bytes:
    """What a handler knows of the decision."""
    return current_decision().cause.encode()


class Handlers:
    """
    Handlers of the sync server. A request ``long`` lets them answer for ever, ``idle`` lets
    them wait, and ``slow`` until they may answer.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.ended = threading.Event()
        self.may_answer = threading.Event()
        self.server_stops = threading.Event()

    def unary_unary(self, request: bytes, _context: Any) -> bytes:
        """Answer once."""
        self.seen.append(request)
        if request == b"slow":
            self.may_answer.wait(PATIENCE)
        return told()

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Answer once, or for ever."""
        self.seen.append(request)
        try:
            yield told()
            while request == b"long" and not self.server_stops.wait(0.02):
                yield told()
            while request == b"idle" and context.is_active() and not self.server_stops.wait(0.01):
                pass
        finally:
            self.ended.set()

    def stream_unary(self, requests: Any, _context: Any) -> bytes:
        """Read to the end."""
        try:
            self.seen.extend(requests)
            return told()
        finally:
            self.ended.set()

    def stream_stream(self, requests: Any, _context: Any) -> Any:
        """Answer each request."""
        try:
            for request in requests:
                self.seen.append(request)
                yield told()
        finally:
            self.ended.set()


class AioHandlers(Handlers):
    """The same for ``grpc.aio``."""

    async def unary_unary(self, request: bytes, _context: Any) -> bytes:  # type: ignore[override]
        """Answer once."""
        self.seen.append(request)
        if request == b"slow":
            await asyncio.to_thread(self.may_answer.wait, PATIENCE)
        return told()

    async def unary_stream(  # type: ignore[override]
        self, request: bytes, _context: Any
    ) -> AsyncIterator[bytes]:
        """Answer once, or for ever."""
        self.seen.append(request)
        try:
            yield told()
            while request == b"long":
                await asyncio.sleep(0.02)
                yield told()
            if request == b"idle":
                await asyncio.sleep(PATIENCE)
        finally:
            self.ended.set()

    async def stream_unary(self, requests: Any, _context: Any) -> bytes:  # type: ignore[override]
        """Read to the end."""
        try:
            async for request in requests:
                self.seen.append(request)
            return told()
        finally:
            self.ended.set()

    async def stream_stream(self, _requests: Any, context: Any) -> None:
        """Answer each request, by reading and writing."""
        try:
            while (request := await context.read()) != grpc.aio.EOF:
                self.seen.append(request)
                await context.write(told())
        finally:
            self.ended.set()


def methods_of(handlers: Handlers) -> Any:
    """The service ``test.Service``, whose methods are called as their kinds."""
    made = {
        kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(handlers, kind)) for kind in KINDS
    }
    return grpc.method_handlers_generic_handler("test.Service", made)


@contextlib.contextmanager
def serving(
    kind: str,
    checker: RevocationChecker,
    address: str,
    credentials: Any = None,
    **settings: Any,
) -> Iterator[tuple[str, Handlers]]:
    """Serve, with TLS where there are credentials; yield the target and the handlers."""

    def add_port(server: Any) -> str:
        port = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
        return address if address.startswith("unix:") else f"localhost:{port}"

    if kind == "sync":
        handlers = Handlers()
        with ThreadPoolExecutor(8) as threads:
            server = grpc.server(threads, interceptors=[RevocationInterceptor(checker, **settings)])
            server.add_generic_rpc_handlers([methods_of(handlers)])
            target = add_port(server)
            server.start()
            try:
                yield target, handlers
            finally:
                handlers.server_stops.set()
                server.stop(None).wait(PATIENCE)
        return
    handlers = AioHandlers() if kind == "aio" else Handlers()
    with running_loop() as run:

        async def start() -> tuple[Any, str]:
            interceptor = AioRevocationInterceptor(checker, **settings)
            server = grpc.aio.server(interceptors=[interceptor])
            server.add_generic_rpc_handlers([methods_of(handlers)])
            target = add_port(server)
            await server.start()
            return server, target

        server, target = run(start())
        try:
            yield target, handlers
        finally:
            handlers.server_stops.set()
            run(server.stop(None))


@contextlib.contextmanager
def running_loop() -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Run an event loop in a thread; yield what lets it run a coroutine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)

    async def end_tasks() -> None:
        """End what a server that has stopped still unwinds, as ``asyncio.run`` does."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield run
    finally:
        run(end_tasks())
        run(loop.shutdown_asyncgens())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


def server_credentials(directory: Path, *, demands: bool = True) -> Any:
    """TLS that demands and verifies client certificates, or asks for none."""
    pair = [((directory / "server.key").read_bytes(), (directory / "server.pem").read_bytes())]
    clients = (directory / "clients.pem").read_bytes() if demands else None
    return grpc.ssl_server_credentials(pair, clients, demands)


def client_credentials(directory: Path, client: str | None) -> Any:
    """TLS of a client."""
    own: list[bytes] = []
    if client is not None:
        own = [(directory / f"{client}.{end}").read_bytes() for end in ("key", "pem")]
    return grpc.ssl_channel_credentials((directory / "server.pem").read_bytes(), *own)


def ask(channel: Any, kind: str, requests: Any, metadata: Any = ()) -> list[bytes]:
    """Return the answers of an RPC."""
    method = getattr(channel, kind)(f"/test.Service/{kind}")
    request = iter(requests) if kind.startswith("stream") else requests[0]
    answer = method(request, metadata=metadata, timeout=PATIENCE)
    return list(answer) if kind.endswith("stream") else [answer]


def code_of(
    channel: Any, kind: str, requests: Any = (b"1",), metadata: Any = ()
) -> tuple[str, str | None]:
    """Return the name of the status of an RPC, and its details; OK and the first answer."""
    try:
        return "OK", ask(channel, kind, requests, metadata)[0].decode()
    except grpc.RpcError as error:
        return error.code().name, error.details()
