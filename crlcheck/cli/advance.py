"""``crlcheck advance``: raise a store's generation."""

from __future__ import annotations

import click

from crlcheck.cli.inputs import open_target, usage
from crlcheck.cli.text import say
from crlcheck.publisher.operator import advance_generation


@click.command("advance")
@click.argument("store")
@click.option(
    "--above", type=int, required=True, metavar="N", help="The generation that services hold."
)
def advance_command(store: str, above: int) -> int:
    """
    Bring STORE above a generation that services hold.

    For a store that was put back: services refuse its catalog, but for denials,
    until its generation is above the one that they have seen.
    """
    with usage():
        generation = advance_generation(open_target(store), above=above)
    say(f"{store}: generation {generation}")
    return 0
