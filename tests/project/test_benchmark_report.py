"""The report of the benchmarks, from a recorded run; nothing is timed here."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from support.benchmark_package import bounds, plots, report, results, tables, targets

RECORDED = Path(__file__).parents[1] / "data" / "benchmark_run.json"
HASH_SECONDS = 0.02


@pytest.fixture
def document() -> Any:
    """What pytest-benchmark wrote, of a few tests of a real run."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def read(document: Any, path: Path) -> results.Results:
    """Read *document* as a run would have left it at *path*."""
    path.write_text(json.dumps(document), encoding="utf-8")
    return results.Results.read([path])


def with_compile_ratio(document: Any, ratio: float) -> Any:
    """Make compiling on two cores take *ratio* times reading and hashing."""
    (measured,) = [
        each
        for each in document["benchmarks"]
        if each["name"] == "test_compile[1000000-2-attributes]"
    ]
    # The mean and the least are far from the median, which is what counts.
    measured["stats"]["data"] = [factor * ratio * HASH_SECONDS for factor in (0.1, 1, 1, 5, 9)]
    measured["extra_info"]["beside"]["read_and_hash"] = [HASH_SECONDS] * 5
    return document


def with_measured(document: Any, *measured: dict[str, Any]) -> Any:
    """Have a run of these tests only: what each keeps, its ``name`` and its ``seconds``."""
    template = document["benchmarks"][0]
    document["benchmarks"] = [
        {
            **template,
            "name": each.pop("name"),
            "stats": {**template["stats"], "data": each.pop("seconds")},
            "extra_info": {"contender": "crlcheck", "kind": "random16", **each},
        }
        for each in measured
    ]
    return document


def figure_of(name: str, found: results.Results) -> targets.Figure:
    """Return the figure of a target, which must have one."""
    (target,) = [each for each in targets.TARGETS if each.name == name]
    figure = target.compute(found)
    assert figure is not None
    return figure


def target_lines(text: str) -> dict[str, str]:
    """Return the line of every target in a report, by name."""
    section = text.split("## Targets")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| T")]
    return {line.split("|")[1].strip(): line for line in lines}


@pytest.mark.parametrize(("ratio", "verdict"), [(1.96, "| met |"), (2.04, "| **missed** |")])
def test_targets_are_met_or_missed(
    document: Any, tmp_path: Path, ratio: float, verdict: str
) -> None:
    """
    A target is judged by the medians of the two that ran side by side, and the
    report gives the figure; what was not measured is neither met nor missed.
    """
    found = read(with_compile_ratio(document, ratio), tmp_path / "standard.json")
    lines = target_lines(report.render(found))
    assert verdict in lines["T1"]
    assert f"| {ratio:.3g} |" in lines["T1"]
    assert f"{ratio * HASH_SECONDS * 1e3:.1f} ms against 20.0 ms" in lines["T1"]
    assert "| not measured |" in lines["T2"]


def test_every_target_has_a_line(document: Any, tmp_path: Path) -> None:
    """
    The report has all targets, in order, whatever was measured.
    """
    lines = target_lines(report.render(read(document, tmp_path / "standard.json")))
    assert list(lines) == [target.name for target in targets.TARGETS]
    assert lines.keys() >= {f"T{number}" for number in (1, 2, 3, 6, 7, 8, 9)}


@pytest.mark.parametrize(("value", "is_met"), [(0.79, False), (0.8, True), (0.81, True)])
def test_a_rate_is_met_from_below(value: float, is_met: bool) -> None:
    """
    Where a target is the least that is asked for, more meets it.
    """
    (target,) = [each for each in targets.TARGETS if each.name == "T4, verified"]
    assert target.is_met(targets.Figure(value, "", "")) is is_met


