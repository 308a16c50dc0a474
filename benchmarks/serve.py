"""
Measure what ``crlcheck serve`` adds to nginx, and what other ways to use a CRL cost.

``make bench-serve``. nginx asks by ``auth_request`` over a Unix socket, for 200 certificates in
turn. Beside it, in the same run, nginx asks a service that does nothing and is the same
otherwise, and nobody. The rounds alternate. Behind nginx is an empty file, and there is no TLS,
which would be the same for all.

Then each of the proxies in docs/guides/serve.md is asked by its recipe, and without what of it
asks the service, in turn over TLS with a client's certificate: what is added to a request.

Last the same CRL is given to nginx (``ssl_crl``) and HAProxy (``crl-file``) too, by the list
itself, and to ``crlcheck serve``: memory, start, and the time until a new CRL counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import crlcheck
from benchmarks.generate import THIS_UPDATE, generate_crl
from benchmarks.units import seconds as in_seconds
from benchmarks.units import size
from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import CertificateAuthority, pem_block
from crlcheck.demo.tls import server_certificate, write_client
from support.proxies import running_sites
from support.proxy_clients import Connection
from support.python_servers import PKI, write_files

NUM_CERTIFICATES = 200
NUM_CONNECTIONS = 16
# At a given rate h2load sends what is due every 10 ms, on all connections at once. More of them
# would only measure how these requests wait for each other: the median is then the number of
# connections divided by the most that the service can do, at whatever rate.
NUM_CONNECTIONS_AT_RATE = 4
NUM_WORKERS = 2
HEADER = "X-Client-Certificate"
PATIENCE = 300.0
SERIALS = {"good": 1 << 70, "late": 1 << 71}
"""They are shorter than those of the CRL's other entries."""

PLAIN, EMPTY, CHECKED = "plain nginx", "the empty service", "crlcheck serve"
KINDS = (PLAIN, EMPTY, CHECKED)

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))

_ASKING = """
    server {{
        listen 127.0.0.1:{port};
        root "{directory}/files";
        auth_request /crlcheck;
        location = /crlcheck {{ internal;
            proxy_pass http://{upstream}/check;
            proxy_pass_request_headers off;
            proxy_set_header X-Client-Certificate $certificate;
            proxy_set_header Content-Length "";
            proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_read_timeout 2s; }}
    }}
"""
_NGINX = """
daemon off;
worker_processes 1;
pid "{directory}/pid";
error_log "{directory}/error.log" crit;
user {user};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path "{directory}/body";
    proxy_temp_path "{directory}/proxy";
    fastcgi_temp_path "{directory}/fastcgi";
    uwsgi_temp_path "{directory}/uwsgi";
    scgi_temp_path "{directory}/scgi";
    map $request_uri $certificate {{
        {certificates}
    }}
    upstream checked {{ server unix:{checked}; keepalive 16; keepalive_timeout 15s; }}
    upstream empty {{ server unix:{empty}; keepalive 16; keepalive_timeout 15s; }}
    server {{ listen 127.0.0.1:{ports[0]}; root "{directory}/files"; }}
    {servers}
}}
"""
_NGINX_CRL = """
daemon off;
worker_processes {workers};
pid "{directory}/pid";
error_log "{directory}/error.log" crit;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path "{directory}/body";
    proxy_temp_path "{directory}/proxy";
    fastcgi_temp_path "{directory}/fastcgi";
    uwsgi_temp_path "{directory}/uwsgi";
    scgi_temp_path "{directory}/scgi";
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate "{files}/server.pem";
        ssl_certificate_key "{files}/server.key";
        ssl_client_certificate "{files}/authority.pem";
        ssl_crl "{crl}";
        ssl_verify_client on;
        return 200;
    }}
}}
"""
_HAPROXY_CRL = """
global
    nbthread {workers}
defaults
    mode http
    timeout client 1m
    timeout server 1m
    timeout connect 5s
frontend tls
    bind 127.0.0.1:{port} ssl verify required {arguments}
    http-request return status 200
"""


# ---- processes -------------------------------------------------------------------


class Program:
    """A process, in a session of its own, that ends with the block."""

    def __init__(self, command: Sequence[str | Path], directory: Path) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(one) for one in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(directory / "stderr").open("ab"),
            start_new_session=True,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def memory(self) -> int:
        """The proportional memory of it and of all that it has started, in bytes."""
        total = 0
        for one in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(one.name)) == self.process.pid:
                    text = (one / "smaps_rollup").read_text()
                    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
                    total += int(found[1]) << 10 if found else 0
        return total


