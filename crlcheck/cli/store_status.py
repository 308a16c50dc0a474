"""``crlcheck status``: say how a published set stands, for people, cron and monitoring."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.command import command
from crlcheck.cli.damage import say_unreadable, unreadable_members
from crlcheck.cli.inputs import demands_on, open_target, time_of
from crlcheck.cli.options import root_key_option
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import EXIT_FAILED, EXIT_UNDETERMINED, EXIT_USAGE, about
from crlcheck.cli.text import answer, say
from crlcheck.errors import StoreError
from crlcheck.prometheus import prometheus_text, store_gauges
from crlcheck.publisher.store_status import PublishedScope, StoreStatus, read_store_status
from crlcheck.remedies import SIGN_AGAIN, with_remedy
from crlcheck.settings import read_duration
from crlcheck.times import time_text

EXIT_ATTENTION = 1

_STATUSES: Mapping[int, str] = {
    0: "all is well",
    EXIT_ATTENTION: "a CRL is stale soon, in grace or refused, or the signature ends soon",
    EXIT_USAGE: "wrong usage",
    EXIT_UNDETERMINED: "a CRL is stale, or the root's signature has expired",
    EXIT_FAILED: "all or a part cannot be read, is not there, or its root is refused",
}
_SIGNATURE_COLORS = {"expired": "red", "ends_soon": "yellow"}
_COLORS = {"stale": "red", "soon_stale": "yellow", "in_grace": "yellow"}


class _Warn(click.ParamType[float | timedelta]):
    """A part such as 25%, or a duration such as 6h."""

    name = "PART|DURATION"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | timedelta:
        """Read it."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        part = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?)%", value.strip())
        if part is not None and float(part[1]) <= 100:
            return float(part[1]) / 100
        try:
            return read_duration(value)
        except ValueError as error:
            self.fail(f"expected a part such as 25%, or a duration: {error}", param, ctx)


@command(
    "status",
    exit_statuses=_STATUSES,
    examples=[
        "crlcheck status published",
        "crlcheck status published --warn 6h --quiet",
        "crlcheck status s3://bucket/published --format prometheus",
    ],
)
@click.argument("store", type=STORE)
@click.option(
    "--warn",
    type=_Warn(),
    default="25%",
    show_default=True,
    help="Tell of CRLs with less of their validity period left, or less time, and of a "
    "signature of the root that ends as soon.",
)
@click.option("--all", "every", is_flag=True, help="Show CRLs that are current too.")
@click.option(
    "--quick",
    is_flag=True,
    help="Read only the shards in which something is due; tell nothing of issuers.",
)
@root_key_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "prometheus"]),
    default="text",
    show_default=True,
    help="prometheus is the text format that a textfile collector reads.",
)
def status_command(store: str, warn: float | timedelta, every: bool, quick: bool, form: str) -> int:
    """
    Show what of STORE is stale or soon will be, what was refused last, and its age.

    An issuer is unchecked if no CRL can say whether it is revoked, because its own issuer
    is not trusted. It changes no exit status. A refused CRL is shown until one of the same
    source is published, or until `crlcheck refusal dismiss`.
    """
    target = open_target(store)
    with about(store, StoreError):
        found = read_store_status(
            target,
            warn=warn,
            every_scope=every or form == "prometheus",
            issuers=not quick,
            root_keys=demands_on(target).get("root_keys"),
            now=time_of(target),
        )
    answer(_members(found))
    if form == "prometheus":
        for line in prometheus_text(store_gauges(found)).splitlines():
            say(line)
    else:
        _show(found)
    return _exit_status(found)


def _exit_status(found: StoreStatus) -> int:
    if found.unreadable:
        return EXIT_FAILED
    if found.count("stale") or found.signature_state == "expired":
        return EXIT_UNDETERMINED
    needs_attention = (
        found.count("soon_stale")
        or found.count("in_grace")
        or found.rejections
        or found.signature_state == "ends_soon"
    )
    return EXIT_ATTENTION if needs_attention else 0


