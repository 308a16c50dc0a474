"""An authorizer that demands a signature of its store's root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import crlcheck
from support.authorizer import SOURCES, is_allowed, load, publish
from support.example_pki import example_pki
from support.root_keys import MemoryKey

PKI = example_pki()
KEY, STRANGER = MemoryKey(), MemoryKey()
SOURCE = next(one for one in SOURCES.values() if one.certificate_from == "api-gateway")


def publish_signed(store: Path, crl: bytes) -> None:
    """Publish one CRL of the example issuer, signed by KEY."""
    crlcheck.publish_crl(crl, store, issuer=PKI.authority.pem, sign_with=KEY)


def test_a_root_by_an_accepted_key_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of several; the metrics say for how long the signature holds."""
    publish_signed(tmp_path, PKI.crl(number=5))
    function = load(monkeypatch, tmp_path, root_keys=f"{STRANGER.token},{KEY.token}")
    assert is_allowed(function.handler(SOURCE.event(PKI.client("good")), None))
    (line,) = [one for one in capsys.readouterr().out.splitlines() if '"decisions"' in one]
    assert 6 * 86_400 < json.loads(line)["seconds_signed"] <= 7 * 86_400
    assert not is_allowed(function.handler(SOURCE.event(PKI.client("revoked")), None))


@pytest.mark.parametrize("attack", ["unsigned", "unknown", "old"])
def test_any_other_root_denies_everybody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, attack: str
) -> None:
    """With the cause of a store that cannot be used."""
    if attack == "unsigned":
        publish(tmp_path, PKI.crl(number=5))
    else:
        publish_signed(tmp_path, PKI.crl(number=5))
    keys = STRANGER.token if attack == "unknown" else KEY.token
    function = load(monkeypatch, tmp_path, root_keys=keys, minimum_generation="2")
    assert not is_allowed(function.handler(SOURCE.event(PKI.client("good")), None))
    if attack == "old":
        publish_signed(tmp_path, PKI.crl(number=6))
        assert is_allowed(function.handler(SOURCE.event(PKI.client("good")), None))


@pytest.mark.parametrize(
    "value", ["", ",", "secret", "ed25519:AAAA", f"{KEY.token},{KEY.token}", f"{KEY.token}, "]
)
def test_a_malformed_key_stops_the_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    """The message names the variable."""
    with pytest.raises(ValueError, match="CRLCHECK_ROOT_KEYS"):
        load(monkeypatch, tmp_path, root_keys=value)
    with pytest.raises(ValueError, match="CRLCHECK_MINIMUM_GENERATION"):
        load(monkeypatch, tmp_path, minimum_generation="-1")
