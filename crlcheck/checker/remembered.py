"""
Remember what was found for a kind of certificate, so that most checks are a look-up.

Most certificates of an issuer differ in their serial number and their dates alone. So what
``path`` finds for one of them that no CRL lists holds for each other one that no CRL lists,
until something changes that a verdict depends on. A check that is answered from here looks
the serial number up in the same images, and takes the rest as it was found.

1. The **kind** of a certificate is its issuer, the three fields of its authority key
   identifier, its distribution points and whether it is a CA's, as they are encoded
   (native/python/certificate.c). Of a certificate ``path`` reads beside these only which
   one it is, its serial number and its notAfter.
2. *Which one it is* counts where it is a trusted issuer or is denied. A certificate with the
   serial number of any of these is not answered from here.
3. The *serial number* is looked up at every check, in each CRL and delta CRL that covers the
   kind. A certificate that one of them lists is answered from here only where that CRL
   alone decides, without a delta CRL or another signer, and any entry of it is REVOKED.
4. *notAfter* counts where it has passed. Such a certificate is not answered from here.
5. The *time* counts where it is compared with a time in the set: thisUpdate less the policy's
   clock_skew, nextUpdate, nextUpdate with the policy's grace, the end of an operator's grace
   or of a denial, the notAfter of a trusted issuer. An answer holds between the two of these
   next to the time at which it was found, neither of which belongs to it.
6. The *set* counts: CRLs, issuers, settings, denials. A memory belongs to the views of one
   generation and to one collection of denials, so each new one begins with an empty memory.
7. The *policy* and the trust are those of the checker, which never change, and so are the
   indexes that a caller gave, until the caller closes one: that is looked at.
8. The *store* counts where a part of the set or an image is read. What could not be read is
   not remembered, and an image that is not loaded is left to ``path``.

For example, a CA issues certificates that name no distribution point or all the same one:
they are of one kind, beside those that are CAs themselves. Of the first that comes, the CA's
CRL and those above are looked into. It holds until the first nextUpdate of these CRLs. Till
then the serial numbers of others are looked up in the CA's CRL alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.path import Unlisted
from crlcheck.checker.results import Finding, finding_of, revoked
from crlcheck.checker.snapshot import Denials, Snapshot
from crlcheck.errors import CrlCheckError
from crlcheck.image.index import RevocationIndex
from crlcheck.times import EPOCH, FIRST, LAST, later, time_at
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ImageMetadata,
    Policy,
    StaleRule,
    result_to_read,
)

if TYPE_CHECKING:
    from crlcheck.image.paged import SerialIndex

_MAX_KINDS = 8192
"""How many kinds are remembered. Of 3,000 issuers there may be some 6,000."""


class Held(Protocol):
    """A view of which it is known whether it is still held, and was used."""

    is_held: bool
    is_used: bool
    snapshot: Snapshot | None


class _Frame:
    """
    What the verdicts by one snapshot have in common: the times next to which they may
    change, in order, and the serial numbers of the trusted certificates.
    """

    __slots__ = ("_times", "snapshot", "trusted_serials")

    def __init__(self, snapshot: Snapshot, policy: Policy, denial_ends: list[datetime]) -> None:
        self.snapshot = snapshot
        trusted = list(snapshot.table.issuers.trusted())
        self.trusted_serials = frozenset(one.serial_number for one in trusted)
        times = {one.not_after for one in trusted}
        times.update(denial_ends, snapshot.graces.values())
        for image in snapshot.all_images():
            times.update(_times_of(image.metadata, policy))
        self._times = [FIRST, *sorted(times), LAST]

    def around(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Return the times next to *now*, before and after it; None where it is one of them."""
        place = bisect.bisect_left(self._times, now)
        before, after = self._times[place - 1], self._times[place]
        return (before, after) if before < now < after else None


def _times_of(metadata: ImageMetadata, policy: Policy) -> Iterator[datetime]:
    """Yield the times at which what a CRL says may change."""
    yield later(metadata.this_update, -policy.clock_skew)
    if metadata.next_update is not None:
        yield metadata.next_update
        if policy.stale is StaleRule.GRACE:
            yield later(metadata.next_update, policy.stale_grace)


