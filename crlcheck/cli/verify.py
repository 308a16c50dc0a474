"""``crlcheck verify``: verify all that a store has published, and repair what has a copy."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import click

from crlcheck.catalog.descriptions import count, some_of
from crlcheck.cli.command import command
from crlcheck.cli.inputs import demands_on, open_target, usage
from crlcheck.cli.options import root_key_option
from crlcheck.cli.output import output
from crlcheck.cli.parameters import STORE, TARGET
from crlcheck.cli.progress import counting_things
from crlcheck.cli.status import EXIT_FAILED, EXIT_USAGE, JsonArray, report_error, warn
from crlcheck.cli.text import say
from crlcheck.publisher.verify import StoreFault, VerifyReport, verify_store
from crlcheck.remedies import with_remedy
from crlcheck.times import time_text


@command(
    "verify",
    examples=[
        "crlcheck verify s3://crls/published",
        "crlcheck verify s3://crls/published --repair-from /var/lib/mirror --repair-from crls/",
    ],
    exit_statuses={
        0: "all is right, or was repaired",
        EXIT_USAGE: "wrong usage",
        EXIT_FAILED: "something is damaged or missing, or the store does not answer",
    },
)
@click.argument("store", type=STORE)
@click.option(
    "--repair-from",
    type=TARGET,
    multiple=True,
    metavar="MIRROR-OR-CRLS",
    help="A mirror of STORE, STORE itself, or a CRL file or a directory of them; may be repeated.",
)
@root_key_option
def verify_command(store: str, repair_from: tuple[str, ...]) -> int:
    """
    Verify the root, the nodes, the images, the denials and the history of STORE.

    Each object that is damaged or missing is named, with what follows from it and what
    can be done. With --repair-from it is copied from a mirror. An image is also made
    anew from its CRL, which gives the same bytes. A repair makes no new generation.
    Without --repair-from nothing is written.
    """
    target = open_target(store)
    with contextlib.closing(JsonArray()) as faults:

        def tell(fault: StoreFault) -> None:
            faults.add(_members(fault))
            _say(fault)

        with usage(), counting_things(f"verifying {store}") as shown:
            report = verify_store(
                target,
                repair_from=repair_from,
                root_keys=demands_on(target).get("root_keys"),
                on_fault=tell,
                progress=shown,
            )
        faults.answer("faults", {"store": store, **_report_members(report)})
    _say_report(store, report)
    return 0 if report.is_whole else EXIT_FAILED


def _members(fault: StoreFault) -> dict[str, Any]:
    return {
        **dataclasses.asdict(fault),
        "scopes": list(fault.scopes),
        "repaired_from": fault.repaired_from or None,
        "remedy": fault.remedy or None,
    }


def _report_members(report: VerifyReport) -> dict[str, Any]:
    return {
        **dataclasses.asdict(report),
        "at": time_text(report.at),
        "is_whole": report.is_whole,
    }


def _say(fault: StoreFault) -> None:
    if fault.repaired_from:
        say(f"{fault.name} was {fault.found}: repaired from {fault.repaired_from}")
    elif not output().as_json:
        scopes = f" (scope {some_of(fault.scopes, 3)})" if fault.scopes else ""
        report_error(with_remedy(f"{fault.detail}{scopes}; {fault.means}", fault.remedy))


def _say_report(store: str, report: VerifyReport) -> None:
    if report.generation is not None:
        since = (
            "the history was not verified"
            if report.history_error is not None
            else "no history"
            if report.history_from is None
            else f"the history begins at generation {report.history_from}"
        )
        say(
            f"{store}: generation {report.generation}: {count(report.num_scopes, 'scope')}, "
            f"{count(report.num_images, 'image')}, {count(report.num_issuers, 'trusted issuer')}, "
            f"{count(report.num_denials, 'denial')}, {count(report.num_nodes, 'node')}, "
            f"{report.num_bytes:,} bytes; {since}"
        )
    harmless = [
        f"{count(number, what)} {why}"
        for number, what, why in (
            (report.num_waiting, "object", "not used any more"),
            (report.num_unnamed, "object", "that nothing names"),
            (report.num_leftover_records, "record", "of generations that were never published"),
        )
        if number
    ]
    if report.history_error is not None:
        warn(f"{store}: the history was not verified: {report.history_error}")
    later = report.later_generation if report.is_whole else None  # else a fault tells of it
    if later is not None:
        warn(
            f"{store}: the history also has generation {later}: its writer failed or is at work, "
            "or somebody has put an old root back. What to do: look at it (crlcheck history STORE "
            f"--all); if it was published, crlcheck restore STORE --from @{later}"
        )
    elif harmless and report.is_whole:  # else they may be what a restore needs
        say(f"{store}: {', '.join(harmless)}: harmless, crlcheck clean deletes them")
    left = report.num_faults - report.num_repaired
    found = [
        "" if report.num_faults else "all is right" if later is None else "no object is damaged",
        f"{count(report.num_repaired, 'fault')} repaired" if report.num_repaired else "",
        f"{count(left, 'fault')} left" if left else "",
    ]
    say(f"{store}: {', '.join(filter(None, found))}")
