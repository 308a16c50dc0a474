"""The recording of the demo: how it is made, and what the documentation's site makes of it."""

from __future__ import annotations

import json
import re
import sys

import pytest

from support.scripts import ROOT, script

PROGRAM = r"""
import os, sys
print(os.get_terminal_size(1).columns, sys.stdin.read() == "")
print("\x1b[2mdimmed\x1b[0m \u251c", flush=True)
sys.exit(int(sys.argv[1]))
"""


def test_a_recording_is_what_a_terminal_gets() -> None:
    """
    The terminal has one size on every machine, and each piece comes after the one before.
    """
    recorder = script("docs/record_demo.py")
    cast = recorder.record([sys.executable, "-c", PROGRAM, "0"], "program")
    head, *events = map(json.loads, cast.splitlines())
    assert (head["version"], head["width"], head["title"]) == (2, recorder.WIDTH, "program")
    text = "".join(text for _, _, text in events)
    expected = f"$ program\r\n{recorder.WIDTH} True\r\n\x1b[2mdimmed\x1b[0m \u251c\r\n"
    assert text == expected
    times = [at for at, _, _ in events]
    assert times[0] == 0
    assert times == sorted(times)
    assert {kind for _, kind, _ in events} == {"o"}


@pytest.mark.parametrize("program", [PROGRAM, "import sys; print('oh', file=sys.stderr)"])
def test_a_command_that_fails_is_not_recorded(program: str) -> None:
    """
    Nor one that complains.
    """
    with pytest.raises(RuntimeError, match="program: exit status"):
        script("docs/record_demo.py").record([sys.executable, "-c", program, "3"], "program")


def cast_of(*texts: str) -> str:
    """An asciicast with these pieces, a second after each other."""
    lines = [{"version": 2}, *([number, "o", text] for number, text in enumerate(texts))]
    return "\n".join(map(json.dumps, lines))


def test_the_site_shows_all_of_the_text() -> None:
    """
    With each piece's time and looks, which last until they are taken back.
    """
    found = script("docs/make_site.py").recording(
        cast_of("a <b>\r\n", "\x1b[2mdim\r\n", "still\x1b[0m \x1b[1;31mred\x1b[0m\r\n")
    )
    assert found == (
        '<div class="recording"><pre tabindex="0">'
        '<span data-at="0">a &lt;b&gt;\n</span>'
        '<span data-at="1"><span class="dim">dim\n</span></span>'
        '<span data-at="2"><span class="dim">still</span> '
        '<span class="bold red">red</span>\n</span>'
        "</pre></div>"
    )


@pytest.mark.parametrize("text", ["\x1b[2Kagain", "back\r", "\x07", "\x1b[48m"])
def test_the_site_shows_nothing_but_text(text: str) -> None:
    """
    What moves the cursor would need a terminal.
    """
    with pytest.raises(ValueError, match="expected text"):
        script("docs/make_site.py").recording(cast_of(text))


def test_every_look_of_the_recording_has_a_style() -> None:
    """
    As the site's style sheet names it.
    """
    cast = (ROOT / "docs" / "site" / "demo.cast").read_text("utf-8")
    shown = script("docs/make_site.py").recording(cast)
    styles = (ROOT / "docs" / "site" / "site.css").read_text("utf-8")
    looks = set(" ".join(re.findall(r'class="([^"]*)"', shown)).split()) - {"recording"}
    assert looks >= {"dim", "green"}
    assert [look for look in looks if f".recording .{look} " not in styles] == []
