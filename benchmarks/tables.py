"""
Make the tables of the report as Markdown, each from the rows of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks import units
from benchmarks.results import Results, Row
from benchmarks.targets import TARGETS

LIMITS = {
    "read_and_hash": "read + SHA-256 (limit)",
    "memory_access": "independent access to memory (limit)",
    "no_lookup": "no lookup: clock and loop alone",
    "hash_in_memory": "SHA-256 of what is in memory",
    "memory_copy": "copy of memory",
    "independent_access": "random access, none waiting for another",
    "dependent_access": "random access, each waiting for the one before, in a Python loop",
    "dependent_access_cached": "the same loop over a table in the cache",
    "boto3_get": "interpreter, boto3 client, GET of the image",
    "interpreter": "the interpreter alone",
    "imports": "all that the authorizer imports, without S3",
    "own_get": "signed GETs of our own, imported",
    "botocore_signer": "botocore's signer over urllib3, imported",
    "botocore_client": "botocore's session and S3 client",
    "boto3_client": "boto3 and its S3 client",
    "conditional_get": "bare conditional GET (limit)",
    "compile_and_upload": "compile each CRL and write its image",
    "one_process": "publish_many in a process of its own",
    "four_processes": "publish_many in four processes at once, a quarter each",
    "ten_scopes": "the same in a store with ten scopes",
    "load_and_verify": "cryptography, without an answer",
    "imports_and_get": "imports of the authorizer, and one GET (limit)",
    "parse_and_set": "parse with cryptography, ask a set",
}
NOT_MEASURED = "-"


def title(results: Results, contender: str) -> str:
    """Return what the report calls a contender or a limit."""
    for run in results.runs:
        for each in run.machine["contenders"]:
            if each["name"] == contender:
                return str(each["title"])
    return LIMITS.get(contender, contender)


def selector(row: Row) -> str:
    """
    Return what ``pytest -k`` takes to select the test of *row*, in every size.

    >>> selector(Row(..., num_entries=1000, test="test_batch[1000-contains_many-1]"))
    'test_batch[ and -contains_many-1]'
    """
    name, bracket, parameters = row.test.partition("[")
    before, _, after = parameters.rstrip("]").partition(str(row.num_entries))
    rest = f" and {after}]" if after else ""
    return f"{name}{bracket}{before}{rest}"


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table, its columns of figures aligned to the right."""
    body = list(lines)
    columns = zip(*body, strict=True) if body else ([""] for _ in header)
    rule = ["---:" if all(map(_is_figure, column)) else "---" for column in columns]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *body))


def _is_figure(cell: str) -> bool:
    return cell == NOT_MEASURED or cell[:1].isdigit()


def by_size(
    results: Results, rows: Sequence[Row], cell: Callable[[Row], str], first: str = ""
) -> str:
    """Return a table with a line for each contender and variant, a column for each size."""
    sizes = sorted({row.num_entries for row in rows})
    lines: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        lines.setdefault((row.contender, row.variant), {}).setdefault(row.num_entries, row)
    has_variants = any(variant for _, variant in lines)
    body = []
    for (contender, variant), by_entries in lines.items():
        cells = [cell(by_entries[size]) if size in by_entries else NOT_MEASURED for size in sizes]
        some_row = next(iter(by_entries.values()))
        named = [title(results, contender), *([variant] if has_variants else [])]
        body.append([*named, *cells, f"`{selector(some_row)}`"])
    header = [first, *(["how"] if has_variants else [])]
    return markdown([*header, *(_size_heading(results, rows, size) for size in sizes), "row"], body)


def _size_heading(results: Results, rows: Sequence[Row], size: int) -> str:
    if len(results.runs) == 1:
        return units.entries(size)
    label = next(row.run.label for row in rows if row.num_entries == size)
    return f"{units.entries(size)}, {label}"


def targets(results: Results) -> str:
    """Return all targets, each met, missed or not measured."""
    lines = []
    for target in TARGETS:
        figure = target.compute(results)
        what = f"{target.what}: {target.how}"
        limit = f"{target.sign} {target.limit:g} {target.unit}"
        if figure is None:
            lines.append([target.name, what, limit, NOT_MEASURED, "not measured", "", ""])
            continue
        verdict = "met" if target.is_met(figure) else "**missed**"
        lines.append(
            [
                target.name,
                what,
                limit,
                f"{figure.value:.3g}",
                verdict,
                figure.detail,
                f"`{figure.test}`",
            ]
        )
    header = ["target", "what, and how it is computed", "limit", "figure", "", "of it", "row"]
    return markdown(header, lines)


