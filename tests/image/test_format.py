"""docs/reference/index-format.md says what images are: its numbers, example and golden files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crlcheck import open_index
from crlcheck.types import CrlWarning, ImageMetadata, ReasonCode
from data import make_golden
from support.blocks import Block, blocks
from support.documents import document
from support.format_fields import read_field
from support.format_reader import (
    MULTIPLIER_1,
    MULTIPLIER_2,
    BitmapTable,
    GapsTable,
    Image,
    LinesTable,
    Shape,
)
from support.tables import BUCKET

ROOT = Path(__file__).parents[2]
DOCUMENT = document("index-format.md").read_text(encoding="utf-8")
FORMAT_H = (ROOT / "native" / "src" / "image" / "format.h").read_text(encoding="utf-8")
CRLCHECK_H = (ROOT / "native" / "include" / "crlcheck_values.h").read_text(encoding="utf-8")
WORD = 1 << 64
EARLIER = ("dense", "example", "indirect", "patterns", "random")


def section_of(heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    _, _, rest = DOCUMENT.partition(f"# {heading}\n")
    assert rest, heading
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows_of(heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table below a heading, without its first two lines, cell by cell."""
    blocks = re.findall(r"(?:^\|.*\n)+", section_of(heading), re.MULTILINE)
    return [
        [cell.strip().strip("`") for cell in line.strip("|\n").split(" |")]
        for line in blocks[number].splitlines()[2:]
    ]


def fields_of(heading: str) -> dict[str, tuple[int, str]]:
    """Offset and type of every field in a table, its zeros too, by name."""
    return {
        field or f"zero at {offset}": (int(offset), kind.replace("\N{MULTIPLICATION SIGN}", "x"))
        for offset, kind, field, *_ in rows_of(heading)
    }


def size_of(kind: str) -> int:
    """Bytes of a type as the document and the header write it."""
    if match := re.fullmatch(r"(\d+) (?:bytes|octets)", kind):
        return int(match[1])
    if match := re.fullmatch(r"(\d+) x \((.*)\)", kind):
        return int(match[1]) * sum(size_of(part.split()[0]) for part in match[2].split(", "))
    return int(kind[1:]) // 8


def constants_of(header: str) -> dict[str, tuple[int, str]]:
    """Value of every constant that a C header sets, and the type its comment names."""
    found = re.findall(r"\b([A-Z][A-Z0-9_]+) = (\d+),?(?: *// (.*))?", header)
    return {name: (int(value), comment.split(", then")[0]) for name, value, comment in found}


# ---- the numbers -------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "prefix"),
    [
        ("Superblock", "SUPERBLOCK_"),
        ("Table descriptor", "TABLE_"),
        ("Group directory", "GROUP_"),
        ("Rank directory", "RANK_"),
        ("Block directory", "ROW_"),
        ("Line", "LINE_"),
    ],
)
def test_offsets_are_those_of_the_header(heading: str, prefix: str) -> None:
    """
    Document and format.h give every field the same name, place and type, and
    the fields leave no gap.
    """
    documented = fields_of(heading)
    named = {name: place for name, place in documented.items() if not name.startswith("zero")}
    declared = {
        name.removeprefix(prefix).lower(): place
        for name, place in constants_of(FORMAT_H).items()
        if name.startswith(prefix) and place[1]
    }
    assert named == declared
    end = 0
    for offset, kind in documented.values():
        assert offset == end
        end += size_of(kind)
    assert end == constants_of(FORMAT_H)[f"{prefix}SIZE"][0]


def test_the_descriptor_of_dates_leaves_no_gap() -> None:
    """
    The fields that describe a block of dates follow each other and fill its size.
    """
    end = 0
    for offset, kind in fields_of("Attributes").values():
        assert offset == end
        end += size_of(kind)
    assert end == constants_of(FORMAT_H)["DATE_BLOCK_SIZE"][0]


def test_sections_are_those_of_the_header() -> None:
    """
    Document and format.h number the sections of a table alike.
    """
    enum = re.search(r"typedef enum table_section \{(.*?)NUM_SECTIONS", FORMAT_H, re.DOTALL)
    assert enum is not None
    declared = [name.lower() for name in re.findall(r"SECTION_(\w+)", enum[1])]
    rows = rows_of("Table descriptor", 1)
    assert [(int(number), name) for number, name, *_ in rows] == list(enumerate(declared))


