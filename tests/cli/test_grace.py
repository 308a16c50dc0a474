"""``crlcheck grace``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from crlcheck.stores import LocalStore
from support.pki import make_crl
from support.publishing import CA, publish


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A directory with one published CRL."""
    directory = tmp_path / "published"
    publish(LocalStore(directory), make_crl(CA, 1))
    return str(directory)


def listed(store: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """What ``grace list`` prints as JSON."""
    assert main(["grace", "list", store, "--json"]) == 0
    graces: list[dict[str, object]] = json.loads(capsys.readouterr().out)["graces"]
    return graces


def test_a_grace_is_given_listed_and_ended(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    That of a scope stands beside that of the store.
    """
    (scope,) = read_set(LocalStore(store))[0].everything().scopes
    given = ["--for", "24h", "--note", "the CA is late"]
    assert main(["grace", "add", store, *given]) == 0
    assert main(["grace", "add", store, "--scope", scope, *given]) == 0
    capsys.readouterr()
    of_store, of_scope = listed(store, capsys)
    assert (of_store["scope"], of_scope["scope"]) == (None, scope)
    assert of_store["note"] == of_scope["note"] == "the CA is late"
    assert of_store["holds"] is True
    assert main(["grace", "list", store]) == 0
    assert f"the CRLs of scope {scope} until" in capsys.readouterr().out
    assert main(["grace", "remove", store]) == 0
    capsys.readouterr()
    assert [one["scope"] for one in listed(store, capsys)] == [scope]


def test_a_grace_needs_its_length_and_a_scope_that_is_there(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is changed without.
    """
    assert main(["grace", "add", store]) == 2
    assert main(["grace", "add", store, "--for", "1h", "--scope", "0" * 32]) == 2
    assert main(["grace", "add", store, "--for", "0s"]) == 2
    capsys.readouterr()
    assert listed(store, capsys) == []