def compiling(results: Results) -> str:
    """Return compiling beside its limit, with the spread and the cost of an entry."""
    lines = []
    for row in results.select(measure="compile", contender="crlcheck"):
        limit = results.find(
            measure="compile",
            contender="read_and_hash",
            num_entries=row.num_entries,
            variant=row.variant,
            run=row.run,
        )
        assert limit is not None, "the limit is measured in the same test"
        lines.append(
            [
                f"{units.entries(row.num_entries)}, {row.variant}",
                units.seconds(row.median),
                f"{units.seconds(min(row.seconds))} to {units.seconds(max(row.seconds))}",
                str(len(row.seconds)),
                units.seconds(limit.median),
                f"{row.median / limit.median:.2f}",
                f"{row.median / row.num_entries * 1e9:.1f} ns",
                row.run.label,
                f"`{row.test}`",
            ]
        )
    header = ["", "median", "spread", "rounds", "read+SHA-256", "ratio", "an entry", "run", "row"]
    return markdown(header, lines)


def loading(results: Results) -> str:
    """Return how long everyone takes to load, with the number of rounds."""
    rows = results.select(measure="load")
    return by_size(results, rows, lambda row: f"{units.seconds(row.median)} ({len(row.seconds)})")


def opening(results: Results) -> str:
    """Return how long opening takes."""
    rows = results.select(measure="open")
    return by_size(results, rows, lambda row: units.seconds(row.median))


def first_answers(results: Results) -> str:
    """Return from a CRL's bytes to the first answer, for everyone."""
    rows = sorted(results.select(measure="first_answer"), key=lambda row: row.variant)
    return by_size(results, rows, lambda row: units.seconds(row.median))


def checks(results: Results) -> str:
    """Return checks of certificates, each beside parsing them and asking a set."""
    lines = []
    for measured, what in (
        ("check", "`check`"),
        ("check_many", "`check_many`"),
        ("check_peer", ""),
    ):
        found = results.select(measure=measured)
        for row in found:
            if row.contender == "parse_and_set":
                continue
            (other,) = results.beside(row)
            lines.append(
                [
                    what or title(results, row.contender),
                    row.variant,
                    units.entries(row.num_entries),
                    *(units.seconds(each.each / 1e9) for each in (row, other)),
                    f"{row.each / other.each:.2f}",
                    row.run.label,
                    f"`{row.test}`",
                ]
            )
    header = ["", "", "entries", "a certificate", "parse and ask a set", "ratio", "run", "row"]
    return markdown(header, lines)


def lookups(results: Results) -> str:
    """Return the time of a lookup in a warm loop."""
    rows = sorted(results.select(measure="lookup"), key=lambda row: row.variant)
    return by_size(results, rows, lambda row: units.seconds(row.each / 1e9))


def against_set(results: Results) -> str:
    """Return the time of a lookup, crlcheck and a set turn and turn about."""
    rows = results.select(measure="against_set")
    return by_size(results, rows, lambda row: units.seconds(row.each / 1e9))


def latencies(results: Results) -> str:
    """Return the median and the slow end of lookups timed alone."""

    def cell(row: Row) -> str:
        return " / ".join(f"{row.percentiles[percent]:.0f}" for percent in (50, 90, 99))

    rows = results.select(measure="latency")
    kept = [row for row in rows if row.contender != "no_lookup" or _is_first(row, rows)]
    return by_size(results, sorted(kept, key=lambda row: row.variant), cell)


def cold_faults(results: Results) -> str:
    """Return how many cold lookups had a page fault, and what those took and the others."""

    def median(row: Row, name: str) -> str:
        value = row.figures.get(name)
        return NOT_MEASURED if value is None else units.seconds(value / 1e9)

    lines = [
        [
            title(results, row.contender),
            units.entries(row.num_entries),
            f"{row.figures['faulting']:.0%}",
            median(row, "without_fault"),
            median(row, "with_fault"),
            row.run.label,
            f"`{row.test}`",
        ]
        for row in results.select(measure="latency", variant="cold")
        if row.contender != "no_lookup" and "faulting" in row.figures
    ]
    header = ["", "entries", "with a page fault", "median without one", "median with one"]
    return markdown([*header, "run", "row"], lines)


def _is_first(row: Row, rows: Sequence[Row]) -> bool:
    """Whether *row* is the first of those that say the same of another's run."""
    same = (row.contender, row.variant, row.num_entries)
    return row is next(
        each for each in rows if (each.contender, each.variant, each.num_entries) == same
    )


