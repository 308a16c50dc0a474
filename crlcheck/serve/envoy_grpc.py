"""
Answer Envoy's external authorization over gRPC (``envoy.service.auth.v3``; extra ``[envoy]``).

The certificate is what Envoy says of the connection (``include_peer_certificate: true``), which
no header of a client can change. An answer is never left empty: Envoy takes an empty one for
a yes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import grpc

from crlcheck.access import Decision, UnclearRequestError, prefers_json
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.errors import CertificateHeaderError
from crlcheck.serve import check
from crlcheck.serve.envoy import SPELLINGS
from crlcheck.serve.envoy_messages import OVERWRITE, CheckRequest, CheckResponse
from crlcheck.serve.http import Response
from crlcheck.serve.service import Service
from crlcheck.serve.settings import Bind
from crlcheck.serve.sockets import give_mode, own_path
from crlcheck.x509.headers import certificate_from_header

SERVICE = "envoy.service.auth.v3.Authorization"

_OK, _PERMISSION_DENIED = 0, 7  # google.rpc.Code
# Envoy sends the headers of a request, 60 KiB at most by its default, and the certificate.
_LARGEST_MESSAGE = 1 << 20
_LONGEST_PATH = 1000
_MILLISECOND = timedelta(milliseconds=1)
_LEAST_PING_INTERVAL = 100  # milliseconds
# ipv4:127.0.0.1:4711, ipv6:%5B::1%5D:4711, unix:
_PEER = re.compile(r"ipv[46]:(?:%5B|\[)?([0-9a-fA-F.:]+?)(?:%[^:\]]*)?(?:%5D|\])?:\d+")


class Authorization:
    """Decides on requests by the certificate that Envoy tells, and answers in its messages."""

    def __init__(self, service: Service) -> None:
        self._access = service.access
        self._seconds = service.settings.request_time.total_seconds()

    async def answer(self, request: Any, context: Any) -> Any:
        """Answer one CheckRequest by a CheckResponse."""
        http = request.attributes.request.http
        try:
            async with asyncio.timeout(self._seconds):
                decision = await self._access.adecide(
                    lambda: self._certificate(request.attributes.source, context.peer())
                )
        except TimeoutError:
            decision = dataclasses.replace(check.TOO_LATE, seconds=self._seconds)
        # A query may have what is nobody's business, so no log gets it.
        path = http.path[:_LONGEST_PATH].partition(b"?")[0]
        passes = self._access.passes(decision, _text(http.method), _text(path))
        if passes:
            return _passing(decision)
        accept = [header.value for header in http.headers if header.key == b"accept"]
        return _denying(check.response_of(decision, passes=False, as_json=prefers_json(accept)))

    def _certificate(self, source: Any, peer: str) -> bytes | None:
        self._access.demand_proxy(_host(peer))
        if source.certificate:
            try:
                # What nginx writes into a header is URL-encoded PEM too.
                (found,) = certificate_from_header(source.certificate, form=HeaderForm.NGINX)
            except CertificateHeaderError as error:
                raise UnclearRequestError(
                    "malformed_certificate", f"attributes.source.certificate of Envoy: {error}"
                ) from None
            return found.der
        if source.principal:
            raise UnclearRequestError(
                "not_told",
                "Envoy tells the client's name alone: set include_peer_certificate: true",
            )
        return None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _host(peer: str) -> str:
    """Return the address in what gRPC tells of whoever connected, empty for a Unix socket."""
    if peer.startswith("unix:"):
        return ""
    match = _PEER.fullmatch(peer)
    return peer if match is None else match[1]


def _passing(decision: Decision) -> Any:
    answer = CheckResponse()
    answer.status.code = _OK
    told = dict(check.headers_of(decision, passes=True))
    _add_headers(answer.ok_response, told.items())
    set_here = {name.lower() for name in told}
    # Envoy removes after it sets.
    answer.ok_response.headers_to_remove.extend(one for one in SPELLINGS if one not in set_here)
    return answer


def _denying(response: Response) -> Any:
    answer = CheckResponse()
    answer.status.code = _PERMISSION_DENIED
    answer.denied_response.status.code = response.status
    _add_headers(answer.denied_response, response.headers)
    answer.denied_response.body = response.body.decode()
    return answer


def _add_headers(part: Any, headers: Any) -> None:
    for name, value in headers:
        part.headers.add(header={"key": name, "value": value}, append_action=OVERWRITE)


class EnvoyServer:
    """
    The gRPC server of one worker.

    gRPC opens its sockets itself. A port is shared by all workers (``SO_REUSEPORT``). A Unix
    socket is that of one: the supervisor puts it in its place, and the next one's when that
    worker ends.
    """

    def __init__(self, service: Service, bind: Bind) -> None:
        settings = service.settings
        self._bind = bind
        self._group = settings.socket_group
        self._seconds = settings.stop_time.total_seconds()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=settings.connections,
            options=[
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                ("grpc.max_concurrent_streams", settings.connections),
                ("grpc.max_allowed_incoming_connections", settings.connections),
                ("grpc.server_handshake_timeout_ms", int(settings.header_time / _MILLISECOND)),
                # Else a proxy that keeps its connection alive by pings is cut off.
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_INTERVAL),
                ("grpc.so_reuseport", 1),
            ],
        )
        handler = grpc.unary_unary_rpc_method_handler(
            Authorization(service).answer,
            request_deserializer=CheckRequest.FromString,
            response_serializer=CheckResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Check": handler}),)
        )

    async def start(self) -> None:
        """
        Listen, and answer from now on: at a port, or at the own path of this worker.

        Raises:
            RuntimeError, OSError: it cannot listen there.
        """
        if self._bind.path:
            # gRPC removes what is at the path where it begins to listen, and when it ends.
            # So that is never the path at which clients look.
            own = own_path(self._bind, os.getpid())
            self._server.add_insecure_port(f"unix:{quote(os.fspath(own))}")
            give_mode(own, self._group)
        else:
            self._server.add_insecure_port(str(self._bind))
        await self._server.start()

    async def stop(self) -> None:
        """Take no more requests, and end when those under way are answered or time is up."""
        await self._server.stop(self._seconds)
