"""``crlcheck demo``: the whole path on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from crlcheck.cli.text import console, say, say_json


def run(num_entries: int, *, as_json: bool) -> bool:
    """Run the demo and show it; return whether every verdict was the right one."""
    from crlcheck.demo import mutual_tls, report, site, tour
    from crlcheck.demo.pkits import compile_all, pkits_directory

    if as_json:
        with site.open_site(num_entries) as opened:
            events, calls = tour.run_tour(opened), mutual_tls.run_mutual_tls(opened)
        members = report.to_members(events, calls, compile_all(pkits_directory()))
        say_json(members)
        return bool(members["right"])
    screen = console()
    with site.open_site(num_entries, tell=lambda step: report.show_step(screen, step)) as opened:
        events = tour.run_tour(opened)
        report.show_tour(screen, events)
        screen.print()
        calls = mutual_tls.run_mutual_tls(opened)
        report.show_mutual_tls(screen, calls)
    screen.print()
    report.show_pkits(screen, compile_all(pkits_directory()))
    return events.is_right and (calls is None or calls.is_right)


def write_files(directory: Path, num_entries: int) -> None:
    """Write the demo's CA, CRL and certificates to *directory* and name them."""
    from crlcheck.demo.world import make_world

    for path in make_world(num_entries, now=datetime.now(UTC)).write_files(directory):
        say(str(path))