def batches(results: Results) -> str:
    """Return the time of a serial in a batch."""
    rows = sorted(results.select(measure="batch"), key=lambda row: row.variant)
    return by_size(results, rows, lambda row: f"{row.each:.1f} ns")


def skewed(results: Results) -> str:
    """Return lookups of serials with habits, over those of random ones."""
    lines = []
    for row in results.select(measure="skewed", contender="crlcheck"):
        random = results.find(
            measure="skewed", contender="random16", kind=row.kind, num_entries=row.num_entries
        )
        assert random is not None, "the random set is measured in the same test"
        lines.append(
            [
                f"{row.kind}, {units.entries(row.num_entries)}",
                f"{row.each:.0f} ns",
                f"{random.each:.0f} ns",
                f"{row.each / random.each:.2f}",
                row.run.label,
                f"`{row.test}`",
            ]
        )
    return markdown(["", "a lookup", "random16 beside it", "ratio", "run", "row"], lines)


def sizes(results: Results) -> str:
    """Return bytes an entry of every kind's largest image."""
    lines = []
    for kind in results.values("kind", measure="size"):
        row = results.select(measure="size", kind=kind)[-1]
        figures, count = row.figures, row.num_entries
        roaring, bound = figures.get("roaring"), figures["bound"]
        lines.append(
            [
                f"{kind}, {units.entries(count)}",
                units.size(figures["image_size"]),
                f"{figures['image_size'] / count:.3f}",
                f"{bound / count:.3f}",
                # A gap of 1 throughout leaves nothing to tell.
                f"{figures['image_size'] / bound:.3f}" if bound >= 1 else NOT_MEASURED,
                NOT_MEASURED if roaring is None else f"{roaring / count:.3f}",
                f"{figures['image_size_with_attributes'] / count:.3f}",
                f"{figures['source_size'] / count:.1f}",
                row.run.label,
                f"`{row.test}`",
            ]
        )
    header = ["", "image", "an entry", "bound", "over bound", "roaring", "with attributes", "CRL"]
    return markdown([*header, "run", "row"], lines)


def memory(results: Results) -> str:
    """Return what loading adds to a process, steadily and at most."""

    def cell(row: Row) -> str:
        steady, peak = row.figures["steady"], row.figures["peak"]
        each = steady / row.num_entries
        return f"{units.size(steady)}, {each:.0f} B an entry (peak {units.size(peak)})"

    return by_size(results, results.select(measure="memory"), cell)


def compile_memory(results: Results) -> str:
    """Return the most that a process that compiles has."""

    def cell(row: Row) -> str:
        peak, image = row.figures["peak"], row.figures["image_size"]
        return f"{units.size(peak)} for {units.size(image)}"

    return by_size(results, results.select(measure="compile_memory"), cell)


def limits(results: Results) -> str:
    """Return what the machine can do."""
    lines = [
        [
            title(results, row.contender),
            f"{row.each:.2f} ns for each {row.kind}",
            f"{1 / row.each:.2f} GB/s" if row.kind == "byte" else "",
            row.run.label,
            f"`{row.test}`",
        ]
        for row in results.select(measure="limit")
    ]
    return markdown(["", "time", "rate", "run", "row"], lines)


def publishing(results: Results) -> str:
    """Return how long an upload takes to be published, beside what it cannot do without."""
    lines = []
    for row in results.select(measure="publish", contender="crlcheck"):
        compiling, transfer = (
            results.find(
                measure="publish", contender=name, num_entries=row.num_entries, run=row.run
            )
            for name in ("compile", "transfer")
        )
        assert compiling is not None, "both are measured in the same test"
        assert transfer is not None, "both are measured in the same test"
        peak, image = row.figures["peak"], row.figures["image_size"]
        lines.append(
            [
                units.entries(row.num_entries),
                *(units.seconds(each.median) for each in (row, compiling, transfer)),
                f"{(row.median - transfer.median) / compiling.median:.2f}",
                f"{units.size(peak)} for {units.size(image)}",
                row.run.label,
                f"`{row.test}`",
            ]
        )
    parts = ["event to published", "plain compile", "GET and PUT", "less these over compile"]
    return markdown(["entries", *parts, "peak memory", "run", "row"], lines)


def authorizer(results: Results) -> str:
    """Return the authorizer's cold start and warm invocations, and what they are beside."""
    lines = []
    for row in [*results.select(measure="cold_start"), *results.select(measure="warm")]:
        what = "cold start" if row.measure == "cold_start" else f"invocation, {row.variant}"
        each = [units.seconds(seconds / row.operations) for seconds in _quartiles(row)]
        name = title(results, row.contender)
        entries = units.entries(row.num_entries)
        lines.append([what, name, entries, *each, f"`{selector(row)}`"])
    return markdown(["", "", "entries", "median", "90 % within", "99 % within", "row"], lines)


