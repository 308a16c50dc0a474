"""``crlcheck demo``: run upload, compilation, publication and authorization locally."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from crlcheck.cli.command import command
from crlcheck.cli.output import output
from crlcheck.cli.progress import paused, working
from crlcheck.cli.status import EXIT_FAILED
from crlcheck.cli.text import answer, console, say


@command(
    "demo",
    short_help="Show the whole path on this machine.",
    examples=["crlcheck demo", "crlcheck demo --files . --entries 1000"],
)
@click.option(
    "--entries",
    "num_entries",
    type=click.IntRange(min=1),
    default=200_000,
    show_default=True,
    metavar="NUMBER",
    help="How many entries the CRL gets.",
)
@click.option(
    "--files",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Only write the CA, its CRL and the three certificates there.",
)
def demo_command(num_entries: int, directory: Path | None) -> int:
    """
    Show the whole path on this machine: upload, compile, publish, authorize.

    A local server stands in for S3. Where nginx is installed, clients also
    call by real mutual TLS. Then every CRL of NIST's PKITS is compiled or refused.

    It runs the Lambda functions, which are not installed with crlcheck: use make demo
    in a checkout. --files works anywhere.
    """
    if directory is not None:
        _write_files(directory, num_entries)
        return 0
    return 0 if _run(num_entries) else EXIT_FAILED


def _run(num_entries: int) -> bool:
    """Run the demo and show it; return whether every verdict was the right one."""
    from crlcheck.demo import mutual_tls, report, site, tour
    from crlcheck.demo.pkits import compile_all, pkits_directory

    if output().as_json:
        with site.open_site(num_entries) as opened:
            events, calls = tour.run_tour(opened), mutual_tls.run_mutual_tls(opened)
        members = report.to_members(events, calls, compile_all(pkits_directory()))
        answer(members)
        return bool(members["right"])
    screen = console()

    with working("running") as shown:

        def show_step(step: site.Step) -> None:
            with paused(shown):
                report.show_step(screen, step)

        with site.open_site(num_entries, tell=show_step) as opened:
            events = tour.run_tour(opened)
            with paused(shown):
                report.show_tour(screen, events)
                screen.print()
            calls = mutual_tls.run_mutual_tls(opened)
            with paused(shown):
                report.show_mutual_tls(screen, calls)
    screen.print()
    report.show_pkits(screen, compile_all(pkits_directory()))
    return events.is_right and (calls is None or calls.is_right)


def _write_files(directory: Path, num_entries: int) -> None:
    """Write the demo's CA, CRL and certificates to *directory* and name them."""
    from crlcheck.demo.world import make_world

    with working("making the files"):
        paths = make_world(num_entries, now=datetime.now(UTC)).write_files(directory)
    for path in paths:
        say(str(path))
    answer({"files": [str(path) for path in paths]})
