"""A look-up by single pages gives the answer of the whole image, or names a page it misses."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlcheck import CorruptIndexError, RevocationIndex, compile_unverified_crl, open_index
from crlcheck._binding import PAGE_SIZE, NativeImage
from crlcheck.encoding.serials import canonical_serial
from support.crls import make_crl
from support.crowded import random_serials, serials_in
from support.pages import MissingPageError, PagesOf
from support.tables import BITMAP, GAPS, LINES, entry_of, tables_of

chance = random.Random(3)

# Serials that come to each kind of table, over several pages each.
HABITS: dict[str, list[int]] = {
    "random": [chance.randrange(1 << 126, 1 << 127) for _ in range(25_000)],
    "long": [chance.randrange(1 << 470, 1 << 471) for _ in range(5000)],
    "crowded": [(chance.randrange(40) << 80) + (7 << 300) for _ in range(40)],
    "bitsets": [serial for serial in range(1 << 20, (1 << 20) + 200_000) if chance.random() < 0.6],
    "runs": [
        (group << 33) + (part << 18) + serial
        for group, part in itertools.product(range(20, 30), range(250))
        for serial in range(part, part + 9)
    ],
    "arrays": [
        (group << 32) + (part << 16) + chance.randrange(1 << 10)
        for group, part in itertools.product(range(600, 603), range(3000))
        for _ in range(6)
    ],
    "gaps": list(
        itertools.accumulate((chance.randrange(1, 90) for _ in range(60_000)), initial=1 << 40)
    ),
}
# Some buckets have so many entries that their lines are spilled.
HABITS["spilled"] = sorted(
    random_serials(60_000).union(*(serials_in(number, 15, 400) for number in range(5, 32_000, 999)))
)
HABITS["mixed"] = sorted(
    {-5, 0, 127, *HABITS["random"][:9000], *HABITS["gaps"][:40_000], *HABITS["long"][:500]}
)


# Without attributes a bitmap and gaps have no ranks.
CASES = [*((name, True) for name in HABITS), ("runs", False), ("gaps", False)]


@pytest.fixture(scope="module", params=CASES, ids=str)
def image(request: pytest.FixtureRequest) -> Iterator[tuple[RevocationIndex, PagesOf, list[int]]]:
    """An image of one habit with or without attributes, whole and by pages; its serials."""
    name, attributes = request.param
    listed = sorted(set(HABITS[name]))
    crl = make_crl([entry_of(serial) for serial in listed])
    octets = compile_unverified_crl(crl, attributes=attributes).image
    assert octets is not None
    with open_index(octets) as index:
        yield index, PagesOf(octets), listed


def _asked(listed: Sequence[int], seed: int, count: int) -> list[int]:
    """Serials that are listed, their neighbours, and others."""
    draw = random.Random(seed)
    some = [draw.choice(listed) for _ in range(count)]
    return [serial + step for serial in some for step in (0, 0, 1, -1, 1 << 16, 1 << 33)]


def test_every_answer_is_that_of_the_whole_image(
    image: tuple[RevocationIndex, PagesOf, list[int]],
) -> None:
    """
    Membership and entries are the same, and an answer takes a few pages. Pages that hold
    reason and dates are read for nothing but an entry.
    """
    index, pages, listed = image
    whole = index._open()
    for serial in _asked(listed, 1, 700):
        octets = canonical_serial(serial)
        pages.asked.clear()
        assert pages.native.contains(0, octets, pages) == (serial in index)
        for_membership = list(pages.asked)
        assert len(set(for_membership)) == len(for_membership) <= 6
        pages.asked.clear()
        assert pages.native.find(0, octets, pages) == whole.find(0, octets)
        assert set(for_membership) <= set(pages.asked)
        if serial not in index:
            assert pages.asked == for_membership


def test_entries_at_the_borders_of_pages_are_found(
    image: tuple[RevocationIndex, PagesOf, list[int]],
) -> None:
    """
    All entries are found, those among them whose bytes lie in two pages.
    """
    _, pages, listed = image
    if len(pages.pages) > 1:
        assert all(pages.native.contains(0, canonical_serial(one), pages) for one in listed)


def test_without_a_page_there_is_no_answer(
    image: tuple[RevocationIndex, PagesOf, list[int]],
) -> None:
    """
    Whichever page that a look-up needs is missing, it says so: it is never taken for zeros,
    which would say that nothing is listed.
    """
    _, pages, listed = image
    for serial in _asked(listed, 2, 60):
        octets = canonical_serial(serial)
        for look_up in (pages.native.contains, pages.native.find):
            pages.asked.clear()
            look_up(0, octets, pages)
            for number in list(pages.asked):
                pages.absent = {number}
                with pytest.raises(MissingPageError) as caught:
                    look_up(0, octets, pages)
                assert caught.value.number == number
                pages.absent = set()


@settings(max_examples=60)
@given(data=st.data())
def test_any_pages_may_be_missing(
    image: tuple[RevocationIndex, PagesOf, list[int]], data: st.DataObject
) -> None:
    """
    With any set of pages, an answer is that of the whole image.
    """
    index, pages, listed = image
    seed = data.draw(st.integers(0, 1 << 30))
    draw = random.Random(seed)
    pages.absent = {number for number in range(len(pages.pages)) if draw.random() < 0.3}
    for serial in _asked(listed, seed, 10):
        pages.asked.clear()
        answer: bool | None = None
        with contextlib.suppress(MissingPageError):
            answer = pages.native.contains(0, canonical_serial(serial), pages)
        misses = not pages.absent.isdisjoint(pages.asked)
        assert answer == (None if misses else serial in index)
    pages.absent = set()


def test_wrong_pages_do_no_harm(image: tuple[RevocationIndex, PagesOf, list[int]]) -> None:
    """
    Pages of any bytes, which nobody has compared, and pages that are too short, may give any
    answer or none, and do not crash.
    """
    _, pages, listed = image
    draw = random.Random(4)

    def any_page(number: int) -> bytes:
        page = bytearray(pages.pages[number])
        for _ in range(draw.choice([1, 10, 1000])):
            page[draw.randrange(len(page))] = draw.randrange(256)
        return bytes(page[: draw.choice([PAGE_SIZE, PAGE_SIZE, draw.randrange(len(page) + 1)])])

    for serial in _asked(listed, 5, 20):
        with contextlib.suppress(CorruptIndexError):
            pages.native.find(0, canonical_serial(serial), any_page)


def test_each_kind_of_table_is_there() -> None:
    """
    The habits above come to the kinds of tables that they are meant for.
    """

    def tables(name: str) -> list[dict[str, int]]:
        octets = compile_unverified_crl(make_crl(HABITS[name])).image
        assert octets is not None
        with open_index(octets) as index:
            return tables_of(index)

    def kinds(name: str) -> set[int]:
        return {table["kind"] for table in tables(name)}

    assert kinds("bitsets") == kinds("runs") == {BITMAP}
    assert GAPS in kinds("gaps")
    assert kinds("random") == kinds("spilled") == {LINES}
    assert max(table["max_bucket"] for table in tables("spilled")) > 300


GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.rglob("*.crlx")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_golden_images_are_read_by_pages(path: Path) -> None:
    """
    Images of every kind of table, of earlier versions too, with spilled lines and several
    issuers, give the same entries by pages, and none without them.
    """
    octets = path.read_bytes()
    whole, pages = NativeImage(octets), PagesOf(octets)
    for entry in whole.entries():
        serial = canonical_serial(entry.serial_number)
        pages.absent = set()
        assert pages.native.find(entry.issuer, serial, pages) == entry
        pages.absent = set(range(len(pages.pages)))
        # What only the header tells, such as that all bits are constant, needs no page.
        with contextlib.suppress(MissingPageError):
            assert pages.native.contains(entry.issuer, serial, pages)
        for step in (1, 2, 1 << 8):
            other = canonical_serial(entry.serial_number + step)
            with contextlib.suppress(MissingPageError):
                listed = pages.native.contains(entry.issuer, other, pages)
                assert listed == (whole.find(entry.issuer, other) is not None)
