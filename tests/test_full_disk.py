"""What cannot be written is named, wherever something is written."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crlcheck.cli import main
from crlcheck.compiler.compile import compile_to_temporary, compile_unverified_crl
from crlcheck.demo.world import make_world
from crlcheck.errors import naming
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore
from support.pki import NOW, make_authority, make_crl

AUTHORITY = make_authority()
CRL = make_crl(AUTHORITY, 1, range(1, 1 << 60, (1 << 60) // 9000))
SMALL = 4096


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """Let the system refuse to write more than a page to any file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _write(directory: Path) -> object:
    return LocalStore(directory).write("images/new", bytes(10 * SMALL))


def _write_file(directory: Path) -> object:
    return LocalStore(directory).write("images/new", directory / "large")


def _compile(directory: Path) -> object:
    return compile_unverified_crl(CRL, directory / "out.crlx")


def _compile_for_publication(directory: Path) -> object:
    return compile_to_temporary(CRL, issuer=AUTHORITY.der, directory=directory)


def _mirror(directory: Path) -> object:
    return mirror_store(directory / "source", directory / "copy")


WRITERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "an object": (_write, "images/new"),
    "an object from a file": (_write_file, "images/new"),
    "compile": (_compile, "out.crlx"),
    "compile for a publication": (_compile_for_publication, "crlcheck."),
    "mirror": (_mirror, "copy/images/"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_that_fails_names_its_file(writer: str, tmp_path: Path) -> None:
    """
    The system names no file then; and nothing half written is left.
    """
    publish_crl(CRL, tmp_path / "source", issuer=AUTHORITY.der, now=NOW)
    (tmp_path / "large").write_bytes(bytes(10 * SMALL))
    before = {path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size}
    write, name = WRITERS[writer]
    with pytest.raises(OSError, match="File too large") as caught, small_files():
        write(tmp_path)
    assert caught.value.errno == errno.EFBIG
    assert str(caught.value.filename).startswith(f"{tmp_path}/{name}")
    assert {
        path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size
    } == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("writer", ["an object", "compile"])
def test_a_sync_that_fails_names_its_file(
    writer: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Some file systems find out late that there is no room.
    """

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    write, name = WRITERS[writer]
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write(tmp_path)
    assert str(caught.value.filename) == f"{tmp_path}/{name}"


def test_the_commands_name_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    In one line, with exit status 4.
    """
    publish_crl(CRL, tmp_path / "store", issuer=AUTHORITY.der, now=NOW)
    (tmp_path / "ca.crl").write_bytes(CRL)
    (tmp_path / "ca.der").write_bytes(AUTHORITY.der)
    issuer = ["--issuer", f"{tmp_path}/ca.der"]
    for arguments, name in (
        (["compile", f"{tmp_path}/ca.crl", "-o", f"{tmp_path}/out", *issuer], f"{tmp_path}/out"),
        (["mirror", f"{tmp_path}/store", f"{tmp_path}/copy"], f"{tmp_path}/copy/images/"),
    ):
        with small_files():
            assert main(arguments) == 4
        said = capsys.readouterr().err
        assert said.startswith(f"crlcheck: {name}")
        assert said.endswith(": File too large\n")


def test_what_has_a_name_keeps_it() -> None:
    """
    The system's own name is the more exact one, and an error that is no system's gets none.
    """
    with pytest.raises(FileNotFoundError) as caught, naming("other"):
        Path("/nowhere/at/all").read_bytes()
    assert caught.value.filename == "/nowhere/at/all"
    with pytest.raises(OSError, match="^standard input is closed$"), naming("other"):
        raise OSError("standard input is closed")


def test_an_export_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The file of the last export goes on serving, and no other is left beside it.
    """
    world = make_world(1000, now=datetime.now(UTC))
    publish_crl(world.crl, tmp_path / "store", issuer=world.authority.der)
    output = tmp_path / "out" / "cache.json"
    output.parent.mkdir()
    output.write_text("{}")
    export = ["export", str(tmp_path / "store"), "--format", "sample-json", "-o", str(output)]
    with small_files():
        assert main(export) == 4
    assert str(output) in capsys.readouterr().err
    assert [path.name for path in output.parent.iterdir()] == ["cache.json"]
    assert output.read_text() == "{}"
    assert main(export) == 0
    assert len(output.read_text()) > SMALL
