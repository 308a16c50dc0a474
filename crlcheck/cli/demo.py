"""``crlcheck demo``: the whole path on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from crlcheck.cli.text import console, say, say_json


def run(num_entries: int, *, as_json: bool) -> bool:
    """Run the demo and show it; return whether every verdict was the right one."""
    from crlcheck.demo import report, tour
    from crlcheck.demo.pkits import compile_all, pkits_directory

    tour.require_packages()
    if as_json:
        done, pkits = tour.run_tour(num_entries), compile_all(pkits_directory())
        say_json(report.to_members(done, pkits))
        return done.is_right
    screen = console()
    done = tour.run_tour(num_entries, tell=lambda step: report.show_step(screen, step))
    report.show_tour(screen, done)
    screen.print()
    report.show_pkits(screen, compile_all(pkits_directory()))
    return done.is_right


def write_files(directory: Path, num_entries: int) -> None:
    """Write the demo's CA, CRL and certificates to *directory* and name them."""
    from crlcheck.demo.world import make_world

    for path in make_world(num_entries, now=datetime.now(UTC)).write_files(directory):
        say(str(path))
