"""``crlcheck doctor``: try whether a store can be published in, and say what to do."""

from __future__ import annotations

import dataclasses

import click

from crlcheck.cli.command import command
from crlcheck.cli.inputs import open_target
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import EXIT_FAILED, EXIT_USAGE
from crlcheck.cli.text import answer, say
from crlcheck.stores.doctor import examine_store
from crlcheck.stores.examination import FAILED, OK, WARNING, StoreCheck

_COLORS = {OK: "green", WARNING: "yellow", FAILED: "red"}


@command(
    "doctor",
    short_help="Try whether STORE can be published in.",
    exit_statuses={
        0: "nothing failed; there may be warnings",
        EXIT_USAGE: "wrong usage",
        EXIT_FAILED: "something failed",
    },
    examples=["crlcheck doctor published", "crlcheck doctor s3://crls/published"],
)
@click.argument("store", type=STORE)
def doctor_command(store: str) -> int:
    """
    Try whether STORE can be published in, and say what to do where it cannot.

    It writes and deletes throw-away objects under "probe/", and touches nothing else.
    STORE is a directory or s3://bucket/prefix, with or without anything published. At an
    https:// URL it tries only whether the store can be read.
    """
    target = open_target(store)
    checks: list[StoreCheck] = []
    for check in examine_store(target):
        checks.append(check)
        _say_check(check)
    outcomes = [check.outcome for check in checks]
    failed, warned = outcomes.count(FAILED), outcomes.count(WARNING)
    say(f"{target.url}: {failed} failed, {warned} warned, {outcomes.count(OK)} ok")
    answer(
        {
            "store": target.url,
            "failed": failed,
            "warnings": warned,
            "checks": [dataclasses.asdict(check) for check in checks],
        }
    )
    return EXIT_FAILED if failed else 0


def _say_check(check: StoreCheck) -> None:
    say(f"{check.outcome:<8}{check.name}: {check.found}", color=_COLORS[check.outcome])
    if check.remedy:
        say(f"{'':<8}{check.remedy}")
