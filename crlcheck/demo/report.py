"""Show the demo's results, as tables or as JSON members."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from crlcheck.demo.apis import EXPECTED
from crlcheck.demo.mutual_tls import Call, MutualTlsReport
from crlcheck.demo.pkits import PkitsReport
from crlcheck.demo.site import Step
from crlcheck.demo.tour import Decision, TourReport

_CLIENTS = {
    "good": "good: not listed",
    "revoked": "revoked: listed",
    "foreign": "foreign: of another CA",
}


def show_step(console: Console, step: Step) -> None:
    """Print a step, how long it took, and its result."""
    console.print(f"{_milliseconds(step.seconds):>11}  {step.what}")
    console.print(f"{'':11}  {step.detail}", style="dim", soft_wrap=True)


def show_tour(console: Console, report: TourReport) -> None:
    """Print the decisions and the sizes."""
    table = Table("API", "client", "answer", "verdict", "cause", "first", "again", "")
    for column in (5, 6):
        table.columns[column].justify = "right"
    for decision in report.decisions:
        style = None if decision.is_right else "bold red"
        table.add_row(*_cells(decision), style=style)
    console.print(table)
    console.print("Each time, S3 was asked whether the catalog has changed.")
    share = report.image_size / report.crl_size
    console.print(
        f"The image of {report.num_entries:,} entries has {report.image_size:,} bytes, "
        f"{share:.0%} of the CRL's {report.crl_size:,}."
    )
    _show_whether_right(console, "verdicts", report.decisions)


def show_mutual_tls(console: Console, report: MutualTlsReport | None) -> None:
    """Print whether the answers were right, or that nginx is missing."""
    if report is None:
        console.print(
            "Left out: the same by real mutual TLS, for which nginx is missing "
            "(apt install nginx-light).",
            style="yellow",
        )
        return
    _show_whether_right(console, "answers through nginx", report.calls)


def show_pkits(console: Console, report: PkitsReport) -> None:
    """Print the counts, and a line for each refusal."""
    console.print(
        f"PKITS: {report.num_crls} CRLs, {len(report.compiled)} compiled, "
        f"{len(report.refused)} refused ({_milliseconds(report.seconds)}, "
        f"{report.num_issuers} trusted issuers):"
    )
    names, reasons = (
        max((len(word) for word in column), default=0)
        for column in (
            [refusal.name for refusal in report.refused],
            [refusal.reason for refusal in report.refused],
        )
    )
    for refusal in report.refused:
        line = f"  {refusal.name:<{names}}  {refusal.reason:<{reasons}}  {refusal.message}"
        console.print(line, no_wrap=True, overflow="ellipsis")


def to_members(
    tour: TourReport, mutual_tls: MutualTlsReport | None, pkits: PkitsReport
) -> dict[str, Any]:
    """Return the reports as JSON has them; times in seconds, sizes in bytes."""
    decisions = [
        {**dataclasses.asdict(decision), "right": decision.is_right} for decision in tour.decisions
    ]
    calls = mutual_tls and {
        **dataclasses.asdict(mutual_tls),
        "calls": [
            {**dataclasses.asdict(call), "right": call.is_right} for call in mutual_tls.calls
        ],
    }
    return {
        "right": tour.is_right and (mutual_tls is None or mutual_tls.is_right),
        **dataclasses.asdict(tour),
        "decisions": decisions,
        "mutual_tls": calls,
        "pkits": {"num_crls": pkits.num_crls, **dataclasses.asdict(pkits)},
    }


def _cells(decision: Decision) -> tuple[str, ...]:
    answer = decision.answer
    times = _milliseconds(decision.seconds), _milliseconds(decision.seconds_again)
    client = _CLIENTS[decision.client]
    if answer is None:
        return decision.api, client, "not understood", "", "", *times, "WRONG"
    return (
        decision.api,
        client,
        "allow" if answer.allowed else "deny",
        answer.verdict,
        answer.cause or "",
        *times,
        "right" if decision.is_right else f"WRONG, expected {EXPECTED[decision.client].verdict}",
    )


def _show_whether_right(console: Console, what: str, found: Sequence[Decision | Call]) -> None:
    wrong = sum(not each.is_right for each in found)
    if wrong:
        console.print(f"{wrong} of {len(found)} {what} are WRONG.", style="bold red")
    else:
        console.print(f"All {len(found)} {what} are right.", style="green")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
