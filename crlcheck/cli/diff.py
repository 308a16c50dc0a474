"""``crlcheck diff``: compare the revocations of two images or stores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import click

from crlcheck.catalog.catalog import PublishedImage, ScopeRecord
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.earlier import store_at
from crlcheck.catalog.entries import issuer_prefix
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.cli.command import command
from crlcheck.cli.damage import Damage
from crlcheck.cli.inputs import is_store, open_target, opening, read_published_set
from crlcheck.cli.options import given_demands, root_key_option
from crlcheck.cli.parameters import TARGET
from crlcheck.cli.status import EXIT_FAILED, about, report_failure
from crlcheck.cli.text import answer, say
from crlcheck.cli.when import WHEN, When
from crlcheck.encoding.names import name_text
from crlcheck.errors import CatalogDamagedError, EarlierSetError, IndexFileError, StoreError
from crlcheck.image.diff import Listing, entries_missing
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import ImageMetadata, RevokedEntry

_NOTHING = Listing(None)


@command(
    "diff",
    examples=[
        "crlcheck diff published --since 7d",
        "crlcheck diff old.crlx new.crlx",
        "crlcheck diff published@41 published --limit 100",
        "crlcheck diff s3://crls/published@2026-11-24 s3://crls/published@2026-11-25",
    ],
)
@click.argument("before", metavar="A", type=TARGET)
@click.argument("after", metavar="[B]", type=TARGET, required=False)
@click.option("--since", type=WHEN, metavar="WHEN",
              help="Compare the store A as it was then with A as it is now.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True,
              help="How many certificates of each kind are listed; all are counted.")  # fmt: skip
@root_key_option
def diff_command(before: str, after: str | None, since: When | None, limit: int) -> int:
    """
    List the certificates that B revokes and A does not, and the reverse.

    A and B are images, or stores. STORE@WHEN is a store as it was: WHEN is a generation
    (41), how long ago (7d), or a time in UTC (2026-11-24, 2026-11-24T10:30:00Z). It goes
    back as far as superseded images are kept. CRLs that are the same in both are counted.
    """
    old, new = _sides(before, after, since)
    if isinstance(old, _Image) and isinstance(new, _Image):
        given_demands(of_store=False)
    if isinstance(old, _Image) and isinstance(new, _Image):
        new.scope = old.scope  # whatever CRLs they are of
        changed, num_same = {old.scope}, 0
    else:
        changed, num_same = _changed_scopes(old, new)
    found = _Comparison(old, new, limit)
    found.compare(changed)
    answer({"num_unchanged": num_same, **found.members()})
    found.say()
    if num_same:
        say(f"{count(num_same, 'scope')} with the same CRLs in both")
    return found.tell_failures()


class _Comparison:
    """
    What the comparison of some scopes has found.

    A scope that only one side has is not compared where the other cannot be read: all that it
    revokes would seem to be lifted, or newly revoked. What fails for a scope keeps no other
    from being compared.
    """

    def __init__(self, old: _Side, new: _Side, limit: int) -> None:
        self._sides = old, new
        self._limit = limit
        self._done: list[tuple[dict[str, Any], list[str]]] = []
        self._failed: list[dict[str, Any]] = []
        self._hidden: list[str] = []

    def compare(self, scopes: set[str]) -> None:
        """Compare some scopes, by issuer."""
        old, new = self._sides
        was, now = old.crls(scopes), new.crls(scopes)

        def by_issuer(scope: str) -> tuple[str, str]:
            one = now.get(scope) or was.get(scope)
            return "" if one is None else name_text(one.metadata.issuer), scope

        for scope in sorted(scopes, key=by_issuer):
            before, after = was.get(scope), now.get(scope)
            if _may_hide(new, before, after) or _may_hide(old, after, before):
                self._hidden.append(scope)
                continue
            try:
                with contextlib.ExitStack() as stack:  # one scope's images are open at a time
                    self._done.append(_compare(scope, before, after, stack, self._limit))
            except (StoreError, IndexFileError, OSError) as error:
                if len(scopes) == 1:
                    raise
                self._failed.append({"scope": scope, **report_failure(error, f"scope {scope}")})

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            "scopes": [members for members, _ in self._done],
            "failed": self._failed,
            "not_compared": self._hidden,
            "unreadable": [one for side in self._sides for one in side.damage.members()],
        }

    def say(self) -> None:
        """Say what has changed, and how much in all."""
        for members, lines in self._done:
            only = f" (only in {members['only_in']})" if members["only_in"] else ""
            newly_revoked = count(members["num_newly_revoked"], "newly revoked certificate")
            say(f"{members['crl']}{only}: {newly_revoked}, {members['num_lifted']:,} lifted")
            for line in lines:
                say(f"  {line}")
        if len(self._done) > 1:
            num_revoked = sum(one["num_newly_revoked"] for one, _ in self._done)
            num_lifted = sum(one["num_lifted"] for one, _ in self._done)
            revoked = count(num_revoked, "newly revoked certificate")
            scopes = count(len(self._done), "scope")
            say(f"{scopes} with other CRLs: {revoked}, {num_lifted:,} lifted")

    def tell_failures(self) -> int:
        """Say what could not be compared; return the exit status of the run."""
        for scope in self._hidden:
            say(f"scope {scope} is not compared: one side of it cannot be read", color="red")
        statuses = [side.damage.tell() for side in self._sides]
        return EXIT_FAILED if self._failed else max(statuses)


def _may_hide(side: _Side, others: _Crls | None, own: _Crls | None) -> bool:
    """Whether a side that seems not to have the CRLs of the other may have them all the same."""
    return own is None and others is not None and side.may_hide(others.metadata.issuer)


def _sides(before: str, after: str | None, since: When | None) -> tuple[_Side, _Side]:
    """Open what is compared."""
    if since is None:
        if after is None:
            raise click.UsageError("name two images or stores, or one store and --since")
        return _open(before), _open(after)
    if after is not None:
        raise click.UsageError("--since compares one store with itself: name no second one")
    if not is_store(before):
        raise click.UsageError(f"{before}: --since needs a store, which has a history")
    store = open_target(before)
    new = _Store(before, store)
    try:
        with opening():
            earlier = store_at(store, since)
    except EarlierSetError as error:
        if error.found != "before":
            raise
        return _Nothing(), new  # nothing was published then
    return _Store(earlier.url, earlier), new


# ---- comparing -----------------------------------------------------------------------------


def _changed_scopes(old: _Side, new: _Side) -> tuple[set[str], int]:
    """Return the scopes whose CRLs differ, and how many do not. Digests alone are compared."""
    left = dict(old.digests())
    changed, num_same = set(), 0
    for scope, digests in new.digests():
        if left.pop(scope, None) == digests:
            num_same += 1
        else:
            changed.add(scope)
    return changed | left.keys(), num_same


def _compare(
    scope: str, old: _Crls | None, new: _Crls | None, stack: contextlib.ExitStack, limit: int
) -> tuple[dict[str, Any], list[str]]:
    before = _NOTHING if old is None else old.open(stack)
    after = _NOTHING if new is None else new.open(stack)
    num_new, newly = _take(entries_missing(after, before), limit)
    num_lifted, lifted = _take(entries_missing(before, after), limit)
    titles = [crl_text(one.metadata) for one in (old, new) if one is not None]
    members = {
        "scope": scope,
        "crl": " to ".join(dict.fromkeys(titles)),
        "only_in": "B" if old is None else "A" if new is None else None,
        "num_newly_revoked": num_new,
        "num_lifted": num_lifted,
        "newly_revoked": [_members(entry) for entry in newly],
        "lifted": [_members(entry) for entry in lifted],
    }
    lines = [*_lines("+", num_new, newly), *_lines("-", num_lifted, lifted)]
    return members, lines


def _lines(sign: str, number: int, listed: Sequence[RevokedEntry]) -> Iterator[str]:
    yield from (f"{sign} {_line(entry)}" for entry in listed)
    if number > len(listed) and listed:
        yield f"{sign} and {number - len(listed):,} more, which a greater --limit lists"


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


class _Crls(Protocol):
    """The CRLs of one scope."""

    @property
    def metadata(self) -> ImageMetadata:
        """That of the complete CRL."""

    def open(self, stack: contextlib.ExitStack) -> Listing:
        """Return what they revoke; *stack* closes it."""


class _Side(Protocol):
    """One side of the comparison; *damage* has what could not be read of it."""

    damage: Damage

    def may_hide(self, issuer: bytes) -> bool:
        """Whether CRLs of that issuer may be here that cannot be read."""

    def digests(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Return each scope with the digests of its images."""

    def crls(self, wanted: set[str]) -> dict[str, _Crls]:
        """Return the CRLs of those of the scopes that are here."""