def test_sizes_are_judged_by_the_worst(document: Any, tmp_path: Path) -> None:
    """
    Of all images of random serials, the one furthest over the bound decides,
    after 2 KiB and the digests of its pages are taken off.
    """
    image = next(
        each for each in document["benchmarks"] if each["name"] == "test_size[random16-1000000]"
    )
    worse = json.loads(json.dumps(image))
    worse["name"] = "test_size[random20-100000]"
    worse["extra_info"] |= {"kind": "random20", "num_entries": 100_000}
    worse["extra_info"]["figures"] |= {
        "bound": 1_000_000.0,
        "page_digests": 500,
        "image_size": 1_032_548,
    }
    document["benchmarks"] = [image, worse]
    found = read(document, tmp_path / "standard.json")
    (target,) = [each for each in targets.TARGETS if each.name == "T7"]
    figure = target.compute(found)
    assert figure is not None
    assert figure.value == pytest.approx(1.03)
    assert figure.test == "test_size[random20-100000]"
    assert not target.is_met(figure)


def test_the_absent_are_named(document: Any, tmp_path: Path) -> None:
    """
    A contender that could not run is said to be absent, with the reason, and
    those that ran stand with their versions.
    """
    document["machine_info"]["crlcheck"]["absent"] = {"Go crypto/x509": "no go on the PATH"}
    text = report.render(read(document, tmp_path / "standard.json"))
    assert "**Go crypto/x509** was absent on this machine" in text
    assert "no go on the PATH" in text
    assert "OpenSSL 3." in text
    assert "AMD EPYC, 2 cores, Linux" in text


def test_a_row_says_which_run_it_is_from(document: Any, tmp_path: Path) -> None:
    """
    Rows of two runs stand in one table, each under its run's name, and each run
    with its command and commit.
    """
    large = json.loads(json.dumps(document))
    large["commit_info"] = {"id": "f" * 40, "dirty": False}
    large["benchmarks"] = [
        each for each in large["benchmarks"] if each["name"] == "test_load[crlcheck-1000000]"
    ]
    large["benchmarks"][0]["name"] = "test_load[crlcheck-10000000]"
    large["benchmarks"][0]["extra_info"]["num_entries"] = 10_000_000
    paths = [tmp_path / "standard.json", tmp_path / "large.json"]
    for path, each in zip(paths, (document, large), strict=True):
        path.write_text(json.dumps(each), encoding="utf-8")
    text = report.render(results.Results.read(paths))
    assert "|  | 1 M, standard | 10 M, large | row |" in text
    assert "`make bench-large`" in text
    assert "f" * 12 in text


@pytest.mark.parametrize(
    ("test", "num_entries", "selector"),
    [
        ("test_load[crlcheck-1000]", 1000, "test_load[crlcheck-"),
        ("test_batch[1000-contains_many-1]", 1000, "test_batch[ and -contains_many-1]"),
        ("test_hash", 64, "test_hash"),
    ],
)
def test_a_row_can_be_repeated(
    document: Any, tmp_path: Path, test: str, num_entries: int, selector: str
) -> None:
    """
    The words for ``pytest -k`` select the row's test in every size, and are parts of its name.
    """
    measured = document["benchmarks"][0]
    measured["name"] = test
    measured["extra_info"]["num_entries"] = num_entries
    document["benchmarks"] = [measured]
    row = read(document, tmp_path / "part.json").rows[0]
    assert tables.selector(row) == selector
    assert all(part in test for part in selector.split(" and "))


def test_plots_show_what_the_rows_say(document: Any, tmp_path: Path) -> None:
    """
    A line has its contender's title, and its points are entries and the median.
    """
    found = read(document, tmp_path / "standard.json")
    lines = plots.load_times(found)
    (row,) = found.select(measure="load", contender="openssl")
    assert lines["OpenSSL (libcrypto)"] == [(1_000_000, row.median)]
    assert set(lines) == {"crlcheck", "OpenSSL (libcrypto)", "read + SHA-256 (limit)"}
    latencies = plots.latencies(found, "isolated")
    assert [percent for _, percent in latencies["crlcheck"]] == [0, 10, 50, 90, 99]
    assert {row.num_entries for row in plots.sizes(found)} == {1_000_000}