def first_decisions(results: Results) -> str:
    """Return first decisions over a slow S3, each beside one by a small CRL and a limit."""
    lines = []
    for row in results.select(measure="first_decision", contender="crlcheck"):
        beside = {each.contender: each for each in results.beside(row)}
        few, limit = beside["few_entries"], beside["imports_and_get"]
        figures = row.figures
        lines.append(
            [
                row.variant,
                units.entries(row.num_entries),
                *(units.seconds(each.median) for each in (row, few, limit)),
                f"{row.median / limit.median:.2f}",
                *(
                    f"{figures[name]} ({figures[f'{name}_few']})"
                    for name in ("round_trips", "requests")
                ),
                f"{units.size(figures['sent'])} ({units.size(figures['sent_few'])})",
                row.run.label,
                f"`{row.test}`",
            ]
        )
    header = ["images", "entries", "first decision", "with 1 k", "imports and one GET (limit)"]
    header += ["ratio", "round trips", "requests", "bytes", "run", "row"]
    return markdown(header, lines)


def decision_memory(results: Results) -> str:
    """Return what the authorizer takes of memory by how it loads images."""
    lines = [
        [
            row.variant,
            units.entries(row.num_entries),
            units.size(row.figures["peak"]),
            units.size(row.figures["image_size"]),
            row.run.label,
            f"`{row.test}`",
        ]
        for row in results.select(measure="decision_memory")
    ]
    return markdown(["images", "entries", "peak", "the image", "run", "row"], lines)


MANY = {
    "many_publish": "publish",
    "many_publish_many": "publish_many of as many CRLs",
    "many_first_check": "first check",
    "many_refresh": "refresh after a change",
    "many_poll": "poll without a change",
    "many_whole": "",
    "many_memory": "memory of a checker asked about 100",
}
"""What was measured of stores with many scopes, in words."""


def many_scopes(results: Results) -> str:
    """Return what stores with many scopes cost, in a column for each number of scopes."""
    rows = [row for measure in MANY for row in results.select(measure=measure)]
    ours = [row for row in rows if row.contender == "crlcheck"]
    sizes = sorted({row.num_entries for row in ours})
    lines: dict[tuple[str, str], dict[int, Row]] = {}
    for row in ours:
        what = " ".join(filter(None, (MANY[row.measure], row.variant)))
        lines.setdefault((what, row.kind), {})[row.num_entries] = row
    body = [
        [what, kind]
        + [_of_many(by_size[size]) if size in by_size else NOT_MEASURED for size in sizes]
        + [f"`{selector(next(iter(by_size.values())))}`"]
        for (what, kind), by_size in lines.items()
    ]
    return markdown(["", "scopes are", *(f"{size:,}" for size in sizes), "row"], body)


def _of_many(row: Row) -> str:
    """Return the main figures of a row, the time first where that is what counts."""
    figures, time = row.figures, units.seconds(row.median)
    if row.measure == "many_publish":
        return f"{time}, {figures['objects']:.0f} objects of {units.size(figures['written'])}"
    if row.measure in {"many_first_check", "many_refresh"}:
        cpu = units.seconds(figures["cpu"])
        return f"{time}, CPU {cpu}, {figures['gets']:.0f} GETs of {units.size(figures['read'])}"
    if row.measure == "many_whole":
        return f"{time}, peak {units.size(figures['peak'])}"
    if row.measure == "many_memory":
        return f"{units.size(figures['steady'])} (process {units.size(figures['whole'])})"
    if row.measure == "many_publish_many":
        return f"{time}, {units.seconds(row.median / row.operations)} a CRL"
    return time


def _quartiles(row: Row) -> list[float]:
    ordered = sorted(row.seconds)
    places = [min(int(len(ordered) * part), len(ordered) - 1) for part in (0.5, 0.9, 0.99)]
    return [ordered[place] for place in places]


def authorizer_memory(results: Results) -> str:
    """Return what a change of images takes of memory."""
    lines = []
    for row in results.select(measure="authorizer_memory"):
        peak, size = row.figures["peak"], row.figures["image_size"]
        lines.append(
            [
                title(results, row.contender),
                units.entries(row.num_entries),
                units.size(peak),
                units.size(size),
                f"`{selector(row)}`",
            ]
        )
    return markdown(["", "entries", "peak", "the image", "row"], lines)
