"""``crlcheck grace``: let CRLs be used past their nextUpdate for a while."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from crlcheck.catalog.catalog import Grace
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.cli.actor import actor
from crlcheck.cli.command import group
from crlcheck.cli.inputs import open_for_change, open_target, read_published_set, time_of, usage
from crlcheck.cli.options import change_options, root_key_option
from crlcheck.cli.parameters import SCOPE, STORE
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, say
from crlcheck.errors import StoreError
from crlcheck.publisher.operator import grant_grace
from crlcheck.settings import read_duration
from crlcheck.times import time_text


@group(
    "grace",
    examples=["crlcheck grace add published --for 24h --note 'the CA is late'"],
)
def grace_group() -> None:
    """Let CRLs be used past their nextUpdate for a while."""


_scope_option = click.option(
    "--scope", type=SCOPE, help="Only the CRLs of this scope; by default all of the store."
)


@grace_group.command(
    "add", examples=["crlcheck grace add published --for 24h --note 'the CA is late'"]
)
@click.argument("store", type=STORE)
@_scope_option
@click.option(
    "--for",
    "lasting",
    type=read_duration,
    required=True,
    metavar="DURATION",
    help="How long from now, such as 24h.",
)
@change_options
def grace_add(store: str, scope: str | None, lasting: timedelta, note: str) -> int:
    """
    Let the CRLs of STORE be used past their nextUpdate, from now on for a while.

    A certificate that no CRL lists passes although its CRL is stale, and its result says
    that this was waived. Services see it at their next poll. It ends by itself.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    until = now + lasting
    with usage():
        generation = grant_grace(
            open_for_change(store),
            until=until,
            scope=scope,
            note=note,
            actor=actor(),
            now=now,
        )
    answer({"store": store, "scope": scope, "until": time_text(until), "generation": generation})
    say(
        f"{store}: {_which(scope)} may be used past nextUpdate until {time_text(until)}: "
        f"generation {generation}"
    )
    return 0


@grace_group.command("remove", examples=["crlcheck grace remove published"])
@click.argument("store", type=STORE)
@_scope_option
@change_options
def grace_remove(store: str, scope: str | None, note: str) -> int:
    """End the grace of STORE, or of --scope; without CRL in time, certificates are undetermined."""
    with usage():
        generation = grant_grace(
            open_for_change(store), until=None, scope=scope, note=note, actor=actor()
        )
    answer({"store": store, "scope": scope, "until": None, "generation": generation})
    say(f"{store}: {_which(scope)} may not be used past nextUpdate: generation {generation}")
    return 0


@grace_group.command("list", examples=["crlcheck grace list published"])
@click.argument("store", type=STORE)
@root_key_option
def grace_list(store: str) -> int:
    """List until when CRLs of STORE may be used past their nextUpdate."""
    target = open_target(store)
    published, now = read_published_set(target), time_of(target)
    with about(store, StoreError):
        found = list(_graces(published))
    answer({"graces": [{"scope": scope, **_members(one, now)} for scope, one in found]})
    for scope, one in found:
        over = "" if now < one.until else " (over)"
        note = f": {one.note}" if one.note else ""
        say(f"{_which(scope)} until {time_text(one.until)}{over}{note}")
    return 0


def _graces(published: PublishedSet) -> Iterator[tuple[str | None, Grace]]:
    """Yield the grace of the store, without a scope, and that of each scope."""
    of_all = published.settings().grace
    if of_all is not None:
        yield None, of_all
    for record in published.scopes():
        if record.grace is not None:
            yield record.key, record.grace


def _members(one: Grace, now: datetime) -> dict[str, Any]:
    return {**one.members(), "holds": now < one.until}


def _which(scope: str | None) -> str:
    return "all CRLs" if scope is None else f"the CRLs of scope {scope}"
