"""``crlcheck serve``: answer a proxy's question whether a client may pass."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from crlcheck.cli.command import command
from crlcheck.cli.output import library_level, output
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import describe
from crlcheck.cli.text import answer, say
from crlcheck.errors import SettingsError
from crlcheck.serve.settings import (
    ServeSettings,
    named_as_given,
    option_names,
    read_serve_settings,
)
from crlcheck.settings import PREFIX

_Command = TypeVar("_Command", bound=Callable[..., Any])

_HELP = {
    "verified_by": "Who verified the certificate (chain and dates): proxy, or crlcheck.",
    "header": "The header in which the proxy hands the certificate on.",
    "form": "The form of the certificate in it, such as nginx.",
    "bind": "unix:/path of a socket, or host:port; 127.0.0.1:8765 by default.",
    "envoy_grpc": "Where Envoy is answered over gRPC, as for --bind.",
    "socket_group": "The group that may use the Unix sockets.",
    "proxies": "The addresses or networks of the proxies, with commas between them.",
    "without_certificate": "What a request without a certificate gets: deny or pass.",
    "observe": "true lets everything pass, and only logs what would be denied.",
    "workers": "How many processes answer; 2 by default.",
    "refresh_after": "How often the store is asked for a newer set; 5s by default.",
    "max_catalog_age": "How long a set is used while the store is down; 12h by default.",
    "wait_for_set": "true starts although nothing is published yet, and denies everything.",
    "root_keys": "Public keys of which one must have signed the store's root.",
    "minimum_generation": "Refuse an earlier generation of the store.",
    "stale": "deny, or grace, once a CRL is past its nextUpdate; deny by default.",
    "stale_grace": "How long after nextUpdate, with grace.",
    "unknown_issuer": "deny or allow certificates of issuers that are not trusted.",
    "no_distribution_point": "deny or allow a partition for a certificate that names none.",
    "path_depth": "How many issuers above are checked; all by default.",
    "hold": "deny or allow certificates on hold.",
    "expired_certificate": "deny or allow a certificate that has expired.",
    "clock_skew": "How far in the future a CRL may begin; 5m by default.",
    "unpublished_issuers": "A PEM file with trusted CAs that publish no CRL.",
    "ocsp_responders": "The directory with what signs the answers at /ocsp.",
    "ocsp_nonces": "Answers with a nonce that a worker signs in a second; 100 by default.",
    "image_memory": "Bytes of images that are kept loaded; 536870912 by default.",
    "image_directory": "Where the directory is made in which the workers share the images.",
    "header_size": "Bytes that the headers of a request may have; 65536 by default.",
    "header_time": "How long a client may take for them; 20s by default.",
    "connections": "Connections that a worker has at once; 512 by default.",
    "request_time": "How long an answer may take; 5s by default.",
    "stop_time": "How long requests under way may take at the end; 20s by default.",
    "access_log": "Where decisions are logged as JSON: - or a file; nowhere by default.",
    "log_level": "debug, info, warning or error; warning by default.",
}


def _settings_options(decorated: _Command) -> _Command:
    for name in reversed(option_names()):
        decorated = click.option(
            f"--{name.replace('_', '-')}",
            name,
            metavar="VALUE",
            help=f"{_HELP[name]} ({PREFIX}{name.upper()})",
        )(decorated)
    return decorated


@command(
    "serve",
    examples=[
        "crlcheck serve published --verified-by proxy --header X-Client-Cert --form nginx",
        "crlcheck serve s3://crls/published --settings /etc/crlcheck.conf",
        "crlcheck serve --settings /etc/crlcheck.conf --show-settings --json",
    ],
)
@click.argument("store", required=False, type=STORE)
@click.option(
    "--settings",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with settings, one CRLCHECK_NAME=value a line. SIGHUP reads it again.",
)
@click.option(
    "--show-settings", is_flag=True, help="Read all settings, print them, and serve nothing."
)
@_settings_options
def serve_command(
    store: str | None, file: Path | None, show_settings: bool, **options: str | None
) -> int:
    """
    Serve a proxy's question whether a client may pass, over HTTP.

    The proxy asks /check and hands the client's certificate on in a header. The
    answer is 204 if the certificate is not revoked, and 403 in every other case.

    Each setting is an option, a variable of the environment, or a line of the
    file; the first of these that has it counts. The command runs until SIGTERM.
    """
    given = {
        f"{PREFIX}{name.upper()}": value for name, value in options.items() if value is not None
    }
    if store is not None:
        given[f"{PREFIX}STORE"] = store
    load = functools.partial(read_serve_settings, os.environ, given, file)
    with _usage_errors(given, file):
        settings = load()
    if show_settings:
        members = settings.as_dict()
        for name, value in members.items():
            say(f"{'# ' if value is None else ''}{name}={'' if value is None else _shown(value)}")
        answer(members)
        return 0
    # Only here: it needs the extra.
    try:
        from crlcheck.serve.supervisor import Supervisor
    except ImportError as error:
        raise ImportError(
            f"crlcheck serve needs the package {error.name}: pip install 'crlcheck[serve]'"
        ) from error

    def prepare(settings: ServeSettings) -> None:
        # The common options say more than the settings.
        chosen = output().quiet or output().verbosity
        level = _common_level() if chosen else logging.getLevelName(settings.log_level.name)
        logging.getLogger("crlcheck").setLevel(level)

    def started(place: str) -> None:
        say(f"listening on {place}")
        answer({"listening": place})
        sys.stdout.flush()

    def described(error: Exception) -> str:
        if isinstance(error, SettingsError):
            return named_as_given(str(error), os.environ, given, file)
        return describe(error)

    with _log_to_standard_error(), _usage_errors(given, file):
        return Supervisor(load, os.environ, prepare, described).run(started)


@contextlib.contextmanager
def _usage_errors(given: Mapping[str, str], file: Path | None) -> Iterator[None]:
    """Report settings that cannot be used as wrong usage."""
    try:
        yield
    except SettingsError as error:
        message = named_as_given(str(error), os.environ, given, file)
        raise click.UsageError(message) from error


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextlib.contextmanager
def _log_to_standard_error() -> Iterator[None]:
    """Write the log with a level and a name in each line, in place of what others do with it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handlers = logging.getLogger().handlers
    before = list(handlers)
    handlers[:] = [handler]
    try:
        yield
    finally:
        handlers[:] = before


def _common_level() -> int:
    return logging.ERROR if output().quiet else library_level(output())
