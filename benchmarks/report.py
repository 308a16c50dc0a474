"""
Write the report of one run or more: a page for each kind of machine, and one of all of them.

``python -m benchmarks.report --output DIRECTORY RUN.json...`` writes benchmarks.md and
benchmarks/. Pages of machines that none of the runs is of stay as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks import plots, tables, units
from benchmarks.results import Results, Run
from benchmarks.targets import TARGETS, Figure, Target

_INTRODUCTION = """\
# Benchmarks on {processor}

Written by `make bench`, `make bench-large` and `make bench-targets` from what they measured;
not by hand. Every contender answers exactly, and verifies the signature before it answers.
[Other machines](../benchmarks.md).

"""

_INDEX = """\
# Benchmarks

Written by `make bench`, `make bench-large` and `make bench-targets`; not by hand.
Each kind of machine has a page: processors differ in what an access to memory costs, in SHA-256
and in more, so times of one say little of another. Targets are ratios wherever they can be.

"""

_METHOD = Path(__file__).with_name("method.md")
_SECTIONS: tuple[tuple[str, str, str, Callable[[Results], str]], ...] = (
    (
        "Compile",
        "",
        "`compile_crl`, verified, to a new file; its rounds alternate with those of the limit.",
        tables.compiling,
    ),
    (
        "Load",
        "load-time",
        "From a CRL in the page cache to the first answer, verified; the number of "
        "rounds is in brackets.",
        tables.loading,
    ),
    (
        "First answer",
        "first-answer",
        "From the bytes of a CRL, in memory, to the answer about one serial, verified; each "
        "round asks about another one. Java reads the file, and is asked through a pipe.",
        tables.first_answers,
    ),
    (
        "Checks of certificates",
        "",
        "A client's certificate and the intermediate one above it, by complete CRLs; no poll is "
        "due, and half of the clients are revoked. Beside each, the same certificates are "
        "parsed with `cryptography`, and a set is asked for their serials: that checks neither "
        "the intermediate one, nor whether the CRL is current and the issuer's.",
        tables.checks,
    ),
    (
        "Open",
        "",
        "An image that is already compiled, and reading and hashing it; for the sample's "
        "way, its JSON.",
        tables.opening,
    ),
    ("Lookups", "lookup-time", "One serial after the other in a warm loop.", tables.lookups),
    (
        "Lookups against a set",
        "",
        "Half hits; crlcheck and a Python `set` get the same serials in alternating rounds.",
        tables.against_set,
    ),
    (
        "Latency",
        "latency-isolated latency-cold",
        "The most nanoseconds of the fastest 50 / 90 / 99 % of single lookups; half hits, clock "
        "included.",
        tables.latencies,
    ),
    (
        "Page faults of cold lookups",
        "",
        "The same cold lookups, half of them hits, by whether a page of memory or of the image's "
        "file had to be mapped first.",
        tables.cold_faults,
    ),
    (
        "Batches",
        "",
        "Time per serial in a batch of 400 thousand, half hits; with threads, until the last "
        "one ends.",
        tables.batches,
    ),
    ("Serials with habits", "", "Half hits, in a warm loop.", tables.skewed),
    (
        "Size",
        "size",
        "Bytes an entry, without attributes unless said; of each kind the largest CRL measured.",
        tables.sizes,
    ),
    ("Memory", "memory", "What a loaded CRL adds to its process.", tables.memory),
    (
        "Memory of compiling",
        "",
        "Streamed, without attributes: the most memory of the process, and the image's size.",
        tables.compile_memory,
    ),
    (
        "Publishing",
        "",
        "Over a local S3 (moto): from the event of an upload until the preprocessor has answered "
        "that the image is published; beside it `compile_crl` to a file, and the time that S3 "
        "takes to send the CRL and to receive the image.",
        tables.publishing,
    ),
    (
        "Authorizer",
        "",
        "Over a local S3 (moto): processes from their start to the first decision, and what "
        "parts of that take; warm invocations; the sample's way on the same server.",
        tables.authorizer,
    ),
    (
        "Memory of the authorizer",
        "",
        "The most memory that a process had during a change of the published CRL, less that of "
        "a process with a CRL of one entry.",
        tables.authorizer_memory,
    ),
    (
        "First decision",
        "first-decision",
        "Processes from their start to the first decision over a simulated S3: a proxy before "
        "moto, by which a request takes 15 ms to its first byte, a connection as long to open, "
        "and a connection brings 90 MB/s. In brackets the same with a CRL of 1,000 entries; "
        "round trips are those that follow one another. The limit is a process that imports "
        "the authorizer and gets the catalog.",
        tables.first_decisions,
    ),
    (
        "Memory by how images are loaded",
        "",
        "The most memory of a process that answers 300 clients, sees the next CRL published, and "
        "answers them by that, less that of a process with a CRL of one entry.",
        tables.decision_memory,
    ),
    (
        "Many scopes",
        "many-scopes-times many-scopes-cpu",
        "Stores with a number of scopes, which are the CRLs of as many issuers, or the partitions "
        "of one issuer's CRL. What is read and written is counted without images.",
        tables.many_scopes,
    ),
    ("Limits of the machine", "", "", tables.limits),
)


def render(results: Results, drawn: Collection[str] = ()) -> str:
    """
    Return the page of one kind of machine as Markdown; *drawn* are the plots in its folder.

    A table that has no row is left out.
    """
    machines = _machines(results.runs)
    (kind,) = {run.machine_kind for run in results.runs}
    processor = results.runs[0].processor
    parts = [
        _INTRODUCTION.format(processor=processor),
        _runs(results.runs),
        f"## Targets\n\n{machines}\n\n",
    ]
    parts += [tables.targets(results), _COMMANDS]
    for heading, plot_names, text, table in _SECTIONS:
        body = table(results)
        if body.count("\n") <= 2:  # a header and nothing under it
            continue
        parts.append(f"\n## {heading}\n\n")
        parts.append(f"{text}\n{machines}\n\n".lstrip())
        parts.extend(
            f"![{heading.lower()}: {name}]({kind}/{name}.svg)\n\n"
            for name in plot_names.split()
            if name in drawn
        )
        parts.append(body)
    parts.append(f"\n{_METHOD.read_text(encoding='utf-8')}")
    return "".join(parts)


_COMMANDS = """
The last column of each table has what repeats its row: `make bench PYTEST_ARGS="-k 'ROW'"`.
For the run *large* it is `make bench-large`, for *targets* `make bench-targets`.
The report of a part of a run is in build/bench/report; this page does not change.
"""


def _machines(runs: list[Run]) -> str:
    names = {
        f"{run.processor}, {run.machine['cores']} cores, {run.machine['kernel']}" for run in runs
    }
    return f"Machine: {'; '.join(sorted(names))}; versions are under [Runs](#runs)."


def _runs(runs: list[Run]) -> str:
    parts = ["## Runs\n\n"]
    lines = [
        [
            run.label,
            run.moment[:16].replace("T", " "),
            run.commit,
            f"`{_command(run)}`",
            f"{run.processor}, {run.machine['cores']} cores,"
            f" last-level cache {units.size(run.machine['last_level_cache'])},"
            f" memory {units.size(run.machine['memory'])}",
            run.machine["kernel"],
            ", ".join([run.machine["python"], *run.machine["tools"]]),
        ]
        for run in runs
    ]
    header = ["run", "UTC", "commit", "command", "machine", "kernel", "versions"]
    parts.append(tables.markdown(header, lines))
    parts.append("\n")
    contenders = {each["name"]: each for run in runs for each in run.machine["contenders"]}
    parts.append(
        tables.markdown(
            ["contender", "version", "what it does"],
            [[each["title"], each["version"], each["how"]] for each in contenders.values()],
        )
    )
    absent = {name: why for run in runs for name, why in run.machine["absent"].items()}
    for name, why in sorted(absent.items()):
        parts.append(f"\n**{name}** was absent on this machine and is not in the tables: {why}.\n")
    parts.append("\n")
    return "".join(parts)


def _command(run: Run) -> str:
    whole = {
        "standard": "make bench",
        "large": "make bench-large",
        "targets": "make bench-targets",
    }
    if run.label in whole:
        return whole[run.label]
    return f'make bench PYTEST_ARGS="--sizes {run.sizes}"'


def write(results: Results, directory: Path) -> list[Path]:
    """Write pages, plots and what is common to all machines; return the pages' paths."""
    folder = directory / "benchmarks"
    pages: list[Path] = []
    for kind, of_kind in results.by_machine().items():
        drawn = plots.draw(of_kind, folder / kind)
        page = folder / f"{kind}.md"
        page.write_text(render(of_kind, drawn), encoding="utf-8")
        summary = json.dumps(_summary(of_kind), indent=2, ensure_ascii=False)
        (folder / kind / _SUMMARY).write_text(f"{summary}\n", encoding="utf-8")
        pages.append(page)
    (directory / "benchmarks.md").write_text(_index(folder), encoding="utf-8")
    return pages