DOCUMENTS = Path(__file__).parents[2] / "docs"
PLOTS = sorted(DOCUMENTS.rglob("benchmarks/*/*.svg"))


def test_a_plot_has_no_ground_and_colours_for_both() -> None:
    """
    White goes, and a rule for dark pages comes for each colour that is used.
    """
    drawn = (
        '<svg><style>*{}</style><path style="fill: #ffffff"/>'
        '<path style="fill: none; stroke: #d62728"/></svg>'
    )
    found = plots.for_light_and_dark(drawn)
    assert "#ffffff" not in found
    assert '[style*="stroke: #d62728"] {stroke: #ff6b6b !important}' in found
    assert "fill: #d62728" not in found
    assert found.index("prefers-color-scheme: dark") < found.index("</style>")


@pytest.mark.parametrize("path", PLOTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_plots_are_readable_on_light_and_dark_pages(path: Path) -> None:
    """
    Each colour but the grid's has one for the dark, and each of both is told from the ground as
    WCAG 2.2 demands of graphics, three to one.
    """
    text = path.read_text(encoding="utf-8")
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})(?=[;\"])", text.split("</style>")[1]))
    used -= {"#b0b0b0", "#cccccc"}  # the grid, and the frame of the legend
    rules = dict(re.findall(r'\[style\*="\w+: (#\w{6})"\] \{\w+: (#\w{6}) !important\}', text))
    assert used
    assert used == rules.keys()
    assert min(contrast(one, "#ffffff") for one in rules) >= 3
    darkest = ("#0b0c10", "#1f2129")  # the grounds of the site's looks, and between them GitHub's
    assert min(contrast(one, ground) for one in rules.values() for ground in darkest) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """
    A file that is not of these benchmarks is named in the error.
    """
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="other.json"):
        results.Results.read([path])


@pytest.mark.parametrize(
    ("universe", "count"), [(10, 3), (1000, 1000), (1 << 40, 17), (1 << 60, 1000), (1 << 127, 99)]
)
def test_the_bound_counts_subsets(universe: int, count: int) -> None:
    """
    The bound is the logarithm of a binomial coefficient, however large.
    """
    exact = math.log2(math.comb(universe, count))
    assert bounds.log2_binomial(universe, count) == pytest.approx(exact, rel=1e-9, abs=1e-6)


def test_publishing_is_what_s3_and_compiling_leave_over(document: Any, tmp_path: Path) -> None:
    """
    What publishing takes beyond giving and taking the bytes is told as a multiple
    of compiling; memory beside the image.
    """
    recorded = document["benchmarks"][0]
    recorded["name"] = "test_publish[1000000]"
    recorded["extra_info"] = {
        "measure": "publish",
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": 1_000_000,
        "figures": {"peak": 100 << 20, "image_size": 50 << 20},
        "beside": {"compile": [0.2], "transfer": [0.5]},
    }
    recorded["stats"]["data"] = [0.8]
    table = tables.publishing(read(document, tmp_path / "large.json"))
    assert "| 800 ms | 200 ms | 500 ms | 1.50 | 100 MiB for 50.0 MiB | large |" in table


def first_answer(num_entries: int, ours: float, **beside: float) -> dict[str, Any]:
    """What a test of first answers keeps, of these seconds."""
    return {
        "name": f"test_first_answer[{num_entries}-unlisted]",
        "measure": "first_answer",
        "num_entries": num_entries,
        "variant": "not listed",
        "seconds": [ours],
        "beside": {name: [seconds] for name, seconds in beside.items()},
    }


