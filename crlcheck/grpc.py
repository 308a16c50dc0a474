"""
Let a gRPC server answer only clients whose certificate is not revoked.

``RevocationInterceptor`` is for ``grpc.server``, ``AioRevocationInterceptor`` for
``grpc.aio.server``. Both need the extra ``grpc``. docs/guides/python-servers.md has a recipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import re
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, NoReturn, TypeAlias, TypeVar, Unpack

try:
    import grpc
    import grpc.aio
except ImportError as error:
    raise ImportError(
        f"crlcheck.grpc needs grpcio ({error}): pip install 'crlcheck[grpc]'", name=error.name
    ) from error

from crlcheck.access import (
    RECHECK_AFTER,
    UNCHECKED,
    Access,
    AccessSettings,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    WithoutCertificate,
    read_recheck,
)
from crlcheck.checker.checker import RevocationChecker

__all__ = [
    "AccessSettings",
    "AioRevocationInterceptor",
    "Decision",
    "RevocationInterceptor",
    "VerifiedBy",
    "WithoutCertificate",
    "current_decision",
]

# grpc.ServicerContext, grpc.aio.ServicerContext, or what a server of grpc.aio gives to a
# handler without async.
_Context: TypeAlias = Any
_Behavior: TypeAlias = Callable[[Any, _Context], Any]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Details: TypeAlias = grpc.HandlerCallDetails
_T = TypeVar("_T")

# What a client learns of a denial. Why is in the log alone.
_DENIED = grpc.StatusCode.PERMISSION_DENIED
_DETAILS = "Forbidden"
# How the log calls the kind of a request.
_KIND = "gRPC"

IDLE_SECONDS = 5.0
"""How long an RPC of ``grpc.server`` that is due may neither send nor receive."""

_METHOD = re.compile(r"/[^/]+/[^/]+")
# context.peer() of a TCP connection; the brackets of IPv6 may be escaped.
_PEER = re.compile(r"(?:ipv4:([0-9.]+)|ipv6:\[([^\]]+)\]):[0-9]+")

_DECISION: ContextVar[Decision] = ContextVar("crlcheck.decision")


def current_decision() -> Decision:
    """
    Return the decision about the RPC whose handler calls this.

    It is a context variable: threads that a handler starts by itself do not have it.

    Raises:
        LookupError: no handler calls this, or one without an interceptor.
    """
    return _DECISION.get()


class _Rules:
    """What both interceptors know: where the certificate is, and when to check it again."""

    def __init__(
        self,
        checker: RevocationChecker,
        *,
        unchecked_methods: Iterable[str] = (),
        recheck_after: timedelta | None = RECHECK_AFTER,
        **settings: Unpack[AccessSettings],
    ) -> None:
        if isinstance(unchecked_methods, str):
            raise TypeError(
                "unchecked_methods: found one str, expected several, such as "
                f"({unchecked_methods!r},)"
            )
        if unknown := settings.keys() - AccessSettings.__annotations__.keys():
            raise TypeError(f"unexpected settings: {', '.join(sorted(unknown))}")
        self._unchecked = frozenset(map(_read_method, unchecked_methods))
        self._every = read_recheck(recheck_after)
        self._access = Access(checker, **settings)
        self._endings: set[asyncio.Future[None]] = set()

    def _certificate_of(self, context: _Context) -> bytes | None:
        if self._access.verified_by is VerifiedBy.SERVER:
            return _from_tls(context.auth_context())
        self._access.demand_proxy(_host_of(context.peer()))
        return self._access.from_headers(context.invocation_metadata() or ())

    def _wrapped(self, handler: _Handler, details: _Details) -> _Handler:
        """Return a handler of the same kind that is called only if the RPC passes."""
        kind = (handler.request_streaming, handler.response_streaming)
        attribute, make = _KINDS[kind]
        behavior = self._guarded(getattr(handler, attribute), details.method, *kind)
        made: _Handler = make(
            behavior,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return made

    def _guarded(
        self, behavior: _Behavior, method: str, has_requests: bool, has_responses: bool
    ) -> _Behavior:
        """Return what checks an RPC before *behavior*, which has no async."""

        @contextlib.contextmanager
        def admitted(context: _Context) -> Iterator[_OpenRpc]:
            decision = UNCHECKED
            if method not in self._unchecked:
                decision = self._access.decide(lambda: self._certificate_of(context))
            if not self._access.passes(decision, _KIND, method):
                _abort(context)
            is_stream = has_requests or has_responses
            with _told(decision), self._open(context, method, decision, is_stream) as rpc:
                yield rpc

        @functools.wraps(behavior)
        def one(request: Any, context: _Context) -> Any:
            with admitted(context) as rpc:
                response = behavior(rpc.checked(request) if has_requests else request, context)
                rpc.demand()
                return response

        @functools.wraps(behavior)
        def several(request: Any, context: _Context) -> Iterator[Any]:
            with admitted(context) as rpc:
                responses = behavior(rpc.checked(request) if has_requests else request, context)
                try:
                    yield from rpc.checked(responses)
                finally:
                    # At once: the error that ends an RPC keeps a generator alive.
                    if hasattr(responses, "close"):
                        responses.close()

        return several if has_responses else one

    @contextlib.contextmanager
    def _open(
        self, context: _Context, method: str, decision: Decision, is_stream: bool
    ) -> Iterator[_OpenRpc]:
        certificate, every = decision.certificate, self._every
        if certificate is None or every is None:
            yield _OpenRpc(context)
            return

        def passes() -> bool:
            again = self._access.decide(lambda: certificate)
            return self._access.passes(again, _KIND, method)

        rpc = _OpenRpc(context, passes, every.total_seconds())
        if not is_stream:
            yield rpc
            return
        _WATCH.add(rpc)
        try:
            yield rpc
        finally:
            _WATCH.remove(rpc)


class RevocationInterceptor(_Rules, grpc.ServerInterceptor):
    """
    An interceptor of ``grpc.server`` that passes on RPCs with a certificate that is not revoked.

    Any other RPC ends with PERMISSION_DENIED, before its handler is called. One that is open
    for long is checked again when it sends or receives a message, and ends in the same way.
    Where it does neither, it is checked five seconds later, and its client sees CANCELLED. A
    handler finds the ``Decision`` by ``current_decision()``. The reason for a denial is
    logged, by the logger ``crlcheck.access``.

    Of several interceptors it should be the first one: those before it see RPCs that are not
    checked. Those behind it see the method and the metadata before the check too, because
    gRPC asks all of them for a handler before it tells any of the connection.

    Args:
        checker: the checker, of whatever settings.
        unchecked_methods: whole names of methods that pass unchecked, such as
            ``"/grpc.health.v1.Health/Check"``.
        recheck_after: how long after a check an open RPC is checked again. None for never.
        settings: those of ``AccessSettings``. ``verified_by`` has no default: ``"server"`` is
            gRPC's own TLS, with ``require_client_auth=True``; ``"proxy"`` is metadata that
            a proxy sets.
    """

    def intercept_service(
        self, continuation: Callable[[_Details], _Handler | None], handler_call_details: _Details
    ) -> _Handler | None:
        """Return the handler of an RPC, guarded; None where the server has none."""
        handler = continuation(handler_call_details)
        return None if handler is None else self._wrapped(handler, handler_call_details)


class AioRevocationInterceptor(_Rules, grpc.aio.ServerInterceptor):
    """
    As ``RevocationInterceptor``, for ``grpc.aio.server``.

    An open RPC that streams is checked again whether it sends anything or not. When it is
    denied its handler is cancelled, as where the client has gone. A check that asks the store
    waits in a thread, and the loop goes on.
    """

    async def intercept_service(
        self,
        continuation: Callable[[_Details], Awaitable[_Handler | None]],
        handler_call_details: _Details,
    ) -> _Handler | None:
        """Return the handler of an RPC, guarded; None where the server has none."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self._wrapped(handler, handler_call_details)

    def _guarded(
        self, behavior: _Behavior, method: str, has_requests: bool, has_responses: bool
    ) -> _Behavior:
        # As the server tells the kinds apart: it calls all others in threads, without async.
        if inspect.isasyncgenfunction(behavior):

            @functools.wraps(behavior)
            async def several(request: Any, context: _Context) -> AsyncIterator[Any]:
                async with (
                    self._admitted(context, method, is_watched=True),
                    contextlib.aclosing(behavior(request, context)) as responses,
                ):
                    async for response in responses:
                        yield response

            return several
        if inspect.iscoroutinefunction(behavior):
            is_stream = has_requests or has_responses

            @functools.wraps(behavior)
            async def one(request: Any, context: _Context) -> Any:
                async with self._admitted(context, method, is_watched=is_stream):
                    return await behavior(request, context)

            return one
        return super()._guarded(behavior, method, has_requests, has_responses)

    @contextlib.asynccontextmanager
    async def _admitted(
        self, context: _Context, method: str, *, is_watched: bool
    ) -> AsyncIterator[None]:
        decision = UNCHECKED
        if method not in self._unchecked:
            decision = await self._access.adecide(lambda: self._certificate_of(context))
        if not self._access.passes(decision, _KIND, method):
            await context.abort(_DENIED, _DETAILS)
            raise RuntimeError(_NOT_ABORTED)
        with _told(decision):
            certificate, every = decision.certificate, self._every
            if certificate is None or every is None:
                yield
                return
            if not is_watched:
                due = time.monotonic() + every.total_seconds()
                yield
                if time.monotonic() >= due:
                    again = await self._access.adecide(lambda: certificate)
                    if not self._access.passes(again, _KIND, method):
                        await context.abort(_DENIED, _DETAILS)
                        raise RuntimeError(_NOT_ABORTED)
                return
            handler = asyncio.current_task()
            assert handler is not None

            async def watch() -> None:
                await self._access.until_denied(certificate, every, _KIND, method)
                # From its first step on the handler can neither read nor write. It is a task
                # of its own because a client that reads nothing holds up its end.
                ending = asyncio.ensure_future(context.abort(_DENIED, _DETAILS))
                self._endings.add(ending)
                ending.add_done_callback(self._has_ended)
                await asyncio.sleep(0)
                handler.cancel()

            watching = asyncio.ensure_future(watch())
            try:
                yield
            finally:
                watching.cancel()

    def _has_ended(self, ending: asyncio.Future[None]) -> None:
        self._endings.discard(ending)
        if not ending.cancelled():
            ending.exception()  # that of every abort, or that the client has gone


