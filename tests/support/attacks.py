"""Servers that never stop sending a little, or a lot, at every place of an HTTP answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKED = STATUS + b"Transfer-Encoding: chunked\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 100000\r\n\r\n"

Attack = tuple[bytes, bytes, float]
"""What is sent first, what is sent again and again after it, and the pause between."""

ATTACKS: dict[str, Attack] = {
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "continue, fast": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0),
    "continue with headers": (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100, 0),
    "status line": (b"HTTP/1.1 200 ", b"O", 0.02),
    "header": (STATUS + b"X: ", b"a", 0.02),
    "headers": (STATUS, b"X: y\r\n", 0.02),
    "chunk size": (CHUNKED, b"0", 0.02),
    "chunk extension": (CHUNKED + b"5;", b"x", 0.02),
    "chunks": (CHUNKED, b"1\r\nx\r\n", 0.02),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n", 0.02),
    "trailers, fast": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n" * 1000, 0),
    "body": (STATUS + b"Content-Length: 100000\r\n\r\n", b"x", 0.02),
    "body without length": (STATUS + b"\r\n", b"x", 0.02),
    "error body": (b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n", b"x", 0.02),
    "redirects": (REDIRECT, b"x", 0.02),
    "silence": (b"", b"", 0.02),
}


@contextlib.contextmanager
def attacking(attack: Attack, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on this machine that answers so, its port given; with *context* by TLS."""
    first, again, pause = attack
    stop = threading.Event()

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            secured = connection
            if context is not None:
                secured = context.wrap_socket(connection, server_side=True)
            with secured:
                secured.settimeout(20)
                secured.recv(1 << 16)
                secured.sendall(first)
                while not stop.wait(pause):
                    secured.sendall(again)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        stop.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def seconds_of(call: Callable[[], object]) -> float:
    """How long *call* takes."""
    start = time.monotonic()
    call()
    return time.monotonic() - start