def _show(found: StoreStatus) -> None:
    written = "" if found.at is None else f", written {time_text(found.at)}"
    denied = found.num_denied
    denials = "unknown denials" if denied is None else count(denied, "denial")
    say(
        f"{found.store}: generation {found.generation}{written}: {count(found.num_scopes, 'scope')}"
        f", {count(found.num_issuers, 'issuer')}, {denials}"
    )
    if found.signature_state is not None:
        say(_signature_text(found), color=_SIGNATURE_COLORS.get(found.signature_state))
    if found.grace is not None:
        note = f": {found.grace.note}" if found.grace.note else ""
        say(f"grace for all CRLs until {time_text(found.grace.until)}{note}", color="yellow")
    say_unreadable(found.unreadable)
    for one in found.scopes:
        say(
            f"{_state_text(one)}: {_crl_text(one)} (scope {one.scope})",
            color=_COLORS.get(one.state),
        )
    if not found.knows_rejections:
        say("refused CRLs are not known: the objects of this store cannot be listed")
    for rejection in found.rejections:
        detail = with_remedy(rejection.detail, rejection.remedy)
        say(f"refused {time_text(rejection.at)}: {rejection.source}: {detail}", color="red")
    for issuer in found.unchecked_issuers or ():
        say(f"unchecked issuer: {issuer}: its own issuer is not trusted")


def _signature_text(found: StoreStatus) -> str:
    assert found.signed_for is not None, "there is a signature"
    until = time_text(found.signed_until)
    if found.signature_state == "current":
        return f"the signature of the root holds until {until}"
    refuse = "every certificate undetermined where a signature is demanded"
    if found.signature_state == "expired":
        said = f"the signature of the root expired at {until}, which makes {refuse}"
    else:
        left = _whole(found.signed_for)
        said = f"the signature of the root expires in {left}, at {until}, and makes {refuse} then"
    return with_remedy(said, SIGN_AGAIN)


def _state_text(one: PublishedScope) -> str:
    left = one.time_left
    if one.state == "current":
        return "current" if left is None else f"current for {_whole(left)}"
    if one.state == "soon_stale":
        assert left is not None, "only a CRL with nextUpdate becomes stale"
        return f"stale in {_whole(left)}"
    assert left is not None, "only a CRL with nextUpdate becomes stale"
    since = f"for {_whole(-left)}"
    if one.state == "in_grace":
        return f"past nextUpdate {since}, in the operator's grace"
    if one.state == "expired_and_replaced":
        return f"expired {since} and replaced by scope {one.replaced_by}"
    return f"stale {since}"


def _crl_text(one: PublishedScope) -> str:
    kind = "delta CRL" if one.is_delta else "CRL"
    number = f"the {kind}" if one.crl_number is None else f"{kind} {one.crl_number}"
    return f"{number} of {one.issuer}"


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=int(span.total_seconds()))


def _members(found: StoreStatus) -> dict[str, Any]:
    return {
        "store": found.store,
        "generation": found.generation,
        "at": time_text(found.at),
        "age": _seconds(found.age),
        "num_scopes": found.num_scopes,
        "num_issuers": found.num_issuers,
        "num_denied": found.num_denied,
        "signed_until": time_text(found.signed_until),
        "signed_for": _seconds(found.signed_for),
        "signature_state": found.signature_state,
        "grace": None if found.grace is None else found.grace.members(),
        "scopes": [
            {
                "scope": one.scope,
                "issuer": one.issuer,
                "state": one.state,
                "crl_number": one.crl_number,
                "is_delta": one.is_delta,
                "this_update": time_text(one.this_update),
                "next_update": time_text(one.next_update),
                "time_left": _seconds(one.time_left),
                "num_entries": one.num_entries,
                "source": one.source,
                "replaced_by": one.replaced_by,
            }
            for one in found.scopes
        ],
        "rejections": None
        if not found.knows_rejections
        else [one.members() for one in found.rejections],
        "unreadable": unreadable_members(found.unreadable),
        "unchecked_issuers": None
        if found.unchecked_issuers is None
        else list(found.unchecked_issuers),
        "exit_status": _exit_status(found),
    }


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())
