"""A file has one name as a source, from whatever directory it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crlcheck import read_rejections
from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from crlcheck.stores import LocalStore
from support.pki import make_crl
from support.publishing import CA, OTHER_CA


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a CRL, an empty file and the issuers."""
    folder = tmp_path.resolve()
    (folder / "below").mkdir()
    (folder / "ca.pem").write_bytes(CA.pem + OTHER_CA.pem)
    (folder / "below" / "ca.crl").write_bytes(make_crl(CA, 3))
    monkeypatch.chdir(folder)
    return folder


def publish(path: str, issuer: str = "ca.pem", store: str = "store") -> int:
    """Publish by the command."""
    return main(["publish", path, "--issuer", issuer, "--to", store])


def sources(store: str = "store") -> list[str]:
    """The sources of which a CRL is refused."""
    return [one.source for one in read_rejections(store)]


def test_a_file_that_is_given_in_another_way_is_the_same_source(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its refusal is removed by its next CRL, however its path is written.
    """
    good, crl = (folder / "below" / "ca.crl").read_bytes(), folder / "below" / "ca.crl"
    for path, directory in (
        ("below/ca.crl", "."),
        ("./below/../below/ca.crl", "."),
        ("ca.crl", "below"),
        ("below", "."),
        (str(crl), "/"),
    ):
        monkeypatch.chdir(folder)
        crl.write_bytes(b"no CRL")
        assert publish("below/ca.crl") == 4
        assert sources() == [str(crl)]
        crl.write_bytes(good)
        monkeypatch.chdir(folder / directory)
        assert publish(path, str(folder / "ca.pem"), str(folder / "store")) == 0
        assert sources(str(folder / "store")) == []


def test_files_of_one_name_in_two_directories_are_two_sources(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The good CRL of one does not remove the refusal of the other.
    """
    for name, content in (("a", b"no CRL"), ("b", make_crl(OTHER_CA, 1))):
        (folder / name).mkdir()
        monkeypatch.chdir(folder / name)
        Path("ca.crl").write_bytes(content)
        assert publish("ca.crl", "../ca.pem", "../store") == (4 if name == "a" else 0)
    assert sources("../store") == [str(folder / "a" / "ca.crl")]


def test_a_link_to_a_file_is_a_source_of_its_own(folder: Path) -> None:
    """
    It may lead to another file the next time, which is the next CRL of the same source.
    """
    (folder / "bad").write_bytes(b"no CRL")
    link = folder / "current.crl"
    link.symlink_to("bad")
    assert publish("current.crl") == 4
    assert sources() == [str(link)]
    link.unlink()
    link.symlink_to("below/ca.crl")
    assert publish("current.crl") == 0
    assert sources() == []


def test_the_catalog_has_the_absolute_paths(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Of the CRL and of the issuers, and what is printed has the path that was typed.
    """
    capsys.readouterr()
    assert main(["publish", "below/ca.crl", "--issuer", "ca.pem", "--to", "store", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "below/ca.crl"
    catalog = read_set(LocalStore("store"))[0].everything()
    (record,) = catalog.scopes.values()
    assert record.source == str(folder / "below" / "ca.crl")
    assert {one.added_by for one in catalog.issuers} == {str(folder / "ca.pem")}


def test_restored_crls_have_absolute_paths(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    As published ones; a refused one is named as it was typed.
    """
    assert publish("below/ca.crl") == 0
    (folder / "below" / "bad").write_bytes(b"no CRL")
    capsys.readouterr()
    assert main(["restore", "store", "--from", "below", "--json"]) == 4
    (refused,) = json.loads(capsys.readouterr().out)["refused"]
    assert refused["source"] == "below/bad"
    (record,) = read_set(LocalStore("store"))[0].everything().scopes.values()
    assert record.source == str(folder / "below" / "ca.crl")
