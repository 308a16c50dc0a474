"""The operators' commands, as they are typed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.cli import main
from crlcheck.demo.pki import pem_block
from crlcheck.errors import CorruptIndexError, StoreError
from crlcheck.publisher.mirror import mirror_store
from crlcheck.stores import LocalStore
from support.command_line import NOW, WEEK, Place, make_place
from support.memory_store import MemoryStore
from support.pki import DAY, delta_of, make_authority, make_client, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, images_of, publish


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The demo's files, an image and a store."""
    return make_place(tmp_path)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The one JSON document that a command prints, having exited 0."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# ---- the deny list -----------------------------------------------------------------


def test_denying_by_certificate_and_by_number(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A denied certificate exits 1, in a sentence of its own, and 0 again when lifted.
    """
    store, good = place["store"], place["good.pem"]
    assert main(["check", store, good]) == 0
    assert main(["deny", "add", store, good, "--for", "12h", "--note", "stolen"]) == 0
    capsys.readouterr()
    assert main(["check", store, good]) == 1
    assert "is denied by the operator's deny list: stolen, until " in capsys.readouterr().out
    assert main(["check", store, "--serial", place.serial("good")]) == 1
    assert "deny list" in capsys.readouterr().out
    (listed,) = run_json(capsys, "deny", "list", store)["denials"]
    assert (listed["serial_number"], listed["holds"]) == (place.serial("good"), True)
    assert main(["deny", "list", store]) == 0
    assert capsys.readouterr().out.endswith(": stolen\n")
    named = ["--issuer", place["ca.pem"], "--serial", place.serial("good")]
    assert main(["deny", "remove", store, *named]) == 0
    assert main(["check", store, good]) == 0
    assert main(["deny", "remove", store, *named]) == 2
    assert main(["deny", "add", store, *named]) == 0
    assert main(["check", store, good]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--serial", "1"],
        ["--issuer", "ca.pem"],
        ["good.pem", "--serial", "1"],
        ["good.pem", "--for", "soon"],
        ["good.pem", "--for", "36501d"],
        ["good.pem", "--for", "9999999999s"],
    ],
)
def test_who_is_denied_must_be_clear(place: Place, arguments: list[str]) -> None:
    """
    Half a name, or two, is wrong usage.
    """
    given = [place[one] if one.endswith(".pem") else one for one in arguments]
    assert main(["deny", "add", place["store"], *given]) == 2


# ---- scopes ------------------------------------------------------------------------


def test_scopes_are_listed_removed_and_reset(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The list shows what is published, what an operator did, and what was refused.
    """
    store = place["store"]
    shown = run_json(capsys, "scope", "list", store)
    ((scope, members),) = shown["scopes"].items()
    assert members["crls"] == ["CRL 7 of CN=Demo Issuing CA"]
    old = place.crl("old.crl", crl_number=1)
    assert main(["publish", old, "--issuer", place["ca.pem"], "--to", store]) == 4
    (rejection,) = run_json(capsys, "scope", "list", store)["rejections"]
    assert (rejection["source"], rejection["cause"]) == (old, "rollback")
    assert main(["scope", "reset", store, scope, "--note", "numbered anew"]) == 0
    assert main(["publish", old, "--issuer", place["ca.pem"], "--to", store, "--allow-shrink"]) == 0
    assert main(["scope", "remove", store, scope]) == 0
    assert main(["check", store, place["good.pem"]]) == 3
    capsys.readouterr()
    shown = run_json(capsys, "scope", "list", store)
    assert (shown["scopes"], shown["rejections"]) == ({}, [])
    assert shown["tombstones"][scope]["action"] == "removed"
    assert main(["scope", "list", store]) == 0
    assert f"{scope} (CRL 1 of CN=Demo Issuing CA): removed" in capsys.readouterr().out
    assert main(["scope", "remove", store, scope]) == 2


def test_issuers_are_listed_removed_and_readmitted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The list tells issuers apart and says who brought them; a removal takes the scopes along,
    and neither comes back before it is let in.
    """
    store, ca = place["store"], place["ca.pem"]
    publish_it = ["publish", place.crl("new.crl", crl_number=9), "--issuer", ca, "--to", store,
                  "--allow-shrink"]  # fmt: skip
    assert main(publish_it) == 0
    capsys.readouterr()
    (issuer,) = run_json(capsys, "issuer", "list", store)["issuers"]
    assert (issuer["subject"], issuer["is_anchor"]) == ("CN=Demo Issuing CA", False)
    assert len(issuer["fingerprint"]) == 64
    assert len(issuer["scopes"]) == 1
    assert main(["issuer", "anchor", store, issuer["fingerprint"][:10]]) == 0
    assert main(["issuer", "no-crl", store, ca]) == 0
    capsys.readouterr()
    assert main(["issuer", "list", store]) == 0
    shown = capsys.readouterr().out
    assert issuer["fingerprint"][:16] in shown
    assert main(["issuer", "anchor", store, ca, "--undo"]) == 0
    assert main(["issuer", "remove", store, ca, "--note", "key lost"]) == 0
    assert f"scope {issuer['scopes'][0]} went with it" in capsys.readouterr().out
    assert main(["check", store, place["good.pem"]]) == 3
    assert main(publish_it) == 4
    assert "an operator removed the issuer" in capsys.readouterr().err
    shown = run_json(capsys, "issuer", "list", store)
    assert shown["issuers"] == []
    assert shown["removed"][issuer["fingerprint"]]["note"] == "key lost"
    assert main(["issuer", "list", store]) == 0
    assert "(CN=Demo Issuing CA): removed" in capsys.readouterr().out
    assert main(["issuer", "remove", store, ca]) == 2
    assert "'crlcheck issuer list' shows those there are" in capsys.readouterr().err
    assert main(["issuer", "remove", store, "CN=Demo"]) == 2
    assert main(["issuer", "readmit", store, issuer["fingerprint"]]) == 0
    assert main(publish_it) == 0
    capsys.readouterr()
    (again,) = run_json(capsys, "issuer", "list", store)["issuers"]
    assert again["added_by"] == ca


def test_what_a_crl_lifts_and_that_it_is_stale_are_said(
    place: Place, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """
    By the command in text and in JSON, and by the lists.
    """
    store = str(place.path / "other")
    command = ["--issuer", place["ca.pem"], "--to", store]
    first = place.write("first.crl", place.world.crl)
    assert main(["publish", first, *command]) == 0
    late = place.crl("late.crl", crl_number=9, this_update=NOW, next_update=NOW)
    capsys.readouterr()
    assert main(["publish", late, *command]) == 4
    assert "not published" in capsys.readouterr().err
    fewer = place.crl("fewer.crl", crl_number=8)
    assert main(["publish", fewer, *command, "--allow-shrink"]) == 0
    assert "(0 newly revoked, 19 lifted)" in capsys.readouterr().out
    assert "has 1 entry," in caplog.text  # the command writes the log where nobody else does
    fresh = [place.crl("stale.crl", crl_number=9, this_update=NOW - DAY, next_update=NOW - DAY / 2),
             "--issuer", place["ca.pem"], "--to", str(place.path / "stale")]  # fmt: skip
    found = run_json(capsys, "publish", *fresh)
    assert [one["kind"] for one in found["publish_warnings"]] == ["expired"]
    shown = run_json(capsys, "scope", "list", fresh[-1])
    assert [one["stale"] for one in shown["scopes"].values()] == [True]
    for command in (["scope", "list", fresh[-1]], ["inspect", fresh[-1]]):
        assert main(command) == 0
        assert "(stale)" in " ".join(capsys.readouterr().out.split())


def test_shrinking_needs_leave(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The refusal says what to do, and the option does it.
    """
    command = ["publish", place.crl("small.crl"), "--issuer", place["ca.pem"]]
    command += ["--to", place["store"]]
    assert main(command) == 4
    assert "has 1 entry, the published CRL 7" in capsys.readouterr().err
    assert main([*command, "--allow-shrink"]) == 0


def test_every_crl_of_a_pem_file_is_published(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One that is refused does not keep the others out; the status tells of it.
    """
    other = make_authority("Second CA")
    issuer = place.write("both.pem", Path(place["ca.pem"]).read_bytes() + other.pem)
    old = Path(place.crl("old.crl", crl_number=1)).read_bytes()
    crls = (old, make_crl(other, this_update=NOW, next_update=NOW + DAY))
    path = place.write("all.pem", b"".join(pem_block("X509 CRL", crl) for crl in crls))
    command = ["publish", path, "--issuer", issuer, "--to", place["store"]]
    assert main(command) == 4
    out, err = capsys.readouterr()
    assert out.startswith(f"{place['store']}: published: generation 2\n")
    assert f"{path}: CRL 1 of CN=Demo Issuing CA is not newer" in err
    assert main([*command, "--json"]) == 4
    first, second = json.loads(capsys.readouterr().out)["crls"]
    assert "error" in first
    assert second["published"] is False


# ---- comparisons -------------------------------------------------------------------


def test_two_images_are_compared(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Newly revoked and lifted certificates are counted, and listed up to a limit.
    """
    newer = place["newer.crlx"]
    crlcheck.compile_crl(place.crl("newer.crl"), newer, issuer=place["ca.pem"])
    (found,) = run_json(capsys, "diff", place["ca.crlx"], newer)["scopes"]
    assert (found["num_newly_revoked"], found["num_lifted"]) == (0, 19)
    assert len(found["lifted"]) == 19
    assert main(["diff", newer, place["ca.crlx"], "--limit", "2"]) == 0
    head, *lines, rest = capsys.readouterr().out.splitlines()
    assert head.endswith("19 newly revoked certificates, 0 lifted")
    assert [line[:4] for line in lines] == ["  + "] * 2
    assert rest == "  + and 17 more, which a greater --limit lists"


# ---- copies ------------------------------------------------------------------------


def test_a_mirror_mends_a_damaged_copy(tmp_path: Path) -> None:
    """
    Where it is told to read what the target has; from a damaged source it copies nothing.
    """
    source, target = LocalStore(tmp_path / "a", fsync=False), LocalStore(tmp_path / "b")
    publish(source, make_crl(CA, 1, [7]))
    mirror_store(source, target)
    (name,) = images_of(target)
    whole = target.read(name).body
    target.write(name, whole[:-1] + bytes([whole[-1] ^ 1]))
    assert mirror_store(source, target).num_copied == 0
    assert main(["mirror", source.url, target.url, "--rebuild"]) == 0
    assert target.read(name).body == whole
    for store in (source, target):
        store.write(name, whole[:-1])
    with pytest.raises(crlcheck.IndexFileError):
        mirror_store(source, target, rebuild=True)


def test_a_mirror_has_the_same_set_and_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Catalog and images; the second time only what is new goes over.
    """
    source, target = LocalStore(tmp_path / "a", fsync=False), LocalStore(tmp_path / "b")
    publish(source, make_crl(CA, 1, [7]))
    publish(source, make_crl(OTHER_CA, 1), OTHER_CA.pem)
    assert run_json(capsys, "mirror", source.url, target.url) == {
        "generation": 2, "num_copied": 2, "num_deleted": 0,
    }  # fmt: skip
    assert target.read("catalog.json").body == source.read("catalog.json").body
    publish(source, make_crl(CA, 2, [7]))
    report = mirror_store(source, target)
    assert (report.generation, report.num_copied) == (3, 1)
    assert main(["mirror", source.url, target.url]) == 0
    checker = crlcheck.RevocationChecker(target)
    assert checker.check(make_client(CA, 7)).status is crlcheck.RevocationStatus.REVOKED


def test_a_mirror_copies_images_before_the_catalog() -> None:
    """
    A copy that breaks off anywhere leaves the set that was there, whole.
    """
    source = MemoryStore()
    publish(source, make_crl(CA, 1, [7]))
    target = MemoryStore()
    mirror_store(source, target)
    publish(source, make_crl(CA, 2, [7]))
    written: list[str] = []

    def before(operation: str, name: str) -> None:
        if operation == "write":
            written.append(name)
            if name == "catalog.json":
                raise StoreError("broken off")

    target.before = before
    with pytest.raises(StoreError, match="broken off"):
        mirror_store(source, target)
    assert written[-1] == "catalog.json"
    assert catalog_of(target).image_names() <= set(images_of(target))


def test_a_mirror_refuses_what_it_should(tmp_path: Path) -> None:
    """
    A damaged image, and a target that is another store's.
    """
    source, target = LocalStore(tmp_path / "a", fsync=False), MemoryStore()
    report = publish(source, make_crl(CA, 1, [7]))
    path = tmp_path / "a" / report.image_name
    octets = path.read_bytes()
    path.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    with pytest.raises(CorruptIndexError, match=f"image {report.image_name} in .*: image is corr"):
        mirror_store(source, target)
    path.write_bytes(octets)
    mirror_store(source, target)
    stranger = MemoryStore()
    publish(stranger, make_crl(OTHER_CA, 1), OTHER_CA.pem)
    with pytest.raises(StoreError, match="differs"):
        mirror_store(stranger, target)
    publish(target, make_crl(CA, 2, [7]))
    with pytest.raises(StoreError, match="went back"):
        mirror_store(source, target)


@pytest.mark.parametrize("way", ["by its name", "by a link"])
def test_a_mirror_is_another_store(way: str, tmp_path: Path) -> None:
    """
    Of a store that is copied onto itself nothing is deleted.

    A publisher may just have written what its next root will name.
    """
    store = LocalStore(tmp_path / "a", fsync=False)
    publish(store, make_crl(CA, 1, [7]))
    store.write("images/just-written.crlx", b"x")
    target = tmp_path / "a"
    if way == "by a link":
        target = tmp_path / "link"
        target.symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="expected another store than the source"):
        mirror_store(store, target)
    assert "images/just-written.crlx" in set(store.names("images/"))


def test_a_mirror_deletes_what_nobody_needs() -> None:
    """
    Images that the source has deleted, once the mirror's catalog is past them, too.
    """
    source, target = MemoryStore(), MemoryStore()
    hour = timedelta(hours=1)
    for number in range(1, 5):
        publish(source, make_crl(CA, number), now=NOW + number * 2 * hour)
        mirror_store(source, target)
    assert len(images_of(source)) == 2
    assert set(images_of(target)) == set(images_of(source))


def test_clean_up_by_command(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the grace period that is given.
    """
    LocalStore(place["store"]).write("images/orphan.crlx", b"x")
    for said in ("0 objects deleted, 1 waiting", "1 object deleted, 0 waiting"):
        assert main(["clean", place["store"], "--grace", "0s"]) == 0
        assert said in capsys.readouterr().out


# ---- export ------------------------------------------------------------------------


def test_the_samples_format(place: Place) -> None:
    """
    Hexadecimal serial numbers, as the sample looks them up with hex().
    """
    output = place["ca.cache.json"]
    assert main(["export", place["store"], "--format", "sample-json", "-o", output]) == 0
    found = json.loads(Path(output).read_text())
    assert len(found) == 20
    assert found[hex(place.world.revoked.certificate.serial_number)] == ""
    assert hex(place.world.clients["good"].certificate.serial_number) not in found


def test_the_samples_format_cannot_tell_issuers_apart(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With a second issuer, a delta or a partition it would say something wrong.
    """
    other = make_authority("Second CA")
    crlcheck.publish_crl(
        make_crl(other, this_update=NOW, next_update=NOW + DAY), place["store"], issuer=other.pem
    )
    output = place["out.json"]
    assert main(["export", place["store"], "--format", "sample-json", "-o", output]) == 4
    assert "2 CRLs published: sample-json ignores issuers" in capsys.readouterr().err
    assert not Path(output).exists()
    single = place["single"]
    crlcheck.publish_crl(place.crl("one.crl"), single, issuer=place["ca.pem"])
    delta = place.crl("delta.crl", crl_number=9, extensions=[delta_of(8)], next_update=NOW + WEEK)
    crlcheck.publish_crl(delta, single, issuer=place["ca.pem"])
    assert main(["export", single, "--format", "sample-json", "-o", output]) == 4
    assert "with a delta CRL" in capsys.readouterr().err


def test_the_samples_format_says_what_the_checker_would(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A certificate that an operator denied is in it; where another issuer's is
    denied, the CRL is stale, or its image is not the catalog's, nothing is written.
    """
    store, output = place["denying"], place["denying.json"]
    export = ["export", store, "--format", "sample-json", "-o", output]
    crlcheck.publish_crl(place.crl("one.crl"), store, issuer=place["ca.pem"])
    issuer = place.world.authority.certificate.subject.public_bytes()
    good = place.world.clients["good"].certificate.serial_number
    crlcheck.deny_certificate(store, issuer, good)
    assert main(export) == 0
    assert hex(good) in json.loads(Path(output).read_text())
    Path(output).unlink()
    other = make_authority("Root").certificate.subject.public_bytes()
    crlcheck.deny_certificate(store, other, 7)
    assert main(export) == 4
    assert "a certificate of another issuer is denied" in capsys.readouterr().err
    crlcheck.lift_denial(store, other, 7)
    first, second = Path(store, "images").iterdir(), Path(place["store"], "images").iterdir()
    image, wrong = next(first), next(second)
    right = image.read_bytes()
    image.write_bytes(wrong.read_bytes())
    assert main(export) == 4
    assert "the catalog says" in capsys.readouterr().err
    image.write_bytes(right)
    stale = place.crl("late.crl", crl_number=9, this_update=NOW - 2 * WEEK, next_update=NOW - WEEK)
    crlcheck.publish_crl(stale, place["late"], issuer=place["ca.pem"])
    assert main(["export", place["late"], *export[2:]]) == 4
    assert "the CRL has been stale since" in capsys.readouterr().err
    assert not Path(output).exists()
