"""Text in the place of a path is refused without being repeated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crlcheck.compiler.compile import compile_unverified_crl
from crlcheck.encoding.paths import why_no_path
from crlcheck.errors import CorruptIndexError, CrlCheckError, MalformedCrlError
from crlcheck.image.index import open_index
from crlcheck.x509.certificates import load_certificate

SECRET = "MC4CAQAwBQYDK2VwBCIEIA"
TEXTS = [
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n",
    f"-----BEGIN PRIVATE KEY-----{SECRET}-----END PRIVATE KEY-----",
    SECRET * 300,
    f"a/{SECRET * 20}/b",
    f"{SECRET}\0",
    f"{SECRET}\n{SECRET}",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("read", [compile_unverified_crl, open_index, load_certificate])
def test_text_is_no_path(read: Callable[[str], object], text: str) -> None:
    """
    Every reader raises an error of crlcheck that does not have the text.
    """
    with pytest.raises(CrlCheckError) as caught:
        read(text)
    assert isinstance(caught.value, MalformedCrlError | CorruptIndexError) == (
        read is not load_certificate
    )
    assert SECRET not in str(caught.value)
    assert all(SECRET not in str(value) for value in caught.value.as_dict().values())
    assert (
        caught.value.__suppress_context__
        or caught.value.__context__ is None
        or (SECRET not in str(caught.value.__context__))
    )


@pytest.mark.parametrize("path", ["", ".", "ca.crl", "/" + "a" * 255, "a/b c/ü", "\udcff"])
def test_paths_are_paths(path: str) -> None:
    """
    Whatever the system could have as a name.
    """
    assert why_no_path(path) is None


@pytest.mark.parametrize("read", [compile_unverified_crl, open_index])
def test_a_path_that_is_not_there_stays_the_systems_error(read: Callable[[str], object]) -> None:
    """
    With the path in it.
    """
    with pytest.raises(FileNotFoundError, match=r"nowhere/ca\.crl"):
        read("nowhere/ca.crl")
