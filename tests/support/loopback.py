"""The addresses of this machine at which a server can be tried."""

from __future__ import annotations

import socket


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


LOOPBACK = ("127.0.0.1", "::1") if _has_ipv6() else ("127.0.0.1",)
"""Some containers have no IPv6."""