def find(program: str) -> str:
    """Return the path of a program."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        sys.exit(f"{program} is not installed: make bench-serve installs it")
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seconds_until(is_so: Callable[[], bool], began: float, program: Program) -> float:
    """Wait until something is so; return the time since *began*."""
    while not is_so():
        if program.process.poll() is not None:
            sys.exit(f"{program.process.args!r} has ended")
        if time.monotonic() > began + PATIENCE:
            sys.exit(f"{program.process.args!r}: waited {PATIENCE} s")
        time.sleep(0.005)
    return time.monotonic() - began


# ---- the site --------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """
    A store with one CRL, the clients, and the next CRL, which lists ``late`` too.

    ``crls`` are both in PEM, ``sources`` in DER. ``image_size`` is that of the first.
    """

    files: Path
    store: Path
    sources: tuple[Path, Path]
    crls: tuple[Path, Path]
    certificates: tuple[bytes, ...]
    image_size: int


def make_site(num_entries: int, directory: Path) -> Site:
    """Make the CRLs and clients, and publish the first CRL."""
    authority = CertificateAuthority.create("Benchmark CA")
    sources = directory / "1.crl", directory / "2.crl"
    crls = directory / "1.pem", directory / "2.pem"
    for client in ("good", "late"):
        write_client(directory, client, authority.issue(client, serial_number=SERIALS[client]))
    for number, (source, crl) in enumerate(zip(sources, crls, strict=True), 1):
        listed = [encode_entry(SERIALS["late"], THIS_UPDATE)] if number == 2 else []
        generate_crl(
            num_entries,
            authority=authority,
            reasons=True,
            output=source,
            this_update=THIS_UPDATE + timedelta(hours=number),
            crl_number=number,
            more_entries=listed,
        )
        crl.write_bytes(pem_block("X509 CRL", source.read_bytes()))
    certificate, key = server_certificate()
    for name, contents in {
        "server.pem": certificate,
        "server.key": key,
        "both.pem": certificate + key,
        "authority.pem": authority.pem,
    }.items():
        (directory / name).write_bytes(contents)
    store = directory / "published"
    crlcheck.publish_crl(sources[0], crlcheck.open_store(store), issuer=authority.pem)
    image_size = sum(one.stat().st_size for one in (store / "images").iterdir())
    certificates = tuple(authority.issue(f"client {n}").pem for n in range(NUM_CERTIFICATES))
    return Site(directory, store, sources, crls, certificates, image_size)


@contextlib.contextmanager
def service(
    site: Site, directory: Path, module: str = "crlcheck"
) -> Iterator[tuple[Program, Path]]:
    """Run a service until it answers; give it and its socket."""
    directory.mkdir()
    address = directory / "socket"
    command = [
        sys.executable, "-P", "-m", module, "serve", str(site.store), "--verified-by", "proxy",
        "--header", HEADER, "--form", "nginx", "--bind", f"unix:{address}",
        "--workers", str(NUM_WORKERS), "--refresh-after", "1s",
        "--image-directory", str(directory),
    ]  # fmt: skip
    with Program(command, directory) as program:
        certificate = (site.files / "good.pem").read_text()
        seconds_until(lambda: check(address, certificate) == 204, program.began, program)
        yield program, address


def check(address: Path, certificate: str) -> int:
    """Ask a service; return the status, 0 where there is no answer."""
    with contextlib.suppress(OSError, IndexError), socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(10)
        opened.connect(str(address))
        lines = [
            "GET /check HTTP/1.1",
            "Host: crlcheck",
            f"{HEADER}: {quote(certificate, safe='')}",
        ]
        opened.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        return int(opened.makefile("rb").readline().split()[1])
    return 0


# ---- what the service adds to nginx ------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What a run of h2load found; times are milliseconds."""

    rate: float
    p50: float
    p99: float
    others: int


