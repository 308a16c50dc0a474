"""
Read the results of runs as rows, from pytest-benchmark's JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self


@dataclass(frozen=True)
class Run:
    """One run of the benchmarks: when, where, of which sources and sizes."""

    label: str
    moment: str
    commit: str
    machine: Mapping[str, Any]

    @property
    def sizes(self) -> str:
        """The sizes as ``make bench`` takes them."""
        return ",".join(map(str, self.machine["sizes"]))

    @property
    def processor(self) -> str:
        """The processor as people name it, with what tells its model."""
        name = re.sub(r"\((?:R|TM)\)|\b(?:Processor|CPU)\b|@.*", "", self.machine["processor"])
        # Runs of earlier benchmarks do not have it.
        return ", ".join(filter(None, [" ".join(name.split()), self.machine.get("model")]))

    @property
    def machine_kind(self) -> str:
        """The kind of machine in letters, digits and dashes: it names a page of the report."""
        words = re.sub(r"cpu family |model |cpu implementer |cpu part ", "", self.processor)
        return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


@dataclass(frozen=True)
class Row:
    """
    One measurement.

    ``seconds`` are those of each round, and ``operations`` what a round does.
    ``test`` is the test that made it, by which it can be repeated; what was
    measured beside something else has the same. ``figures`` are not times:
    bytes, mostly. ``percentiles`` map a percentage to nanoseconds.
    """

    measure: str
    contender: str
    kind: str
    num_entries: int
    variant: str
    seconds: tuple[float, ...]
    operations: int
    test: str
    run: Run
    figures: Mapping[str, float] = field(default_factory=dict)
    percentiles: Mapping[float, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Seconds of a round, the median."""
        return median(self.seconds)

    @property
    def each(self) -> float:
        """Nanoseconds of one operation, the median of the rounds."""
        return self.median / self.operations * 1e9


class Results:
    """The rows of one run or more."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """
        Read what ``pytest --benchmark-json`` wrote; a run's label is its file's stem.

        Of a test that several runs on one kind of machine made, the latest counts.

        Raises:
            ValueError: a file is no such thing.
        """
        rows: list[Row] = []
        for path in paths:
            try:
                rows.extend(_rows(json.loads(path.read_text(encoding="utf-8")), path.stem))
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(f"{path} is no JSON of these benchmarks: {error!r}") from error
        latest: dict[tuple[str, str], Run] = {}
        for row in rows:
            known = latest.setdefault((row.run.machine_kind, row.test), row.run)
            if row.run.moment > known.moment:
                latest[row.run.machine_kind, row.test] = row.run
        return cls(row for row in rows if latest[row.run.machine_kind, row.test] is row.run)

    def by_machine(self) -> dict[str, Results]:
        """Return the rows of each kind of machine, by its name."""
        kinds = dict.fromkeys(run.machine_kind for run in self.runs)
        return {
            kind: Results(row for row in self.rows if row.run.machine_kind == kind)
            for kind in kinds
        }

    @property
    def runs(self) -> list[Run]:
        """The runs that the rows are from."""
        return list({row.run.label: row.run for row in self.rows}.values())

    def select(self, **wanted: object) -> list[Row]:
        """Return the rows whose fields have these values, by number of entries."""
        found = [
            row
            for row in self.rows
            if all(getattr(row, name) == value for name, value in wanted.items())
        ]
        return sorted(found, key=lambda row: row.num_entries)

    def find(self, **wanted: object) -> Row | None:
        """Return the row with these values, None where nothing measured it."""
        found = self.select(**wanted)
        return found[0] if found else None

    def beside(self, row: Row) -> list[Row]:
        """Return the rows of the others that were measured in the rounds of *row*."""
        return [
            each
            for each in self.rows
            if each.run is row.run and each.test == row.test and each.contender != row.contender
        ]

    def values(self, name: str, **wanted: object) -> list[Any]:
        """Return the values that field *name* has in these rows, in order, each once."""
        return list(dict.fromkeys(getattr(row, name) for row in self.select(**wanted)))


def _rows(document: Mapping[str, Any], label: str) -> Iterator[Row]:
    commit = document["commit_info"]
    run = Run(
        label,
        document["datetime"],
        str(commit.get("id", "unknown"))[:12] + (" (changed)" if commit.get("dirty") else ""),
        document["machine_info"]["crlcheck"],
    )
    for measured in document["benchmarks"]:
        yield from _rows_of_test(measured, run)


def _rows_of_test(measured: Mapping[str, Any], run: Run) -> Iterator[Row]:
    extra = measured["extra_info"]
    beside: Mapping[str, list[float]] = extra.get("beside", {})
    times = {extra["contender"]: measured["stats"]["data"], **beside}
    quantiles = extra.get("nanoseconds", {})
    for contender, seconds in times.items():
        yield Row(
            measure=extra["measure"],
            contender=contender,
            kind=extra["kind"],
            num_entries=extra["num_entries"],
            variant=extra.get("variant", ""),
            seconds=tuple(seconds),
            operations=extra.get("operations", 1),
            test=measured["name"],
            run=run,
            figures=extra.get("figures", {}),
            percentiles=dict(
                zip(extra.get("percentiles", ()), quantiles.get(contender, ()), strict=False)
            ),
        )
