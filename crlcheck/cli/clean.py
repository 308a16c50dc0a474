"""``crlcheck clean``: delete images that the catalog does not name."""

from __future__ import annotations

from datetime import timedelta

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import open_target, usage
from crlcheck.cli.options import note_option
from crlcheck.cli.parameters import STORE
from crlcheck.cli.text import answer, say
from crlcheck.publisher.clean_up import clean_up
from crlcheck.settings import read_duration


@command(
    "clean", examples=["crlcheck clean published", "crlcheck clean s3://crls/published --grace 24h"]
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
@note_option
def clean_command(store: str, grace: timedelta, note: str) -> int:
    """Delete images of STORE that no catalog has named for the grace period."""
    with usage():
        num_deleted, num_waiting = clean_up(
            open_target(store), grace=grace, note=note, actor=actor()
        )
    answer({"store": store, "num_deleted": num_deleted, "num_waiting": num_waiting})
    say(f"{store}: {count(num_deleted, 'image')} deleted, {num_waiting} waiting")
    return 0