def test_first_answers_are_judged_by_size(document: Any, tmp_path: Path) -> None:
    """
    A small CRL is held against loading and verifying, one of 1,000 entries against a set, and
    a larger one against the fastest peer, whichever that is; the worst size of each counts.
    """
    peers = {"python_set": 0.004, "cryptography": 0.002, "openssl": 0.003}
    measured = with_measured(
        document,
        first_answer(0, 0.0013, load_and_verify=0.001, **peers),
        first_answer(100, 0.0015, load_and_verify=0.001, **peers),
        first_answer(1_000, 0.002, load_and_verify=0.001, **peers),
        first_answer(10_000, 0.001, load_and_verify=0.0001, **peers),
        first_answer(100_000, 0.0012, load_and_verify=0.0001, java=0.0015, **peers),
    )
    found = read(measured, tmp_path / "standard.json")
    assert figure_of("T17, to 100", found).value == pytest.approx(0.5)
    assert figure_of("T17, to 100", found).test == "test_first_answer[100-unlisted]"
    assert figure_of("T17, 1 k", found).value == pytest.approx(0.5)
    largest = figure_of("T17, from 10 k", found)
    assert largest.value == pytest.approx(0.8)
    assert "java" in largest.detail
    lines = target_lines(report.render(found))
    assert "**missed**" in lines["T17, to 100"]
    assert "| met |" in lines["T17, 1 k"]
    assert "| not measured |" in lines["T18"]


def test_checks_are_judged_by_the_worst_size(document: Any, tmp_path: Path) -> None:
    """
    Checking is held against parsing and asking a set, each encoding against its own; both
    encodings count for many at once.
    """

    def check(measure: str, entries: int, encoding: str, ours: float, parse: float) -> Any:
        return {
            "name": f"test_{measure}[{entries}-{encoding}]",
            "measure": measure,
            "num_entries": entries,
            "variant": encoding,
            "operations": 200,
            "seconds": [ours],
            "beside": {"parse_and_set": [parse]},
        }

    measured = with_measured(
        document,
        check("check", 1_000, "DER", 0.003, 0.001),
        check("check", 10, "DER", 0.0045, 0.001),
        check("check", 10, "PEM", 0.004, 0.002),
        check("check_many", 10, "DER", 0.001, 0.001),
        check("check_many", 10, "PEM", 0.005, 0.002),
        check("check_peer", 10, "DER", 1.0, 0.001) | {"contender": "openssl_verify"},
    )
    found = read(measured, tmp_path / "standard.json")
    assert figure_of("T18", found).value == pytest.approx(4.5)
    assert figure_of("T18, PEM", found).value == pytest.approx(2.0)
    assert figure_of("T19", found).value == pytest.approx(2.5)
    table = tables.checks(found)
    assert "| openssl_verify | DER | 10 | 5.00 ms | 5.00 µs | 1000.00 |" in table
    assert "| `check_many` | PEM | 10 | 25.0 µs | 10.0 µs | 2.50 |" in table


def test_packed_lookups_are_held_against_memory(document: Any, tmp_path: Path) -> None:
    """
    A serial of a batch is held against a random access of the same rounds.
    """
    measured = with_measured(
        document,
        {
            "name": "test_batch[10000000-contains_packed-1]",
            "measure": "batch",
            "num_entries": 10_000_000,
            "variant": "contains_packed, 1 thread",
            "operations": 1000,
            "seconds": [50e-6],
            "beside": {"memory_access": [20e-6]},
        },
    )
    found = read(measured, tmp_path / "large.json")
    assert figure_of("T6", found).value == pytest.approx(2.5)


def first_decision(loading: str, ours: float, **figures: float) -> dict[str, Any]:
    """What a test of first decisions keeps with ten million entries."""
    return {
        "name": f"test_first_decision[10000000-{loading}]",
        "measure": "first_decision",
        "num_entries": 10_000_000,
        "variant": loading,
        "seconds": [ours],
        "figures": {"requests": 6, "requests_few": 4, **figures},
        "beside": {"few_entries": [0.3], "imports_and_get": [0.2]},
    }


