"""
Define crlcheck's targets, and decide whether a run met them.

All but a few are ratios to what the same machine did in the same rounds, so that
they hold on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.results import Results, Row
from benchmarks.units import seconds

MEBIBYTE = 1 << 20
_SKEWED_FROM = 1_000_000


@dataclass(frozen=True)
class Figure:
    """A target's value in a run, how it came about, and the test that measured it."""

    value: float
    detail: str
    test: str


@dataclass(frozen=True)
class Target:
    """
    A limit on one figure.

    ``compute`` gets the figure from a run's rows, None where they have not been
    measured; ``how`` says the same in words.
    """

    name: str
    what: str
    limit: float
    unit: str
    how: str
    compute: Callable[[Results], Figure | None]
    bound: Literal["at most", "at least"] = "at most"

    @property
    def sign(self) -> str:
        """How the figure has to compare with the limit."""
        return "≤" if self.bound == "at most" else "≥"

    def is_met(self, figure: Figure) -> bool:
        """Say whether *figure* keeps the limit."""
        if self.bound == "at most":
            return figure.value <= self.limit
        return figure.value >= self.limit


def _pair(results: Results, other: str, **wanted: Any) -> tuple[Row, Row] | None:
    """Return crlcheck's row and the *other* contender's; None unless both were measured."""
    ours = results.find(contender="crlcheck", **wanted)
    theirs = results.find(contender=other, **wanted)
    return None if ours is None or theirs is None else (ours, theirs)


def _worst(figures: Iterable[Figure | None]) -> Figure | None:
    """Return the highest of figures."""
    return max((one for one in figures if one is not None), key=lambda one: one.value, default=None)


# ---- times ------------------------------------------------------------------


def _compile_ratio(
    num_entries: int, variant: str = "attributes, 2 cores"
) -> Callable[[Results], Figure | None]:
    def compute(results: Results) -> Figure | None:
        pair = _pair(
            results, "read_and_hash", measure="compile", num_entries=num_entries, variant=variant
        )
        if pair is None:
            return None
        ours, limit = pair
        detail = f"{ours.median * 1e3:.1f} ms against {limit.median * 1e3:.1f} ms"
        return Figure(ours.median / limit.median, detail, ours.test)

    return compute


def _compile_scaling(results: Results) -> Figure | None:
    wanted = {"measure": "compile", "contender": "crlcheck", "variant": "attributes, 2 cores"}
    small = results.find(num_entries=1_000_000, **wanted)
    large = results.find(num_entries=10_000_000, **wanted)
    if small is None or large is None:
        return None
    each = [row.median / row.num_entries * 1e9 for row in (large, small)]
    return Figure(each[0] / each[1], f"{each[0]:.1f} ns an entry against {each[1]:.1f}", large.test)


def _open_time(results: Results) -> Figure | None:
    rows = results.select(measure="open", contender="crlcheck", variant="verify=False")
    if not rows:
        return None
    slowest = max(rows, key=lambda row: row.median)
    detail = f"the slowest of {len(rows)} sizes, at {slowest.num_entries:,}"
    return Figure(slowest.median * 1e3, detail, slowest.test)


def _open_rate(results: Results) -> Figure | None:
    wanted = {"measure": "open", "variant": "verify=True"}
    rows = results.select(contender="crlcheck", **wanted)
    if not rows:
        return None
    ours = rows[-1]
    limit = results.find(contender="read_and_hash", num_entries=ours.num_entries, **wanted)
    assert limit is not None, "the limit is measured in the same test"
    detail = (
        f"{ours.median * 1e3:.2f} ms against {limit.median * 1e3:.2f} ms at {ours.num_entries:,}"
    )
    return Figure(limit.median / ours.median, detail, ours.test)


def _against_set(num_entries: int) -> Callable[[Results], Figure | None]:
    def compute(results: Results) -> Figure | None:
        pair = _pair(results, "python_set", measure="against_set", num_entries=num_entries)
        if pair is None:
            return None
        ours, reference = pair
        detail = f"{ours.each:.0f} ns against {reference.each:.0f} ns"
        return Figure(ours.each / reference.each, detail, ours.test)

    return compute


