"""
Draw the plots of the report.

They are SVG files that depend on the rows only, so that a new run shows in a
diff and nothing else does. They have no ground of their own, and other colours
where the page that shows them is dark.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tables, units
from benchmarks.results import Results, Row

# One for each contender, the same in every plot; markers tell similar ones apart.
_COLOURS = (
    *("#d62728", "#1f77b4", "#2a8a2a", "#9467bd", "#c05a00", "#8c564b"),
    *("#0a7f8c", "#c2479e", "#7a7a00", "#000000", "#1b5e20"),
)
_MARKERS = "osD^vP*X<>d"
_LIMIT_COLOUR = "#555555"

_IN_THE_DARK = {
    **dict(
        zip(
            _COLOURS,
            (
                *("#ff6b6b", "#5aaee8", "#5ed35e", "#c19be8", "#ff9e4a", "#c99a8c"),
                *("#33d1e0", "#f29bd6", "#d6d74a", "#e6e6e6", "#9ccf9f"),
            ),
            strict=True,
        )
    ),
    _LIMIT_COLOUR: "#b4b4b4",
}
"""What takes the place of each colour on a dark page: black is also that of axes and words."""

Points = list[tuple[float, float]]


def load_times(results: Results) -> dict[str, Points]:
    """Return seconds of loading against entries for everyone, and for the limit."""
    lines = _lines(results, results.select(measure="load"), lambda row: row.median)
    limit = results.select(
        measure="compile", contender="read_and_hash", variant="attributes, 1 core"
    )
    return lines | _lines(results, limit, lambda row: row.median)


def first_answers(results: Results) -> dict[str, Points]:
    """Return seconds from a CRL's bytes to the first answer; a CRL of no entry is left out."""
    rows = [
        row
        for row in results.select(measure="first_answer", variant="not listed")
        if row.num_entries
    ]
    return _lines(results, rows, lambda row: row.median)


def lookup_times(results: Results) -> dict[str, Points]:
    """Return nanoseconds of a lookup in a warm loop, half hits, against entries."""
    rows = results.select(measure="lookup", variant="warm, half")
    return _lines(results, rows, lambda row: row.each)


def first_decisions(results: Results) -> dict[str, Points]:
    """Return seconds to the first decision over a slow S3 against entries, and the limit."""
    lines: dict[str, Points] = {}
    for row in results.select(measure="first_decision"):
        if row.contender == "crlcheck":
            lines.setdefault(f"images: {row.variant}", []).append((row.num_entries, row.median))
        elif row.contender == "imports_and_get" and row.variant == "whole":
            name = tables.title(results, row.contender)
            lines.setdefault(name, []).append((row.num_entries, row.median))
    return lines


def memory(results: Results) -> dict[str, Points]:
    """Return bytes that a loaded CRL takes against entries; below 10 k that is the allocator's."""
    rows = [
        row
        for row in results.select(measure="memory")
        if row.num_entries >= 10_000 and row.figures["steady"] > 0
    ]
    return _lines(results, rows, lambda row: row.figures["steady"])


def latencies(results: Results, state: str) -> dict[str, Points]:
    """
    Return for everyone which part of single lookups, in %, took at most how many ns.

    The slowest of all are left out: an interrupt would set the scale.
    """
    rows = [
        row
        for row in results.select(measure="latency", variant=state)
        if row.operations >= 100  # a share of ten would be a staircase
    ]
    largest = max((row.num_entries for row in rows), default=0)
    return {
        tables.title(results, row.contender): [
            (nanoseconds, percent)
            for percent, nanoseconds in row.percentiles.items()
            if percent < 100
        ]
        for row in reversed(rows)
        if row.num_entries == largest
    }


def sizes(results: Results) -> list[Row]:
    """Return the rows of the largest size at which every kind was measured."""
    kinds = results.values("kind", measure="size")
    rows = results.select(measure="size")
    complete = [
        count
        for count in {row.num_entries for row in rows}
        if {row.kind for row in rows if row.num_entries == count} == set(kinds)
    ]
    return [row for row in rows if complete and row.num_entries == max(complete)]


def many_scopes(results: Results, value: Callable[[Row], float | None]) -> dict[str, Points]:
    """Return a value of everything that was done with stores of many scopes, against these."""
    lines: dict[str, Points] = {}
    for measure, title in tables.MANY.items():
        for row in results.select(measure=measure, contender="crlcheck"):
            found = value(row)
            if found is not None:
                name = ", ".join(filter(None, (title, row.variant, row.kind)))
                lines.setdefault(name, []).append((row.num_entries, found))
    return lines


def _lines(
    results: Results, rows: Sequence[Row], value: Callable[[Row], float]
) -> dict[str, Points]:
    lines: dict[str, Points] = {}
    for row in rows:
        points = lines.setdefault(tables.title(results, row.contender), [])
        points.append((row.num_entries, value(row)))
    return lines