class _OpenRpc:
    """An RPC whose handler has been called, and when it is to be checked again."""

    def __init__(
        self,
        context: _Context,
        passes: Callable[[], bool] = lambda: True,
        every: float = float("inf"),
    ) -> None:
        self._context = context
        self._passes = passes
        self._every = every
        self._due = time.monotonic() + every
        self._is_denied = False
        self._ending: Exception | None = None
        self._lock = threading.Lock()

    @property
    def late(self) -> float:
        """When it should be checked although it sends and receives nothing."""
        return self._due + IDLE_SECONDS

    def checked(self, messages: Iterable[_T]) -> Iterator[_T]:
        """Yield *messages* for as long as the RPC passes."""
        for message in messages:
            self.demand()
            yield message

    def demand(self) -> None:
        """End the handler if the RPC does not pass any more."""
        if self._is_denied_now():
            if self._ending is not None:  # grpc.aio wants to see what it raised
                raise self._ending
            _abort(self._context)

    def end_if_denied(self) -> bool:
        """End the RPC, whatever its handler does, if it does not pass any more."""
        if not self._is_denied_now():
            return False
        # In grpc.server it is cancel that works from any thread; in grpc.aio, whose context
        # for handlers without async has no such method, abort.
        cancel = getattr(self._context, "cancel", None)
        try:
            _abort(self._context) if cancel is None else cancel()
        except Exception as error:  # noqa: BLE001 - that of every abort, or of an RPC that is over
            self._ending = error
        return True

    def _is_denied_now(self) -> bool:
        if not self._is_denied and time.monotonic() < self._due:
            return False
        with self._lock:
            if not self._is_denied and time.monotonic() >= self._due:
                self._is_denied = not self._passes()
                self._due = time.monotonic() + self._every
            return self._is_denied


