"""
``crlcheck completion``: print the line that makes a shell complete crlcheck's words.

The shell then runs ``crlcheck`` with a variable set at each press of the key. Names in a
store are completed from directories only, and for no longer than two seconds: nobody
waits for a server because he pressed a key.
"""

from __future__ import annotations

import signal

import click
from click.shell_completion import get_completion_class, shell_complete

from crlcheck.cli.command import command
from crlcheck.cli.text import answer, say

VARIABLE = "_CRLCHECK_COMPLETE"
"""The variable by which a shell asks for completions."""

_SHELLS = ("bash", "zsh", "fish")
_SECONDS = 2


@command("completion", examples=["crlcheck completion fish"])
@click.argument("shell", type=click.Choice(_SHELLS))
def completion_command(shell: str) -> int:
    """
    Print the script that makes SHELL complete commands, options and names.

    In ~/.bashrc or ~/.zshrc: eval "$(crlcheck completion bash)", or zsh. For fish:
    crlcheck completion fish > ~/.config/fish/completions/crlcheck.fish.
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows the three shells"
    script = made(click.Command("crlcheck"), {}, "crlcheck", VARIABLE).source()
    for line in script.rstrip("\n").split("\n"):
        say(line)
    answer({"shell": shell, "script": script})
    return 0


def complete(root: click.Command, instruction: str) -> int:
    """Print the completions that a shell asks for; return the exit status."""
    signal.alarm(_SECONDS)  # a directory may be on a server that does not answer
    try:
        return shell_complete(root, {}, "crlcheck", VARIABLE, instruction)
    finally:
        signal.alarm(0)
