"""``crlcheck restore``: bring a published set back, from a generation, a mirror or CRLs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.catalog import Denial
from crlcheck.catalog.descriptions import count
from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import issuer_sources, open_for_change, usage
from crlcheck.cli.options import (
    change_options,
    compile_options,
    given_demands,
    given_options,
    root_key_option,
)
from crlcheck.cli.output import output
from crlcheck.cli.parameters import STORE, TARGET
from crlcheck.cli.progress import counting
from crlcheck.cli.status import EXIT_FAILED, EXIT_USAGE, error_members, report_failure
from crlcheck.cli.text import answer, say
from crlcheck.cli.when import When, read_when
from crlcheck.encoding.names import name_text
from crlcheck.publisher.restore import DenialsFrom, RestoreReport, ScopeChange, restore_store

_MOST_SHOWN = 50


@command(
    "restore",
    short_help="Bring a published set back, from a generation, a mirror or CRLs.",
    examples=[
        "crlcheck restore published --from @41 --dry-run",
        'crlcheck restore published --from @1d --note "back to yesterday\'s set"',
        'crlcheck restore s3://crls/published --from /var/lib/mirror --note "bucket was emptied"',
        "crlcheck restore published --from crls/ --issuer issuers/ --yes",
    ],
    exit_statuses={
        0: "restored, or shown by --dry-run",
        EXIT_USAGE: "wrong usage, or not confirmed",
        EXIT_FAILED: "a CRL was refused and the others were restored, or nothing was restored",
    },
)
@click.argument("store", type=STORE)
@click.option(
    "--from",
    "origin",
    type=TARGET,
    required=True,
    metavar="MIRROR|CRLS|@WHEN",
    help="A mirror, MIRROR@WHEN, a CRL file or a directory of them, or @WHEN for STORE itself.",
)
@click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="CA",
    help="For CRLs: a trusted issuer certificate, or a directory of them; else those of STORE.",
)
@click.option(
    "--denials",
    type=click.Choice([one.value for one in DenialsFrom]),
    default=DenialsFrom.BOTH.value,
    show_default=True,
    help="Whose denials hold afterwards: of the present set, of the one restored, or both.",
)
@click.option(
    "--without-present",
    is_flag=True,
    help="Lose denials and removed issuers of STORE that cannot be read.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Take a set also if no signed root leads to it, and vouch for all that it has.",
)
@root_key_option
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@change_options
@compile_options
def restore_command(
    store: str,
    origin: str,
    issuers: tuple[Path, ...],
    denials: str,
    without_present: bool,
    adopt: bool,
    dry_run: bool,
    yes: bool,
    note: str,
    **options: Any,
) -> int:
    """
    Make an older set, or one made of CRLs, the published set of STORE.

    WHEN is a generation (41), how long ago (1d), or a time in UTC (2026-11-24T10:30:00Z).

    It gets a generation above all that services can have seen, so that they take it
    from their next look on. What an operator has decided since then holds: denied
    certificates stay denied, and removed issuers stay removed. Shown first is what
    changes: CRLs that are older, scopes that are lost, revocations that are lifted.
    """
    with usage():
        place, when = _split(origin)
    shown: list[RestoreReport] = []

    def confirm(report: RestoreReport) -> bool:
        shown.append(report)
        _say(store, report)
        return not dry_run and (yes or not _asks() or click.confirm("Restore it?", err=True))

    with usage(), counting(f"restoring {store}") as progress:
        report = restore_store(
            open_for_change(store),
            place,
            when=when,
            issuers=issuer_sources(issuers) if issuers else (),
            denials=DenialsFrom(denials),
            without_present=without_present,
            adopt=adopt,
            root_keys=given_demands().get("root_keys"),
            note=note,
            actor=actor(),
            confirm=confirm,
            progress=progress.update,
            **given_options(options),
        )
    answer({"store": store, **_members(report)})
    if report.generation is not None:
        say(f"{store}: restored from {report.source}: generation {report.generation}")
    elif not dry_run:
        raise click.UsageError("nothing was restored")
    return EXIT_FAILED if report.refused and not dry_run else 0


def _split(origin: str) -> tuple[str | None, When | None]:
    """Return the place and the time in ``--from``."""
    place, at, text = origin.rpartition("@")
    if Path(origin).exists():
        return origin, None
    if not at:
        if _is_when(origin):
            raise ValueError(
                f"--from {origin}: found a time or a generation without @, and no file or "
                f"directory has this name: did you mean @{origin}?"
            )
        return origin, None
    try:
        return place or None, read_when(text)
    except (ValueError, OverflowError):
        if not place:
            raise
        return origin, None


def _is_when(text: str) -> bool:
    try:
        read_when(text)
    except (ValueError, OverflowError):
        return False
    return True


def _asks() -> bool:
    """Whether somebody is there to be asked."""
    is_terminal = all(one is not None and one.isatty() for one in (sys.stdin, sys.stderr))
    return is_terminal and output().shows_text


# ---- text and JSON ----------------------------------------------------------------------


def _say(store: str, report: RestoreReport) -> None:
    present = "" if report.present is None else f", in place of generation {report.present}"
    say(f"{store}: {report.source} with {count(report.num_scopes, 'scope')}{present}")
    for note in report.notes:
        say(f"  note: {note}")
    # What lets more certificates pass is never among those that are not shown.
    lines = [_line(change) for change in sorted(report.scopes, key=_is_harmless)]
    lines += [f"issuer {name} becomes trusted" for name in report.issuers_added]
    lines += [f"issuer {name} is not trusted any more" for name in report.issuers_gone]
    lines += [f"{_certificate(denial)} is denied" for denial in report.denied]
    lines += [f"{_certificate(denial)} is not denied any more" for denial in report.allowed]
    for line in lines[:_MOST_SHOWN]:
        say(f"  {line}")
    if len(lines) > _MOST_SHOWN:
        say(f"  and {len(lines) - _MOST_SHOWN:,} more changes, which --json lists")
    if not lines:
        say("  no scope, issuer or denial changes")
    for source, error in report.refused:
        report_failure(error, source)


def _is_harmless(change: ScopeChange) -> bool:
    return change.after is not None and not change.is_older and change.num_lifted == 0


def _line(change: ScopeChange) -> str:
    what = f"{change.after} is added"
    if change.after is None:
        what = f"{change.before} is not in it"
    elif change.before is not None:
        older = "older " if change.is_older else ""
        what = f"{change.before} is replaced by the {older}{change.after}"
    if change.num_lifted is None or change.num_newly_revoked is None:
        return f"{what}: its revocations cannot be compared"
    numbers = [
        f"{count(change.num_lifted, 'revocation')} lifted" if change.num_lifted else "",
        f"{count(change.num_newly_revoked, 'certificate')} revoked"
        if change.num_newly_revoked
        else "",
    ]
    return f"{what}: {', '.join(filter(None, numbers)) or 'the same revocations'}"


def _certificate(denial: Denial) -> str:
    return f"certificate {denial.serial_number:x} of {name_text(denial.issuer)}"


def _members(report: RestoreReport) -> dict[str, Any]:
    return {
        "generation": report.generation,
        "source": report.source,
        "present": report.present,
        "num_scopes": report.num_scopes,
        "num_lifted": _sum([one.num_lifted for one in report.scopes]),
        "scopes": [
            {
                "scope": one.scope,
                "before": one.before,
                "after": one.after,
                "is_older": one.is_older,
                "num_lifted": one.num_lifted,
                "num_newly_revoked": one.num_newly_revoked,
            }
            for one in report.scopes
        ],
        "issuers_added": list(report.issuers_added),
        "issuers_gone": list(report.issuers_gone),
        "denied": [one.members() for one in report.denied],
        "allowed": [one.members() for one in report.allowed],
        "refused": [{"source": source, **error_members(error)} for source, error in report.refused],
        "notes": list(report.notes),
    }


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [one for one in numbers if one is not None]
    return sum(known) if len(known) == len(numbers) else None
