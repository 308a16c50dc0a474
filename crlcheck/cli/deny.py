"""``crlcheck deny``: change and show the deny list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.catalog import Denial
from crlcheck.cli.actor import actor
from crlcheck.cli.command import group
from crlcheck.cli.inputs import (
    STANDARD_INPUT,
    files_of,
    open_for_change,
    open_target,
    read_input,
    read_published_set,
    time_of,
    usage,
)
from crlcheck.cli.options import change_options, root_key_option
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import about, each_of
from crlcheck.cli.text import answer, say
from crlcheck.encoding.names import name_text
from crlcheck.encoding.serials import parse_serial_text
from crlcheck.errors import StoreError
from crlcheck.publisher.operator import deny_certificate, lift_denial
from crlcheck.settings import read_duration
from crlcheck.times import time_text
from crlcheck.x509.certificates import load_certificate

_PATH = click.Path(path_type=Path)


@group(
    "deny",
    examples=["crlcheck deny add published stolen.pem --for 12h", "crlcheck deny list published"],
)
def deny_group() -> None:
    """Deny certificates by hand, before their CA revokes them."""


_certificates_argument = click.argument(
    "certificates", metavar="[CERTIFICATE]...", type=_PATH, nargs=-1
)
_issuer_option = click.option("--issuer", type=_PATH, help="The certificate's issuer.")
_serial_option = click.option("--serial", metavar="HEX", help="Its serial number.")


class _Named:
    """A certificate that a command names: by a file, or by issuer and serial number."""

    def __init__(self, path: Path, serial: str | None = None) -> None:
        self._path = path
        self._serial = serial

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> tuple[bytes, int]:
        """Return its issuer's name and its serial number."""
        is_input = self._path == STANDARD_INPUT
        facts = load_certificate(read_input(self._path) if is_input else self._path)
        if self._serial is None:
            return facts.issuer, facts.serial_number
        return facts.subject, parse_serial_text(self._serial)


def _named(certificates: tuple[Path, ...], issuer: Path | None, serial: str | None) -> list[_Named]:
    """Return the certificates that the command names."""
    if certificates and issuer is None and serial is None:
        return [_Named(path) for path in files_of(certificates)]
    if not certificates and issuer is not None and serial is not None:
        return [_Named(issuer, serial)]
    raise click.UsageError("name certificates, or --issuer and --serial, one of the two")


def _change(store: str, named: list[_Named], change: Callable[[bytes, int], dict[str, Any]]) -> int:
    """Change the deny list for each certificate and answer; return the exit status."""

    def one(certificate: _Named) -> dict[str, Any]:
        name, number = certificate.read()
        return {
            "store": store,
            **change(name, number),
            "issuer": name_text(name),
            "serial_number": f"{number:x}",
        }

    with usage():
        done, status = each_of(named, one)
    answer(done[0] if len(done) == 1 else {"certificates": done})
    return status


@deny_group.command(
    "add",
    examples=[
        "crlcheck deny add published stolen.pem --for 12h --note stolen",
        "crlcheck deny add published --issuer ca.pem --serial 4a:31:07",
    ],
)
@click.argument("store", type=STORE)
@_certificates_argument
@_issuer_option
@_serial_option
@click.option(
    "--for",
    "lasting",
    type=read_duration,
    metavar="DURATION",
    help="How long, such as 12h; by default forever.",
)
@change_options
def deny_add(
    store: str,
    certificates: tuple[Path, ...],
    issuer: Path | None,
    serial: str | None,
    lasting: timedelta | None,
    note: str,
) -> int:
    """
    Deny each CERTIFICATE, or --serial of --issuer, at once.

    CERTIFICATE is PEM or DER; "-" is standard input, and of a directory each file is
    one. Of several, one that cannot be read keeps no other from being denied.
    """
    named, target = _named(certificates, issuer, serial), open_for_change(store)
    now = datetime.now(UTC).replace(microsecond=0)
    until = None if lasting is None else now + lasting
    end = "" if until is None else f" until {time_text(until)}"

    def deny(name: bytes, number: int) -> dict[str, Any]:
        generation = deny_certificate(
            target, name, number, until=until, note=note, actor=actor(), now=now
        )
        say(f"{store}: {number:x} of {name_text(name)} is denied{end}: generation {generation}")
        return {"generation": generation, "until": time_text(until)}

    return _change(store, named, deny)


@deny_group.command("remove", examples=["crlcheck deny remove published found.pem"])
@click.argument("store", type=STORE)
@_certificates_argument
@_issuer_option
@_serial_option
@change_options
def deny_remove(
    store: str,
    certificates: tuple[Path, ...],
    issuer: Path | None,
    serial: str | None,
    note: str,
) -> int:
    """Take each CERTIFICATE, or --serial of --issuer, off the deny list; CRLs count as before."""
    named, target = _named(certificates, issuer, serial), open_for_change(store)

    def lift(name: bytes, number: int) -> dict[str, Any]:
        generation = lift_denial(target, name, number, note=note, actor=actor())
        say(
            f"{store}: {number:x} of {name_text(name)} is not denied any more: "
            f"generation {generation}"
        )
        return {"generation": generation}

    return _change(store, named, lift)


@deny_group.command("list", examples=["crlcheck deny list published"])
@click.argument("store", type=STORE)
@root_key_option
def deny_list(store: str) -> int:
    """List the certificates that are denied by hand."""
    target = open_target(store)
    published, now = read_published_set(target), time_of(target)
    with about(target.url, StoreError):
        catalog = published.denials()
    answer({"denials": [{**_denial(one), "holds": one.holds(now)} for one in catalog.denied]})
    for one in catalog.denied:
        end = "for good" if one.until is None else f"until {time_text(one.until)}"
        over = "" if one.holds(now) else " (over)"
        note = f": {one.note}" if one.note else ""
        say(f"{one.serial_number:x} of {name_text(one.issuer)}, {end}{over}{note}")
    return 0


def _denial(one: Denial) -> dict[str, Any]:
    return {**one.members(), "issuer": name_text(one.issuer)}
