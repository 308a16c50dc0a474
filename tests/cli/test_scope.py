"""``crlcheck scope``: what is listed of each scope, and what an operator may set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.cli import main
from crlcheck.demo.pki import CertificateAuthority, encode_extension, sign_crl
from support.pki import delta_of
from support.values import der

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
SETTING = "--covers-no-distribution-point"


def point(uri: str) -> bytes:
    """The issuingDistributionPoint of that URI."""
    name = der(0x86, uri.encode())
    return encode_extension("2.5.29.28", der(0x30, der(0xA0, der(0xA0, name))), critical=True)


@pytest.fixture(scope="module")
def keys() -> list[CertificateAuthority]:
    """An issuer's old and new key, the new one certified by the old."""
    old = CertificateAuthority.create("Rolling CA")
    return [old, CertificateAuthority.create("Rolling CA", parent=old)]


Put = Callable[..., str]


@pytest.fixture
def put(tmp_path: Path, keys: list[CertificateAuthority]) -> Put:
    """Publish a CRL of a key, begun and ending so many days from now; return its scope."""

    def publish(key: int, number: int | None, begun: float, ends: float, *extensions: bytes) -> str:
        crl = sign_crl(
            keys[key],
            [],
            crl_number=number,
            this_update=NOW + begun * DAY,
            next_update=NOW + ends * DAY,
            extensions=extensions,
        )
        issuers = [one.der for one in keys]
        return crlcheck.publish_crl(crl, tmp_path / "store", issuer=issuers).scope

    return publish


def listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What ``scope list --json`` says of the scopes."""
    capsys.readouterr()
    assert main(["scope", "list", str(tmp_path / "store"), "--json"]) == 0
    scopes: dict[str, Any] = json.loads(capsys.readouterr().out)["scopes"]
    return scopes


@pytest.mark.parametrize(
    ("old", "new", "states"),
    [
        ((-3, 3), (-2, 3), ("superseded", "current")),
        ((-3, -1), (-2, 3), ("expired_and_replaced", "current")),
        ((-1, 3), (-2, 3), ("current", "superseded")),
        ((-2, -1), (-3, 3), ("stale", "stale")),
        ((-3, -1), (-2, -1), ("stale", "stale")),
    ],
    ids=["superseded", "replaced", "old goes on", "newer expired", "both expired"],
)
def test_the_scopes_of_two_keys_are_marked(
    old: tuple[int, int],
    new: tuple[int, int],
    states: tuple[str, str],
    put: Put,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    The newest CRL says which certificates are stale, so each scope is marked by how it
    stands to the other's; the text names the other scope in full.
    """
    first, second = put(0, 7, *old), put(1, 3, *new)
    shown = listed(tmp_path, capsys)
    assert (shown[first]["state"], shown[second]["state"]) == states
    assert shown[first]["key_id"] != shown[second]["key_id"]
    assert shown[first]["key_hash"] != shown[second]["key_hash"]
    assert main(["scope", "list", str(tmp_path / "store")]) == 0
    text = capsys.readouterr().out
    for scope, other in ((first, second), (second, first)):
        named = shown[scope]["replaced_by"] or shown[scope]["made_stale_by"]
        assert named in (None, other)
        assert f"key id {shown[scope]['key_id']}" in text
        words = shown[scope]["state"].replace("_", " ")
        (line,) = (line for line in text.splitlines() if line.startswith(scope))
        assert line.startswith(f"{scope} ({words}")
        assert named is None or named in line


def test_a_partition_is_not_replaced_by_another(
    put: Put, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a CRL for all that it covers replaces it; parts of one key are never superseded."""
    part = put(0, 7, -5, -1, point("http://ca/1"))
    other = put(1, 8, -4, 3, point("http://ca/2"))
    assert listed(tmp_path, capsys)[part]["state"] == "stale"
    whole = put(1, 9, -3, 3)
    shown = listed(tmp_path, capsys)
    assert (shown[part]["state"], shown[part]["replaced_by"]) == ("expired_and_replaced", whole)
    assert shown[other]["state"] == "current"
    assert shown[part]["covers"] == "http://ca/1"


def test_the_base_and_the_delta_have_their_times(
    put: Put, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The delta says when verdicts go stale, as it does in a check."""
    scope = put(0, 7, -3, 1)
    members = listed(tmp_path, capsys)[scope]
    assert members["delta"] is None
    assert members["verdicts_stale_at"] == members["base"]["next_update"]
    put(0, 9, -2, 2, delta_of(7))
    members = listed(tmp_path, capsys)[scope]
    for role, number, begun, ends in (("base", 7, -3, 1), ("delta", 9, -2, 2)):
        assert members[role]["crl_number"] == number
        assert datetime.fromisoformat(members[role]["this_update"]) == NOW + begun * DAY
        assert datetime.fromisoformat(members[role]["next_update"]) == NOW + ends * DAY
    assert members["delta"]["base_crl_number"] == 7
    assert members["verdicts_stale_at"] == members["delta"]["next_update"]
    assert members["state"] == "current"


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_no_width_cuts_what_another_command_needs(columns: str, put: Put, tmp_path: Path) -> None:
    """The scope's key is whole in a pipe of any width, at the start of its line."""
    scope = put(0, 7, -3, 1)
    run = subprocess.run(
        [sys.executable, "-P", "-m", "crlcheck.cli", "scope", "list", str(tmp_path / "store")],
        env={**os.environ, "COLUMNS": columns},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(f"{scope} (current)\n")


# ---- set -------------------------------------------------------------------------------


def test_a_setting_belongs_to_its_scope_alone(
    put: Put, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It survives the next CRL and a delta, other scopes never have it, a removal ends it."""
    store = str(tmp_path / "store")
    scope, other = put(0, 7, -5, 1, point("http://ca/1")), put(0, 7, -5, 1, point("http://ca/2"))

    def settings() -> dict[str, bool]:
        found = listed(tmp_path, capsys)
        return {key: one["covers_no_distribution_point"] for key, one in found.items()}

    assert settings() == {scope: False, other: False}
    assert main(["scope", "set", store, scope, SETTING]) == 0
    for number, extensions in ((8, ()), (10, (delta_of(8),)), (9, ()), (12, (delta_of(9),))):
        put(0, number, -5 + number / 10, 1, point("http://ca/1"), *extensions)
        put(0, number, -5 + number / 10, 1, point("http://ca/2"), *extensions)
        assert settings() == {scope: True, other: False}
    assert main(["scope", "list", store]) == 0
    assert "certificates without distribution points too" in capsys.readouterr().out
    assert main(["scope", "reset", store, scope]) == 0
    assert settings()[scope]
    assert main(["scope", "remove", store, scope]) == 0
    put(0, 20, -1, 1, point("http://ca/1"))
    assert settings() == {scope: False, other: False}


def test_a_setting_is_taken_back(
    put: Put, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same command; one that sets nothing, or names no scope, is wrong usage."""
    store = str(tmp_path / "store")
    scope = put(0, 7, -5, 1, point("http://ca/1"))
    assert main(["scope", "set", store, scope, SETTING]) == 0
    assert main(["scope", "set", store, scope, SETTING, "--undo"]) == 0
    assert not listed(tmp_path, capsys)[scope]["covers_no_distribution_point"]
    assert main(["scope", "set", store, scope]) == 2
    assert SETTING in capsys.readouterr().err
    assert main(["scope", "set", store, scope, "--undo"]) == 2
    assert main(["scope", "remove", store, scope]) == 0
    capsys.readouterr()
    assert main(["scope", "set", store, scope, SETTING]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "it was removed" in told
    assert "crlcheck scope list" in told