class _Nothing:
    """The side of a store that had nothing published yet."""

    def __init__(self) -> None:
        self.damage = Damage()

    def may_hide(self, _issuer: bytes) -> bool:
        return False

    def digests(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ()

    def crls(self, _wanted: set[str]) -> dict[str, _Crls]:
        return {}


class _Image:
    """An image, which is one scope."""

    def __init__(self, target: str) -> None:
        self.damage = Damage()
        self._target = target
        with self._opened() as index:
            self.scope = index.metadata.scope
            self.metadata = index.metadata
            self._digest = index.digest

    def may_hide(self, _issuer: bytes) -> bool:
        return False

    def digests(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.scope, (self._digest,)),)

    def crls(self, wanted: set[str]) -> dict[str, _Crls]:
        return {self.scope: self} if self.scope in wanted else {}

    def open(self, stack: contextlib.ExitStack) -> Listing:
        return Listing(stack.enter_context(self._opened()))

    def _opened(self) -> RevocationIndex:
        with about(self._target, IndexFileError):
            return open_index(self._target)


class _Store:
    """A store. Only records of scopes that differ are kept."""

    def __init__(self, target: str, store: ObjectStore) -> None:
        self._target = target
        self._store = store
        self._published: PublishedSet = read_published_set(store)
        self.damage = Damage()

    def may_hide(self, issuer: bytes) -> bool:
        if not self.damage.members():
            return False
        prefix = issuer_prefix(issuer)
        with about(self._target, StoreError):
            try:
                self._published.part_of(self._published.entries_with(prefix), prefix)
            except CatalogDamagedError:
                return True
            return False

    def digests(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        for record in self._records():
            yield record.key, tuple(image.digest for image in record.images())

    def crls(self, wanted: set[str]) -> dict[str, _Crls]:
        return {one.key: _Published(self, one) for one in self._records() if one.key in wanted}

    def load(self, image: PublishedImage) -> RevocationIndex:
        """Open an image."""
        with about(self._target, StoreError, IndexFileError):
            return open_index(self._store.load(image.name))

    def _records(self) -> Iterator[ScopeRecord]:
        with about(self._target, StoreError):
            yield from self._published.scopes(failed=self.damage.note)


@dataclass(frozen=True, slots=True)
class _Published:
    """The CRLs of a scope of a store."""

    store: _Store
    record: ScopeRecord

    @property
    def metadata(self) -> ImageMetadata:
        return self.record.base.metadata

    def open(self, stack: contextlib.ExitStack) -> Listing:
        return Listing(*(stack.enter_context(self.store.load(one)) for one in self.record.images()))


def _open(target: str) -> _Side:
    return _Store(target, open_target(target)) if is_store(target) else _Image(target)