def h2load(urls: Path, seconds: float, rate: float | None, log: Path) -> Load:
    """Load a server, at *rate* requests a second or as fast as it goes."""
    log.unlink(missing_ok=True)
    num_connections = NUM_CONNECTIONS if rate is None else NUM_CONNECTIONS_AT_RATE
    command = [
        find("h2load"), "--h1", "--clients", str(num_connections), "--threads", "1",
        "--duration", f"{round(seconds * 1000)}ms", "--warm-up-time", "500ms",
        "--input-file", str(urls), "--log-file", str(log),
    ]  # fmt: skip
    if rate is not None:
        command += ["--rps", f"{rate / num_connections:.3f}"]
    subprocess.run(command, check=True, capture_output=True, timeout=seconds + PATIENCE)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(row[2]) / 1000 for row in rows)
    return Load(
        len(times) / seconds,
        times[len(times) // 2],
        times[len(times) * 99 // 100],
        sum(row[1] != "200" for row in rows),
    )


@contextlib.contextmanager
def before(site: Site, directory: Path, checked: Path, empty: Path) -> Iterator[dict[str, Path]]:
    """Run nginx before both services; give a file of URLs for each kind."""
    files = directory / "files"
    files.mkdir()
    (files / "empty").write_bytes(b"")
    ports = [free_port() for _ in KINDS]
    servers = "".join(
        _ASKING.format(port=port, directory=directory, upstream=upstream)
        for port, upstream in zip(ports[1:], ("empty", "checked"), strict=True)
    )
    certificates = "\n".join(
        f'/empty?client={number} "{quote(pem, safe="")}";'
        for number, pem in enumerate(site.certificates)
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            directory=directory,
            user="root" if os.geteuid() == 0 else "nobody",
            certificates=certificates,
            checked=checked,
            empty=empty,
            ports=ports,
            servers=servers,
        )
    )
    urls = {}
    for kind, port in zip(KINDS, ports, strict=True):
        urls[kind] = directory / f"{port}.urls"
        lines = [f"http://127.0.0.1:{port}/empty?client={n}" for n in range(NUM_CERTIFICATES)]
        urls[kind].write_text("\n".join(lines))
    with Program([find("nginx"), "-p", directory, "-c", configuration], directory) as program:
        seconds_until(lambda: listens(ports[2]), program.began, program)
        yield urls


def listens(port: int) -> bool:
    """Whether somebody listens at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def measure_nginx(site: Site, directory: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all kinds in turn: the most that each can do, then each at the same rates."""
    log = directory / "log"
    with contextlib.ExitStack() as stack:
        program, checked = stack.enter_context(service(site, directory / "checked"))
        _, empty = stack.enter_context(
            service(site, directory / "empty", "benchmarks.empty_service")
        )
        memory_before = program.memory()
        urls = stack.enter_context(before(site, directory, checked, empty))

        def all_rounds(rate: float | None) -> dict[str, Load]:
            found: dict[str, list[Load]] = {kind: [] for kind in KINDS}
            for _ in range(rounds):
                for kind in KINDS:
                    found[kind].append(h2load(urls[kind], seconds, rate, log))
            return {kind: median(loads) for kind, loads in found.items()}

        most = all_rounds(None)
        rates = {kind: most[kind].rate / 2 for kind in (EMPTY, CHECKED)}
        at = {kind: all_rounds(rate) for kind, rate in rates.items()}
        memory = program.memory()
    return {
        "most": {kind: vars(load) for kind, load in most.items()},
        "at_half_of": {
            of: {kind: vars(load) for kind, load in loads.items()} for of, loads in at.items()
        },
        "memory_before": memory_before,
        "memory": memory,
        "image_size": site.image_size,
        "workers": NUM_WORKERS,
    }


def median(loads: Sequence[Load]) -> Load:
    """Return the median of each figure; the sum of answers that were not 200."""
    middle = {
        name: statistics.median(getattr(load, name) for load in loads)
        for name in ("rate", "p50", "p99")
    }
    return Load(**middle, others=sum(load.others for load in loads))


# ---- what it adds to each proxy ----------------------------------------------------

# What of the recipes asks the service, and what stands there without.
SILENT = {
    "nginx": {"auth_request /crlcheck;": ""},
    "haproxy": {
        "http-request lua.crlcheck unix@/run/crlcheck/crlcheck.sock": "",
        "http-request deny deny_status 403 unless { var(txn.crlcheck) -m str pass }": "",
    },
    "apache": {"LuaHookFixups crlcheck.lua check": ""},
    "caddy": {"forward_auth unix": "forward_auth /never unix"},
    "traefik": {"[client-certificate, crlcheck]": "[client-certificate]"},
}


def measure_proxies(directory: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Ask each proxy in turn, with and without the service; return medians in milliseconds."""
    directory.chmod(0o711)
    write_files(directory)
    for name, authority in (("authority", PKI.authority), ("stranger", PKI.stranger)):
        (directory / f"{name}.pem").write_bytes(authority.pem)
    store = crlcheck.open_store(directory / "published")
    crlcheck.publish_crl(PKI.crl(), store, issuer=PKI.authority.pem)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(application(directory))
        names = tuple(SILENT)
        asking = stack.enter_context(running_sites(names, directory, directory / "a", port))
        silent = stack.enter_context(
            running_sites(names, directory, directory / "s", port, changes=SILENT)
        )
        connections = {
            (name, kind): stack.enter_context(
                contextlib.closing(Connection(sites[name].port, directory, "good"))
            )
            for kind, sites in (("asking", asking), ("silent", silent))
            for name in names
        }
        times: dict[tuple[str, str], list[float]] = {one: [] for one in connections}
        for number in range(1 + 20 * rounds):
            for one, connection in connections.items():
                for _ in range(10):
                    began = time.perf_counter()
                    assert connection.ask().status == 200, one
                    if number:  # the first ones open the connections
                        times[one].append((time.perf_counter() - began) * 1000)
    return {
        name: {kind: statistics.median(times[name, kind]) for kind in ("asking", "silent")}
        for name in names
    }


@contextlib.contextmanager
def application(directory: Path) -> Iterator[int]:
    """Run an application behind the proxies; give its port."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "support.application_behind:app", "--port", str(port),
        "--app-dir", "tests", "--log-level", "error",
    ]  # fmt: skip
    with Program(command, directory) as program:
        seconds_until(lambda: listens(port), program.began, program)
        yield port


# ---- the same CRL elsewhere --------------------------------------------------------


def asks(site: Site, port: int, client: str) -> bool:
    """Whether a client is served: over a connection and a TLS session of its own."""
    context = ssl.create_default_context(cafile=site.files / "server.pem")
    context.load_cert_chain(site.files / f"{client}.pem", site.files / f"{client}.key")
    with (
        contextlib.suppress(OSError, IndexError),
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return secured.makefile("rb").readline().split()[1] == b"200"
    return False


def measure_proxy(name: str, site: Site, directory: Path) -> dict[str, float]:
    """Measure a proxy that reads the CRL itself, and is told to read a new one."""
    files = site.files
    directory.mkdir()
    crl = directory / "crl.pem"
    shutil.copy(site.crls[0], crl)
    port = free_port()
    text = _NGINX_CRL if name == "nginx" else _HAPROXY_CRL
    configuration = directory / "configuration"
    configuration.write_text(
        text.format(
            directory=directory,
            files=files,
            crl=crl,
            port=port,
            workers=NUM_WORKERS,
            arguments=f"crt {files}/both.pem ca-file {files}/authority.pem crl-file {crl}",
        )
    )
    command: list[str | Path]
    if name == "nginx":
        command, reload = [find("nginx"), "-p", directory, "-c", configuration], signal.SIGHUP
    else:
        command, reload = [find("haproxy"), "-W", "-f", configuration], signal.SIGUSR2
    with Program(command, directory) as program:
        started = seconds_until(lambda: asks(site, port, "good"), program.began, program)
        assert asks(site, port, "late")
        memory = program.memory()
        shutil.copy(site.crls[1], crl)

        def renew() -> None:
            program.process.send_signal(reload)

        return {
            "start": started,
            "memory": memory,
            **renewed(program, renew, lambda: not asks(site, port, "late")),
        }


def measure_service(site: Site, directory: Path) -> dict[str, float]:
    """Measure the service in the same way: a new CRL is published."""
    late = (site.files / "late.pem").read_text()
    with service(site, directory) as (program, address):
        started = time.monotonic() - program.began
        assert check(address, late) == 204
        memory = program.memory()

        def renew() -> None:
            command = [sys.executable, "-P", "-m", "crlcheck", "publish", str(site.sources[1])]
            command += ["--to", str(site.store), "--issuer", str(site.files / "authority.pem")]
            subprocess.run(command, check=True, capture_output=True)

        return {
            "start": started,
            "memory": memory,
            **renewed(program, renew, lambda: check(address, late) == 403),
        }


def renewed(
    program: Program, renew: Callable[[], None], is_refused: Callable[[], bool]
) -> dict[str, float]:
    """Bring a new CRL; return the time until it counts, and the most memory meanwhile."""
    most = 0
    has_ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not has_ended.wait(0.02):
            most = max(most, program.memory())

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    began = time.monotonic()
    try:
        renew()
        seconds = seconds_until(is_refused, began, program)
    finally:
        has_ended.set()
        watching.join()
    return {"until_it_counts": seconds, "most_memory": most}


# ---- the report --------------------------------------------------------------------


def report(found: dict[str, Any]) -> str:
    """Return the tables, in Markdown."""
    lines = []
    if "nginx" in found:
        part = found["nginx"]
        lines += [
            "| asked by `auth_request` | requests/s | of the empty service's |",
            "|---|---|---|",
        ]
        empty = part["most"][EMPTY]["rate"]
        for kind in KINDS:
            rate = part["most"][kind]["rate"]
            lines.append(f"| {kind} | {rate:,.0f} | {rate / empty:.2f} |")
        for of, loads in part["at_half_of"].items():
            plain, nothing = loads[PLAIN], loads[EMPTY]
            lines += [
                "",
                f"| at half the load of {of} | requests/s | p50 | added | p99 | of the empty "
                "service's |",
                "|---|---|---|---|---|---|",
            ]
            for kind, load in loads.items():
                lines.append(
                    f"| {kind} | {load['rate']:,.0f} | {load['p50']:.3f} ms "
                    f"| {load['p50'] - plain['p50']:.3f} ms | {load['p99']:.2f} ms "
                    f"| {load['p99'] / nothing['p99']:.2f} |"
                )
        others = sum(
            load["others"]
            for loads in (part["most"], *part["at_half_of"].values())
            for load in loads.values()
        )
        over = part["memory"] - part["image_size"]
        lines += [
            "",
            f"Answers that were not 200: {others}. Memory of the service: "
            f"{size(part['memory'])} (proportional, all processes), that is the image of "
            f"{size(part['image_size'])} and {size(over / part['workers'])} for each of "
            f"{part['workers']} workers.",
        ]
    if "proxies" in found:
        lines += [
            "",
            "| a request over TLS | without | with the service | added |",
            "|---|---|---|---|",
        ]
        for name, row in found["proxies"].items():
            added = row["asking"] - row["silent"]
            lines.append(
                f"| {name} | {row['silent']:.2f} ms | {row['asking']:.2f} ms | {added:.2f} ms |"
            )
    if "crls" in found:
        lines += [
            "",
            f"| the same CRL of {found['entries']:,} entries | memory | the most while a new one "
            "comes | start | until it counts |",
            "|---|---|---|---|---|",
        ]
        for name, row in found["crls"].items():
            lines.append(
                f"| {name} | {size(row['memory'])} | {size(row['most_memory'])} "
                f"| {in_seconds(row['start'])} | {in_seconds(row['until_it_counts'])} |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print the tables and keep the figures."""
    parser = argparse.ArgumentParser(description="Measure crlcheck serve beside what it replaces.")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5, help="of each run of h2load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default="nginx,proxies,crls", help="some of these")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    options = parser.parse_args()
    parts = options.parts.split(",")
    found: dict[str, Any] = {"entries": options.entries}
    with tempfile.TemporaryDirectory(prefix="crlcheck-bench-") as name:
        directory = Path(name)
        site = make_site(options.entries, directory)
        if "nginx" in parts:
            place = directory / "nginx"
            place.mkdir()
            found["nginx"] = measure_nginx(site, place, options.seconds, options.rounds)
        if "proxies" in parts:
            place = directory / "proxies"
            place.mkdir()
            directory.chmod(0o711)
            found["proxies"] = measure_proxies(place, options.rounds)
        if "crls" in parts:
            found["crls"] = {
                "nginx, `ssl_crl`": measure_proxy("nginx", site, directory / "nginx-crl"),
                "HAProxy, `crl-file`": measure_proxy("haproxy", site, directory / "haproxy-crl"),
                "`crlcheck serve`": measure_service(site, directory / "service"),
            }
    print(report(found))
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
