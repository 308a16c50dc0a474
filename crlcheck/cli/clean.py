"""``crlcheck clean``: delete objects that no catalog names."""

from __future__ import annotations

from datetime import timedelta

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import open_for_change, usage
from crlcheck.cli.options import change_options
from crlcheck.cli.parameters import STORE
from crlcheck.cli.text import answer, say
from crlcheck.publisher.clean_up import clean_up
from crlcheck.settings import read_duration


@command(
    "clean",
    examples=["crlcheck clean published", "crlcheck clean s3://crls/published --keep 30d"],
)
@click.argument("store", type=STORE)
@click.option(
    "--grace",
    type=read_duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="How long superseded images are kept; must be longer than readers' refresh_after.",
)
@click.option(
    "--keep",
    type=read_duration,
    metavar="DURATION",
    help="How long they are kept besides, to restore and compare; STORE remembers it, 0s ends it.",
)
@change_options
def clean_command(store: str, grace: timedelta, keep: timedelta | None, note: str) -> int:
    """
    Delete objects of STORE that no catalog has named for the grace period.

    With --keep they stay for that time if it is longer, also in later publications.
    Records of the history go after 30 days, or after that time.
    """
    with usage():
        num_deleted, num_waiting = clean_up(
            open_for_change(store), grace=grace, keep=keep, note=note, actor=actor()
        )
    answer({"store": store, "num_deleted": num_deleted, "num_waiting": num_waiting})
    say(f"{store}: {count(num_deleted, 'object')} deleted, {num_waiting} waiting")
    return 0
