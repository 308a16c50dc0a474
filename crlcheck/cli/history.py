"""``crlcheck history``: show what happened to a store."""

from __future__ import annotations

from collections.abc import Iterator

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.command import command
from crlcheck.cli.inputs import demands_on, open_target, usage
from crlcheck.cli.options import root_key_option
from crlcheck.cli.parameters import SCOPE, STORE
from crlcheck.cli.status import JsonArray, about, warn
from crlcheck.cli.text import say
from crlcheck.cli.when import WHEN, When
from crlcheck.errors import ReadOnlyStoreError, StoreError
from crlcheck.publisher.refusals import REFUSED_PREFIX
from crlcheck.publisher.timeline import HistoryCrl, HistoryEntry, HistoryOutcome, read_history
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text

_MOST_SHOWN = 20
_COLORS = {
    HistoryOutcome.UNDONE: "red",
    HistoryOutcome.LOST: "yellow",
    HistoryOutcome.REFUSED: "red",
    HistoryOutcome.MISSING: "yellow",
}
_MARKS = {
    HistoryOutcome.UNDONE: " (lost: somebody put an older root back)",
    HistoryOutcome.LOST: " (not known to have been published: another change came first, its "
    "writer failed, or somebody put an older root back)",
}


@command(
    "history",
    examples=[
        "crlcheck history published --since 7d",
        "crlcheck history s3://crls/published --since 2026-11-24T10:30:00Z --json",
        "crlcheck history published --scope 8acd7bc3",
    ],
)
@click.argument("store", type=STORE)
@click.option(
    "--since",
    type=WHEN,
    metavar="WHEN",
    help="How long ago (7d), a time (2026-11-24), or a generation (41), after which it begins.",
)
@click.option(
    "--scope", type=SCOPE, metavar="SCOPE", help="Only what concerns scopes whose keys begin so."
)
@click.option("--all", "every", is_flag=True, help="Show changes that were never published, too.")
@root_key_option
def history_command(store: str, since: When | None, scope: str | None, every: bool) -> int:
    """
    Show what was published in STORE, by whom, and what changed; the latest first.

    CRLs that were refused are among it, with the reason. STORE@WHEN shows what came
    before that.
    """
    target = open_target(store)
    if not _is_listed(target):
        warn("refused CRLs and lost changes are not shown: the store's objects cannot be listed")
    entries = JsonArray()
    try:
        with about(store, StoreError), usage():
            found = read_history(
                target,
                since=since,
                scope=scope,
                include_lost=every,
                root_keys=demands_on(target).get("root_keys"),
            )
            num_entries = 0
            for entry in found:
                num_entries += entry.outcome is not HistoryOutcome.MISSING
                entries.add(entry.as_dict())
                _say(entry)
        entries.answer("entries", {"store": store})
    finally:
        entries.close()
    if not num_entries:
        say(f"{store}: nothing happened in that time")
    return 0


def _is_listed(store: ObjectStore) -> bool:
    try:
        next(iter(store.names(REFUSED_PREFIX)), None)
    except ReadOnlyStoreError:
        return False
    return True


def _say(entry: HistoryEntry) -> None:
    """Write an entry, with a line for each thing that changed."""
    color = _COLORS.get(entry.outcome)
    if entry.outcome is HistoryOutcome.MISSING:
        say(f"the history ends here: {entry.summary}", color=color)
        return
    generation = "" if entry.generation is None else f" generation {entry.generation}"
    by = f", by {entry.actor}" if entry.actor else ""
    note = f": {entry.note}" if entry.note else ""
    mark = _MARKS.get(entry.outcome, "")
    say(f"{time_text(entry.at)}{generation}{mark}{by}{note}", color=color)
    say(f"  {entry.summary}")
    lines = list(_lines(entry))
    for line in lines[:_MOST_SHOWN]:
        say(f"    {line}")
    if len(lines) > _MOST_SHOWN:
        say(f"    and {count(len(lines) - _MOST_SHOWN, 'more change')}, which --json lists")


def _lines(entry: HistoryEntry) -> Iterator[str]:
    """Yield the changes by issuer; those that change nothing but an image come last."""
    crls = sorted(entry.crls, key=lambda one: (one.issuer, one.scope))
    yield from (_crl_text(one) for one in crls if one.change != "rebuilt")
    for one in entry.issuers_added:
        yield f"+ {one}"
    for one in entry.issuers_removed:
        yield f"- {one}"
    if entry.action not in ("deny", "allow"):  # of which the summary says it
        for denial in entry.denials_added:
            end = "" if denial.until is None else f" until {time_text(denial.until)}"
            yield f"+ denial of {denial}{end}"
        for denial in entry.denials_lifted:
            yield f"- denial of {denial}"
    for denial in entry.denials_ended:
        yield f"- denial of {denial}, which was over"
    yield from (_crl_text(one) for one in crls if one.change == "rebuilt")


def _crl_text(crl: HistoryCrl) -> str:
    entries = count(crl.num_entries, "entry", "entries")
    if crl.num_entries_before is not None:
        entries += f" ({crl.num_entries_before:,} before)"
    source = "" if crl.source is None else f", from {crl.source}"
    sign = "-" if crl.change == "removed" else "+"
    return f"{sign} scope {crl.scope}: {crl} {crl.change}, {entries}{source}"
