"""``crlcheck mirror``: copy a published set from store to store."""

from __future__ import annotations

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.inputs import open_target
from crlcheck.cli.options import json_option
from crlcheck.cli.text import say, say_json
from crlcheck.publisher.mirror import mirror_store


@click.command("mirror")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--rebuild", is_flag=True, help="Read what TO has, and copy damaged images again.")
@json_option
def mirror_command(source: str, target: str, rebuild: bool, as_json: bool) -> int:
    """Make the store TO the same published set as the store FROM."""
    report = mirror_store(open_target(source), open_target(target), rebuild=rebuild)
    if as_json:
        say_json(
            {
                "generation": report.generation,
                "num_copied": report.num_copied,
                "num_deleted": report.num_deleted,
            }
        )
        return 0
    say(
        f"{target}: generation {report.generation}: {count(report.num_copied, 'image')} copied, "
        f"{report.num_deleted} deleted"
    )
    return 0
