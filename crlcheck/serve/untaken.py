"""
End connections whose client does not take what it is sent.

Granian bounds the time in which headers come, and in which a connection is idle. A client that
sends requests and reads no answer is neither: its connection stays for ever, and some hundred
of them keep out everybody else. So what waits to be sent is looked at from time to time. Where
something has been waiting at each look for as long as headers may take, the connection is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import termios
import time

# In the time that a client has, it is looked at so often.
_NUM_LOOKS = 4


class Untaken:
    """
    The connections to *listener* on which something waits to be sent, for *seconds* at most.
    """

    def __init__(self, listener: socket.socket, seconds: float) -> None:
        self._address = listener.getsockname()
        self._seconds = seconds
        self._since: dict[tuple[int, int], float] = {}

    async def keep_ending(self) -> None:
        """End connections from time to time."""
        while True:
            await asyncio.sleep(self._seconds / _NUM_LOOKS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Note where something waits, and end the connections on which it did for too long."""
        found: dict[tuple[int, int], float] = {}
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - descriptors, not files
            # One of them may be closed by now: another thread has them.
            with contextlib.suppress(OSError):
                if _waits(int(name)):
                    with _opened(int(name)) as connection:
                        self._judge(connection, now, found)
        self._since = found

    def _judge(
        self, connection: socket.socket, now: float, found: dict[tuple[int, int], float]
    ) -> None:
        if not self._is_ours(connection) or not _waits(connection.fileno()):
            return
        status = os.fstat(connection.fileno())
        identity = status.st_dev, status.st_ino
        since = found[identity] = self._since.get(identity, now)
        if now - since >= self._seconds:
            connection.shutdown(socket.SHUT_RDWR)

    def _is_ours(self, connection: socket.socket) -> bool:
        """Whether it was accepted from the listener."""
        own = connection.getsockname()
        # Of an address the port tells: a listener may have any of the machine's addresses.
        return bool(own[1] == self._address[1] if isinstance(own, tuple) else own == self._address)


def _opened(descriptor: int) -> socket.socket:
    """
    Return what a descriptor leads to, as a socket of its own.

    Raises:
        OSError: it is no socket.
    """
    own = os.dup(descriptor)
    try:
        return socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise


def _waits(descriptor: int) -> bool:
    """
    Whether what was written to a socket waits for the peer (tcp(7), SIOCOUTQ).

    Raises:
        OSError: it is nothing of that kind.
    """
    size = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(size, sys.byteorder) > 0
