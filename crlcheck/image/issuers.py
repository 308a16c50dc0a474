"""Tell the certificate issuers of an image apart, and give its entries as what users get."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from datetime import datetime

from crlcheck._binding import FoundEntry
from crlcheck.encoding.names import name_key
from crlcheck.errors import CorruptIndexError
from crlcheck.times import FIRST_SECOND, LAST_SECOND
from crlcheck.types import ReasonCode, RevokedEntry, entry_to_read

_REASONS = {code.value: code for code in ReasonCode}


class Issuers:
    """The certificate issuers of an image: their whole Names as DER, by number."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self.names = names
        self._numbers: dict[bytes, list[int]] | None = None

    def numbers(self, issuer: bytes | None) -> Sequence[int]:
        """
        Return the numbers of an issuer, one for each spelling that the CRL uses
        (RFC 5280 7.1).

        Raises:
            ValueError: none is named, and the image has entries of several.
        """
        if issuer is None:
            return (self.only(),)
        if self._numbers is None:
            numbers: dict[bytes, list[int]] = {}
            for number, name in enumerate(self.names):
                numbers.setdefault(name_key(name), []).append(number)
            self._numbers = numbers
        return self._numbers.get(name_key(issuer), ())

    def only(self) -> int:
        """
        Return the number of the only issuer.

        Raises:
            ValueError: there are several.
        """
        if len(self.names) != 1:
            raise ValueError(
                f"the image has entries of {len(self.names)} certificate issuers: name one"
            )
        return 0

    def find(
        self, look_up: Callable[[int], FoundEntry | None], issuer: bytes | None
    ) -> RevokedEntry | None:
        """Return the entry of a serial number; *look_up* finds it by the number of an issuer."""
        if issuer is None:
            found = look_up(self.only())
            return None if found is None else self.entry(found)
        entries = [
            self.entry(found)
            for number in self.numbers(issuer)
            if (found := look_up(number)) is not None
        ]
        return functools.reduce(_merged, entries) if entries else None

    def only_entry(
        self, serial_number: int, reason: int | None, revoked: int | None, invalid: int | None
    ) -> RevokedEntry:
        """
        Return an entry of the only issuer as users get it; dates are in seconds since 1970.

        Raises:
            CorruptIndexError: it has a reason that there is not, or a date that cannot be.
        """
        try:
            code = None if reason is None else _REASONS[reason]
        except KeyError:
            raise CorruptIndexError(
                f"image is corrupt: {reason} is not a valid ReasonCode"
            ) from None
        for date in (revoked, invalid):
            if date is not None and not FIRST_SECOND <= date <= LAST_SECOND:
                raise CorruptIndexError("image is corrupt: a date lies outside 0001 to 9999")
        return entry_to_read(serial_number, code, self.names[0], revoked, invalid)

    def entry(self, found: FoundEntry) -> RevokedEntry:
        """
        Return an entry as users get it.

        Raises:
            CorruptIndexError: it has a reason or an issuer that there is not.
        """
        try:
            reason = None if found.reason is None else ReasonCode(found.reason)
            issuer = self.names[found.issuer]
        except (ValueError, IndexError) as error:
            raise CorruptIndexError(f"image is corrupt: {error}") from error
        return RevokedEntry(
            serial_number=found.serial_number,
            reason_code=reason,
            revocation_date=found.revocation_date,
            invalidity_date=found.invalidity_date,
            certificate_issuer=issuer,
        )


def _merged(entry: RevokedEntry, duplicate: RevokedEntry) -> RevokedEntry:
    """
    Merge two entries of one certificate: the earliest dates and the most final reason.

    The order does not matter. table_sort.c merges duplicates by the same rule.
    """
    entry, duplicate = sorted((entry, duplicate), key=_finality, reverse=True)
    reason = entry.reason_code
    if (
        reason is ReasonCode.CERTIFICATE_HOLD
        and duplicate.reason_code is ReasonCode.REMOVE_FROM_CRL
    ):
        reason = None  # They contradict each other, and nothing may undo what they come to.
    return dataclasses.replace(
        entry,
        reason_code=reason,
        revocation_date=_earliest(entry.revocation_date, duplicate.revocation_date),
        invalidity_date=_earliest(entry.invalidity_date, duplicate.invalidity_date),
    )


def _finality(entry: RevokedEntry) -> int:
    """Rank an entry by how little can undo it."""
    if entry.reason_code is ReasonCode.REMOVE_FROM_CRL:
        return 0
    return 1 if entry.reason_code is ReasonCode.CERTIFICATE_HOLD else 2


def _earliest(*dates: datetime | None) -> datetime | None:
    return min((date for date in dates if date is not None), default=None)
