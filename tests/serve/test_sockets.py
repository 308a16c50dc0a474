"""
The Unix socket of the service: whom it admits, and that nobody can take its place.
"""

from __future__ import annotations

import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from crlcheck.serve.settings import Bind
from crlcheck.serve.sockets import listening


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_only_the_owner_and_the_group_may_connect(tmp_path: Path) -> None:
    """
    Whatever the umask. The directory is made for it, and both are removed again.
    """
    path = tmp_path / "own" / "crlcheck.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    before = os.umask(0)
    try:
        with listening(Bind(path=str(path)), group, {}) as listener:
            assert mode(path) == 0o660
            assert mode(path.parent) == 0o750
            assert path.stat().st_gid == os.getgid()
            assert listener.place == f"unix:{path}"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                assert listener.has_waiting()
    finally:
        os.umask(before)
    assert not path.parent.exists()


def test_a_directory_that_was_there_stays(tmp_path: Path) -> None:
    """
    With what else is in it.
    """
    path = tmp_path / "crlcheck.sock"
    (tmp_path / "other").touch()
    with listening(Bind(path=str(path)), None, {}):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("permissions", [0o777, 0o1777, 0o757, 0o770, 0o720])
def test_a_directory_where_others_write_is_refused(tmp_path: Path, permissions: int) -> None:
    """
    They could put a socket of their own there, which lets everybody pass.
    """
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(permissions)
    with (
        pytest.raises(ValueError, match="others may write to"),
        listening(Bind(path=f"{directory}/s.sock"), None, {}),
    ):
        pass
    assert not list(directory.iterdir())


def test_what_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    """
    But not a socket on which somebody listens, nor anything else of that name.
    """
    path = tmp_path / "crlcheck.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    bind = Bind(path=str(path))
    with listening(bind, None, {}) as listener:
        with (
            pytest.raises(FileExistsError, match="another service listens"),
            listening(bind, None, {}),
        ):
            pass
        assert path.exists()
        listener.withdraw()
        assert not path.exists()
        # Somebody else's is not removed at the end.
        path.write_text("mine")
    assert path.read_text() == "mine"
    with pytest.raises(FileExistsError, match="something else"), listening(bind, None, {}):
        pass
    assert path.read_text() == "mine"


def test_a_symbolic_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """
    Nor is what it leads to removed.
    """
    path, other = tmp_path / "crlcheck.sock", tmp_path / "other"
    other.touch()
    path.symlink_to(other)
    with pytest.raises(FileExistsError), listening(Bind(path=str(path)), None, {}):
        pass
    assert other.exists()


def test_only_the_last_directory_is_made_for_a_socket(tmp_path: Path) -> None:
    """
    The message says which one is missing.
    """
    bind = Bind(path=str(tmp_path / "missing" / "own" / "s.sock"))
    with (
        pytest.raises(FileNotFoundError, match="missing: no such directory: make it first"),
        listening(bind, None, {}),
    ):
        pass


def test_a_port_that_is_taken_is_an_error() -> None:
    """
    It is not shared with whoever has it.
    """
    with listening(Bind(host="127.0.0.1"), None, {}) as listener:
        port = listener.opened.getsockname()[1]
        assert listener.place == f"http://127.0.0.1:{port}"
        with (
            pytest.raises(OSError, match=f"in use: 127.0.0.1:{port}"),
            listening(Bind(host="127.0.0.1", port=port), None, {}),
        ):
            pass
