"""``crlcheck diff``: compare the revocations of two images or stores."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.published_set import PublishedSet, set_at
from crlcheck.cli.command import command
from crlcheck.cli.inputs import is_store, open_target, read_published_set
from crlcheck.cli.parameters import TARGET
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, say
from crlcheck.encoding.names import name_text
from crlcheck.errors import CatalogDamagedError, IndexFileError, StoreError
from crlcheck.image.diff import Listing, entries_missing
from crlcheck.image.index import open_index
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import RevokedEntry

_NOTHING = Listing(None)


@dataclass(slots=True)
class _Set:
    """The listings of one side of the comparison, by scope; an image alone is one scope."""

    listings: dict[str, Listing] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    def as_one(self) -> _Set:
        """Return the only scope under a name that any other has too."""
        (listing,), (title,) = self.listings.values(), self.titles.values()
        return _Set({"image": listing}, {"image": title})


@command(
    "diff",
    examples=[
        "crlcheck diff old.crlx new.crlx",
        "crlcheck diff published@41 published --limit 100",
    ],
)
@click.argument("before", metavar="A", type=TARGET)
@click.argument("after", metavar="B", type=TARGET)
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True,
              help="How many certificates of each kind are listed; all are counted.")  # fmt: skip
def diff_command(before: str, after: str, limit: int) -> int:
    """
    List the certificates that B revokes and A does not, and the reverse.

    A and B are images, or stores; STORE@GENERATION is a store at an earlier
    generation, as long as it still has that generation's images.
    """
    with contextlib.ExitStack() as stack:
        old, new = _open(before, stack), _open(after, stack)
        if not (is_store(_split(before)[0]) or is_store(_split(after)[0])):
            old, new = old.as_one(), new.as_one()  # whatever CRLs they are of
        done = [
            _compare(scope, old, new, limit) for scope in sorted({*old.listings, *new.listings})
        ]
    answer({"scopes": [members for members, _ in done]})
    for members, lines in done:
        only = f" (only in {members['only_in']})" if members["only_in"] else ""
        newly_revoked = count(members["num_newly_revoked"], "newly revoked certificate")
        say(f"{members['crl']}{only}: {newly_revoked}, {members['num_lifted']:,} lifted")
        for line in lines:
            say(f"  {line}")
    return 0


def _compare(scope: str, old: _Set, new: _Set, limit: int) -> tuple[dict[str, Any], list[str]]:
    before, after = old.listings.get(scope, _NOTHING), new.listings.get(scope, _NOTHING)
    num_new, newly = _take(entries_missing(after, before), limit)
    num_lifted, lifted = _take(entries_missing(before, after), limit)
    titles = [one.titles[scope] for one in (old, new) if scope in one.titles]
    members = {
        "scope": scope,
        "crl": " to ".join(dict.fromkeys(titles)),
        "only_in": "B" if scope not in old.titles else "A" if scope not in new.titles else None,
        "num_newly_revoked": num_new,
        "num_lifted": num_lifted,
        "newly_revoked": [_members(entry) for entry in newly],
        "lifted": [_members(entry) for entry in lifted],
    }
    lines = [f"+ {_line(entry)}" for entry in newly] + [f"- {_line(entry)}" for entry in lifted]
    return members, lines


def _take(entries: Iterator[RevokedEntry], limit: int) -> tuple[int, list[RevokedEntry]]:
    number, kept = 0, []
    for entry in entries:
        number += 1
        if number <= limit:
            kept.append(entry)
    return number, kept


def _members(entry: RevokedEntry) -> dict[str, Any]:
    return {
        "serial_number": f"{entry.serial_number:x}",
        "issuer": name_text(entry.certificate_issuer),
        "revocation_date": time_text(entry.revocation_date),
        "reason_code": None if entry.reason_code is None else entry.reason_code.name.lower(),
    }


def _line(entry: RevokedEntry) -> str:
    date = f" since {time_text(entry.revocation_date)}" if entry.revocation_date else ""
    return f"{entry.serial_number:x} of {name_text(entry.certificate_issuer)}{date}"


# ---- opening -----------------------------------------------------------------


def _split(target: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.+)@([0-9]{1,18})", target)
    if match is None or Path(target).exists() or not is_store(match[1]):
        return target, None
    return match[1], int(match[2])


def _open(target: str, stack: contextlib.ExitStack) -> _Set:
    location, generation = _split(target)
    if not is_store(location):
        with about(target, IndexFileError):
            index = stack.enter_context(open_index(location))
        scope = index.metadata.scope
        return _Set({scope: Listing(index)}, {scope: crl_text(index.metadata)})
    store = open_target(location)
    with about(target, StoreError, IndexFileError):
        held = read_published_set(store)
        try:
            published = held if generation is None else _set_at(store, held, generation)
            names = [image.name for image in published.images()]
            opened = {name: stack.enter_context(open_index(store.load(name))) for name in names}
        except (CatalogDamagedError, FileNotFoundError) as error:
            # No clean-up deleted what the catalog still counts on: the message has its name.
            if generation is None or generation == held.generation:
                raise
            raise _gone(held, generation, f": {error}") from error
    found = _Set()
    for index in opened.values():
        if index.metadata.is_delta:
            continue
        scope = index.metadata.scope
        deltas = (
            one for one in opened.values() if one.metadata.is_delta and one.metadata.scope == scope
        )
        found.listings[scope] = Listing(index, next(deltas, None))
        found.titles[scope] = crl_text(index.metadata)
    return found


def _set_at(store: ObjectStore, held: PublishedSet, generation: int) -> PublishedSet:
    """Return an earlier generation of a set."""
    if not 0 < generation <= held.generation:
        raise click.UsageError(
            f"generation {generation}: the store is at generation {held.generation}"
        )
    found = set_at(store, held, generation)
    if found is None:
        raise _gone(held, generation)
    return found


def _gone(held: PublishedSet, generation: int, why: str = "") -> StoreError:
    return StoreError(
        f"generation {generation} cannot be shown: objects of it were deleted, or no generation "
        f"had that number; the store is at generation {held.generation}{why}"
    )
