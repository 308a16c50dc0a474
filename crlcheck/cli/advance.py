"""``crlcheck advance``: raise a store's generation."""

from __future__ import annotations

import click

from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import open_for_change, usage
from crlcheck.cli.options import change_options
from crlcheck.cli.parameters import STORE
from crlcheck.cli.text import answer, say
from crlcheck.publisher.operator import advance_generation


@command(
    "advance",
    examples=[
        "crlcheck advance s3://crls/published",
        "crlcheck advance s3://crls/published --above 1207",
    ],
)
@click.argument("store", type=STORE)
@click.option(
    "--above",
    type=int,
    metavar="N",
    help="The generation that services use; by default the milliseconds since 1970.",
)
@change_options
def advance_command(store: str, above: int | None, note: str) -> int:
    """
    Raise the generation of STORE above N, or above all that a store counts up to.

    Use it after a store was restored from a backup. Services refuse its catalog,
    except for denials, until its generation is above the one that they have seen.
    """
    with usage():
        generation = advance_generation(
            open_for_change(store), above=above, note=note, actor=actor()
        )
    answer({"store": store, "generation": generation})
    say(f"{store}: generation {generation}")
    return 0