def _packed_time(results: Results) -> Figure | None:
    pair = _pair(
        results,
        "memory_access",
        measure="batch",
        num_entries=10_000_000,
        variant="contains_packed, 1 thread",
    )
    if pair is None:
        return None
    ours, access = pair
    detail = f"{ours.each:.1f} ns against {access.each:.1f} ns"
    return Figure(ours.each / access.each, detail, ours.test)


def _skew(results: Results) -> Figure | None:
    rows = [
        row
        for row in results.select(measure="skewed", contender="crlcheck")
        if row.num_entries >= _SKEWED_FROM
    ]
    worst: Figure | None = None
    for row in rows:
        random = results.find(
            measure="skewed", contender="random16", kind=row.kind, num_entries=row.num_entries
        )
        assert random is not None, "the random set is measured in the same test"
        detail = f"{row.kind}: {row.each:.0f} ns against {random.each:.0f} ns, the worst kind"
        figure = Figure(row.each / random.each, detail, row.test)
        if worst is None or figure.value > worst.value:
            worst = figure
    return worst


def _cold_start(results: Results) -> Figure | None:
    ours = results.find(measure="cold_start", contender="crlcheck", num_entries=1_000_000)
    reference = results.find(measure="cold_start", contender="boto3_get", num_entries=1_000_000)
    if ours is None or reference is None:
        return None
    detail = f"{ours.median * 1e3:.0f} ms against {reference.median * 1e3:.0f} ms"
    return Figure(ours.median / reference.median, detail, ours.test)


def _warm_cpu(results: Results) -> Figure | None:
    rows = results.select(measure="warm", contender="crlcheck", variant="no poll due")
    if not rows:
        return None
    row = rows[-1]
    detail = f"{row.each / 1e3:.0f} µs by the clock, its log and metrics written"
    return Figure(row.figures["cpu"] * 1e6, detail, row.test)


def _polled(results: Results) -> Figure | None:
    rows = results.select(measure="warm", contender="crlcheck", variant="polled")
    if not rows:
        return None
    ours = rows[-1]
    bare = results.find(
        measure="warm",
        contender="conditional_get",
        variant="polled",
        num_entries=ours.num_entries,
    )
    assert bare is not None, "the bare GET is measured in the same test"
    detail = f"{ours.median * 1e3:.2f} ms against {bare.median * 1e3:.2f} ms"
    return Figure((ours.median - bare.median) * 1e3, detail, ours.test)


# ---- everyday ---------------------------------------------------------------

_PEERS = ("cryptography", "python_set", "openssl", "java")


def _first_answers(
    sizes: range, figure: Callable[[Row, dict[str, Row]], Figure]
) -> Callable[[Results], Figure | None]:
    """Return the highest *figure* of CRLs of so many entries, given who ran beside ours."""

    def compute(results: Results) -> Figure | None:
        rows = results.select(measure="first_answer", contender="crlcheck")
        return _worst(
            figure(row, {each.contender: each for each in results.beside(row)})
            for row in rows
            if row.num_entries in sizes
        )

    return compute


def _over_load(ours: Row, beside: dict[str, Row]) -> Figure:
    return _difference(ours, beside["load_and_verify"])


def _over_set(ours: Row, beside: dict[str, Row]) -> Figure:
    return _ratio(ours, beside["python_set"])


def _over_fastest(ours: Row, beside: dict[str, Row]) -> Figure:
    peers = [beside[name] for name in _PEERS if name in beside]
    return _ratio(ours, min(peers, key=lambda row: row.median))


def _ratio(ours: Row, other: Row) -> Figure:
    return Figure(ours.median / other.median, _both(ours, other), ours.test)


def _difference(ours: Row, other: Row) -> Figure:
    return Figure((ours.median - other.median) * 1e3, _both(ours, other), ours.test)


def _both(ours: Row, other: Row) -> str:
    times = [seconds(row.median / row.operations) for row in (ours, other)]
    return f"{ours.num_entries:,}, {ours.variant}: {times[0]} against {times[1]}, {other.contender}"


def _over_parsing(measure: str, *variants: str) -> Callable[[Results], Figure | None]:
    """Return how long checking takes over parsing and asking a set: the worst of all sizes."""

    def compute(results: Results) -> Figure | None:
        rows = results.select(measure=measure, contender="crlcheck")
        return _worst(
            _ratio(row, other)
            for row in rows
            for other in results.beside(row)
            if row.variant in variants and other.contender == "parse_and_set"
        )

    return compute


# ---- bytes ------------------------------------------------------------------


