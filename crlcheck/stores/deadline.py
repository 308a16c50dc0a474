"""
Open TCP and TLS connections that keep one deadline over all their calls.

A socket's own timeout begins again with every byte that comes. So a server could keep a
reader waiting for ever, with an endless header, with "100 Continue" answers or with
trailers. Here the timeout is set before each call to the time that is left.
"""

from __future__ import annotations

import functools
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    _Socket = socket.socket
else:
    _Socket = object  # a plain or a TLS socket comes beside it


class _Timed(_Socket):
    """Set the timeout to the time that is left, before each call of the class beside it."""

    deadline: float = math.inf
    silence: float = math.inf

    def recv(self, *arguments: Any) -> bytes:
        """As ``socket.recv``."""
        _set_timeout(self)
        return super().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        """As ``socket.recv_into``, which http.client uses."""
        _set_timeout(self)
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        """As ``socket.send``."""
        _set_timeout(self)
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """As ``socket.sendall``."""
        _set_timeout(self)
        return super().sendall(*arguments)


class TimedSocket(_Timed, socket.socket):
    """
    A connection whose calls end at ``deadline``, a time of the monotonic clock, and
    after ``silence`` seconds without a byte, with TimeoutError.
    """


def resolve(host: str, port: int, deadline: float) -> list[str]:
    """
    Return the addresses of *host*, each once.

    Raises:
        OSError: it has none; TimeoutError where that is not known by *deadline*.
        UnicodeError: it can be no name.
    """
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    # The system's resolver takes no time limit, and cannot be stopped.
    thread = threading.Thread(target=look_up, name="crlcheck-resolve", daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if not found:
        raise TimeoutError("timed out")
    if isinstance(found[0], Exception):
        raise found[0]
    return list(dict.fromkeys(str(one[4][0]) for one in found[0]))


def connect(
    address: str, port: int, *, deadline: float, seconds: float, silence: float = math.inf
) -> TimedSocket:
    """
    Connect to an address (no name), within *seconds* and before *deadline*.

    Raises:
        OSError: nobody takes the connection; TimeoutError where nobody does in time.
    """
    plain = socket.create_connection((address, port), min(_left(deadline), seconds))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    timed = TimedSocket(fileno=plain.detach())
    timed.deadline, timed.silence = deadline, silence
    return timed


def secure(
    connected: TimedSocket, context: ssl.SSLContext, host: str, *, seconds: float
) -> TimedSocket:
    """
    Return the connection under TLS, once its certificate is that of *host*.

    Raises:
        OSError: the handshake failed; TimeoutError where it took more than *seconds*.
    """
    context.sslsocket_class = _timed_tls_socket()
    try:
        # The handshake as a whole keeps the timeout that is set here.
        connected.settimeout(min(_left(connected.deadline), seconds))
        wrapped: Any = context.wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise
    wrapped.deadline, wrapped.silence = connected.deadline, connected.silence
    timed: TimedSocket = wrapped
    return timed


@functools.cache
def _timed_tls_socket() -> type[ssl.SSLSocket]:
    import ssl

    class TimedTlsSocket(_Timed, ssl.SSLSocket):
        """As TimedSocket."""

    return TimedTlsSocket


def _set_timeout(timed: Any) -> None:
    left = min(_left(timed.deadline), timed.silence)
    timed.settimeout(None if math.isinf(left) else left)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
