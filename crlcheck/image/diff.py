"""Find the revocations in one CRL that another lacks, each with its delta CRL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from crlcheck.encoding.names import name_key
from crlcheck.image.index import RevocationIndex
from crlcheck.types import ReasonCode, RevokedEntry

_Key = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """The revocations of a complete CRL and its delta CRL together; the caller closes both."""

    base: RevocationIndex | None
    delta: RevocationIndex | None = None
    _changed: dict[_Key, RevokedEntry | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        changed: dict[_Key, RevokedEntry | None] = {}
        seen: set[_Key] = set()
        for entry in () if self.delta is None else self.delta.iter_entries():
            key = _key(entry)
            if key in seen:
                # Under another spelling of its issuer's name: they count as duplicates do.
                merged = self._in_delta(entry)
                assert merged is not None, "the entry itself is there"
                entry = merged  # noqa: PLW2901
            seen.add(key)
            if entry.reason_code is not ReasonCode.REMOVE_FROM_CRL:
                # A final reason in the complete CRL stands against a hold in the delta.
                whole = self._in_base(entry) if _is_hold(entry) else None
                changed[key] = entry if whole is None or _is_hold(whole) else whole
            elif _is_hold(self._in_base(entry)):
                changed[key] = None  # nothing else is lifted (RFC 5280 5.3.1)
        object.__setattr__(self, "_changed", changed)

    def find(self, entry: RevokedEntry) -> RevokedEntry | None:
        """Return the entry that revokes the certificate of *entry*, None where none does."""
        key = _key(entry)
        return self._changed[key] if key in self._changed else self._in_base(entry)

    def entries(self) -> Iterator[RevokedEntry]:
        """Yield every entry that revokes."""
        if self.base is not None:
            for entry in self.base.iter_entries():
                if not self._changed or _key(entry) not in self._changed:
                    yield entry
        yield from filter(None, self._changed.values())

    def _in_delta(self, entry: RevokedEntry) -> RevokedEntry | None:
        if self.delta is None:
            return None
        return self.delta.find(entry.serial_number, entry.certificate_issuer)

    def _in_base(self, entry: RevokedEntry) -> RevokedEntry | None:
        if self.base is None:
            return None
        return self.base.find(entry.serial_number, entry.certificate_issuer)

    def _base_entries_missing_from(self, other: Listing) -> Iterator[RevokedEntry]:
        if self.base is None or self.base is other.base:
            return iter(())
        if other.base is None:
            return self.base.iter_entries()
        return self.base.iter_entries_missing_from(other.base)

    def _in_deltas(self, other: Listing) -> Iterator[RevokedEntry]:
        """Yield an entry here for each certificate that a delta of the two names."""
        yield from filter(None, self._changed.values())
        if other.delta is not None:
            for entry in other.delta.iter_entries():
                if _key(entry) not in self._changed:
                    found = self._in_base(entry)
                    if found is not None:
                        yield found


def entries_missing(listing: Listing, other: Listing) -> Iterator[RevokedEntry]:
    """
    Yield the entries of *listing* that *other* does not revoke.

    Only entries that one of the complete CRLs lacks, or that are in a delta, are read.

    Raises:
        IndexClosedError: an index was closed.
    """
    done: set[_Key] = set()
    for entry in listing._in_deltas(other):
        done.add(_key(entry))
        if other.find(entry) is None:
            yield entry
    for entry in listing._base_entries_missing_from(other):
        if not (listing._changed or done) or (
            _key(entry) not in listing._changed and _key(entry) not in done
        ):
            yield entry


@dataclass(frozen=True, slots=True)
class Difference:
    """
    The numbers of certificates in which two listings differ.

    ``num_lifted_recently`` are those of ``num_lifted`` that had been revoked since
    *recently*, and not only put on hold. ``num_late`` are those of ``num_newly_revoked``
    that had been revoked before *previous*, so the listing before should have had them.
    """

    num_newly_revoked: int
    num_lifted: int
    num_lifted_recently: int
    num_late: int


def compare(
    before: Listing, after: Listing, *, recently: datetime, previous: datetime
) -> Difference:
    """Count the new revocations in *after*, and those of *before* that it has no more."""
    num_new = num_late = num_lifted = num_recent = 0
    for entry in entries_missing(after, before):
        num_new += 1
        num_late += entry.revocation_date is not None and entry.revocation_date < previous
    for entry in entries_missing(before, after):
        num_lifted += 1
        date = entry.revocation_date
        num_recent += date is not None and date >= recently and not _is_hold(entry)
    return Difference(num_new, num_lifted, num_recent, num_late)


def revokes_more(listing: Listing, other: Listing) -> bool:
    """Whether *listing* revokes anything that *other* does not, or has only on hold."""
    if next(entries_missing(listing, other), None) is not None:
        return True
    holds = (entry for entry in other.entries() if _is_hold(entry))
    # Beside a hold there may be a final reason, under another spelling of the issuer's name.
    return any(
        not _is_hold(found) and _is_hold(other.find(entry))
        for entry in holds
        if (found := listing.find(entry)) is not None
    )


def _is_hold(entry: RevokedEntry | None) -> bool:
    return entry is not None and entry.reason_code is ReasonCode.CERTIFICATE_HOLD


def _key(entry: RevokedEntry) -> _Key:
    return name_key(entry.certificate_issuer), entry.serial_number