def _compile_memory(results: Results) -> Figure | None:
    row = results.find(measure="compile_memory", num_entries=10_000_000)
    if row is None:
        return None
    peak, image = row.figures["peak"], row.figures["image_size"]
    detail = f"{peak / MEBIBYTE:.0f} MiB for an image of {image / MEBIBYTE:.0f} MiB"
    return Figure(peak / (1.1 * image + 64 * MEBIBYTE), detail, row.test)


def _authorizer_memory(results: Results) -> Figure | None:
    row = results.find(measure="authorizer_memory", contender="crlcheck", num_entries=1_000_000)
    if row is None:
        return None
    peak, image = row.figures["peak"], row.figures["image_size"]
    detail = f"{peak / MEBIBYTE:.1f} MiB for an image of {image / MEBIBYTE:.1f} MiB"
    return Figure(peak / (2.1 * image + 8 * MEBIBYTE), detail, row.test)


def _random_size(*kinds: str) -> Callable[[Results], Figure | None]:
    def compute(results: Results) -> Figure | None:
        rows = [
            row
            for row in results.select(measure="size")
            if row.kind in kinds and row.num_entries >= 10_000
        ]
        return _largest(rows, _size_over_bound, "the bound")

    return compute


def _size_over_bound(row: Row) -> float:
    figures = row.figures
    fixed = 2048 + figures["page_digests"]
    return (figures["image_size"] - fixed) / figures["bound"]


def _dense_size(results: Results) -> Figure | None:
    rows = [
        row
        for row in results.select(measure="size")
        if row.kind.startswith("dense") or row.kind == "runs"
    ]
    return _largest(rows, _size_over_dense, "what is allowed")


def _size_over_dense(row: Row) -> float:
    figures = row.figures
    allowed = min(figures["roaring"], figures["bound"] + 0.6 * row.num_entries / 8) + 2048
    return figures["image_size"] / allowed


def _largest(rows: list[Row], ratio: Callable[[Row], float], to_what: str) -> Figure | None:
    if not rows:
        return None
    worst = max(rows, key=ratio)
    detail = (
        f"{worst.kind} at {worst.num_entries:,}: the furthest from {to_what} of {len(rows)} images"
    )
    return Figure(ratio(worst), detail, worst.test)


# ---- first decisions --------------------------------------------------------


def _more_than_few_entries(
    figure: str, variants: tuple[str, ...], factor: float = 1
) -> Callable[[Results], Figure | None]:
    """Return how much more a first decision takes than with a CRL of a thousand entries."""

    def compute(results: Results) -> Figure | None:
        rows = results.select(
            measure="first_decision", contender="crlcheck", num_entries=10_000_000
        )
        return _worst(
            Figure(
                (row.figures[figure] - row.figures[f"{figure}_few"]) * factor,
                f"{row.variant}: {row.figures[figure] * factor:.4g} against "
                f"{row.figures[f'{figure}_few'] * factor:.4g}",
                row.test,
            )
            for row in rows
            if row.variant in variants
        )

    return compute


def _pages_memory(results: Results) -> Figure | None:
    row = results.find(measure="decision_memory", variant="pages", num_entries=10_000_000)
    if row is None:
        return None
    image = row.figures["image_size"] / MEBIBYTE
    return Figure(row.figures["peak"] / MEBIBYTE, f"for an image of {image:.0f} MiB", row.test)


# ---- many scopes --------------------------------------------------------------

MANY = 10_000
MOST = 100_000


def _many_publish(results: Results) -> Figure | None:
    def ratio(row: Row) -> Figure:
        few = results.find(
            measure=row.measure, contender="ten_scopes", num_entries=MANY,
            kind=row.kind, variant=row.variant,
        )  # fmt: skip
        assert few is not None, "both are measured in the same test"
        detail = f"{row.kind}, {row.variant}: {_ms(row.median)} against {_ms(few.median)}"
        return Figure(row.median / few.median, detail, row.test)

    rows = results.select(measure="many_publish", contender="crlcheck", num_entries=MANY)
    return _worst(map(ratio, rows))


def _many_written(results: Results) -> Figure | None:
    rows = results.select(measure="many_publish", contender="crlcheck", num_entries=MANY)
    return _worst(
        Figure(
            row.figures["written"] / 1000,
            f"{row.kind}: {row.figures['objects']} objects, the most of {len(rows)} stores",
            row.test,
        )
        for row in rows
    )