def test_first_decisions_are_judged_by_what_they_receive(document: Any, tmp_path: Path) -> None:
    """
    Round trips count in both ways that read pages, bytes only where nothing is read behind
    the decision, and whole images in neither.
    """
    measured = with_measured(
        document,
        first_decision("whole", 2.0, round_trips=20, round_trips_few=5, sent=164e6, sent_few=30e3),
        first_decision("pages", 0.4, round_trips=7, round_trips_few=5, sent=230e3, sent_few=30e3),
        first_decision(
            "pages_then_whole", 0.5, round_trips=8, round_trips_few=5, sent=9e6, sent_few=30e3
        ),
        {
            "name": "test_decision_memory[10000000-pages]",
            "measure": "decision_memory",
            "num_entries": 10_000_000,
            "variant": "pages",
            "seconds": [1.0],
            "figures": {"peak": 25 << 20, "image_size": 164 << 20},
        },
    )
    found = read(measured, tmp_path / "large.json")
    assert figure_of("T20", found).value == 3
    assert figure_of("T20, bytes", found).value == pytest.approx(200)
    assert figure_of("T21", found).value == pytest.approx(25)
    lines = target_lines(report.render(found))
    assert "**missed**" in lines["T20"]
    assert "| met |" in lines["T20, bytes"]
    assert "**missed**" in lines["T21"]
    table = tables.first_decisions(found)
    assert "| pages | 10 M | 400 ms | 300 ms | 200 ms | 2.00 | 7 (5) | 6 (4) |" in table
    points = plots.first_decisions(found)
    assert points["images: pages_then_whole"] == [(10_000_000, 0.5)]
    assert [(10_000_000, 0.2)] in points.values()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a plot be an empty file: matplotlib comes with the extra of the benchmarks only."""

    def draw(_found: results.Results, directory: Path) -> list[str]:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "load-time.svg").touch()
        return ["load-time"]

    monkeypatch.setattr(plots, "draw", draw)


def on_machine(document: Any, processor: str, model: str, commit: str = "a" * 40) -> Any:
    """Return the run as another machine would have made it."""
    other = json.loads(json.dumps(document))
    other["machine_info"]["crlcheck"] |= {"processor": processor, "model": model}
    other["commit_info"] = {"id": commit, "dirty": False}
    return other


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("processor", "model", "name", "kind"),
    [
        (
            "Intel(R) Xeon(R) Processor",
            "cpu family 6 model 207",
            "Intel Xeon, cpu family 6 model 207",
            "intel-xeon-6-207",
        ),
        ("AMD EPYC", "", "AMD EPYC", "amd-epyc"),
        (
            "Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz",
            "cpu family 6 model 79",
            "Intel Xeon E5-2686 v4, cpu family 6 model 79",
            "intel-xeon-e5-2686-v4-6-79",
        ),
        (
            "aarch64",
            "cpu implementer 0x41 cpu part 0xd40",
            "aarch64, cpu implementer 0x41 cpu part 0xd40",
            "aarch64-0x41-0xd40",
        ),
    ],
)
def test_a_page_is_of_one_kind_of_machine(
    document: Any, tmp_path: Path, processor: str, model: str, name: str, kind: str
) -> None:
    """
    The processor stands in the title without marks, with its model, and names the file; plots
    and figures lie in a folder of that name.
    """
    measured = on_machine(document, processor, model)
    (page,) = report.write(read(measured, tmp_path / "standard.json"), tmp_path)
    assert page == tmp_path / "benchmarks" / f"{kind}.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Benchmarks on {name}\n")
    assert f"Machine: {name}, 2 cores" in text
    plots_shown = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert plots_shown
    assert all((page.parent / each).is_file() for each in plots_shown)
    assert all(each.startswith(f"{kind}/") for each in plots_shown)


@pytest.mark.usefixtures("undrawn")
def test_machines_are_compared_on_one_page(document: Any, tmp_path: Path) -> None:
    """
    A run on a second kind of machine adds a page, and a column to the targets; that of the
    first stays as it is.
    """
    first = with_compile_ratio(on_machine(document, "AMD EPYC", ""), 1.5)
    second = with_compile_ratio(on_machine(document, "Intel(R) Xeon(R) Processor", "model 1"), 2.5)
    (page,) = report.write(read(first, tmp_path / "standard.json"), tmp_path)
    before = page.read_bytes()
    report.write(read(second, tmp_path / "standard.json"), tmp_path)
    assert page.read_bytes() == before
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "| AMD EPYC | Intel Xeon, model 1 |" in text
    assert "| 1.5, met | 2.5, **missed** |" in target_lines(text)["T1"]
    assert list(target_lines(text)) == [target.name for target in targets.TARGETS]
    assert "(benchmarks/amd-epyc.md)" in text
    assert "(benchmarks/intel-xeon-1.md)" in text


@pytest.mark.usefixtures("undrawn")
def test_runs_on_two_machines_are_two_pages(document: Any, tmp_path: Path) -> None:
    """
    Rows of one machine are never held against those of another, even where both are given.
    """
    runs = {
        "standard": with_compile_ratio(on_machine(document, "AMD EPYC", ""), 1.5),
        "large": with_compile_ratio(on_machine(document, "Xeon", ""), 2.5),
    }
    paths = [tmp_path / f"{label}.json" for label in runs]
    for path, each in zip(paths, runs.values(), strict=True):
        path.write_text(json.dumps(each), encoding="utf-8")
    pages = report.write(results.Results.read(paths), tmp_path)
    assert [page.name for page in pages] == ["amd-epyc.md", "xeon.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert ["| met |" in target_lines(text)["T1"] for text in texts] == [True, False]


def test_of_a_row_in_two_runs_the_latest_counts(document: Any, tmp_path: Path) -> None:
    """
    Where a run was made again in part, the figure is that of the later one.
    """
    older = with_compile_ratio(on_machine(document, "AMD EPYC", "", "1" * 40), 1.5)
    newer = with_compile_ratio(on_machine(document, "AMD EPYC", "", "2" * 40), 2.5)
    older["datetime"] = "2026-11-23T16:00:00+00:00"
    newer["datetime"] = "2026-11-24T16:00:00+00:00"
    newer["benchmarks"] = [
        each for each in newer["benchmarks"] if each["name"].startswith("test_compile[")
    ]
    for names in (("targets", "standard"), ("standard", "targets")):
        paths = [tmp_path / f"{name}.json" for name in names]
        for name, each in (("targets", newer), ("standard", older)):
            (tmp_path / f"{name}.json").write_text(json.dumps(each), encoding="utf-8")
        found = results.Results.read(paths)
        assert figure_of("T1", found).value == pytest.approx(2.5)
        assert len(found.select(measure="compile", contender="crlcheck")) == len(
            [each for each in older["benchmarks"] if each["name"].startswith("test_compile[")]
        )
        assert {row.run.label for row in found.select(measure="load")} == {"standard"}


def test_cold_lookups_are_told_apart_by_page_faults(document: Any, tmp_path: Path) -> None:
    """
    Where none had a fault there is no figure for those that had; the empty loop is left out.
    """

    def cold(contender: str, **figures: float) -> dict[str, Any]:
        return {
            "name": f"test_cold[{contender}-1000]",
            "measure": "latency",
            "contender": contender,
            "num_entries": 1000,
            "variant": "cold",
            "seconds": [1.0],
            "figures": figures,
            "beside": {"no_lookup": [0.5]},
        }

    measured = with_measured(
        document,
        cold("one", faulting=0.25, with_fault=30_000, without_fault=4_000),
        cold("other", faulting=0.0, without_fault=3_000),
    )
    table = tables.cold_faults(read(measured, tmp_path / "standard.json"))
    assert "| one | 1 k | 25% | 4.00 µs | 30.0 µs |" in table
    assert "| other | 1 k | 0% | 3.00 µs | - |" in table
    assert table.count("\n") == 4
