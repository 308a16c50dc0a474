"""
Extract the declarations that cffi reads from the headers.

The text between a header's two cdef marks is copied as it stands, so that
header and Python binding cannot drift apart. Run by CMake:
``make_cdef.py OUTPUT HEADER...``.
"""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN = "// cdef: begin"
END = "// cdef: end"


def extract_cdef(header: str) -> str:
    """
    Return the text between the two marks of *header*.

    Raises:
        ValueError: if the marks are not there exactly once, in order.
    """
    lines = header.splitlines()
    if lines.count(BEGIN) != 1 or lines.count(END) != 1:
        raise ValueError(f"expected exactly one {BEGIN!r} line and one {END!r} line")
    first, last = lines.index(BEGIN), lines.index(END)
    if last < first:
        raise ValueError(f"{END!r} comes before {BEGIN!r}")
    return "\n".join(lines[first + 1 : last]) + "\n"


def main() -> None:
    """Write the declarations of the headers to the file named first."""
    output, *headers = map(Path, sys.argv[1:])
    cdef = "".join(extract_cdef(header.read_text(encoding="utf-8")) for header in headers)
    output.write_text(cdef, encoding="utf-8")


if __name__ == "__main__":
    main()