def _many_objects(results: Results) -> Figure | None:
    def more(row: Row) -> Figure | None:
        less = results.find(
            measure=row.measure, contender="crlcheck", num_entries=MANY,
            kind=row.kind, variant=row.variant,
        )  # fmt: skip
        if less is None:
            return None
        objects = [each.figures["objects"] for each in (row, less)]
        return Figure(objects[0] - objects[1], f"{objects[0]} against {objects[1]}", row.test)

    rows = results.select(measure="many_publish", contender="crlcheck", num_entries=MOST)
    return _worst(map(more, rows))


def _publish_many(over: str, under: str) -> Callable[[Results], Figure | None]:
    """Return how long one way of publishing 10,000 CRLs takes over another one."""

    def compute(results: Results) -> Figure | None:
        wanted = {"measure": "many_publish_many", "num_entries": MANY}
        found: list[Figure] = []
        for row in results.select(contender=over, **wanted):
            other = results.find(contender=under, kind=row.kind, **wanted)
            assert other is not None, "both are measured in the same test"
            detail = f"{row.kind}: {row.median:.1f} s against {other.median:.1f} s"
            found.append(Figure(row.median / other.median, detail, row.test))
        return _worst(found)

    return compute


def _more_than_few(
    measure: str, figure: str, factor: float = 1
) -> Callable[[Results], Figure | None]:
    """Return how much more of a figure there is than in a store with ten scopes."""

    def compute(results: Results) -> Figure | None:
        rows = results.select(measure=measure, contender="crlcheck", num_entries=MANY)
        return _worst(
            Figure(
                (row.figures[figure] - row.figures[f"{figure}_ten"]) * factor,
                f"{row.kind}: {row.figures[figure] * factor:.3g} against "
                f"{row.figures[f'{figure}_ten'] * factor:.3g}",
                row.test,
            )
            for row in rows
        )

    return compute


def _many_poll(results: Results) -> Figure | None:
    def more(row: Row) -> Figure:
        bare = results.find(
            measure=row.measure, contender="conditional_get", num_entries=MANY, kind=row.kind
        )
        assert bare is not None, "both are measured in the same test"
        detail = f"{row.kind}: {_ms(row.median)} against {_ms(bare.median)}"
        return Figure((row.median - bare.median) * 1e3, detail, row.test)

    rows = results.select(measure="many_poll", contender="crlcheck", num_entries=MANY)
    return _worst(map(more, rows))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _many_memory(results: Results) -> Figure | None:
    def ratio(row: Row) -> Figure | None:
        less = results.find(measure="many_memory", kind=row.kind, num_entries=1_000)
        if less is None:
            return None
        steady = [each.figures["steady"] / MEBIBYTE for each in (row, less)]
        detail = f"{row.kind}: {steady[0]:.1f} MiB against {steady[1]:.1f} MiB"
        return Figure(steady[0] / steady[1], detail, row.test)

    return _worst(map(ratio, results.select(measure="many_memory", num_entries=MOST)))


_WHOLE = ("many_publish", "many_first_check", "many_refresh", "many_whole")


def _many_at_all(results: Results) -> Figure | None:
    found = [results.select(measure=measure, contender="crlcheck") for measure in _WHOLE]
    if not all(found):
        return None
    smallest = min((rows[-1] for rows in found), key=lambda row: row.num_entries)
    detail = "each was done, and its result checked"
    return Figure(smallest.num_entries / 1000, detail, smallest.test)


# ---- the list ---------------------------------------------------------------

_BESIDE = "medians of alternating rounds, after a warm-up"

