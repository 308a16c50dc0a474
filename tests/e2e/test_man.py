"""Man pages as mandoc and groff render them: ``make e2e`` installs both."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from crlcheck.cli.command import Command, command
from crlcheck.cli.root import root

ROOT = Path(__file__).parents[2]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES"]


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context and that of each command below."""
    yield context
    if isinstance(context.command, click.Group):
        for name, below in context.command.commands.items():
            yield from contexts(click.Context(below, info_name=name, parent=context))


CONTEXTS = list(
    contexts(click.Context(root, info_name="crlcheck", help_option_names=["-h", "--help"]))
)


def by_mandoc(page: Path) -> str:
    """Return the page's text as mandoc renders it, which must find nothing to warn of."""
    return _rendered(["mandoc", "-T", "utf8", "-W", "warning", "-O", "width=500", str(page)])


def by_groff(page: Path) -> str:
    """Return the page's text as groff renders it, which must find nothing to warn of."""
    return _rendered(
        ["groff", "-man", "-T", "utf8", "-K", "utf8", "-ww", "-P-c", "-rLL=2000n", str(page)]
    )


def _rendered(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    text = re.sub(".\b", "", done.stdout)  # bold is overstruck
    assert "\x1b" not in text
    return text


def sections(text: str) -> dict[str, str]:
    """Return the text of each section, each run of spaces as one."""
    footer = text.rstrip().rpartition("\n")[2]
    parts = re.split(r"^([A-Z][A-Z ]+)$", text.rstrip().removesuffix(footer), flags=re.MULTILINE)
    return {
        title: re.sub(r"[ \n]+", " ", content).strip()
        for title, content in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the script of ``make man`` has written every page."""
    directory = tmp_path_factory.mktemp("man")
    made = subprocess.run(
        [sys.executable, "-P", str(ROOT / "docs" / "make_man.py"), str(directory)], check=False
    )
    assert made.returncode == 0
    return directory


def test_each_command_has_a_page_and_nothing_else_has(pages: Path) -> None:
    """
    Groups and the command itself have one too.
    """
    expected = {context.command_path.replace(" ", "-") + ".1" for context in CONTEXTS}
    assert {path.name for path in pages.iterdir()} == expected


@pytest.mark.parametrize("render", [by_mandoc, by_groff])
@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_a_page_says_what_the_help_says(
    pages: Path, context: click.Context, render: Callable[[Path], str]
) -> None:
    """
    Options with those that every command has, exit statuses, and examples that can be
    copied: a hyphen is a hyphen, a quotation mark one of ASCII.
    """
    made = context.command
    assert isinstance(made, Command)
    name = context.command_path.replace(" ", "-")
    text = render(pages / f"{name}.1")
    found = sections(text)
    assert [title for title in found if title in SECTIONS] == SECTIONS
    assert found["NAME"].startswith(f"{name} - ")
    assert found["SYNOPSIS"] == made.get_usage(context).removeprefix("Usage: ").replace(
        "\n", " "
    ).replace("  ", "")
    assert found["DESCRIPTION"] == " ".join((made.help or "").split())
    options = [one for one in made.get_params(context) if isinstance(one, click.Option)]
    assert {"--json", "--quiet", "--help"} <= {name for one in options for name in one.opts}
    for option in options:
        record = option.get_help_record(context)
        assert record is not None
        assert " ".join(" ".join(record).split()) in found["OPTIONS"]
    statuses = " ".join(f"{status} {meaning}" for status, meaning in made.exit_statuses.items())
    assert found["EXIT STATUS"] == statuses
    assert found["EXAMPLES"] == " ".join(made.examples)
    assert set(made.examples) <= {line.strip() for line in text.splitlines()}
    if isinstance(made, click.Group):
        for below in made.commands:
            assert f"{below} " in found["COMMANDS"]
            assert f"{name}-{below}(1)" in found["SEE ALSO"]


@pytest.mark.parametrize("render", [by_mandoc, by_groff])
def test_what_roff_would_take_for_its_own_is_shown(
    tmp_path: Path, render: Callable[[Path], str]
) -> None:
    """
    Dots and apostrophes that begin a line, backslashes, hyphens, quotation marks, tildes.
    """
    example = r"""'x' "a\b" `c` ~/d --e ^f \fBg\fP"""

    @command("odd", examples=[example, ".h"], exit_statuses={0: ".br", 2: "'ft \\n(.l"})
    @click.option("--dots", metavar="...", help="\\*[x] of 'y'")
    def odd() -> None:
        """Take it.

        .TH begins this line
        'tis this one's turn: \\ and \\(co
        """

    page = tmp_path / "odd.1"
    page.write_text(_page(odd), encoding="utf-8")
    text = render(page)
    found = sections(text)
    assert example in [line.strip() for line in text.splitlines()]
    assert found["EXAMPLES"] == f"{example} .h"
    assert found["EXIT STATUS"] == "0 .br 2 'ft \\n(.l"
    assert "--dots ... \\*[x] of 'y'" in found["OPTIONS"]
    wanted = r"Take it. .TH begins this line 'tis this one's turn: \ and \(co"
    assert found["DESCRIPTION"] == wanted


def _page(made: click.Command) -> str:
    script = runpy.run_path(str(ROOT / "docs" / "make_man.py"))
    page: str = script["man_page"](click.Context(made, info_name="odd"))
    return page
