"""``diff``: two sets of a store, by generation and by time."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.cli import main
from crlcheck.publisher.clean_up import clean_up
from crlcheck.stores import LocalStore, open_store
from crlcheck.times import time_text
from support.command_line import NOW
from support.moto_server import S3Environment
from support.pki import DAY, delta_of, make_crl
from support.publishing import CA, OTHER_CA, publish

KEPT = timedelta(days=365)


@pytest.fixture(params=["directory", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """
    1, ten days ago: serials 1 and 2. 2, eight days ago: 2 and 3. 3, six days ago: a delta
    CRL with 4. 4, four days ago: another CA's CRL with 9.
    """
    if request.param == "directory":
        made: Any = LocalStore(tmp_path / "store", fsync=False)
    else:
        s3: S3Environment = request.getfixturevalue("s3")
        made = open_store(f"s3://{s3.bucket}/published")
    fill(made)
    return made


def fill(store: Any) -> None:
    """Publish these generations."""
    start, until = NOW - 10 * DAY, NOW + 30 * DAY
    crl = make_crl(CA, 1, [1, 2], next_update=until)
    publish(store, crl, now=start, grace=KEPT)
    crl = make_crl(CA, 3, [2, 3], next_update=until)
    publish(store, crl, now=start + 2 * DAY, grace=KEPT)
    crl = make_crl(CA, 5, [4], extensions=[delta_of(3)], next_update=until)
    publish(store, crl, now=start + 4 * DAY, grace=KEPT)
    crl = make_crl(OTHER_CA, 1, [9], next_update=until)
    publish(store, crl, OTHER_CA.pem, now=start + 6 * DAY, grace=KEPT)


def diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[Any], int]:
    """The serial numbers newly revoked and lifted of each scope, and how many are the same."""
    capsys.readouterr()
    assert main(["diff", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = [
        [
            sorted(entry["serial_number"] for entry in one[kind])
            for kind in ("newly_revoked", "lifted")
        ]
        for one in found["scopes"]
    ]
    return sorted(rows), found["num_unchanged"]


def test_since_a_time(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """
    By how long ago, by a time and by a generation, the set of then is compared with that of
    now. Before the first generation there was nothing.
    """
    url = store.url
    expected = {
        "9d": ([[["3", "4"], ["1"]], [["9"], []]], 0),
        "7d": ([[["4"], []], [["9"], []]], 0),
        "5d": ([[["9"], []]], 1),
        "3d": ([], 2),
        time_text(NOW - 7 * DAY): ([[["4"], []], [["9"], []]], 0),
        "1": ([[["3", "4"], ["1"]], [["9"], []]], 0),
        "4": ([], 2),
        "30d": ([[["2", "3", "4"], []], [["9"], []]], 0),
    }
    for since, found in expected.items():
        assert diff(capsys, url, "--since", since) == found
        if since != "30d":
            assert diff(capsys, f"{url}@{since}", url) == found
    assert diff(capsys, url, f"{url}@1") == ([[[], ["9"]], [["1"], ["3", "4"]]], 0)
    assert diff(capsys, f"{url}@3", "--since", "2") == ([[["4"], []]], 0)


def test_what_is_said(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The serials since last week, and how many scopes did not change."""
    assert main(["diff", store.url, "--since", "5d"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "CRL 1 of CN=Other CA (only in B): 1 newly revoked certificate, 0 lifted"
    assert said[1].startswith("  + 9 of CN=Other CA since ")
    assert said[2] == "1 scope with the same CRLs in both"
    assert main(["diff", store.url, f"{store.url}@3"]) == 0
    assert "(only in A): 0 newly revoked certificates, 1 lifted" in capsys.readouterr().out
    assert main(["diff", store.url, "--since", "@1", "--limit", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "  + and 1 more, which a greater --limit lists" in said
    assert said[-1] == "2 scopes with other CRLs: 3 newly revoked certificates, 1 lifted"
    issuers = [one.partition(" of ")[2] for one in said if one.startswith("CRL ")]
    assert (len(issuers), issuers) == (2, sorted(issuers))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["STORE"], 2, "name two images or stores, or one store and --since"),
        (["STORE", "STORE", "--since", "1"], 2, "name no second one"),
        (["FILE", "--since", "1"], 2, "needs a store"),
        (["STORE", "--since", "9"], 2, "it is yet to come"),
        (["STORE", "--since", "last week"], 2, "expected a generation such as 41"),
        (["STORE@9", "STORE"], 2, "it is yet to come"),
        (["STORE", "--since", "2999-01-01"], 2, "lies in the future"),
    ],
)
def test_what_cannot_be_compared(
    words: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said, and nothing is compared in its place."""
    made = LocalStore(tmp_path / "store", fsync=False)
    fill(made)
    file = tmp_path / "a.crlx"
    file.write_bytes(b"")
    named = [word.replace("STORE", made.url).replace("FILE", str(file)) for word in words]
    assert main(["diff", *named]) == status
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_a_set_whose_objects_are_gone_is_not_compared_with_nothing(
    store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether clean-up deleted them, or a single image is missing."""
    images = list(store.names("images/"))
    clean_up(store, grace=timedelta(0), now=NOW)
    assert len(list(store.names("images/"))) < len(images)
    for since in ("1", "9d"):
        assert main(["diff", store.url, "--since", since]) == 4
        captured = capsys.readouterr()
        assert "generation 1 cannot be shown" in captured.err
        assert captured.out == ""
    for name in list(store.names("history/"))[2:]:
        store.delete(name)
    assert main(["diff", store.url, "--since", "30d"]) == 4
    assert "the history goes back to generation" in capsys.readouterr().err
