"""Completion by the shells that are not on every machine: ``make e2e`` installs them."""

from __future__ import annotations

import pytest

from support.command_line import Place, make_place
from support.shells import completed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The demo's files, an image and a store."""
    return make_place(tmp_path_factory.mktemp("completion"))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("crlcheck publ", "publish"),
        ("crlcheck check sto", "store/"),
        ("crlcheck deny ", "remove"),
        ("crlcheck completion z", "zsh"),
    ],
)
def test_shells_complete(place: Place, shell: str, words: str, expected: str) -> None:
    """
    By the line that the help shows.
    """
    assert expected in completed(shell, words, expected, place.path)
