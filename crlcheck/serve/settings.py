"""
Define the service's settings: each is a ``CRLCHECK_*`` variable and an option.

They come from a file, from the environment and from the command line; the later one counts.
All are read by the same strict rules, together, so that nothing starts with half of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from crlcheck.access import UNIX_SOCKET, VerifiedBy, WithoutCertificate
from crlcheck.encoding.header_forms import HeaderForm
from crlcheck.errors import SettingsError
from crlcheck.serve.access_log import STDOUT
from crlcheck.settings import (
    PREFIX,
    LogLevel,
    grace_problems,
    is_loopback,
    read_settings,
    read_store_name,
)
from crlcheck.types import Policy, Rule, StaleRule

_OF_OTHER_COMMANDS = frozenset({"CRLCHECK_ACTOR", "CRLCHECK_SIGN_WITH", "CRLCHECK_ROOT_EXPIRY"})
"""What other commands read. It may stand in the environment of a service, and says nothing here."""

_MIN_HEADER_SIZE = 8192
_UNIX = "unix:"


def _verified_by(text: str) -> VerifiedBy:
    known = {one.value: one for one in (VerifiedBy.PROXY, VerifiedBy.CRLCHECK)}
    if text not in known:
        raise ValueError(f"expected one of {', '.join(known)}")
    return known[text]


def _header(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9-]+", text) is None:
        raise ValueError("expected the name of a header, of letters, digits and hyphens")
    return text.lower()


def _proxies(text: str) -> tuple[str, ...]:
    found = tuple(one.strip() for one in text.split(","))
    for one in found:
        if one == UNIX_SOCKET:
            continue
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise ValueError(
                f"{error}: expected addresses or networks with commas between them, such as "
                "10.0.0.7,10.1.0.0/24"
            ) from None
    return found


def _log_destination(text: str) -> str:
    path = Path(text)
    if text != STDOUT and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ValueError("expected -, or the path of a file in a directory that is there")
    return text


def _root_keys(text: str) -> tuple[str, ...]:
    from crlcheck.signing.root_key import read_root_keys

    return tuple(key.token for key in read_root_keys(text))


@dataclass(frozen=True, slots=True)
class Bind:
    """Where the service listens: the ``path`` of a Unix socket, or ``host`` and ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"{_UNIX}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _bind(text: str) -> Bind:
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        # In bytes, with the one that ends it (sun_path).
        if not path.startswith("/") or len(path.encode()) > 107:
            raise ValueError(f"expected an absolute path of at most 107 bytes after {_UNIX}")
        return Bind(path=path)
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/@\s]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError(f"expected {_UNIX}/path, host:port or [address]:port")
    return Bind(host=match[1] or match[2], port=int(match[3]))


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """
    store: where the published images are: a directory, ``s3://bucket/prefix`` or
        ``https://host/path``.
    verified_by: who verified the client's certificate, that is its chain and its dates:
        ``proxy``, or ``crlcheck``, which does it by the issuers of the store. There is no
        default: a certificate that nobody verified is the client's own invention.
    header, form: the header that the proxy sets, and the form of the certificate in it, such
        as ``nginx`` (see ``HeaderForm``).
    bind: ``unix:/path`` of a socket, ``host:port`` or ``[address]:port``. A service manager
        that hands sockets over (LISTEN_FDS) decides instead.
    envoy_grpc: where Envoy's external authorization over gRPC is answered, as in ``bind``. At
        a Unix socket one worker answers at a time, on a port all of them.
    socket_group: the group that may use the Unix sockets.
    proxies: the addresses or networks from which the proxies connect, with commas, and
        ``unix``. By default who connects to the Unix socket, or to a loopback address.
    without_certificate: ``deny`` or ``pass``: what a request without a certificate gets.
    observe: answer that everything may pass, and only log what would be denied.
    workers: how many processes answer.
    refresh_after: how long a set is used before the store is asked for a newer one.
    max_catalog_age: how long a set is used after the store last returned its catalog.
    wait_for_set: start although nothing is published yet, and deny everything until it is. By
        default the service does not start then, because the store's name may be wrong.
    root_keys, minimum_generation: what the store's root must satisfy, as in
        ``crlcheck.RevocationChecker``.
    stale, stale_grace, unknown_issuer, no_distribution_point, path_depth, hold,
        expired_certificate, clock_skew, unpublished_issuers: as in ``crlcheck.Policy``.
    ocsp_responders: the directory with the certificates and keys that sign the answers at
        ``/ocsp``. Without it there is no such path.
    ocsp_nonces: how many answers with a nonce a worker signs in a second.
    image_memory: bytes of images that are kept loaded.
    image_directory: where the directory is made in which all workers share the images.
    header_size: bytes that the headers of a request may have.
    header_time: how long a client may take for them, how long a connection may be idle, and
        how long a client may leave answers untaken.
    connections: how many connections a worker has at once; further ones wait.
    request_time: how long an answer may take. A check that takes longer is denied.
    stop_time: how long requests under way may take when the service is to stop.
    access_log: where each decision is logged as a line of JSON: ``-`` for the standard output, or
        a path. By default nowhere.
    log_level: ``info`` logs starts and stops, ``warning`` denials, ``debug`` every decision.
    """

    store: str = field(metadata={"read": read_store_name})
    verified_by: VerifiedBy = field(metadata={"read": _verified_by})
    header: str = field(metadata={"read": _header})
    form: HeaderForm
    bind: Bind = field(default=Bind(host="127.0.0.1", port=8765), metadata={"read": _bind})
    envoy_grpc: Bind | None = field(default=None, metadata={"read": _bind})
    socket_group: str | None = None
    proxies: tuple[str, ...] = field(default=(), metadata={"read": _proxies})
    without_certificate: WithoutCertificate = WithoutCertificate.DENY
    observe: bool = False
    workers: int = 2
    refresh_after: timedelta = timedelta(seconds=5)
    max_catalog_age: timedelta = timedelta(hours=12)
    wait_for_set: bool = False
    root_keys: tuple[str, ...] | None = field(default=None, metadata={"read": _root_keys})
    minimum_generation: int = 0
    stale: StaleRule = StaleRule.DENY
    stale_grace: timedelta = timedelta(0)
    unknown_issuer: Rule = Rule.DENY
    no_distribution_point: Rule = Rule.DENY
    path_depth: int | None = None
    hold: Rule = Rule.DENY
    expired_certificate: Rule = Rule.DENY
    clock_skew: timedelta = timedelta(minutes=5)
    unpublished_issuers: str | None = None
    ocsp_responders: str | None = None
    ocsp_nonces: int = 100
    image_memory: int = 512 << 20
    image_directory: str | None = None
    header_size: int = 64 << 10
    header_time: timedelta = timedelta(seconds=20)
    connections: int = 512
    request_time: timedelta = timedelta(seconds=5)
    stop_time: timedelta = timedelta(seconds=20)
    access_log: str | None = field(default=None, metadata={"read": _log_destination})
    log_level: LogLevel = LogLevel.WARNING

    def __post_init__(self) -> None:
        problems = [
            f"{PREFIX}{name.upper()} is 0: expected more"
            for name in _POSITIVE
            if not getattr(self, name)
        ]
        if self.workers > _MAX_WORKERS:
            problems.append(f"CRLCHECK_WORKERS is {self.workers}: expected at most {_MAX_WORKERS}")
        if 0 < self.header_size < _MIN_HEADER_SIZE:
            problems.append(
                f"CRLCHECK_HEADER_SIZE is {self.header_size}: expected {_MIN_HEADER_SIZE} bytes or "
                "more, because a certificate must fit"
            )
        problems += grace_problems(self.stale, self.stale_grace)
        problems += self._problems_of_places()
        if problems:
            raise ValueError("; ".join(problems))

    def _problems_of_places(self) -> list[str]:
        problems = []
        places = self._places
        if self.socket_group is not None and not any(one.path for one in places.values()):
            problems.append(
                f"CRLCHECK_SOCKET_GROUP is {self.socket_group!r} and CRLCHECK_BIND is "
                f"'{self.bind}': expected a group with a Unix socket only"
            )
        problems += [
            f"{name} is '{one}', to which others than this machine may connect: "
            "expected CRLCHECK_PROXIES, the addresses of the proxies"
            for name, one in places.items()
            if not self.proxies and one.host and not is_loopback(one.host)
        ]
        if self.bind == self.envoy_grpc:
            problems.append(
                f"CRLCHECK_BIND and CRLCHECK_ENVOY_GRPC are '{self.bind}': expected two places"
            )
        if self.unpublished_issuers is not None and not Path(self.unpublished_issuers).is_file():
            problems.append(
                f"CRLCHECK_UNPUBLISHED_ISSUERS is {self.unpublished_issuers!r}: expected the path "
                "of a file with certificates in PEM"
            )
        if self.form is HeaderForm.ALB_PASSTHROUGH and self.verified_by is VerifiedBy.PROXY:
            problems.append(
                "CRLCHECK_FORM is 'alb-passthrough', in which the proxy hands on what it has not "
                "verified: expected alb-verify, or CRLCHECK_VERIFIED_BY=crlcheck"
            )
        return problems

    @property
    def trusted(self) -> tuple[str, ...]:
        """The addresses from which the proxies connect."""
        if self.proxies:
            return self.proxies
        places = self._places.values()
        return (
            *((UNIX_SOCKET,) if any(one.path for one in places) else ()),
            *(("127.0.0.0/8", "::1") if any(one.host for one in places) else ()),
        )

    @property
    def _places(self) -> dict[str, Bind]:
        """Where the service listens, by the names of the settings."""
        found = {"CRLCHECK_BIND": self.bind}
        if self.envoy_grpc is not None:
            found["CRLCHECK_ENVOY_GRPC"] = self.envoy_grpc
        return found

    @property
    def policy(self) -> Policy:
        """The causes that a check may waive."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(Policy)}
        if self.unpublished_issuers is None:
            del values["unpublished_issuers"]
        return Policy(**values)

    def as_dict(self) -> dict[str, object]:
        """Return all settings as values for JSON, as they are read: by their variables' names."""
        return {
            f"{PREFIX}{one.name.upper()}": _shown(getattr(self, one.name))
            for one in dataclasses.fields(self)
        }


