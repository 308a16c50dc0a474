"""``crlcheck key``: keys that sign roots, made and shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from crlcheck import LocalStore, RootKey, load_signing_key, publish_crl
from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from support.moto_server import S3Environment, make_client
from support.pki import NOW, make_authority, make_crl


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_new_key_goes_to_a_file_and_shows_its_public_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The private part is on no screen, and the file is not replaced."""
    path = tmp_path / "root-key.pem"
    assert main(["key", "new", "--out", str(path)]) == 0
    shown = capsys.readouterr().out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_signing_key(path)
    words = [line.split()[-1] for line in shown.splitlines()]
    assert words == [key.root_key.token, key.root_key.key_id]
    assert path.read_text().splitlines()[1] not in shown
    assert main(["key", "show", str(path)]) == 0
    assert capsys.readouterr().out == shown
    status, document = _run(capsys, "key", "new", "--out", str(path))
    assert (status, document["kind"]) == (4, "FileExistsError")
    assert load_signing_key(path).root_key == key.root_key


def test_a_new_key_without_a_file_is_all_of_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that it can be sent to another place."""
    assert main(["key", "new"]) == 0
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_text(capsys.readouterr().out)
    shown = load_signing_key(path).root_key
    status, document = _run(capsys, "key", "show", str(path))
    assert (status, document["public_key"], document["key_id"]) == (0, shown.token, shown.key_id)


def test_a_token_is_shown_with_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    """To find the key that a message names by its id."""
    token = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    status, document = _run(capsys, "key", "show", token)
    assert (status, document["kind"]) == (0, "ed25519")
    assert document["key_id"] == RootKey.parse(token).key_id
    assert main(["key", "show", token[:-1]]) == 2
    assert main(["key", "show", "nothing.pem"]) == 4


def test_a_key_in_kms_is_shown(s3: S3Environment, capsys: pytest.CaptureFixture[str]) -> None:
    """By its alias; one that is not there is said to be refused, with what to do."""
    kms: Any = make_client(s3.endpoint, "kms")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/shown", TargetKeyId=arn)
    status, document = _run(capsys, "key", "show", "alias/shown")
    assert (status, document["kind"]) == (0, "ecdsa-p256")
    assert document["public_key"] == load_signing_key(arn).root_key.token
    status, document = _run(capsys, "key", "show", "alias/missing")
    assert (status, document["attributes"]["reason"]) == (4, "kms_refused")
    assert "kms:GetPublicKey" in document["remedy"]


def test_a_public_key_is_bound_to_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the id that the store's root has; a store without one is told."""
    token = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    store = LocalStore(tmp_path)
    ca = make_authority()
    publish_crl(make_crl(ca, 1), store, issuer=ca.der, now=NOW)
    store_id = read_set(store)[0].root.store
    status, document = _run(capsys, "key", "show", token, "--store", str(tmp_path))
    assert (status, document["public_key"]) == (0, f"{token}@{store_id}")
    store.write("catalog.json", b'{"format":1,"generation":3,"issuers":[],"scopes":{}}')
    assert _run(capsys, "key", "show", token, "--store", str(tmp_path))[0] == 4


def test_a_file_that_others_may_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do."""
    path = tmp_path / "key.pem"
    assert main(["key", "new", "--out", str(path)]) == 0
    path.chmod(0o640)
    capsys.readouterr()
    status, document = _run(capsys, "key", "show", str(path))
    assert (status, document["attributes"]["reason"]) == (4, "exposed_key")
    assert "chmod 600" in document["remedy"]