TARGETS = (
    Target(
        "T1",
        "verified compile of 1 M random serials of 16 bytes, two cores",
        2.0,
        "times read+SHA-256",
        f"compile_crl with attributes to a new file, over reading and hashing the CRL; {_BESIDE}",
        _compile_ratio(1_000_000),
    ),
    Target(
        "T1, one core",
        "the same on one core",
        3.5,
        "times read+SHA-256",
        "as T1, both held to one core",
        _compile_ratio(1_000_000, "attributes, 1 core"),
    ),
    Target(
        "T2",
        "verified compile of 10 M, two cores",
        2.0,
        "times read+SHA-256",
        "as T1",
        _compile_ratio(10_000_000),
    ),
    Target(
        "T2, an entry",
        "an entry at 10 M against one at 1 M",
        1.1,
        "times",
        "time of compiling over entries, 10 M over 1 M",
        _compile_scaling,
    ),
    Target(
        "T3",
        "peak memory of compiling 10 M, streamed, without attributes",
        1.0,
        "times (1.1 image + 64 MiB)",
        "VmHWM of a process that does nothing else, all of it",
        _compile_memory,
    ),
    Target(
        "T4, unverified",
        "open an image of any size with verify=False",
        1.0,
        "ms",
        "the slowest size's median",
        _open_time,
    ),
    Target(
        "T4, verified",
        "rate of opening with verify=True",
        0.8,
        "times the rate of SHA-256",
        f"time of reading and hashing the image over that of opening, largest size; {_BESIDE}",
        _open_rate,
        "at least",
    ),
    Target(
        "T5, 1 M",
        "`serial in index`, ints made afresh, half hits, 1 M",
        0.75,
        "times Python set",
        f"the same serials in both, each with ints of its own; {_BESIDE}",
        _against_set(1_000_000),
    ),
    Target(
        "T5, 10 M",
        "the same, 10 M",
        0.75,
        "times Python set",
        "as at 1 M",
        _against_set(10_000_000),
    ),
    Target(
        "T6",
        "`contains_packed`, 10 M, random order, half hits, one thread",
        3.0,
        "times an independent access",
        f"a serial of a call, over a random read of memory that waits for none; {_BESIDE}",
        _packed_time,
    ),
    Target(
        "T7",
        "image without attributes, random serials of 16 and 20 bytes, from 10 k",
        1.02,
        "times bound",
        "image less 2 KiB and page digests, over log2 C(2^b, n); the worst of all",
        _random_size("random16", "random20"),
    ),
    Target(
        "T7, 8 bytes",
        "the same for serials of 8 bytes",
        1.05,
        "times bound",
        "as T7",
        _random_size("random8"),
    ),
    Target(
        "T8",
        "image without attributes, dense serials, mean gaps 1 to 64, and runs",
        1.0,
        "times allowed",
        "image over 2 KiB and the smaller of roaring and bound + 0.6 bit an entry; the worst",
        _dense_size,
    ),
    Target(
        "T9",
        "single lookups of serials with habits, from 1 M",
        1.1,
        "times random",
        f"the worst kind over random serials of 16 bytes; {_BESIDE}",
        _skew,
    ),
    Target(
        "T10",
        "peak memory of the authorizer over a change of images, 1 M",
        1.0,
        "times (2.1 image + 8 MiB)",
        "VmHWM of a process over that of one with a CRL of one entry",
        _authorizer_memory,
    ),
    Target(
        "T11, no poll",
        "warm invocation of the authorizer while no poll is due",
        60.0,
        "µs of CPU",
        "process time of 100 invocations over 100, the median of rounds",
        _warm_cpu,
    ),
    Target(
        "T11, polled",
        "the same with a poll that is answered 304",
        0.3,
        "ms over a bare GET",
        f"less one bare conditional GET of the catalog; {_BESIDE}",
        _polled,
    ),
    Target(
        "T12",
        "cold start, process start to first decision, 1 M",
        1.15,
        "times the least that boto3 allows",
        f"over an interpreter that makes a boto3 client and gets the image; {_BESIDE}",
        _cold_start,
    ),
    Target(
        "T13",
        "publish a CRL of 50 entries in a store with 10,000 scopes",
        1.5,
        "times as with 10 scopes",
        f"the worst of two shapes, in a directory and over a local S3; {_BESIDE}",
        _many_publish,
    ),
    Target(
        "T13, bytes",
        "what that writes besides the image",
        200.0,
        "KB",
        "nodes, record and root; the most of the same stores",
        _many_written,
    ),
    Target(
        "T13, objects",
        "objects that it writes with 100,000 scopes",
        1.0,
        "more than with 10,000",
        "besides the image; the most of the same stores",
        _many_objects,
    ),
    Target(
        "T14",
        "publish_many of 10,000 CRLs of 50 entries",
        1.3,
        "times compile and upload",
        "over compile_crl and writing the image, each on as many cores, into empty "
        f"directories; the worse of two shapes; {_BESIDE}",
        _publish_many("crlcheck", "compile_and_upload"),
    ),
    Target(
        "T14, processes",
        "the same by four processes at once, a quarter each",
        1.0,
        "times by one",
        f"processes from their start to their end; the worse of two shapes; {_BESIDE}",
        _publish_many("four_processes", "one_process"),
    ),
    Target(
        "T15, GETs",
        "what the first check of a fresh checker reads with 10,000 scopes",
        2.0,
        "GETs more than with 10",
        "besides the image; the worse of two shapes",
        _more_than_few("many_first_check", "gets"),
    ),
    Target(
        "T15, CPU",
        "CPU of that check",
        2.0,
        "ms more than with 10",
        f"CPU time of the thread; the worse of two shapes; {_BESIDE}",
        _more_than_few("many_first_check", "cpu", 1e3),
    ),
    Target(
        "T15, refresh, GETs",
        "what a refresh reads after one change, with 10,000 scopes",
        2.0,
        "GETs more than with 10",
        "as for the first check",
        _more_than_few("many_refresh", "gets"),
    ),
    Target(
        "T15, refresh, CPU",
        "CPU of that refresh",
        2.0,
        "ms more than with 10",
        "as for the first check",
        _more_than_few("many_refresh", "cpu", 1e3),
    ),
    Target(
        "T15, poll",
        "a poll without any change, with 10,000 scopes",
        0.3,
        "ms over a bare GET",
        f"less one bare conditional GET of the root; {_BESIDE}",
        _many_poll,
    ),
    Target(
        "T16",
        "publish, first check, refresh, status and verify",
        MOST / 1000,
        "thousand scopes",
        "the most scopes at which all were done",
        _many_at_all,
        "at least",
    ),
    Target(
        "T16, memory",
        "what a checker adds that was asked about 100 scopes of 100,000",
        1.2,
        "times as of 1,000",
        "VmRSS of a process after less before; the worse of two shapes",
        _many_memory,
    ),
    Target(
        "T17, to 100",
        "bytes of a CRL to the first answer, up to 100 entries",
        0.4,
        "ms over load and verify",
        f"less loading and verifying with cryptography; the worst size; {_BESIDE}",
        _first_answers(range(101), _over_load),
    ),
    Target(
        "T17, 1 k",
        "the same, 1,000 entries",
        0.6,
        "times load, verify and set",
        f"over all that with cryptography; the worse of a listed serial and another; {_BESIDE}",
        _first_answers(range(1_000, 1_001), _over_set),
    ),
    Target(
        "T17, from 10 k",
        "the same, from 10,000 entries",
        0.5,
        "times the fastest peer",
        "over the fastest of cryptography and its scan, a set, OpenSSL and Java; the worst size; "
        f"{_BESIDE}",
        _first_answers(range(10_000, 1 << 40), _over_fastest),
    ),
    Target(
        "T18",
        "`check` of a client's DER and the intermediate above it, no poll due, half revoked",
        4.0,
        "times parse and set",
        f"over load_der_x509_certificate and `in` a set; the worst size of the CRL; {_BESIDE}",
        _over_parsing("check", "DER"),
    ),
    Target(
        "T18, PEM",
        "the same of PEM",
        4.0,
        "times parse and set",
        "over load_pem_x509_certificate and `in` a set; as T18",
        _over_parsing("check", "PEM"),
    ),
    Target(
        "T19",
        "`check_many`, per certificate",
        3.0,
        "times parse and set",
        "as T18, the worse of DER and PEM",
        _over_parsing("check_many", "DER", "PEM"),
    ),
    Target(
        "T20",
        "first decision of a fresh process on simulated S3, 10 M",
        2.0,
        "round trips more than with 1 k",
        "requests that follow one another, and opened connections; the worse of *pages* and "
        "*pages then whole*, and of all rounds",
        _more_than_few_entries("round_trips", ("pages", "pages_then_whole")),
    ),
    Target(
        "T20, bytes",
        "what the same receives",
        256.0,
        "KB more than with 1 k",
        "in *pages*, because the other reads on behind the decision; the most of all rounds",
        _more_than_few_entries("sent", ("pages",), 1e-3),
    ),
    Target(
        "T21",
        "peak memory of the authorizer in *pages*, 10 M",
        24.0,
        "MiB over a CRL of one entry",
        "VmHWM of a process that answers 300 clients, before and after the next CRL",
        _pages_memory,
    ),
)
"""In the order of the report."""
