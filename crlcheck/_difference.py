"""What one image lists and another does not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from crlcheck.index import RevocationIndex
from crlcheck.types import RevokedEntry

_BATCH = 8192


def entries_missing(index: RevocationIndex, other: RevocationIndex) -> Iterator[RevokedEntry]:
    """
    Yield the entries of *index* whose serial numbers *other* does not list for their issuer.

    Raises:
        IndexClosedError: one of them was closed.
    """
    for _, run in itertools.groupby(index.iter_entries(), lambda entry: entry.certificate_issuer):
        while batch := list(itertools.islice(run, _BATCH)):
            serials = [entry.serial_number for entry in batch]
            listed = other.contains_many(serials, batch[0].certificate_issuer)
            yield from itertools.compress(batch, (not found for found in listed))


def count_difference(before: RevocationIndex, after: RevocationIndex) -> tuple[int, int]:
    """Return how many entries are new in *after*, and how many of *before* it lacks."""
    num_new = sum(1 for _ in entries_missing(after, before))
    num_kept = len(after) - num_new
    return num_new, len(before) - num_kept
