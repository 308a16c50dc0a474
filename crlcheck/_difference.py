"""What one CRL lists as revoked and another does not, each with the delta beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from crlcheck._name import name_key
from crlcheck.index import RevocationIndex
from crlcheck.types import ReasonCode, RevokedEntry

_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Listing:
    """What a complete CRL and the delta beside it revoke together; both stay the caller's."""

    base: RevocationIndex | None
    delta: RevocationIndex | None = None
    _changed: dict[tuple[bytes, int], bool] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        entries = () if self.delta is None else self.delta.iter_entries()
        changed = {_key(one): one.reason_code is not ReasonCode.REMOVE_FROM_CRL for one in entries}
        object.__setattr__(self, "_changed", changed)

    def entries(self) -> Iterator[RevokedEntry]:
        """Yield every entry that revokes."""
        if self.base is not None:
            for entry in self.base.iter_entries():
                if not self._changed or _key(entry) not in self._changed:
                    yield entry
        if self.delta is not None:
            for entry in self.delta.iter_entries():
                if self._changed[_key(entry)]:
                    yield entry

    def revokes(self, entries: Sequence[RevokedEntry]) -> list[bool]:
        """Whether each of *entries*, of one certificate issuer, is revoked here too."""
        found = [False] * len(entries)
        if self.base is not None and entries:
            serials = [entry.serial_number for entry in entries]
            found = self.base.contains_many(serials, entries[0].certificate_issuer)
        if not self._changed:
            return found
        return [
            self._changed.get(_key(entry), listed)
            for entry, listed in zip(entries, found, strict=True)
        ]


def _key(entry: RevokedEntry) -> tuple[bytes, int]:
    return name_key(entry.certificate_issuer), entry.serial_number


def entries_missing(listing: Listing, other: Listing) -> Iterator[RevokedEntry]:
    """
    Yield the entries of *listing* that *other* does not revoke.

    Raises:
        IndexClosedError: an index was closed.
    """
    for _, run in itertools.groupby(listing.entries(), lambda entry: entry.certificate_issuer):
        while batch := list(itertools.islice(run, _BATCH)):
            yield from itertools.compress(batch, (not found for found in other.revokes(batch)))


def count_difference(before: RevocationIndex, after: RevocationIndex) -> tuple[int, int]:
    """Return how many entries are new in *after*, and how many of *before* it lacks."""
    num_new = sum(1 for _ in entries_missing(Listing(after), Listing(before)))
    num_kept = len(after) - num_new
    return num_new, len(before) - num_kept