def test_constants_are_those_of_the_headers() -> None:
    """
    Every size, alignment, flag, kind and version of the headers is in the
    document's list with its value, and nothing else is.
    """
    format_constants = {
        name: value for name, (value, kind) in constants_of(FORMAT_H).items() if not kind
    }
    format_constants["DATE_BLOCK_SIZE"] = constants_of(FORMAT_H)["DATE_BLOCK_SIZE"][0]
    format_constants["NUM_SECTIONS"] = len(rows_of("Table descriptor", 1))
    documented = {name: int(value) for name, value, *_ in rows_of("Constants")}
    public = constants_of(CRLCHECK_H)
    for name in [name for name in documented if name.startswith("CRLCHECK_")]:
        assert documented.pop(name) == public[name][0], name
    assert documented == {
        name: value
        for name, value in format_constants.items()
        if not (name.startswith("SUPERBLOCK_") and name != "SUPERBLOCK_SIZE")
    }


def test_the_magic_and_the_multipliers_are_those_of_the_sources() -> None:
    """
    Magic, multipliers and their inverses are written alike in document and C.
    """
    octets = re.search(r"image_magic\[8\] = \{(.*)\}", FORMAT_H)
    assert octets is not None
    magic = bytes(
        ord(item.strip("'")) if item.startswith("'") else int(item, 16)
        for item in octets[1].split(", ")
    )
    documented_magic = next(row[3] for row in rows_of("Superblock") if row[2] == "magic")
    assert bytes.fromhex(documented_magic) == magic
    sources = "".join(
        (ROOT / "native" / "src" / "image" / name).read_text() for name in ("key.h", "key.c")
    )
    numbers = re.findall(r"UINT64_C\(0x(\w{16})\)", sources)
    mix = section_of("The mix")
    assert len(numbers) == 4
    assert all(f"`{number}`" in mix for number in numbers)
    for name in ("M1", "M2"):
        multiplier = re.search(rf"{name} = `(\w+)`", mix)
        inverse = re.search(rf"`(\w+)`, which is 1/{name}", mix)
        assert multiplier is not None
        assert inverse is not None
        assert int(multiplier[1], 16) * int(inverse[1], 16) % WORD == 1


def test_metadata_members_are_those_of_the_code() -> None:
    """
    Document and code know the same members with the same types, and the same
    warnings.
    """
    types = {"bytes": "hex", "datetime": "time", "int": "integer", "str": "string",
             "bool": "boolean", "CrlWarning": "array of strings", "None": "null"}  # fmt: skip
    fields = {
        field.name: " or ".join(types[part] for part in str(field.type).split(" | "))
        for field in dataclasses.fields(ImageMetadata)
    }
    assert {member: kind for member, kind, *_ in rows_of("Metadata")} == fields
    _, _, listed = section_of("Metadata").partition("The warnings of this version are")
    names = re.findall(r"`(\w+)`", listed.split(".")[0])
    assert names == [warning.name.lower() for warning in CrlWarning if warning.name]


def test_keys_are_those_of_the_document() -> None:
    """
    The keys that the document gives for trying an implementation are right, and
    lead back to their serials.
    """
    rows = [[cell.strip("` ") for cell in row] for row in rows_of("The mix")]
    assert len(rows) == 6
    for serial_hex, mask_hex, key_bits, low, high in rows:
        serial, mask = bytes.fromhex(serial_hex), bytes.fromhex(mask_hex)
        value = bytes(octet & constant for octet, constant in zip(serial, mask, strict=True))
        shape = Shape(value, mask)
        key = (int(low, 16), int(high or "0", 16))
        assert shape.key_bits == int(key_bits)
        assert shape.key(serial) == key
        assert shape.serial(*key) == serial


