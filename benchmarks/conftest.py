"""
Choose the sizes and contenders to measure, and describe the machine.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.baselines.interface import Contender, InContainer, Lookups
from benchmarks.contenders import CONTENDERS, PATH_CHECKERS
from benchmarks.many_scopes import MOST_PUBLISHED, NUM_SCOPES, SHAPES
from benchmarks.workloads import EVERYDAY_SIZES, LARGE_SIZES, STANDARD_SIZES, make_workload

_NAMED_SIZES = {"standard": STANDARD_SIZES, "large": LARGE_SIZES}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --sizes and --scopes."""
    parser.addoption(
        "--sizes",
        type=_sizes,
        default="standard",
        help="entries of the CRLs: standard (to 1 M), large (10 M), or numbers: 0,100,1000",
    )
    parser.addoption(
        "--scopes",
        type=_counts,
        default=NUM_SCOPES,
        help="scopes of the stores, 10 to 100,000 by default; numbers: 10,1000",
    )


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(each) for each in text.split(",")))


def _sizes(text: str) -> tuple[int, ...]:
    return _NAMED_SIZES.get(text) or _counts(text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """
    Give a test that takes ``num_entries`` each size, ``largest`` the largest.

    ``crl_entries`` and ``checked_entries`` get small ones besides: few CRLs are large.
    A contender meets the sizes that it can bear; lookups (``loaded``) are those
    that have one of their own, and single ones (``container``) of this process.
    A test that takes ``kind`` as well gets what its module's ``kinds`` says. One that takes
    ``num_scopes`` gets each number of scopes in each ``shape``, and one that takes
    ``num_crls`` those that are published at once.
    """
    all_sizes: tuple[int, ...] = metafunc.config.getoption("--sizes")
    sizes = tuple(size for size in all_sizes if size >= STANDARD_SIZES[0])
    wanted = metafunc.fixturenames
    single_lookups = {"container", "largest_container"}
    lookups = {"loaded", *single_lookups}
    counts: tuple[int, ...] = metafunc.config.getoption("--scopes")
    if "num_crls" in wanted:
        published = [count for count in counts if count <= MOST_PUBLISHED]
        together = [(shape, count) for count in published for shape in SHAPES]
        metafunc.parametrize(("shape", "num_crls"), together)
    elif "num_scopes" in wanted:
        pairs = [(shape, count) for count in counts for shape in SHAPES]
        metafunc.parametrize(("shape", "num_scopes"), pairs, scope="module")
    elif "crl_entries" in wanted:
        asked = [
            (size, listed)
            for size in _with_small(all_sizes, EVERYDAY_SIZES)
            for listed in (False, True)
            if size or not listed
        ]
        names = [f"{size}-{'listed' if listed else 'unlisted'}" for size, listed in asked]
        metafunc.parametrize(("crl_entries", "listed"), asked, ids=names)
    elif "checked_entries" in wanted:
        # Half of the certificates are to be listed.
        checked = [size for size in _with_small(all_sizes, EVERYDAY_SIZES) if size]
        if "peer" in wanted:
            peers = [
                (size, peer)
                for size in checked
                for peer in PATH_CHECKERS
                if not peer.absent() and size <= peer.max_entries
            ]
            names = [f"{size}-{peer.name}" for size, peer in peers]
            metafunc.parametrize(("checked_entries", "peer"), peers, ids=names, scope="module")
        else:
            metafunc.parametrize("checked_entries", checked, scope="module")
    elif "contender" in wanted:
        within = [
            (contender, size)
            for size in (sizes if "num_entries" in wanted else sizes[-1:])
            for contender in CONTENDERS
            if size <= contender.max_entries
            and (contender.has_own_lookup or lookups.isdisjoint(wanted))
            and (contender.in_process or single_lookups.isdisjoint(wanted))
        ]
        size_name = "num_entries" if "num_entries" in wanted else "largest"
        names = [f"{contender.name}-{size}" for contender, size in within]
        metafunc.parametrize(("contender", size_name), within, ids=names, scope="module")
    elif "kind" in wanted and "num_entries" in wanted:
        kinds = [(kind, size) for size in sizes for kind in metafunc.module.kinds(size)]
        metafunc.parametrize(("kind", "num_entries"), kinds)
    elif "num_entries" in wanted:
        metafunc.parametrize("num_entries", sizes, scope="module")
    elif "largest" in wanted:
        metafunc.parametrize("largest", sizes[-1:], scope="module")


def _with_small(sizes: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, ...]:
    """Return the small sizes and *sizes* where these are the standard ones."""
    return (*small, *sizes) if sizes == STANDARD_SIZES else sizes


@pytest.fixture(autouse=True)
def _collected() -> None:
    """Collect garbage before each test, so that none pays for the one before."""
    gc.collect()


@pytest.fixture(scope="module")
def loaded(contender: Contender, num_entries: int) -> Iterator[Lookups]:
    """The contender with its CRL."""
    with loading(contender, num_entries) as lookups:
        yield lookups


@contextmanager
def loading(contender: Contender, num_entries: int) -> Iterator[Lookups]:
    """Have a contender load, and close what it has loaded."""
    workload = make_workload(contender.kind, num_entries)
    contender.start()
    try:
        lookups = contender.load(workload.crl, workload.issuer)
        yield lookups
        lookups.close()
    finally:
        contender.stop()


@pytest.fixture(scope="module")
def container(loaded: Lookups) -> InContainer:
    """What single lookups can be made in from here."""
    assert isinstance(loaded, InContainer)
    return loaded


@pytest.fixture(scope="module")
def largest_container(contender: Contender, largest: int) -> Iterator[InContainer]:
    """As ``container``, with the largest CRL of the run."""
    with loading(contender, largest) as lookups:
        assert isinstance(lookups, InContainer)
        yield lookups


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    """Keep what the report says of the machine, the versions and who is absent."""
    machine_info["crlcheck"] = machine.describe(config.getoption("--sizes"))
