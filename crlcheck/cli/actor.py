"""Name the actor of a command: who runs it, for the history of a store."""

from __future__ import annotations

import getpass
import os
import socket

import click

from crlcheck.catalog.history import MAX_ACTOR

ACTOR_VARIABLE = "CRLCHECK_ACTOR"


def actor() -> str:
    """
    Return who runs this command: user@host, unless ``CRLCHECK_ACTOR`` names somebody.

    Of somebody who became another user by sudo both names are given. Nothing proves any of
    these: the history is for people who may write to the store.

    Raises:
        click.UsageError: the variable has more than the history keeps.
    """
    given = os.environ.get(ACTOR_VARIABLE, "").strip()
    if len(given) > MAX_ACTOR:
        raise click.UsageError(
            f"{ACTOR_VARIABLE}: expected at most {MAX_ACTOR} characters, found {len(given)}"
        )
    if given:
        return given
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container a user may have a number only
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    before = os.environ.get("SUDO_USER", "")
    if before and before != user:
        user = f"{before} as {user}"
    return f"{user}@{socket.gethostname()}"[:MAX_ACTOR]
