"""The table of docs/explanation/cost.md is what its inputs give."""

from __future__ import annotations

import math
import re

from support.documents import document

MILLION = 1_000_000
PAGE = document("cost.md").read_text(encoding="utf-8")


def given(name: str) -> float:
    """An input of the page, by its name."""
    found = re.search(rf"^\| {re.escape(name)} \| ([\d.]+)", PAGE, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


OURS = ("memory of the function", "price of a GB-second, arm64")
SAMPLE = ("memory of the sample's function", "price of a GB-second, x86_64")


def row(num_gets: float, milliseconds: float, memory: str, price: str) -> str:
    """The cells of the table for so many requests to S3, and so long a decision."""
    billed = max(given("least time that is billed"), math.ceil(milliseconds))
    of_s3 = num_gets * given("price of a GET or HEAD of S3")
    gigabyte_seconds = MILLION * given(memory) * billed / 1000
    of_time = gigabyte_seconds * given(price)
    of_calls = MILLION * given("price of an invocation")
    cells = (of_s3, of_time, of_calls, of_s3 + of_time + of_calls)
    texts = [f"{num_gets:,.0f}", f"{billed:.0f} ms", *(f"{one:.2f} USD" for one in cells)]
    return " | ".join(texts)


def test_each_row_is_what_the_inputs_give() -> None:
    """
    Rounded as it is shown.
    """
    decision = given("processor time of a decision") / given("part of a processor that it gets")
    get = given("a conditional GET of S3, by the clock")
    polls = given("environments at once") * given("days in which the million comes") * 24 * 60
    for name, cells in (
        ("`CRLCHECK_REFRESH_SECONDS=0`", row(MILLION, decision + get, *OURS)),
        ("`CRLCHECK_REFRESH_SECONDS=60`", row(polls, decision, *OURS)),
        ("the AWS sample", row(MILLION, decision + get, *SAMPLE)),
    ):
        assert f"| {name} | {cells} |" in PAGE


def test_the_processor_time_is_the_measured_one() -> None:
    """
    As the benchmarks have it, in milliseconds.
    """
    page = document("intel-xeon-6-207.md").read_text(encoding="utf-8")
    found = re.search(r"^\| T11, no poll \|(?:[^|]*\|){2} ([\d.]+) \|", page, re.MULTILINE)
    assert found is not None
    assert round(float(found[1]) / 1000, 3) == given("processor time of a decision")