class _Watch:
    """Checks open RPCs whose handlers send and receive nothing."""

    def __init__(self) -> None:
        self._rpcs: set[_OpenRpc] = set()
        self._until = float("inf")  # when the thread looks again by itself
        self._checked: set[_OpenRpc] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def add(self, rpc: _OpenRpc) -> None:
        """Watch an RPC."""
        with self._changed:
            self._rpcs.add(rpc)
            if rpc.late < self._until:
                self._changed.notify()
            # After a fork there is no thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="crlcheck-grpc-watch", daemon=True
                )
                self._thread.start()

    def remove(self, rpc: _OpenRpc) -> None:
        """Leave an RPC alone that has ended."""
        with self._changed:
            self._rpcs.discard(rpc)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                waiting = self._rpcs - self._checked
                late = {rpc for rpc in waiting if rpc.late <= now}
                if not late:
                    self._until = min((rpc.late for rpc in waiting), default=float("inf"))
                    self._changed.wait(None if self._until == float("inf") else self._until - now)
                    continue
                self._checked |= late
            for rpc in late:
                # A check may wait for the store, and must not hold up the others.
                threading.Thread(target=self._check, args=[rpc], daemon=True).start()

    def _check(self, rpc: _OpenRpc) -> None:
        has_ended = rpc.end_if_denied()
        with self._changed:
            self._checked.discard(rpc)
            if has_ended:
                self._rpcs.discard(rpc)
            self._changed.notify()


