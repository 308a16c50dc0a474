"""Tell a path from text that was given in its place, without repeating the text."""

from __future__ import annotations

import os

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
