"""``crlcheck mirror``: copy a published set from store to store."""

from __future__ import annotations

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.command import command
from crlcheck.cli.inputs import demands_on, open_target, usage
from crlcheck.cli.options import root_key_option
from crlcheck.cli.parameters import STORE
from crlcheck.cli.progress import counting
from crlcheck.cli.text import answer, say
from crlcheck.publisher.mirror import mirror_store


@command("mirror", examples=["crlcheck mirror s3://crls/published /var/lib/crlcheck"])
@click.argument("source", metavar="FROM", type=STORE)
@click.argument("target", metavar="TO", type=STORE)
@click.option("--rebuild", is_flag=True, help="Read what TO has, and copy damaged images again.")
@root_key_option
def mirror_command(source: str, target: str, rebuild: bool) -> int:
    """
    Copy the published set of the store FROM to the store TO.

    Signatures of the root are copied with it, so no key is needed.
    """
    origin = open_target(source)
    with usage(), counting(f"copying to {target}") as shown:
        report = mirror_store(
            origin,
            open_target(target),
            rebuild=rebuild,
            root_keys=demands_on(origin).get("root_keys"),
            progress=shown.update,
        )
    answer(
        {
            "generation": report.generation,
            "num_copied": report.num_copied,
            "num_deleted": report.num_deleted,
        }
    )
    say(
        f"{target}: generation {report.generation}: {count(report.num_copied, 'image')} copied, "
        f"{report.num_deleted} deleted"
    )
    if not (report.num_copied or rebuild):
        say(
            "What was copied before was not read again: "
            f"crlcheck verify {target} --repair-from {source} does that"
        )
    return 0