_MAX_WORKERS = 256
_POSITIVE = (
    "workers",
    "ocsp_nonces",
    "refresh_after",
    "max_catalog_age",
    "image_memory",
    "header_size",
    "header_time",
    "connections",
    "request_time",
    "stop_time",
)


def _shown(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.0f}s"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or None
    return str(value) if isinstance(value, Bind) else value


def read_file(path: Path) -> dict[str, str]:
    """
    Read the variables in a file: one ``NAME=value`` a line, as systemd's EnvironmentFile has
    them. Empty lines and those that begin with ``#`` do not count. There is no quoting.

    Raises:
        ValueError: a line is none, or a name comes twice.
        OSError: the file cannot be read.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or re.fullmatch(r"CRLCHECK_[A-Z_]+", name) is None:
            raise ValueError(f"{path}, line {number}: expected CRLCHECK_NAME=value, or a comment")
        if name in found:
            raise ValueError(f"{path}, line {number}: {name} is set twice")
        if value[:1] in ("'", '"'):
            raise ValueError(f"{path}, line {number}: {name} begins with a quote: give it bare")
        found[name] = value
    return found


def read_serve_settings(
    environ: Mapping[str, str], given: Mapping[str, str], file: Path | None = None
) -> ServeSettings:
    """
    Return the settings by *file*, what *environ* has besides, and *given*, by variable's name;
    the later one counts.

    Raises:
        SettingsError: a setting is missing, unknown or malformed, or several contradict each
            other. The message names each of them.
        OSError: the file cannot be read.
    """
    own = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name not in _OF_OTHER_COMMANDS
    }
    try:
        in_file = {} if file is None else read_file(file)
        return read_settings(ServeSettings, {**in_file, **own, **given})
    except ValueError as error:
        raise SettingsError(str(error)) from error


def named_as_given(
    message: str, environ: Mapping[str, str], given: Mapping[str, str], file: Path | None = None
) -> str:
    """
    Name each setting in a message as whoever gave it knows it: the option of the command, the
    variable, or the variable and the file that it stands in. One that was not given may be
    either. Where a misspelt variable is given, a variable is suggested, not an option.
    """
    in_file: Mapping[str, str] = {}
    if file is not None:
        # A file that cannot be read is what the message is about.
        with contextlib.suppress(ValueError, OSError):
            in_file = read_file(file)

    def spelled(found: re.Match[str]) -> str:
        name, equals, before = found[1], found[2], message[: found.start()]
        own = name.removeprefix(PREFIX).lower()
        if before.endswith("did you mean "):
            return name + equals
        if name in given:
            return _option(own) + equals
        if name in in_file and name not in environ and not equals:
            return f"{name} in {file}"
        if name in environ or file is not None or own not in (*option_names(), "store"):
            return name + equals
        return f"{_option(own)} ({name})" if not equals else _option(own) + equals

    return re.sub(r"(CRLCHECK_[A-Z_]+)(=?)", spelled, message)


def _option(name: str) -> str:
    return "STORE" if name == "store" else f"--{name.replace('_', '-')}"


def option_names() -> list[str]:
    """Return the names of the settings that are options, which are all but the store."""
    return [one.name for one in dataclasses.fields(ServeSettings) if one.name != "store"]
