"""Bytes of images of every kind of serials, beside the bound and roaring."""

from __future__ import annotations

from typing import Any

import crlcheck
from benchmarks.baselines.roaring import FITTING_KINDS, make_bitmap
from benchmarks.bounds import information_bound
from benchmarks.contenders import fresh_image
from benchmarks.record import keep
from benchmarks.serials import KINDS
from benchmarks.workloads import STANDARD_SIZES, make_workload

PAGE_SIZE = 1 << 16
DIGEST_SIZE = 32
PAGES_A_BLOCK = 256


LARGE_KINDS = ("random8", "random16", "random20", "dense4", "runs")


def kinds(num_entries: int) -> tuple[str, ...]:
    """Return the kinds to weigh; of ten million entries each takes hundreds of MB of disk."""
    return KINDS if num_entries <= STANDARD_SIZES[-1] else LARGE_KINDS


def test_size(benchmark: Any, kind: str, num_entries: int) -> None:
    """
    Compile without attributes, once, and weigh the image; then with them.
    """
    workload = make_workload(kind, num_entries)

    def compile_image(attributes: bool) -> int:
        image = fresh_image(workload.crl)
        report = crlcheck.compile_crl(
            workload.crl,
            image,
            issuer=workload.issuer,
            attributes=attributes,
            fsync=False,
            max_source_size=0,
        )
        assert image.stat().st_size == report.image_size
        image.unlink()
        return report.image_size

    image_size = benchmark.pedantic(compile_image, (False,))
    num_pages = -(-image_size // PAGE_SIZE)
    # Each page's digest, those of 256 of these, and that of the whole.
    num_digests = num_pages + -(-num_pages // PAGES_A_BLOCK) + 1
    figures = {
        "image_size": image_size,
        "image_size_with_attributes": compile_image(True),
        "page_digests": num_digests * DIGEST_SIZE,
        "bound": information_bound(workload.serials) / 8,
        "source_size": workload.crl_size,
    }
    if kind in FITTING_KINDS:
        figures["roaring"] = len(make_bitmap(workload.serials.integers()).serialize())
    keep(
        benchmark,
        {
            "measure": "size",
            "contender": "crlcheck",
            "kind": kind,
            "num_entries": num_entries,
            "figures": figures,
        },
    )
