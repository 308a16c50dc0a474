"""One way to say when, for all commands: a generation, a time, or how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crlcheck.cli import main
from crlcheck.cli.inputs import is_store
from crlcheck.cli.when import read_when, split_target
from support.command_line import make_place

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("1", 1),
        ("0041", 41),
        ("20261124", 20_261_124),
        ("9007199254740991", 9_007_199_254_740_991),
        ("7d", timedelta(days=7)),
        ("90s", timedelta(seconds=90)),
        ("12h", timedelta(hours=12)),
        ("2026-11-24", NOON - timedelta(hours=12)),
        ("2026-11-24T12:00", NOON),
        ("2026-11-24 12:00", NOON),
        ("2026-11-24T12:00:00", NOON),
        ("2026-11-24T12:00:00.000000Z", NOON),
        ("2026-11-24t12:00:00z", NOON),
        ("2026-11-24T17:30:00+05:30", NOON),
        ("2026-11-23T22:00:00-14:00", NOON),
    ],
)
def test_generations_times_and_durations(text: str, when: object) -> None:
    """A time without a zone is in UTC, and a date is its first moment there."""
    found = read_when(text)
    assert found == when
    if isinstance(found, datetime):
        assert found.tzinfo is UTC


NO_TIMES = [
    "",
    " 41",
    "-1",
    "+7d",
    "7w",
    "d",
    "1.5h",
    "yesterday",
    "2026-13-01",
    "2026-02-30",
    "2026-11-24T25:00:00Z",
    "2026-11-24T12",
    "2026-11-24T12:00:00+5",
    "24.11.2026",
    "2026-W48-2",
    "12345678901234567",
    "99999999999d",
    "0001-01-01T00:00:00+14:00",
    "٤١",
    "41\n",
]


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    """Nothing is guessed, and no other way of writing a date is read by chance."""
    with pytest.raises((ValueError, OverflowError)):
        read_when(text)


@pytest.mark.parametrize(
    ("target", "split"),
    [
        ("published@41", ("published", 41)),
        ("published@7d", ("published", timedelta(days=7))),
        ("published@2026-11-24T12:00:00Z", ("published", NOON)),
        ("published@2026-11-24T13:00:00+01:00", ("published", NOON)),
        ("published@9@41", ("published@9", 41)),
        ("s3://bucket/user@example.com/crls@41", ("s3://bucket/user@example.com/crls", 41)),
        ("s3://bucket@41", ("s3://bucket", 41)),
        ("https://cdn.example/published@41", ("https://cdn.example/published", 41)),
        # Nothing of these is a store at a time.
        ("published", None),
        ("published@41/", None),
        ("published@", None),
        ("@41", None),
        ("published@yesterday", None),
        ("published@9", None),
        ("missing@41", None),
        ("file.crlx@41", None),
        ("s3://bucket/user@example.com", None),
        ("s3://bucket/user@41/", None),
        ("s3://bucket/user@41/crls", None),
    ],
)
def test_a_store_at_a_time(
    target: str,
    split: tuple[str, object] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The last "@" counts, where what follows can be read and nothing has the whole name. A
    slash at the end keeps a name that ends so.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("published", "published@9"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.crlx").write_bytes(b"")
    assert split_target(target) == (split or (target, None))


@pytest.mark.parametrize("name", ["user@41", "a@b", "2026@2026-11-24", "@41", "x@7d"])
def test_directories_that_have_such_names_are_stores(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their own name, as they are now; and with @1 after it as they were."""
    (tmp_path / "at").mkdir()
    place = make_place(tmp_path / "at")
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for target in (name, f"./{name}", str(tmp_path / name), f"{name}/"):
        assert is_store(target)
    publish = ["publish", place["ca.crl"], "--issuer", place["ca.pem"], "--to", f"./{name}"]
    assert main(publish) == 0
    assert main(["check", name, place["good.pem"]]) == 0
    assert main(["check", f"{name}@1", place["good.pem"]]) == 0
    assert main(["deny", "add", f"./{name}/", place["good.pem"]]) == 0
    assert main(["check", name, place["good.pem"]]) == 1
    assert main(["check", f"{name}@1", place["good.pem"]]) == 0
