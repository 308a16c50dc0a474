"""``crlcheck refusal``: list the refused CRLs of a store, and dismiss what is settled."""

from __future__ import annotations

import click

from crlcheck.cli.actor import actor
from crlcheck.cli.command import group
from crlcheck.cli.inputs import open_for_change, open_target, usage
from crlcheck.cli.options import change_options
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, say
from crlcheck.errors import StoreError
from crlcheck.publisher.rejections import dismiss_rejection, read_rejections
from crlcheck.remedies import with_remedy
from crlcheck.times import time_text

_EXAMPLES = [
    "crlcheck refusal list published",
    "crlcheck refusal dismiss published /srv/crls/README.txt --note 'no CRL, removed'",
]


@group("refusal", examples=_EXAMPLES)
def refusal_group() -> None:
    """List the refused CRLs of a store, and dismiss those that are settled."""


@refusal_group.command("list", examples=_EXAMPLES[:1])
@click.argument("store", type=STORE)
def refusal_list(store: str) -> int:
    """List the sources whose last CRL STORE refused, and why."""
    target = open_target(store)
    with about(store, StoreError):
        found = read_rejections(target)
    answer({"rejections": [one.members() for one in found]})
    for one in found:
        detail = with_remedy(one.detail, one.remedy)
        say(f"{one.source}: refused {time_text(one.at)}: {detail}", color="red")
    return 0


@refusal_group.command("dismiss", examples=_EXAMPLES[1:])
@click.argument("store", type=STORE)
@click.argument("source", metavar="NAME")
@change_options
def refusal_dismiss(store: str, source: str, note: str) -> int:
    """
    Take the refusal of NAME off the list of STORE, as `refusal list` and `status` name it.

    It is for a file that no CRL will follow, such as one that was put there by mistake. The
    next CRL of a source that is published does the same by itself. The history keeps both,
    and what was refused stays refused.
    """
    with usage():
        generation = dismiss_rejection(open_for_change(store), source, note=note, actor=actor())
    answer({"store": store, "source": source, "generation": generation})
    say(f"{store}: the refusal of {source} is dismissed: generation {generation}")
    return 0