class _Answer(NamedTuple):
    """
    What was found for a kind.

    It holds between ``since`` and ``until``; ``until_seconds`` is a time after that. ``looks``
    are the images in which a serial number is looked up, with the name under which, None for
    the only one. ``finding`` is what counts if none lists it, for the certificate itself, or
    ``above`` the result of an issuer above it. ``is_sole`` tells that an entry in the only image
    is REVOKED. ``images`` are all that were looked into, those above too, and
    ``indexes`` those among them that a caller may close.
    """

    since: datetime
    until: datetime
    until_seconds: int
    view: Held
    trusted_serials: frozenset[int]
    looks: tuple[tuple[CachedImage, bytes | None], ...]
    finding: Finding
    above: CheckResult | None
    is_sole: bool
    images: tuple[CachedImage, ...]
    indexes: tuple[RevocationIndex, ...]

    def look_up(self, serial_number: int, der: bytes) -> CheckResult | None:
        """Return the verdict on a certificate of the kind by 3.; None where that is not known."""
        for image, issuer in self.looks:
            index = image.index_if_open()
            if index is None:
                return None
            if issuer is None:
                is_listed = serial_number in index
            else:
                is_listed = index.find(serial_number, issuer) is not None
            if is_listed:
                return self._listed(index, serial_number, der)
        # The image looked into first is the one that was used last.
        if not self.images[0].is_last_used:
            for image in reversed(self.images):
                image.note_use()
        if self.above is not None:
            return self.above
        return result_to_read(self.finding.status, serial_number, self.finding, der)

    def _listed(self, index: SerialIndex, serial_number: int, der: bytes) -> CheckResult | None:
        entry = index.find(serial_number) if self.is_sole else None
        if entry is None:
            return None
        image = self.images[0]
        image.note_use()
        found = revoked(image.metadata, image.scope, entry)
        return result_to_read(found.status, serial_number, found, der)


class Found(NamedTuple):
    """
    What was found for a certificate by a path checker that was asked for nothing else.

    ``images`` are those looked into, first the one for the certificate itself.
    """

    result: CheckResult
    unlisted: Unlisted | None
    images: tuple[CachedImage, ...]


class Memory:
    """
    The verdicts by one set and one collection of denials; threads may share it.

    Each entry is written as a whole and never changed, so a thread finds it or does not.
    """

    __slots__ = ("_answers", "_denial_ends", "_denied_serials", "_frames", "_policy", "denied")

    def __init__(self, denied: Denials, policy: Policy) -> None:
        self.denied = denied
        self._policy = policy
        self._denied_serials = frozenset(serial_number for _, serial_number in denied)
        self._denial_ends = [one.until for one in denied.values() if one.until is not None]
        self._answers: dict[bytes, _Answer] = {}
        self._frames: dict[int, _Frame] = {}

    def recall(
        self, serial_number: int, not_after: int, kind: bytes, der: bytes, now: datetime
    ) -> CheckResult | None:
        """
        Return the verdict on a certificate, *der*, at *now*; None where it is not known.

        The others are what ``certificate_kind`` reads of it. The numbers are the module's.
        """
        answer = self._answers.get(kind)
        if answer is None:
            return None
        # 2. to 7.
        if (
            not answer.since < now < answer.until
            or serial_number in answer.trusted_serials
            or serial_number in self._denied_serials
            or (not_after < answer.until_seconds and now > time_at(not_after))
            or not answer.view.is_held
            or (answer.indexes and any(index.is_closed for index in answer.indexes))
        ):
            return None
        answer.view.is_used = True
        try:
            return answer.look_up(serial_number, der)
        except (CrlCheckError, OSError):
            return None  # path finds out what it means

    def remember(
        self,
        kind: bytes,
        certificate: CertificateFacts,
        view: Held,
        find: Callable[[], Found],
        now: datetime,
    ) -> None:
        """
        Keep the verdict for the kind of *certificate*, if others may have it.

        *find* returns what was found for this certificate by a path checker that has looked
        into nothing for others.
        """
        snapshot = view.snapshot
        assert snapshot is not None, "it is loaded"
        frame = self._frame(snapshot)
        times = frame.around(now)
        serial_number = certificate.serial_number
        if (
            times is None
            or now > certificate.not_after
            or serial_number in frame.trusted_serials
            or serial_number in self._denied_serials
        ):
            return
        result, unlisted, images = find()
        if unlisted is None:
            return
        finding, whose = finding_of(result)
        answer = _Answer(
            *times,
            _seconds_after(times[1]),
            view,
            frame.trusted_serials,
            unlisted.looks,
            finding,
            None if whose is certificate else result,
            unlisted.is_sole,
            images,
            tuple(_index_of_caller(image) for image in images if image.is_callers),
        )
        if len(self._answers) >= _MAX_KINDS:
            self._answers.clear()
        self._answers[kind] = answer
        if not view.is_held:  # another thread has dropped it meanwhile
            self.forget_dropped()

    def forget_dropped(self) -> None:
        """Forget what belongs to views that were dropped: it would keep them alive."""
        # What a thread adds meanwhile may be forgotten too.
        answers = list(self._answers.items())
        self._answers = {kind: answer for kind, answer in answers if answer.view.is_held}
        kept = {id(answer.view.snapshot) for answer in self._answers.values()}
        self._frames = {key: one for key, one in list(self._frames.items()) if key in kept}

    def _frame(self, snapshot: Snapshot) -> _Frame:
        frame = self._frames.get(id(snapshot))
        if frame is None or frame.snapshot is not snapshot:
            frame = self._frames[id(snapshot)] = _Frame(snapshot, self._policy, self._denial_ends)
        return frame


def _index_of_caller(image: CachedImage) -> RevocationIndex:
    index = image.index()
    assert isinstance(index, RevocationIndex), "callers open whole images"
    return index


def _seconds_after(moment: datetime) -> int:
    """Return a time not before *moment*, in whole seconds since 1970."""
    return (moment - EPOCH) // timedelta(seconds=1) + 1
