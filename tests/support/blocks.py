"""
The fenced blocks of the documents, and which test answers for each.

A test takes the blocks that it runs, parses or compares by :func:`blocks`, and so claims them.
``tests/project/test_blocks.py`` reads these calls in the files of the tests, and fails for a
block that none of them claims.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.documents import ROOT, document

TESTS = ROOT / "tests"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the heading above it, its language, its text as Markdown has it."""

    path: Path
    line: int
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        """The place of the block, for a message."""
        language = self.language or "no language"
        return f"{self.path.relative_to(ROOT)}:{self.line} ({language}, below {self.heading!r})"


def all_blocks(path: Path) -> list[Block]:
    """All fenced blocks of a file, in order."""
    found: list[Block] = []
    heading, indentation, fence, language, start = "", "", "", "", 0
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        mark = re.match(r"( *)(`{3,}|~{3,})(.*)", line)
        if not fence and mark is not None:
            indentation, fence, language = mark.groups()
            start = number
        elif fence and mark is not None and mark[2] == fence and not mark[3]:
            # In a list the block is indented; that is not of its text.
            inside = (one.removeprefix(indentation) for one in lines[start + 1 : number])
            text = "".join(f"{one}\n" for one in inside)
            found.append(Block(path, start + 1, heading, language, text))
            fence = ""
        elif not fence and line.startswith("#"):
            heading = line
    assert not fence, f"{path}:{start + 1}: a block without an end"
    return found


def blocks(page: str, heading: str | None = None, *, language: str | None = None) -> list[Block]:
    """
    The blocks of a page, of those below one heading only, of those in one language only.

    The arguments are written out where a test calls this, so that the call can be read. A page
    is one at the top of the repository, or the one of that name in docs. There is always a block.
    """
    at_top = ROOT / page
    found = [
        one
        for one in all_blocks(at_top if at_top.exists() else document(page))
        if heading in (None, one.heading) and language in (None, one.language)
    ]
    assert found, f"{page} has no such block below {heading!r}"
    return found


@functools.cache
def claimed_blocks() -> frozenset[Block]:
    """The blocks that the tests take, by the calls in their files."""
    found: set[Block] = set()
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "from support.blocks import" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "blocks":
                positional: list[Any] = [ast.literal_eval(one) for one in node.args]
                named = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords}
                found.update(blocks(*positional, **named))
    return frozenset(found)


def as_page(taken: Sequence[Block]) -> str:
    """Console blocks as a page of their own, each at its line, for what runs a whole page."""
    lines: list[str] = []
    for one in taken:
        assert one.language == "console", one
        lines += [""] * (one.line - 1 - len(lines))
        lines += ["```console", *one.text.splitlines(), "```"]
    return "\n".join([*lines, ""])
