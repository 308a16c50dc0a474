"""Open files by their paths, and tell a path from text and from a directory in its place."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

_LONGEST_NAME = 255  # bytes, on Linux and elsewhere


def why_no_path(text: str) -> str | None:
    """
    Return why *text* can be no path of a file, None for what can be one.

    It may be contents, such as a key, so no message should have it.
    """
    names = os.fsencode(text).split(b"/")
    if "\0" not in text and "-----BEGIN" not in text and "\n" not in text:
        if max(map(len, names)) <= _LONGEST_NAME:
            return None
        reason = "no path has a name of that length"
    else:
        reason = "no path has a NUL" if "\0" in text else "it has lines of text"
    return f"found a str of {len(text)} characters, expected the path of a file: {reason}"


def open_file(path: str | os.PathLike[str]) -> io.FileIO:
    """
    Open a file for reading, without a buffer.

    Raises:
        IsADirectoryError: it is a directory; the error says what to give instead.
        OSError: it cannot be opened.
    """
    try:
        return Path(path).open("rb", buffering=0)
    except IsADirectoryError:
        raise directory_error(path) from None


DIRECTORY = "it is a directory, which is not taken here: give the paths of the files in it"


def directory_error(path: str | os.PathLike[str]) -> IsADirectoryError:
    """Return the error for a directory in the place of a file."""
    return IsADirectoryError(errno.EISDIR, DIRECTORY, os.fspath(path))


def source_name(path: str | os.PathLike[str]) -> str:
    """
    Return the name under which a store knows a file as a source: its absolute path.

    The same file has one name from whatever directory it is given, and two files of one name
    in different directories have two. Links are not followed, because a link may lead to
    another file at every publication.
    """
    return os.path.abspath(path)  # noqa: PTH100 - without following links
