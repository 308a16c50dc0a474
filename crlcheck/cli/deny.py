"""``crlcheck deny``: change and show the deny list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.catalog import Denial
from crlcheck.cli.command import group
from crlcheck.cli.inputs import open_target, read_published, usage
from crlcheck.cli.options import note_option
from crlcheck.cli.text import answer, say
from crlcheck.encoding.names import name_text
from crlcheck.encoding.serials import parse_serial_text
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


_certificate_argument = click.argument("certificate", type=_PATH, required=False)
_issuer_option = click.option("--issuer", type=_PATH, help="The certificate's issuer.")
_serial_option = click.option("--serial", metavar="HEX", help="Its serial number.")


def _named(certificate: Path | None, issuer: Path | None, serial: str | None) -> tuple[bytes, int]:
    """Return issuer name and serial number of the certificate that the command names."""
    if certificate is not None and issuer is None and serial is None:
        facts = load_certificate(certificate)
        return facts.issuer, facts.serial_number
    if certificate is None and issuer is not None and serial is not None:
        with usage():
            return load_certificate(issuer).subject, parse_serial_text(serial)
    raise click.UsageError("name a certificate, or --issuer and --serial, one of the two")


@deny_group.command(
    "add",
    examples=[
        "crlcheck deny add published stolen.pem --for 12h --note stolen",
        "crlcheck deny add published --issuer ca.pem --serial 4a:31:07",
    ],
)
@click.argument("store")
@_certificate_argument
@_issuer_option
@_serial_option
@click.option(
    "--for",
    "lasting",
    type=read_duration,
    metavar="DURATION",
    help="How long, such as 12h; by default forever.",
)
@note_option
def deny_add(
    store: str,
    certificate: Path | None,
    issuer: Path | None,
    serial: str | None,
    lasting: timedelta | None,
    note: str,
) -> int:
    """Deny CERTIFICATE, or --serial of --issuer, at once."""
    name, number = _named(certificate, issuer, serial)
    now = datetime.now(UTC).replace(microsecond=0)
    until = None if lasting is None else now + lasting
    with usage():
        generation = deny_certificate(
            open_target(store), name, number, until=until, note=note, now=now
        )
    answer({**_names(store, name, number, generation), "until": time_text(until)})
    end = "" if until is None else f" until {time_text(until)}"
    say(f"{store}: {number:x} of {name_text(name)} is denied{end}: generation {generation}")
    return 0


@deny_group.command("remove", examples=["crlcheck deny remove published found.pem"])
@click.argument("store")
@_certificate_argument
@_issuer_option
@_serial_option
def deny_remove(
    store: str, certificate: Path | None, issuer: Path | None, serial: str | None
) -> int:
    """Take CERTIFICATE, or --serial of --issuer, off the deny list; CRLs count as before."""
    name, number = _named(certificate, issuer, serial)
    with usage():
        generation = lift_denial(open_target(store), name, number)
    answer(_names(store, name, number, generation))
    say(f"{store}: {number:x} of {name_text(name)} is off the list: generation {generation}")
    return 0


@deny_group.command("list", examples=["crlcheck deny list published"])
@click.argument("store")
def deny_list(store: str) -> int:
    """List the certificates that are denied by hand."""
    catalog, now = read_published(open_target(store)), datetime.now(UTC)
    answer([{**_denial(one), "holds": one.holds(now)} for one in catalog.denied])
    for one in catalog.denied:
        end = "for good" if one.until is None else f"until {time_text(one.until)}"
        over = "" if one.holds(now) else " (over)"
        note = f": {one.note}" if one.note else ""
        say(f"{one.serial_number:x} of {name_text(one.issuer)}, {end}{over}{note}")
    return 0


def _names(store: str, issuer: bytes, serial_number: int, generation: int) -> dict[str, Any]:
    return {
        "store": store,
        "generation": generation,
        "issuer": name_text(issuer),
        "serial_number": f"{serial_number:x}",
    }


def _denial(one: Denial) -> dict[str, Any]:
    return {**one.members(), "issuer": name_text(one.issuer)}
