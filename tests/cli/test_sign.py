"""Commands over a signed store: with the key, without it, and what readers demand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from crlcheck import LocalStore, RootKey, RootSigner, sign_root
from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from crlcheck.cli.parameters import StoreType, TargetType
from crlcheck.cli.root import root
from crlcheck.publisher.store_status import read_store_status
from crlcheck.signing.signing_key import load_signing_key, write_new_key
from crlcheck.signing.statement import verify_root
from support.command_line import Place, make_place
from support.moto_server import S3Environment, make_client
from support.site import web_site


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The demo's files, and a store whose root ``root-key.pem`` has signed."""
    made = make_place(tmp_path)
    write_new_key(tmp_path / "root-key.pem")
    write_new_key(tmp_path / "next-key.pem")
    sign_root(tmp_path / "store", tmp_path / "root-key.pem", adopt=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRLCHECK_SIGN_WITH", raising=False)
    monkeypatch.delenv("CRLCHECK_ROOT_KEYS", raising=False)
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Run a command and return its exit status and its JSON document."""
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def key_of(name: str) -> RootKey:
    """Return the public key of a file."""
    return load_signing_key(name).root_key


def signatures_of(store: str, *keys: str) -> Any:
    """Return the signatures of a root by some keys, the last to expire first."""
    members = read_set(LocalStore(store))[0].members
    assert members is not None
    return verify_root(members, [key_of(key) for key in keys], now=datetime.now(UTC))


def scope_of(store: str) -> str:
    """Return the key of a store's only scope."""
    (record,) = read_set(LocalStore(store))[0].scopes()
    return record.key


# Each changes the store when it is run in this order. SCOPE stands for its scope.
_CHANGES = (
    ["publish", "next.crl", "--issuer", "ca.pem", "--to", "store", "--allow-shrink"],
    ["migrate", "aws-sample", "--bucket", "./sample", "--to", "store"],
    ["deny", "add", "store", "good.pem", "--for", "1h"],
    ["deny", "remove", "store", "good.pem"],
    ["scope", "set", "store", "SCOPE", "--covers-no-distribution-point"],
    ["scope", "reset", "store", "SCOPE"],
    ["grace", "add", "store", "--for", "1h"],
    ["grace", "remove", "store"],
    ["refusal", "dismiss", "store", "README.txt"],
    ["issuer", "anchor", "store", "ca.pem"],
    ["issuer", "no-crl", "store", "ca.pem"],
    ["advance", "store", "--above", "99"],
    ["scope", "remove", "store", "SCOPE"],
    ["restore", "store", "--from", "@2", "--yes"],
    ["issuer", "remove", "store", "ca.pem"],
    ["issuer", "readmit", "store", "ca.pem"],
    ["clean", "store", "--grace", "0s"],
)


def test_every_command_that_changes_a_store_is_tried_here() -> None:
    """A new one is added to _CHANGES; whatever takes a note for the history takes a key."""

    def options(command: click.Command) -> set[str]:
        return {name for one in command.params for name in one.opts}

    commands = dict(_commands(root, ()))
    signing = {path for path, command in commands.items() if "--sign-with" in options(command)}
    noting = {path for path, command in commands.items() if "--note" in options(command)}
    tried = {path for path in commands for change in _CHANGES if change[: len(path)] == list(path)}
    assert noting <= signing
    assert signing == tried | {("fetch",), ("sign",)}


def _commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is no group, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _commands(below, (*path, name))


@pytest.mark.parametrize("way", ["option", "environment"])
def test_every_command_that_changes_a_store_signs_it(
    place: Place,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Without the key each is refused, says which key and which option is missing, and leaves
    the root as it is; with it the new root is signed for as long as was said.
    """
    place.crl("next.crl", crl_number=9)
    place.sample(crl_number=10)
    place.refusal()
    scope = scope_of("store")
    root = place.path / "store" / "catalog.json"
    for change in _CHANGES:
        arguments = [scope if one == "SCOPE" else one for one in change]
        before = root.read_bytes()
        status, document = run(capsys, *arguments)
        assert (status, document["attributes"]["reason"]) == (4, "no_signing_key"), arguments
        assert key_of("root-key.pem").key_id in document["error"]
        assert "--sign-with" in document["error"]
        assert root.read_bytes() == before, arguments
        if way == "option":
            arguments += ["--sign-with", "root-key.pem", "--root-expiry", "2h"]
        else:
            monkeypatch.setenv("CRLCHECK_SIGN_WITH", "root-key.pem")
            monkeypatch.setenv("CRLCHECK_ROOT_EXPIRY", "2h")
        status, document = run(capsys, *arguments)
        assert status == 0, (arguments, document)
        assert root.read_bytes() != before, arguments
        (signature,) = signatures_of("store", "root-key.pem")
        left = signature.statement.expires - datetime.now(UTC)
        assert timedelta(hours=1) < left <= timedelta(hours=2)
        monkeypatch.delenv("CRLCHECK_SIGN_WITH", raising=False)
        monkeypatch.delenv("CRLCHECK_ROOT_EXPIRY", raising=False)


def test_sign_renews_the_expiry_and_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """The generation stays; a key that has not signed the root is refused, but for --adopt."""
    status, document = run(capsys, "sign", "store", "--sign-with", "root-key.pem")
    held = read_set(LocalStore("store"))[0]
    assert (status, document["generation"], document["store_id"]) == (0, 1, held.root.store)
    assert document["key_ids"] == [key_of("root-key.pem").key_id]
    status, document = run(capsys, "sign", "store", "--sign-with", "next-key.pem")
    assert (status, document["attributes"]["reason"]) == (4, "unknown_key")
    assert "CRLCHECK_ROOT_KEYS" in document["remedy"]
    assert main(["sign", "store", "--sign-with", "next-key.pem", "--adopt"]) == 0
    assert f"signed by {key_of('next-key.pem').key_id} until" in capsys.readouterr().out
    status, document = run(capsys, "sign", "store")
    assert (status, document["kind"]) == (2, "UsageError")


def test_several_keys_sign(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By repeating the option, or with a comma in the environment; none twice."""
    keys = ["--sign-with", "root-key.pem", "--sign-with", "next-key.pem"]
    assert run(capsys, "sign", "store", *keys)[0] == 0
    assert len(signatures_of("store", "root-key.pem", "next-key.pem")) == 2
    monkeypatch.setenv("CRLCHECK_SIGN_WITH", "root-key.pem,next-key.pem")
    status, document = run(capsys, "sign", "store")
    assert (status, len(document["key_ids"])) == (0, 2)
    assert run(capsys, "sign", "store", *keys[:2], *keys[:2])[0] == 2
    assert run(capsys, "sign", "store", "--root-expiry", "0s")[0] == 2


def test_check_demands_a_signature(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By option or environment; an image has no root."""
    token, other = key_of("root-key.pem").token, key_of("next-key.pem").token
    check = ["check", "store", "good.pem"]
    assert run(capsys, *check, "--root-key", other, "--root-key", token)[0] == 0
    status, document = run(capsys, *check, "--root-key", other)
    assert (status, document["attributes"]["reason"]) == (4, "unknown_key")
    assert run(capsys, *check, "--minimum-generation", "1")[0] == 0
    status, document = run(capsys, *check, "--minimum-generation", "2")
    assert (status, document["kind"]) == (4, "CatalogRollbackError")
    assert run(capsys, *check, "--root-key", "secret")[0] == 2
    assert run(capsys, "check", "ca.crlx", "good.pem", "--root-key", token)[0] == 2
    monkeypatch.setenv("CRLCHECK_ROOT_KEYS", f"{other},{token}")
    assert run(capsys, *check)[0] == 0
    monkeypatch.setenv("CRLCHECK_ROOT_KEYS", other)
    assert run(capsys, *check)[0] == 4
    assert run(capsys, "check", "ca.crlx", "good.pem")[0] == 0


def test_a_refused_root_is_told_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The checker's log says the same, and need not be shown beside the error."""
    key = ["--root-key", key_of("next-key.pem").token]
    assert main(["check", "store", "good.pem", "bad.pem", *key]) == 4
    assert capsys.readouterr().err.count("is refused") == 1


def test_export_demands_a_signature(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """What it writes is believed by another program."""
    export = ["export", "store", "--format", "sample-json", "-o", "out.json"]
    for name, expected in (("next-key.pem", 4), ("root-key.pem", 0)):
        assert run(capsys, *export, "--root-key", key_of(name).token)[0] == expected
        assert (place.path / "out.json").exists() == (expected == 0)


def test_an_earlier_generation_is_covered_by_the_present_signature(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The present root names it by digest; a signature by another key does not count."""
    deny = ["deny", "add", "store", "good.pem", "--sign-with", "root-key.pem"]
    assert run(capsys, *deny)[0] == 0
    monkeypatch.setenv("CRLCHECK_ROOT_KEYS", key_of("root-key.pem").token)
    monkeypatch.setenv("CRLCHECK_MINIMUM_GENERATION", "2")
    assert run(capsys, "check", "store", "good.pem")[0] == 1
    assert run(capsys, "check", "store@1", "good.pem")[0] == 0
    monkeypatch.setenv("CRLCHECK_ROOT_KEYS", key_of("next-key.pem").token)
    status, document = run(capsys, "check", "store@1", "good.pem")
    assert (status, document["attributes"]["reason"]) == (4, "unknown_key")


def test_status_and_verify_tell_of_the_signature(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long it holds, that it has expired, and whether it is by a key that is accepted."""
    status, document = run(capsys, "status", "store")
    assert (status, document["num_scopes"]) == (0, 1)
    assert 6 * 86_400 < document["signed_for"] <= 7 * 86_400
    token, other = key_of("root-key.pem").token, key_of("next-key.pem").token
    assert run(capsys, "verify", "store", "--root-key", token)[0] == 0
    status, document = run(capsys, "verify", "store", "--root-key", other)
    assert (status, [one["found"] for one in document["faults"]]) == (4, ["unsigned"])
    past = datetime.now(UTC) - timedelta(days=30)
    sign_root("store", "root-key.pem", now=past)
    assert main(["status", "store"]) == 3
    assert "the signature of the root expired at" in capsys.readouterr().out
    status, document = run(capsys, "status", "store")
    assert (status, document["signed_for"] < 0) == (3, True)
    assert document["signature_state"] == "expired"
    assert main(["status", "store", "--format", "prometheus"]) == 3
    assert "crlcheck_signed_until_timestamp_seconds" in capsys.readouterr().out
    assert run(capsys, "verify", "store", "--root-key", token)[0] == 4


@pytest.mark.parametrize(
    ("expiry", "warn", "is_soon"),
    [("1h", "6h", True), ("1h", "30m", False), ("1h", "50%", False), ("1h", "100%", True)],
)
def test_status_warns_before_the_signature_ends(
    place: Place, capsys: pytest.CaptureFixture[str], expiry: str, warn: str, is_soon: bool
) -> None:
    """In text, in JSON, in Prometheus's format and by the exit status."""
    publish = ["deny", "add", "store", "good.pem", "--sign-with", "root-key.pem"]
    assert run(capsys, *publish, "--root-expiry", expiry)[0] == 0
    key = ["--root-key", key_of("root-key.pem").token]
    for given in ([], key):
        status, document = run(capsys, "status", "store", "--warn", warn, *given)
        expected = (1, "ends_soon") if is_soon else (0, "current")
        assert (status, document["signature_state"]) == expected
    assert document["exit_status"] == status
    assert main(["status", "store", "--warn", warn]) == status
    text = capsys.readouterr().out
    words = "the signature of the root expires in "
    assert (words in text, "crlcheck sign" in text) == (is_soon, is_soon)
    assert main(["status", "store", "--warn", warn, "--format", "prometheus"]) == status
    gauge = 'crlcheck_signature_ends_soon{store="'
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith(gauge)]
    assert line.endswith("1.0" if is_soon else "0.0")


def test_a_root_that_is_signed_again_and_again_is_not_soon_expired(place: Place) -> None:
    """Nor is one whose generation is years old: a week is the longest time that counts."""
    later = datetime.now(UTC) + timedelta(days=300)
    sign_root("store", "root-key.pem", now=later)
    for days, expected in ((5, "current"), (6, "ends_soon"), (7, "expired")):
        found = read_store_status("store", now=later + timedelta(days=days))
        assert found.signature_state == expected


def test_with_keys_the_signature_is_one_of_theirs(place: Place) -> None:
    """Not that of another key, which holds longer and which nobody there accepts."""
    signer = RootSigner("root-key.pem", expiry=timedelta(hours=1))
    sign_root("store", signer)
    members = json.loads(Path("store/catalog.json").read_bytes())
    own = members["signatures"]
    other = RootSigner("next-key.pem").signed(members, now=datetime.now(UTC))["signatures"]
    Path("store/catalog.json").write_bytes(
        json.dumps({**members, "signatures": own + other}).encode("ascii")
    )
    six_hours = timedelta(hours=6)
    for keys, expected in (
        (None, "current"),
        ([key_of("root-key.pem")], "ends_soon"),
        ([key_of("next-key.pem")], "current"),
    ):
        found = read_store_status("store", warn=six_hours, root_keys=keys)
        assert found.signature_state == expected


READERS = (
    ["status", "store"],
    ["verify", "store"],
    ["check", "store", "good.pem"],
    ["inspect", "store"],
    ["diff", "store", "store"],
    ["diff", "store@1", "store"],
    ["diff", "store", "--since", "1"],
    ["history", "store"],
    ["scope", "list", "store"],
    ["issuer", "list", "store"],
    ["deny", "list", "store"],
    ["grace", "list", "store"],
    ["key", "show", "root-key.pem", "--store", "store"],
    ["mirror", "store", "copy"],
    ["export", "store", "--format", "sample-json", "-o", "out.json"],
    ["restore", "copy", "--from", "store"],
    ["restore", "copy", "--from", "store@1"],
    ["restore", "store", "--from", "@1", "--sign-with", "root-key.pem"],
    ["restore", "store", "--from", "crls", "--sign-with", "root-key.pem"],
)


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_every_command_that_reads_a_store_demands_a_signature(
    place: Place,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the option and by CRLCHECK_ROOT_KEYS: one of another key is refused by each."""
    Path("crls").mkdir()
    Path(place.crl("crls/next.crl", crl_number=9))
    token, other = key_of("root-key.pem").token, key_of("next-key.pem").token
    for given, variable in ((["--root-key", other], ""), ([], other)):
        monkeypatch.setenv("CRLCHECK_ROOT_KEYS", variable)
        assert main([*command, *given, "--quiet"]) == 4
    assert not Path("copy/catalog.json").exists()
    assert not Path("out.json").exists()
    monkeypatch.setenv("CRLCHECK_ROOT_KEYS", other)
    assert main([*command, "--root-key", token, "--quiet"]) == 0
    capsys.readouterr()


def test_no_command_takes_a_store_without_a_demand_or_a_key() -> None:
    """So that a new one that reads a store cannot be forgotten."""
    # These read nothing that a root covers.
    uncovered = {"doctor", "refusal list"}
    for path, command in _commands(root, ()):
        options = {one.name for one in command.params}
        takes = any(isinstance(one.type, StoreType | TargetType) for one in command.params)
        # Those that change a store go on from what their own key has signed.
        if takes and " ".join(path) not in uncovered:
            assert {"root_keys", "sign_with"} & options, path


def test_a_signed_set_that_is_restored_without_a_signature_is_told_of(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Services that demand a signature would refuse it; one that signs is not told of."""
    restore = ["restore", "copy", "--from", "store"]
    status, document = run(capsys, *restore)
    (note,) = [one for one in document["notes"] if "no signature" in one]
    assert (status, "--sign-with" in note) == (0, True)
    assert key_of("root-key.pem").key_id in note
    restore = ["restore", "signed", "--from", "store", "--sign-with", "root-key.pem"]
    status, document = run(capsys, *restore)
    assert status == 0
    assert not [one for one in document["notes"] if "no signature" in one]


def test_a_mirror_whose_signature_has_expired_is_restored_with_a_note(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mirror that was forgotten for a month is what there is; its age is told."""
    sign_root("store", "root-key.pem", now=datetime.now(UTC) - timedelta(days=30))
    key = ["--root-key", key_of("root-key.pem").token]
    status, document = run(capsys, "restore", "copy", "--from", "store", *key)
    assert (status, ["expired at" in one for one in document["notes"]][:1]) == (0, [True])


def test_with_keys_no_unsigned_record_comes_back(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the root is lost, a record of the history says what was published, unsigned."""
    key = ["--root-key", key_of("root-key.pem").token]
    Path("store/catalog.json").unlink()
    for target, origin in (("copy", "store@1"), ("store", "@1")):
        restore = ["restore", target, "--from", origin, *key]
        status, document = run(capsys, *restore)
        assert (status, document["attributes"]["reason"]) == (4, "unsigned_record")
        assert run(capsys, *restore, "--adopt")[0] == 0


def test_fetch_signs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """And is refused without the key."""
    with web_site() as site:
        path = place.crl("fetched.crl", crl_number=9)
        site.pages["/ca.crl"] = 200, {}, Path(path).read_bytes()
        fetch = ["fetch", f"{site.url}/ca.crl", "--issuer", "ca.pem", "--to", "store"]
        fetch += ["--allow-private", "--allow-shrink", "--no-proxy"]
        status, document = run(capsys, *fetch)
        assert (status, document["results"][0]["outcome"]) == (4, "failed")
        assert document["results"][0]["attributes"]["reason"] == "no_signing_key"
        status, document = run(capsys, *fetch, "--sign-with", "root-key.pem")
        assert (status, document["results"][0]["outcome"]) == (0, "published")
        assert signatures_of("store", "root-key.pem")


def test_mirror_copies_signatures_and_may_demand_them(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs no key."""
    token, other = key_of("root-key.pem").token, key_of("next-key.pem").token
    status, document = run(capsys, "mirror", "store", "copy", "--root-key", other)
    assert (status, document["attributes"]["reason"]) == (4, "unknown_key")
    assert run(capsys, "mirror", "store", "copy", "--root-key", token)[0] == 0
    copied = (place.path / "copy" / "catalog.json").read_bytes()
    assert copied == (place.path / "store" / "catalog.json").read_bytes()
    assert run(capsys, "mirror", "store", "copy", "--root-key", "secret")[0] == 2


def test_a_key_in_kms_signs(
    place: Place, s3: S3Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its alias; and the public part of it is what check demands."""
    kms: Any = make_client(s3.endpoint, "kms")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/root", TargetKeyId=arn)
    key = ["--sign-with", "alias/root"]
    assert run(capsys, "sign", "store", *key, "--adopt")[0] == 0
    assert run(capsys, "deny", "add", "store", "good.pem", *key)[0] == 0
    status, shown = run(capsys, "key", "show", "alias/root")
    assert status == 0
    assert run(capsys, "check", "store", "good.pem", "--root-key", shown["public_key"])[0] == 1
    status, document = run(capsys, "sign", "store", "--sign-with", "alias/nothing")
    assert (status, document["attributes"]["reason"]) == (4, "kms_refused")


def test_a_key_that_cannot_be_used_changes_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, and one that others may read."""
    root = place.path / "store" / "catalog.json"
    before = root.read_bytes()
    deny = ["deny", "add", "store", "good.pem", "--sign-with"]
    status, document = run(capsys, *deny, "nothing.pem")
    assert (status, document["kind"]) == (4, "FileNotFoundError")
    (place.path / "root-key.pem").chmod(0o644)
    status, document = run(capsys, *deny, "root-key.pem")
    assert (status, document["attributes"]["reason"]) == (4, "exposed_key")
    assert root.read_bytes() == before


def test_signers_may_differ_between_stores(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that nobody signed is changed without a key, and not with one."""
    publish = ["publish", "ca.crl", "--issuer", "ca.pem", "--to"]
    assert run(capsys, *publish, "plain")[0] == 0
    assert run(capsys, "deny", "add", "plain", "good.pem")[0] == 0
    status, document = run(capsys, "deny", "add", "plain", "ca.pem", "--sign-with", "root-key.pem")
    assert (status, document["attributes"]["reason"]) == (4, "unsigned")
    assert "crlcheck sign --adopt" in document["remedy"]
    assert run(capsys, *publish, "fresh", "--sign-with", "root-key.pem")[0] == 0
    assert (
        RootSigner("root-key.pem").accepted[0].key_id
        in (place.path / "fresh" / "catalog.json").read_text()
    )


@pytest.mark.usefixtures("place")
def test_status_refuses_what_the_services_refuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    By the option, and by the environment variable that services have.
    """
    right, wrong = (key_of(name).token for name in ("root-key.pem", "next-key.pem"))
    assert run(capsys, "status", "store", "--root-key", right)[0] != 4
    status, document = run(capsys, "status", "store", "--root-key", wrong)
    assert (status, document["attributes"]["reason"]) == (4, "unknown_key")
    monkeypatch.setenv("CRLCHECK_ROOT_KEYS", wrong)
    assert run(capsys, "status", "store")[0] == 4