def test_the_mix_of_the_document_is_that_of_the_images() -> None:
    """
    Its code makes the keys of the document's own examples.
    """
    (block,) = blocks("index-format.md", language="python")
    names: dict[str, Any] = {"M1": MULTIPLIER_1, "M2": MULTIPLIER_2}
    exec(block.text, names)
    for row in rows_of("The mix"):
        serial, mask = (bytes.fromhex(cell.strip("` ")) for cell in row[:2])
        value = bytes(octet & constant for octet, constant in zip(serial, mask, strict=True))
        shape = Shape(value, mask)
        number = shape.ordered_key(serial)
        assert number is not None
        words = [number >> 64 * i & WORD - 1 for i in range(1, (shape.key_bits + 63) // 64)]
        low = (number ^ names["fold"](words)) & (1 << shape.low_bits) - 1
        assert shape.key(serial) == (names["mix"](low, shape.low_bits), number >> 64)


# ---- the worked example ------------------------------------------------------


DUMPS = blocks("index-format.md", language="dump")
RUNS = blocks("index-format.md", language="runs")
GAPS = blocks("index-format.md", language="gaps")
LINES = blocks("index-format.md", language="lines")


def dumped(dumps: list[Block]) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of every line of the document's dumps."""
    for block in dumps:
        repeated: tuple[int, bytes] | None = None
        offset, octets = 0, b""
        for line in block.text.splitlines():
            if line == "*":
                repeated = (offset + len(octets), octets)
                continue
            place, _, rest = line.partition("  ")
            offset, octets = int(place, 16), bytes.fromhex(rest.partition("  ")[0])
            if repeated:
                start, pattern = repeated
                repeats, odd = divmod(offset - start, len(pattern))
                assert odd == 0
                yield start, pattern * repeats
                repeated = None
            yield offset, octets
        assert repeated is None


def test_the_example_is_the_golden_image() -> None:
    """
    The bytes that the document shows are the golden image, all of it, but for
    the zeros that fill its header up.
    """
    golden = (make_golden.DIRECTORY / "example.crlx").read_bytes()
    shown: list[int | None] = [None] * len(golden)
    (json_block,) = blocks("index-format.md", language="json")
    metadata = json_block.text.replace("\n", "").encode()
    for offset, octets in [*dumped(DUMPS), (0x25A, metadata)]:
        assert shown[offset : offset + len(octets)] == [None] * len(octets)
        shown[offset : offset + len(octets)] = octets
    hidden = [offset for offset, octet in enumerate(shown) if octet is None]
    assert hidden == list(range(0x543, 0x580))
    assert bytes(octet or 0 for octet in shown) == golden


def test_the_bitmap_of_the_example_is_the_golden_one() -> None:
    """
    The bytes that the document shows of a bitmap are those of the golden image,
    all of its body, and the rank that it computes is right.
    """
    golden = (make_golden.DIRECTORY / "runs.crlx").read_bytes()
    shown = dict(dumped(RUNS))
    for offset, octets in shown.items():
        assert golden[offset : offset + len(octets)] == octets
    body = b"".join(octets for offset, octets in shown.items() if offset >= 0x440)
    assert golden[0x440:-64] == body
    (table,) = Image(golden).tables
    assert isinstance(table, BitmapTable)
    assert [entry.serial for _, entry in table.entries()].index(1105) == 25
    assert table.bitmap.find(1105) == 25


def test_the_gaps_of_the_example_are_the_golden_ones() -> None:
    """
    The bytes that the document shows of gaps are those of the golden image, and the
    block that it reads has the bits, values and rank told.
    """
    golden = (make_golden.DIRECTORY / "gaps.crlx").read_bytes()
    for offset, octets in dumped(GAPS):
        assert golden[offset : offset + len(octets)] == octets
    (table,) = Image(golden).tables
    assert isinstance(table, GapsTable)
    start, end = table.gaps.bounds(4)
    text = section_of("Gaps")
    bits = "".join(str(read_field(table.sections[1], bit, 1)) for bit in range(start, end))
    told = re.search(r"from bit (\d+) to bit (\d+), which are, in order, ([01 ]+)\.", text)
    assert told is not None
    assert (start, end - 1, bits) == (int(told[1]), int(told[2]), told[3].replace(" ", ""))
    values = re.search(r"the values are ([\d, ]+) and (\d+)\.", text)
    assert values is not None
    assert table.gaps.values(4) == [int(value) for value in (*values[1].split(", "), values[2])]
    assert [entry.serial for _, entry in table.entries()].index(6079) == 297
    assert table.gaps.find(6079) == 297


def test_the_line_of_the_example_is_the_golden_one() -> None:
    """
    The bytes that the document shows of lines are those of the golden image, and the
    bucket that it reads has the counts, remainder and rank told.
    """
    golden = (make_golden.DIRECTORY / "lines.crlx").read_bytes()
    for offset, octets in dumped(LINES):
        assert golden[offset : offset + len(octets)] == octets
    (table,) = Image(golden).tables
    assert isinstance(table, LinesTable)
    text = section_of("Lines")
    asked = re.search(r"Is (\d+), `(\w+)`, listed\?", text)
    key = re.search(r"low = `(\w+)`. So it is in bucket (\d), with the remainder `(\w+)`", text)
    counts = re.search(r"The counts are ([\d, ]+) and (\d+)\.", text)
    assert asked is not None
    assert key is not None
    assert counts is not None
    serial = int(asked[1])
    low, bucket = int(key[1], 16), int(key[2])
    assert serial == int(asked[2], 16)
    assert table.shape.key(serial.to_bytes(8, "big")) == (low, 0)
    assert (low >> 52, low & (1 << 52) - 1) == (bucket, int(key[3], 16))
    told = [int(count) for count in (*counts[1].split(", "), counts[2])]
    assert [table.bucket(number)[1] for number in range(16)] == told
    assert table.bucket(bucket) == (17, 4)
    assert [entry.serial for _, entry in table.entries()].index(serial) == 18


def test_two_of_the_golden_lines_are_spilled() -> None:
    """
    The golden image of crowded serials has the spilled lines that the document tells of.
    """
    (_, table) = Image((make_golden.DIRECTORY / "spilled.crlx").read_bytes()).tables
    assert isinstance(table, LinesTable)
    assert (table.spilled, len(table.sections[1])) == (2, 5 * 64)


def test_the_example_walks_as_it_says() -> None:
    """
    Hit and misses of the worked example have the keys, ranks and answers told.
    """
    image = Image((make_golden.DIRECTORY / "example.crlx").read_bytes())
    first, second = image.tables
    text = section_of("Worked example")
    missed = re.search(r"mix\(`06`\) is `(\w\w)`", text)
    assert missed is not None
    assert first.shape.key(b"\x17") == (0xFA, 0)
    assert first.shape.key(b"\x06") == (int(missed[1], 16), 0)
    assert [entry.serial for _, entry in first.entries()] == [5, -1, 23]
    found = image.find(23)
    assert found is not None
    assert found.reason == ReasonCode.KEY_COMPROMISE
    assert found.revocation_date is not None
    moment = datetime.fromtimestamp(found.revocation_date, UTC)
    assert f"{moment:%Y-%m-%dT%H:%M:%SZ}" in text
    assert second.shape.key(b"\x27\x12") is None
    assert [image.find(serial) is not None for serial in (5, -1, 10001, 6, 10002)] == [
        True, True, True, False, False,
    ]  # fmt: skip


# ---- the golden files --------------------------------------------------------


@pytest.mark.parametrize("name", make_golden.GOLDEN)
def test_golden_images_are_still_made(name: str) -> None:
    """
    Compiling a committed CRL gives exactly the bytes of the committed image.
    """
    golden = (make_golden.DIRECTORY / f"{name}.crlx").read_bytes()
    assert make_golden.compiled_image(name) == golden


@pytest.mark.parametrize("name", make_golden.GOLDEN)
def test_golden_sources_are_those_of_the_script(name: str) -> None:
    """
    The committed CRLs, and the certificate they are verified with, are what the
    script makes.
    """
    assert make_golden.source_crl(name) == (make_golden.DIRECTORY / f"{name}.crl").read_bytes()
    assert make_golden.issuer_certificate() == make_golden.ISSUER.read_bytes()


def test_every_golden_file_is_known() -> None:
    """
    No file lies among the golden ones that nothing checks.
    """
    expected = {f"{name}.{kind}" for name in make_golden.GOLDEN for kind in ("crl", "crlx")}
    found = {path.name for path in make_golden.DIRECTORY.iterdir()}
    assert found == expected | {make_golden.ISSUER.name, make_golden.EARLIER.name}
    earlier = {path.stem for path in make_golden.EARLIER.iterdir()}
    assert earlier == set(EARLIER)


@pytest.mark.parametrize("name", EARLIER)
def test_earlier_images_answer_as_those_of_today(name: str) -> None:
    """
    An image of a kind that is no longer written has the same entries, and every way to
    look up finds them.
    """
    earlier = (make_golden.EARLIER / f"{name}.crlx").read_bytes()
    kinds = {table.kind for table in Image(earlier).tables}
    assert BUCKET in kinds
    with (
        open_index(earlier) as old,
        open_index(make_golden.DIRECTORY / f"{name}.crlx") as new,
    ):
        assert list(old.iter_entries()) != []
        assert sorted(old.iter_entries(), key=repr) == sorted(new.iter_entries(), key=repr)
        assert old.metadata == new.metadata
        if len(Image(earlier).issuers) == 1:
            serials = [entry.serial_number for entry in new.iter_entries()]
            asked = [serial + step for serial in serials for step in (-1, 0, 1)]
            assert old.contains_many(asked) == [serial in new for serial in asked]
            assert [serial in old for serial in asked] == new.contains_many(asked)
