"""``crlcheck publish`` with many CRLs: what it tells, and what it leaves where it is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from crlcheck.cli.publish import _Results
from crlcheck.publisher.publish_many import publish_many
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore
from support.pki import NOW, make_authority, make_crl

NUM_CRLS = 90
LATER = NOW.replace(year=NOW.year + 50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of CRLs of as many CAs, one that is refused, and what is no CRL."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "crls").mkdir()
    (folder / "issuers").mkdir()
    for number in range(NUM_CRLS):
        authority = make_authority(f"CA {number}")
        (folder / "issuers" / f"{number}.pem").write_bytes(authority.pem)
        (folder / "crls" / f"{number:03}.crl").write_bytes(
            make_crl(authority, 1, [number + 1], next_update=LATER)
        )
    stranger = make_crl(make_authority("Stranger"), 1, next_update=LATER)
    (folder / "crls" / "stranger.crl").write_bytes(stranger)
    (folder / "crls" / "note.pem").write_bytes(make_authority("Beside").pem)
    return folder


def arguments_of(folder: Path, store: Path) -> list[str]:
    """The arguments that publish all of it."""
    issuers = ["--issuers", str(folder / "issuers")]
    return ["publish", str(folder / "crls"), *issuers, "--to", str(store), "--jobs", "2"]


def test_many_are_published_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One generation has them all. The one that is refused is named, the certificate beside
    them too, and a table counts the rest.
    """
    store = tmp_path / "store"
    assert main(arguments_of(folder, store)) == 4
    out, err = capsys.readouterr()
    assert f"published │   {NUM_CRLS}" in out
    assert f"{store}: generation 1, " in out
    assert len(out.splitlines()) < 10
    assert f"{folder / 'crls' / 'note.pem'}: not read: it is a certificate" in err
    assert f"crlcheck: {folder / 'crls' / 'stranger.crl'}: " in err
    assert "no issuer certificate has that name" in err
    published = read_set(LocalStore(store))[0]
    assert (published.generation, published.root.num_scopes) == (1, NUM_CRLS)


def test_failures_in_the_same_words_are_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Of many that fail alike five have a line each, and one line names all others.
    """
    authority = make_authority("CA")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "crls").mkdir()
    crl = make_crl(make_authority("Stranger"), 1, next_update=LATER)
    for number in range(12):
        (tmp_path / "crls" / f"{number:02}.crl").write_bytes(crl)
    command = ["publish", str(tmp_path / "crls"), "--issuer", str(tmp_path / "ca.pem")]
    command += ["--to", str(tmp_path / "store")]
    assert main(command) == 4
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert "7 more CRLs failed like these" in lines[-1]
    for number in range(12):
        (named,) = [line for line in lines if f"{number:02}.crl" in line]
        assert "no issuer certificate has that name" in named
    assert main([*command, "--json"]) == 4
    assert len(json.loads(capsys.readouterr().out)["crls"]) == 12


def test_of_many_alike_failures_a_line_names_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And says how many there are besides.
    """
    (tmp_path / "ca.pem").write_bytes(make_authority("CA").pem)
    (tmp_path / "crls").mkdir()
    crl = make_crl(make_authority("Stranger"), 1, next_update=LATER)
    for number in range(30):
        (tmp_path / "crls" / f"{number:02}.crl").write_bytes(crl)
    command = ["publish", str(tmp_path / "crls"), "--issuer", str(tmp_path / "ca.pem")]
    assert main([*command, "--to", str(tmp_path / "store")]) == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert "25 more CRLs failed like these" in last
    assert last.endswith(" and 5 more")
    assert last.count(".crl") == 20


def test_the_document_has_the_order_of_the_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever was ready first.
    """
    assert main([*arguments_of(folder, tmp_path / "store"), "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert (document["num_published"], document["num_refused"]) == (NUM_CRLS, 1)
    assert (document["generation"], document["exit_status"]) == (1, 4)
    sources = [one["source"] for one in document["crls"]]
    assert sources == sorted(sources)
    assert len(sources) == NUM_CRLS + 1


def test_ctrl_c_says_how_many_are_published(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The swap under way counts too, and the set is whole.
    """
    store = tmp_path / "store"
    told: list[str] = []
    note = _Results.note

    def interrupted(results: _Results, *result: Any) -> None:
        note(results, *result)
        told.append("")
        if len(told) == 5:
            raise KeyboardInterrupt

    # The first group is told from the second on: the rest of it counts too.
    monkeypatch.setattr(_Results, "note", interrupted)
    monkeypatch.setitem(publish_many.__kwdefaults__ or {}, "max_group", 30)
    assert main(arguments_of(folder, store)) == 130
    err = capsys.readouterr().err
    published = read_set(LocalStore(store))[0]
    num_published = published.root.num_scopes
    assert num_published in (30, 60, NUM_CRLS)
    (line,) = [line for line in err.splitlines() if "interrupted" in line]
    assert f"interrupted: {num_published} CRLs of {NUM_CRLS + 1} files published" in line
    assert f"generation {published.generation}; what is published is whole" in line
    assert verify_store(LocalStore(store)).num_faults == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_a_whole_set(
    folder: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """
    Whenever it is ended: every image that the set names is there, the next run publishes the
    rest, and no process and no temporary file is left.
    """
    store, temporary = tmp_path / "store", tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "crlcheck", *arguments_of(folder, store)]
    for milliseconds in (300, 700, 1100, 1500):
        run = subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(milliseconds / 1000)
        run.send_signal(how)
        run.wait()
        if (store / "catalog.json").exists():
            assert verify_store(LocalStore(store)).num_faults == 0
        deadline = time.monotonic() + 30
        while any(temporary.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)  # the processes of a run that was killed remove its files
        assert not any(temporary.iterdir())
    assert main([*arguments_of(folder, store), "-q"]) == 4
    assert read_set(LocalStore(store))[0].root.num_scopes == NUM_CRLS


def test_what_is_published_already_has_no_image_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Its line names the image in use, and has no size of one that nobody wrote. Beside a newer
    CRL of its scope an older one has none either.
    """
    authority = make_authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    for number in (1, 2):
        crl = make_crl(authority, number, [number], next_update=LATER)
        (tmp_path / f"{number}.crl").write_bytes(crl)
    first, second = (str(tmp_path / f"{number}.crl") for number in (1, 2))
    options = ["--issuer", str(tmp_path / "ca.pem"), "--to", str(tmp_path / "store")]
    assert main(["publish", first, *options]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    image, _, written = last.partition(": ")
    assert "bytes (the CRL as DER:" in written
    assert main(["publish", first, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == (f"1 entry of CRL 1 of CN=Example CA: no new image; in use is {image}")
    assert main(["publish", second, *options]) == 0
    image = capsys.readouterr().out.splitlines()[-1].partition(": ")[0]
    assert main(["publish", first, second, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    for number in (1, 2):
        assert f"1 entry of CRL {number} of CN=Example CA: no new image; in use is {image}" in lines
