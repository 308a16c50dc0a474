"""The command that verifies a store and repairs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import crlcheck
from crlcheck.cli import main
from support.pki import NOW, make_authority, make_crl
from support.publishing import CA


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, its mirror and its CRL."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    (tmp_path / "ca.crl").write_bytes(make_crl(CA, 1, [7], next_update=None))
    command = ["publish", "ca.crl", "--issuer", "ca.pem", "--to", "store", "-q"]
    assert main([*command, "--allow-no-next-update"]) == 0
    assert main(["mirror", "store", "copy", "-q"]) == 0
    return tmp_path


def image_of(place: Path) -> Path:
    """The file of the only image."""
    (image,) = (place / "store" / "images").iterdir()
    return image


def test_damage_is_named_and_repaired(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Status 4 while something is wrong, 0 once it is repaired, by a CRL or by a mirror.
    """
    image = image_of(place)
    assert main(["verify", "store"]) == 0
    assert "all is right" in capsys.readouterr().out
    for source in ("ca.crl", "copy"):
        whole = image.read_bytes()
        image.write_bytes(whole[:-1])
        assert main(["verify", "store"]) == 4
        out, err = capsys.readouterr()
        assert "1 fault left" in out
        assert f"images/{image.name} is damaged: expected" in err
        assert "--repair-from" in err
        assert main(["verify", "store", "--repair-from", source]) == 0
        out, err = capsys.readouterr()
        assert (err, "damaged: repaired from " in out) == ("", True)
        assert image.read_bytes() == whole


def test_the_document(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each fault is a member with its attributes.
    """
    image_of(place).unlink()
    assert main(["verify", "store", "--json"]) == 4
    out, err = capsys.readouterr()
    document = json.loads(out)
    (fault,) = document["faults"]
    assert (err, document["is_whole"], document["num_faults"]) == ("", False, 1)
    assert (fault["found"], fault["repaired_from"], len(fault["scopes"])) == ("missing", None, 1)
    assert main(["verify", "nothing", "--json"]) == 4
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert (fault["name"], fault["found"]) == ("catalog.json", "missing")


def test_an_old_root_that_hides_one_generation(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing proves it, so it is a warning; the record is not called harmless.
    """
    old = (place / "store" / "catalog.json").read_bytes()
    assert main(["grace", "add", "store", "--for", "1h"]) == 0
    (place / "store" / "catalog.json").write_bytes(old)
    capsys.readouterr()
    assert main(["verify", "store"]) == 0
    out, err = capsys.readouterr()
    assert "old root back" in err
    assert "--from @2" in err
    assert "harmless" not in out
    assert "all is right" not in out
    assert main(["restore", "store", "--from", "@2"]) == 0
    capsys.readouterr()
    assert main(["verify", "store"]) == 0
    out, err = capsys.readouterr()
    assert (err, "all is right" in out) == ("", True)


def test_a_mirror_says_what_it_did_not_read(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A second copy of the same generation reads nothing, and names the command that does.
    """
    (image,) = (place / "copy" / "images").iterdir()
    image.write_bytes(b"damaged")
    assert main(["mirror", "store", "copy"]) == 0
    said = capsys.readouterr().out
    assert "0 images copied" in said
    command = said.splitlines()[-1].partition("crlcheck ")[2].partition(" does that")[0]
    assert command == "verify copy --repair-from store"
    assert main(command.split()) == 0
    assert image.read_bytes() == image_of(place).read_bytes()


def test_of_many_scopes_in_a_damaged_shard_a_line_names_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And says how many there are besides; the document has all.
    """
    store, copy = str(tmp_path / "store"), str(tmp_path / "copy")
    for number in range(5):
        authority = make_authority(f"CA {number}")
        crlcheck.publish_crl(make_crl(authority, 1), store, issuer=authority.pem, now=NOW)
    assert main(["mirror", store, copy, "-q"]) == 0
    top = json.loads((tmp_path / "store" / "catalog.json").read_bytes())["top"][0]
    (tmp_path / "store" / top).write_bytes(b"{}")
    assert main(["verify", store]) == 4
    assert " and 2 more)" in capsys.readouterr().err
    assert main(["verify", store, "--json"]) == 4
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert len(fault["scopes"]) == 5
