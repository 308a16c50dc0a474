"""Run the recipes of docs/guides/serve.md: proxies, which ask `crlcheck serve`."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.nginx import configuration_of
from support.python_servers import EXAMPLES, free_port, listens

ROOT = Path(__file__).parents[2]
TRAEFIK = ROOT / "build" / "e2e" / "traefik" / "bin" / "traefik"
"""Where `make e2e` installs it."""

_PATIENCE = 60.0  # seconds until a program has started
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_MODULES_OF_APACHE = "mpm_event authz_core ssl lua http2 proxy proxy_http proxy_wstunnel"

_APACHE = """
ServerRoot {directory}
ServerName localhost
PidFile apache.pid
ErrorLog error.log
Mutex file:{directory} default
User {user}
Group {group}
{modules}
{recipe}
"""
_CADDY = """
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
}}
{recipe}
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A file of docs/examples, and the header of the service behind it."""

    file: str
    header: str = "X-Client-Certificate"
    uses_tcp: bool = False


RECIPES = {
    "nginx": Recipe("nginx_serve.conf"),
    "haproxy": Recipe("haproxy_serve.cfg"),
    "apache": Recipe("apache_serve.conf"),
    "caddy": Recipe("Caddyfile"),
    "traefik": Recipe("traefik_serve.yaml", header="X-Forwarded-Tls-Client-Cert", uses_tcp=True),
}
OPTIONAL = {
    # Of what is wrong with a certificate, nginx and Apache excuse that they do not know its
    # authority, so they are told of none.
    "nginx": {
        "ssl_verify_client on;": "ssl_verify_client optional_no_ca;",
        "ssl_client_certificate clients.pem;": "",
    },
    "haproxy": {"verify required": "verify optional ca-ignore-err all crt-ignore-err all"},
    "apache": {
        "SSLVerifyClient require": "SSLVerifyClient optional_no_ca",
        "SSLCACertificateFile clients.pem": "",
    },
    "caddy": {"mode require_and_verify": "mode request"},
    "traefik": {"RequireAndVerifyClientCert": "RequestClientCert"},
}
"""What lets clients with any certificate, or none, through TLS."""


class Program:
    """A process in a session of its own, whose output goes to a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, **environment: str) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [str(one) for one in command],
                cwd=log.parent,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, address: int | Path) -> None:
        """Wait until it listens at *address*."""
        deadline = time.monotonic() + _PATIENCE
        while not listens(address):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def pids(self) -> list[int]:
        """It and all that it has started."""
        found = []
        for one in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(one.name)) == self._process.pid:
                    found.append(int(one.name))
        return found

    def stop(self) -> None:
        """Let it end by itself, and end it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(30)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        self.signal(signal.SIGKILL)
        self._process.wait(30)


class Service:
    """`crlcheck serve` for a recipe, which may be killed, hang and start again."""

    def __init__(self, name: str, store: Path, directory: Path, verified_by: str) -> None:
        recipe = RECIPES[name]
        self.address: int | Path = free_port() if recipe.uses_tcp else directory / "crlcheck.sock"
        self._log = directory / "serve.log"
        self._command = [
            sys.executable, "-P", "-m", "crlcheck", "serve", str(store),
            "--verified-by", verified_by, "--header", recipe.header, "--form", name,
            "--bind", f"127.0.0.1:{self.address}" if recipe.uses_tcp else f"unix:{self.address}",
            "--workers", "1", "--refresh-after", "1s", "--image-directory", str(directory),
        ]  # fmt: skip
        if not recipe.uses_tcp:
            self._command += ["--socket-group", _unprivileged()[1]]
        self.start()

    def start(self) -> None:
        """Start it, and do not wait for it."""
        self.program = Program(self._command, self._log)

    def stop(self) -> None:
        """Let it end."""
        self.program.stop()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it hang while the block runs."""
        self.program.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.program.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def without_descriptors(self) -> Iterator[None]:
        """Let it open no file, and accept no connection, while the block runs."""
        before = {}
        for pid in self.program.pids():
            before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, before[pid][1]))
        try:
            yield
        finally:
            for pid, limits in before.items():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@dataclass(frozen=True, slots=True)
class Site:
    """A proxy, where its clients connect, its own files, and the service that it asks."""

    name: str
    port: int
    directory: Path
    service: Service


