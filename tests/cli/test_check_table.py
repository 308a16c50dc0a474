"""``crlcheck check-table``: files of tables, what is counted of them, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from crlcheck.cli import main
from crlcheck.columns import check
from support.command_line import Place, make_place

CA = "CN=Demo Issuing CA"


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The demo's files in a directory, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return make_place(tmp_path)


def table_of(place: Place) -> pa.Table:
    """A good and a revoked serial number, one of another CA, none, and what is none."""
    return pa.table(
        {
            "issuer": [CA, CA, "CN=Another CA", CA, CA],
            "serial": [place.serial("good"), place.serial("revoked"), "2a", None, "zz"],
            "row": [1, 2, 3, 4, 5],
        }
    )


STATUSES = ["not_revoked", "revoked", "undetermined", None, "undetermined"]


def write(table: pa.Table, name: str) -> None:
    """Write a table to a file of the format that its name says."""
    if name.endswith(".parquet"):
        pq.write_table(table, name)
    elif name.endswith(".arrow"):
        with pa.ipc.new_file(name, table.schema) as writer:
            writer.write_table(table)
    elif name.endswith(".arrows"):
        with pa.ipc.new_stream(name, table.schema) as writer:
            writer.write_table(table)
    elif name.endswith(".csv"):
        pyarrow.csv.write_csv(table, name)
    else:
        rows = (json.dumps(row) for row in table.to_pylist())
        Path(name).write_text("\n".join(rows) + "\n", encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    """The rows of a file."""
    if name.endswith(".parquet"):
        table = pq.read_table(name)
    elif name.endswith(".arrow"):
        table = pa.ipc.open_file(name).read_all()
    elif name.endswith(".csv"):
        options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
        table = pyarrow.csv.read_csv(name, convert_options=options)
    else:
        table = pyarrow.json.read_json(name)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def run(*arguments: str) -> int:
    """Check a table by issuer and serial number."""
    return main(["check-table", "store", *arguments, "--issuer", "issuer", "--serial", "serial"])


@pytest.mark.parametrize("source", ["t.parquet", "t.arrow", "t.arrows", "t.csv", "t.ndjson"])
@pytest.mark.parametrize("output", ["o.parquet", "o.arrow", "o.csv", "o.jsonl"])
def test_each_format(source: str, output: str, place: Place) -> None:
    """Each row comes out with its verdict behind it, and the worst is the exit status."""
    write(table_of(place), source)
    assert run(source, "-o", output) == 1
    rows = read(output)
    assert [row["row"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["serial"] for row in rows] == table_of(place)["serial"].to_pylist()
    assert [row["status"] for row in rows] == STATUSES
    assert rows[1]["reason_code"] == "key_compromise"


def test_hexadecimal_digits_in_csv_are_no_decimal_number(place: Place) -> None:
    """Where all that a column has looks like one."""
    place.crl("newer.crl")
    serial = int(place.serial("revoked"), 16)
    Path("t.csv").write_text(f"serial\n{serial}\n", encoding="utf-8")
    arguments = ["check-table", "store", "t.csv", "--issued-by", "ca.pem", "--serial", "serial"]
    assert main([*arguments, "-o", "o.csv"]) == 0
    assert main([*arguments, "-o", "o.csv", "--serial-text", "decimal"]) == 1


def test_what_is_counted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows by status, cause and issuer; the issuer with the most that do not pass is first."""
    write(table_of(place), "t.parquet")
    assert run("t.parquet", "-o", "o.parquet") == 1
    assert capsys.readouterr().out.splitlines() == [
        "o.parquet: 5 rows: 2 undetermined, 1 no value, 1 not revoked, 1 revoked",
        "  no_value: 1",
        "  not_a_serial: 1",
        "  unknown_issuer: 1",
        "CN=Demo Issuing CA: 1 no value, 1 not revoked, 1 revoked, 1 undetermined",
        "CN=Another CA: 1 undetermined",
    ]
    assert run("t.parquet", "-o", "o.parquet", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["num_rows"] == 5
    assert found["statuses"] == {
        "not_revoked": 1, "revoked": 1, "undetermined": 2, "no_value": 1
    }  # fmt: skip
    assert found["causes"] == {"unknown_issuer": 1, "no_value": 1, "not_a_serial": 1}
    assert found["issuers"][1] == {"issuer": "CN=Another CA", "undetermined": 1}
    assert found["exit_status"] == 1


@pytest.mark.parametrize(
    ("rows", "expected"), [([0], 0), ([0, 2], 3), ([0, 2, 3], 4), ([0, 2, 4], 4), ([0, 1, 4], 1)]
)
def test_the_exit_status_is_the_worst(rows: list[int], expected: int, place: Place) -> None:
    """1 before 4 before 3 before 0."""
    write(table_of(place).take(rows), "t.parquet")
    assert run("t.parquet", "-o", "o.parquet", "--quiet") == expected


def test_certificates_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and batches need not begin at the same row."""
    monkeypatch.setattr(check, "PART_ROWS", 3)
    ders = [place.world.clients[name].der for name in ("good", "revoked")]
    table = pa.table({"row": range(20), "der": ders * 10})
    with pa.ipc.new_file("t.arrow", table.schema) as writer:
        for batch in table.to_batches(max_chunksize=7):
            writer.write_batch(batch)
    arguments = ["check-table", "store", "t.arrow", "t.arrow", "--certificate", "der"]
    assert main([*arguments, "-o", "o.parquet", "--prefix", "crl_"]) == 1
    rows = read("o.parquet")
    assert [row["row"] for row in rows] == [*range(20), *range(20)]
    assert [row["crl_status"] for row in rows] == ["not_revoked", "revoked"] * 20


def test_a_table_on_standard_input(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its format must be given, and be one that is read from its beginning."""
    write(table_of(place), "t.csv")
    octets = Path("t.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(octets)))
    assert run("-", "-o", "o.csv") == 2
    assert run("-", "-o", "o.csv", "--input-format", "parquet") == 2
    assert run("-", "-o", "o.csv", "--input-format", "csv") == 1
    assert [row["status"] for row in read("o.csv")] == STATUSES


def test_an_earlier_time(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """An image is judged by the time that is given."""
    write(table_of(place).slice(0, 1), "t.csv")
    arguments = ["t.csv", "-o", "o.csv", "--issuer", "issuer", "--serial", "serial", "--json"]
    assert main(["check-table", "ca.crlx", *arguments, "--at", "2020-01-01"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["causes"] == {"not_yet_valid": 1}
    assert found["judged_at"] == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["t.csv", "-o", "o.csv"], 2, "name the columns"),
        (["t.csv", "--serial", "serial", "-o", "o.csv"], 2, "name the columns"),
        (["t.csv", "--certificate", "row", "--serial", "x", "-o", "o.csv"], 2, "goes without"),
        (["--certificate", "row", "-o", "o.csv"], 2, "name a table"),
        (["t.txt", "--certificate", "row", "-o", "o.csv"], 2, "t.txt: its name does not say"),
        (["t.csv", "--certificate", "row", "-o", "o"], 2, "o: its name does not say"),
        (["t.csv", "--certificate", "x", "-o", "o.csv"], 4, "t.csv: no column 'x': there are"),
        (["nope.csv", "--certificate", "x", "-o", "o.csv"], 4, "nope.csv: No such file"),
        (["ca.pem", "--input-format", "parquet", "--certificate", "x", "-o", "o.csv"], 4,
         "ca.pem: not read as parquet"),
        (["empty.csv", "--certificate", "row", "-o", "o.csv"], 4, "nothing was checked"),
        (["t.csv", "t.parquet", "--issuer", "issuer", "--serial", "serial", "-o", "o.csv"], 4,
         "the tables do not fit together"),
        (["status.csv", "--certificate", "row", "-o", "o.csv"], 2, "give a --prefix"),
    ],
)  # fmt: skip
def test_refusals(
    arguments: list[str],
    status: int,
    words: str,
    place: Place,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is written then."""
    write(table_of(place), "t.csv")
    write(table_of(place).select(["serial", "issuer"]), "t.parquet")
    place.write("empty.csv", b"row\n")
    place.write("status.csv", b"row,status\na,b\n")
    place.write("o.csv", b"before")
    assert main(["check-table", "store", *arguments]) == status
    assert words in capsys.readouterr().err
    assert Path("o.csv").read_bytes() == b"before"
    assert not list(place.path.glob(".o*"))