_SUMMARY = "targets.json"


def _summary(results: Results) -> dict[str, Any]:
    """Return what the page of all machines says of one; a machine that is not here has it too."""
    figures = {target.name: target.compute(results) for target in TARGETS}
    return {
        "machine": results.runs[0].processor,
        "runs": [
            {"label": run.label, "moment": run.moment[:16], "commit": run.commit}
            for run in results.runs
        ],
        "targets": {
            name: float(f"{figure.value:.6g}")  # three digits could turn a miss into a hit
            for name, figure in figures.items()
            if figure is not None
        },
    }


def _index(folder: Path) -> str:
    """Return the page of all machines of which there is a page in *folder*."""
    found = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob(f"*/{_SUMMARY}"))
    }
    machines = [
        [
            f"[{each['machine']}](benchmarks/{kind}.md)",
            *(
                "; ".join(f"{run['label']}: {run[what].replace('T', ' ')}" for run in each["runs"])
                for what in ("moment", "commit")
            ),
        ]
        for kind, each in found.items()
    ]
    lines = [
        [
            target.name,
            target.what,
            f"{target.sign} {target.limit:g} {target.unit}",
            *(_verdict(target, each["targets"].get(target.name)) for each in found.values()),
        ]
        for target in TARGETS
    ]
    names = [each["machine"] for each in found.values()]
    parts = [
        _INDEX,
        tables.markdown(["machine", "measured (UTC)", "commits"], machines),
        "\n## Targets\n\n",
        tables.markdown(["target", "what", "limit", *names], lines),
    ]
    parts += [f"\n{each['machine']}: {each['note']}\n" for each in found.values() if "note" in each]
    return "".join(parts)


def _verdict(target: Target, value: float | None) -> str:
    if value is None:
        return tables.NOT_MEASURED
    is_met = target.is_met(Figure(value, "", ""))
    return f"{value:.3g}, {'met' if is_met else '**missed**'}"


def main() -> None:
    """Write the report of runs that are kept as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory of the report")
    parser.add_argument("runs", type=Path, nargs="+", help="from pytest --benchmark-json")
    arguments = parser.parse_args()
    present = [path for path in arguments.runs if path.exists()]
    if not present:
        parser.error("none of these runs has been made yet")
    for page in write(Results.read(present), arguments.output):
        print(f"{page}: from {', '.join(map(str, present))}")


if __name__ == "__main__":
    main()
