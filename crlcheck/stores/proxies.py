"""
Find the HTTP proxy that the environment names for a URL, and open a tunnel through it.

The variables are those of curl and others: ``http_proxy``, ``https_proxy``, ``all_proxy``
and ``no_proxy``, in lower or upper case. The operator names the proxy, so it may have a
private address. A loopback host is never asked for through a proxy, because it would be
the proxy's own.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from urllib.parse import SplitResult, unquote, urlsplit

from crlcheck.errors import FetchError
from crlcheck.settings import is_loopback
from crlcheck.stores.deadline import TimedSocket, connect_to_host, port_of, reach_directly

_DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: ``variable`` names it, ``headers`` carry its user name and password."""

    host: str
    port: int
    variable: str
    headers: dict[str, str] = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {host}:{self.port} ({self.variable})"


def proxy_for(target: SplitResult) -> Proxy | None:
    """
    Return the proxy for a URL; None where the environment names none.

    Raises:
        FetchError: it names one that is not supported.
    """
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    kind = target.scheme if proxies.get(target.scheme) else "all"
    named = proxies.get(kind)
    host = (target.hostname or "").rstrip(".")
    if not named or is_loopback(host):
        return None
    port = target.port or (443 if target.scheme == "https" else 80)
    entries = (entry.strip().lower() for entry in proxies.get("no", "").split(","))
    if any(_is_for(entry, host, port) for entry in entries):
        return None
    return _parsed(named, f"{kind.upper()}_PROXY")


def reach_by_environment(origin: SplitResult, deadline: float) -> TimedSocket:
    """
    Connect to the server of a URL, through the proxy that the environment names for it.

    Raises:
        FetchError: there is a proxy, and it gives no connection or is not supported.
        OSError: nobody takes the connection, or not by *deadline*.
    """
    proxy = proxy_for(origin)
    if proxy is None:
        return reach_directly(origin, deadline)
    connected = connect_to_host(proxy.host, proxy.port, deadline)
    try:
        open_tunnel(connected, proxy, origin.hostname or "", port_of(origin))
    except BaseException:
        connected.close()
        raise
    return connected


def open_tunnel(connected: TimedSocket, proxy: Proxy, host: str, port: int) -> None:
    """
    Ask the proxy at the other end of *connected* for a connection to a host (CONNECT).

    Raises:
        FetchError: the proxy does not give one.
        OSError: the connection broke; HTTPException: the answer is no HTTP.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = {"Host": authority, "User-Agent": "crlcheck", **proxy.headers}
    lines = [f"CONNECT {authority} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    connected.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))
    # Its buffer takes nothing of the tunnel, in which the server waits for us to begin.
    answer = HTTPResponse(connected, method="CONNECT")
    try:
        answer.begin()
    finally:
        answer.close()
    if answer.status != 200:
        raise FetchError(
            f"{proxy} was asked for a connection to {authority}: it answered {answer.status}, "
            f"expected 200{remedy_for(answer.status)}"
        )


def remedy_for(status: int) -> str:
    """Return what to do about a proxy's answer; "" where that is not known."""
    if status == 407:
        return (
            "; give the proxy's user name and password in the variable, http://user:password@host"
        )
    if status == 403:
        return "; the proxy does not allow that host, or name it in NO_PROXY to go there directly"
    return ""


def _parsed(named: str, variable: str) -> Proxy:
    parts = urlsplit(named if "://" in named else f"http://{named}")
    try:
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        # Not all of it, because it may have a password.
        shown = f"{parts.scheme}://{parts.hostname or ''}"
        raise FetchError(
            f"{variable} names the proxy {shown}, expected http://host:port; set another one, "
            "or fetch without it (--no-proxy, or NO_PROXY with the CA's host)"
        )
    headers = {}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        encoded = base64.b64encode(user.encode()).decode("ascii")
        headers["Proxy-Authorization"] = f"Basic {encoded}"
    return Proxy(parts.hostname, port, variable, headers)


def _is_for(entry: str, host: str, port: int) -> bool:
    """
    Whether an entry of NO_PROXY means a host: by its name, a domain above it, its address,
    a network such as 10.0.0.0/8, or "*"; perhaps with a port.
    """
    if entry == "*":
        return True
    name, _, of_port = entry.rpartition(":")
    if name and of_port.isdecimal() and (":" not in name or name.endswith("]")):
        if int(of_port) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").removeprefix(".")
    if entry and (host == entry or host.endswith(f".{entry}")):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