_WATCH = _Watch()

_NOT_ABORTED = "the context of an RPC did not end it: abort must raise"


def _abort(context: _Context) -> NoReturn:
    context.abort(_DENIED, _DETAILS)
    raise RuntimeError(_NOT_ABORTED)


_KINDS: Mapping[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


@contextlib.contextmanager
def _told(decision: Decision) -> Iterator[None]:
    """Let ``current_decision`` return *decision*."""
    token = _DECISION.set(decision)
    try:
        yield
    finally:
        # A generator that was dropped may end elsewhere, where nothing was set.
        with contextlib.suppress(ValueError):
            _DECISION.reset(token)


def _from_tls(tls: Mapping[str, Iterable[bytes]]) -> bytes | None:
    """Return the client's certificate in what gRPC says of TLS; None where there is none."""
    if list(tls.get("transport_security_type") or ()) != [b"ssl"]:
        raise UnclearRequestError("not_told", "the connection has no TLS")
    found = list(tls.get("x509_pem_cert") or ())
    if len(found) > 1:
        raise UnclearRequestError("not_told", f"the server tells {len(found)} certificates")
    return found[0] if found else None


def _host_of(peer: str) -> str | None:
    """Return the address in ``context.peer()``, None for a Unix socket."""
    if peer.startswith(("unix:", "unix-abstract:")):
        return None
    found = _PEER.fullmatch(urllib.parse.unquote(peer))
    return (found[1] or found[2]) if found is not None else peer or "somebody"


def _read_method(name: str) -> str:
    if _METHOD.fullmatch(name) is None:
        raise ValueError(
            f"unchecked_methods: found {name!r}, expected a whole name, such as "
            "'/grpc.health.v1.Health/Check'"
        )
    return name