def draw(results: Results, directory: Path) -> list[str]:
    """
    Write all plots that there are rows for into *directory* and return their names.

    Those of an earlier report go.
    """
    import matplotlib as mpl

    mpl.use("svg")
    # Without these, every run would give the same marks other names.
    mpl.rcParams.update({"svg.hashsalt": "crlcheck", "svg.fonttype": "none", "font.size": 10})
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.svg"):
        old.unlink()
    against_entries = (
        ("load-time", load_times(results), "From the file to answers, verified", "seconds"),
        (
            "first-answer",
            first_answers(results),
            "From a CRL's bytes to the first answer",
            "seconds",
        ),
        (
            "lookup-time",
            lookup_times(results),
            "One lookup in a warm loop, half hits",
            "nanoseconds",
        ),
        ("memory", memory(results), "Memory of a loaded CRL", "bytes"),
    )
    drawn = []
    for name, lines, heading, unit in against_entries:
        if lines:
            _save(_draw_lines(results, lines, heading, unit), directory / f"{name}.svg")
            drawn.append(name)
    of_many = (
        ("times", many_scopes(results, _time_of), "Stores with many scopes"),
        ("cpu", many_scopes(results, _cpu_of), "CPU time of checks in stores with many scopes"),
    )
    for name, lines, heading in of_many:
        if lines:
            _save(_draw_many_scopes(lines, heading), directory / f"many-scopes-{name}.svg")
            drawn.append(f"many-scopes-{name}")
    for state in ("isolated", "cold"):
        if lines := latencies(results, state):
            _save(_draw_latencies(results, lines, state), directory / f"latency-{state}.svg")
            drawn.append(f"latency-{state}")
    if lines := first_decisions(results):
        heading = "First decision of a fresh process over a simulated S3"
        _save(_draw_first_decisions(lines, heading), directory / "first-decision.svg")
        drawn.append("first-decision")
    if rows := sizes(results):
        _save(_draw_sizes(rows), directory / "size.svg")
        drawn.append("size")
    return drawn


def _figure(heading: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(heading)
    axes.grid(visible=True, which="major", alpha=0.3)
    return figure, axes


def _style(results: Results, name: str) -> dict[str, Any]:
    titles = {each["title"]: None for run in results.runs for each in run.machine["contenders"]}
    if name not in titles:
        return {"color": _LIMIT_COLOUR, "linestyle": "--", "label": name}
    place = list(titles).index(name)
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linewidth": 2.5 if place == 0 else 1.3,
        "label": name,
    }


def _draw_lines(results: Results, lines: Mapping[str, Points], heading: str, unit: str) -> Any:
    figure, axes = _figure(heading)
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), **_style(results, name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("entries of the CRL (logarithmic)")
    axes.set_ylabel(f"{unit} (logarithmic)")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _time_of(row: Row) -> float | None:
    return None if row.measure == "many_memory" else row.median


def _cpu_of(row: Row) -> float | None:
    return row.figures.get("cpu")


def _draw_many_scopes(lines: Mapping[str, Points], heading: str) -> Any:
    figure, axes = _figure(heading)
    for place, (name, points) in enumerate(lines.items()):
        # The two shapes of one measurement have one colour.
        style = "-" if name.endswith("issuers") else "--"
        colour = _COLOURS[place // 2 % len(_COLOURS)]
        marker = _MARKERS[place // 2 % len(_MARKERS)]
        axes.plot(
            *zip(*points, strict=True), color=colour, marker=marker, linestyle=style, label=name
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("scopes of the store (logarithmic)")
    axes.set_ylabel("seconds (logarithmic)")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _draw_first_decisions(lines: Mapping[str, Points], heading: str) -> Any:
    figure, axes = _figure(heading)
    for (name, points), colour, marker in zip(lines.items(), _COLOURS, _MARKERS, strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("entries of the CRL (logarithmic)")
    axes.set_ylabel("seconds")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _draw_latencies(results: Results, lines: Mapping[str, Points], state: str) -> Any:
    figure, axes = _figure(f"Single lookups, {state}, with the clock's own time")
    for name, points in lines.items():
        style = _style(results, name) | {"marker": ""}
        axes.plot(*zip(*points, strict=True), **style)
    axes.set_xscale("log")
    axes.set_xlabel("nanoseconds (logarithmic; the slowest 0.1 % are not shown)")
    axes.set_ylabel("lookups that took at most that long, %")
    axes.set_ylim(0, 100)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _draw_sizes(rows: Sequence[Row]) -> Any:
    count = rows[0].num_entries
    figure, axes = _figure(f"Image without attributes, {units.entries(count)} entries")
    places = range(len(rows))
    for offset, figure_name, colour, label in (
        (-0.27, "image_size", _COLOURS[0], "crlcheck"),
        (0, "bound", _LIMIT_COLOUR, "information bound"),
        (0.27, "roaring", _COLOURS[1], "roaring, where serials fit"),
    ):
        each = [row.figures.get(figure_name, float("nan")) / count for row in rows]
        axes.bar([place + offset for place in places], each, 0.27, color=colour, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("bytes an entry (logarithmic)")
    axes.set_xticks(list(places), [row.kind for row in rows], rotation=45, ha="right")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _save(figure: Any, path: Path) -> None:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    path.write_text(for_light_and_dark(written.getvalue()), encoding="utf-8")


def for_light_and_dark(svg: str) -> str:
    """
    Return a plot of matplotlib's without its white ground, and with colours for a dark page too.

    A picture takes the scheme of the element that shows it, such as ``color-scheme: dark``.
    """
    # Black is not written where it fills something, such as a word.
    rules = [f"   svg {{fill: {_IN_THE_DARK['#000000']}}}"]
    rules += [
        # What matplotlib writes at each element would count before a rule.
        f'   [style*="{what}: {light}"] {{{what}: {dark} !important}}'
        for light, dark in _IN_THE_DARK.items()
        for what in ("fill", "stroke")
        if f"{what}: {light}" in svg
    ]
    style = "\n".join(["  @media (prefers-color-scheme: dark) {", *rules, "  }", "  </style>"])
    return svg.replace("fill: #ffffff", "fill: none").replace("</style>", f"\n{style}", 1)