@contextlib.contextmanager
def running_sites(
    names: Sequence[str],
    files: Path,
    directory: Path,
    application: int,
    *,
    verified_by: str = "proxy",
    changes: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[dict[str, Site]]:
    """
    Run recipes with their services before the *application* at a port of this machine.

    *files* has ``published``, ``server.pem``, ``server.key``, ``clients.pem``, and each of the
    clients' authorities in ``authority.pem`` and ``stranger.pem``. *directory* is to be made;
    another user must be able to enter it. *changes* has, by recipe, what of it is replaced.
    """
    (files / "server-and-key.pem").write_bytes(
        (files / "server.pem").read_bytes() + (files / "server.key").read_bytes()
    )
    _make_open(directory)
    with contextlib.ExitStack() as stack:
        sites = {}
        for name in names:
            place = directory / name
            _make_open(place)
            service = Service(name, files / "published", place, verified_by)
            stack.callback(service.stop)
            sites[name] = Site(name, free_port(), place, service)
        proxies = {}
        for name, site in sites.items():
            proxies[name] = _start(site, files, application, (changes or {}).get(name, {}))
            stack.callback(proxies[name].stop)
        for name, site in sites.items():
            site.service.program.wait_for(site.service.address)
            proxies[name].wait_for(site.port)
        yield sites


def _make_open(directory: Path) -> None:
    """Make a directory that Apache may enter as another user, whatever the umask."""
    directory.mkdir()
    directory.chmod(0o711)


def _start(site: Site, files: Path, application: int, others: Mapping[str, str]) -> Program:
    recipe = RECIPES[site.name]
    text = (EXAMPLES / recipe.file).read_text()
    changes = {
        "8443": str(site.port),
        "127.0.0.1:8000": f"127.0.0.1:{application}",
        "127.0.0.1:8765": f"127.0.0.1:{site.service.address}",
        "/run/crlcheck/crlcheck.sock": str(site.service.address),
        " crlcheck.lua": f" {site.directory}/crlcheck.lua",
    }
    with contextlib.suppress(FileNotFoundError):  # not every proxy needs one
        # To where Apache can read it, which serves as another user.
        script = site.directory / "crlcheck.lua"
        shutil.copyfile(ROOT / "deploy" / site.name / "crlcheck.lua", script)
        script.chmod(0o644)
    for name in ("server.pem", "server.key", "server-and-key.pem", "clients.pem"):
        changes[name] = f"{files}/{name}"
    if site.name == "caddy":  # which reads one certificate of a file
        changes["trusted_ca_cert_file clients.pem"] = "\n".join(
            f"trusted_ca_cert_file {files}/{name}" for name in ("authority.pem", "stranger.pem")
        )
    assert all(shown in text for shown in others), others
    changes |= others
    # The longest first, because some begin as others do.
    shown = "|".join(re.escape(one) for one in sorted(changes, key=len, reverse=True))
    text = re.sub(shown, lambda found: changes[found[0]], text)
    configuration = site.directory / recipe.file
    configuration.write_text(_around(site.name, site.directory, text))
    return _run(site, configuration)


def _around(name: str, place: Path, recipe: str) -> str:
    """Return a whole configuration with a recipe in it."""
    if name == "nginx":
        return configuration_of(recipe)
    if name == "apache":
        user, group = _unprivileged()
        modules = "\n".join(
            f"LoadModule {one}_module /usr/lib/apache2/modules/mod_{one}.so"
            for one in _MODULES_OF_APACHE.split()
        )
        return _APACHE.format(
            directory=place, user=user, group=group, modules=modules, recipe=recipe
        )
    return _CADDY.format(recipe=recipe) if name == "caddy" else recipe


def _run(site: Site, configuration: Path) -> Program:
    place = site.directory
    commands: dict[str, list[str | Path]] = {
        "nginx": ["nginx", "-p", place, "-c", configuration],
        "haproxy": ["haproxy", "-db", "-f", configuration],
        "apache": ["apache2", "-DFOREGROUND", "-f", configuration],
        "caddy": ["caddy", "run", "--config", configuration, "--adapter", "caddyfile"],
        "traefik": [
            TRAEFIK, f"--entryPoints.tls.address=127.0.0.1:{site.port}",
            f"--providers.file.filename={configuration}",
            "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
        ],
    }  # fmt: skip
    program, *arguments = commands[site.name]
    found = shutil.which(program, path=_PATH)
    assert found is not None, f"{program} is not installed: make e2e installs it"
    return Program(
        [found, *arguments],
        place / "proxy.log",
        CRLCHECK_SOCKET=str(site.service.address),
        XDG_CONFIG_HOME=str(place),
        XDG_DATA_HOME=str(place),
    )


def _unprivileged() -> tuple[str, str]:
    """Return the user and the group as which Apache serves."""
    # Apache refuses to serve as root.
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    return user.pw_name, grp.getgrgid(user.pw_gid).gr_name
