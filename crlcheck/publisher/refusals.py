"""
Leave a trace in the history of each CRL that was refused.

A status object says why the last CRL of a source was refused, and the next success removes
it (``rejections``). A trace stays, until clean-up deletes it with the rest of the history. A
refusal that repeats the last one of its source leaves none, so that an hourly run does not
fill the store.

The traces of a source lie together, the latest first: ``history/refused/`` with a hash of
the source, then the time and a hash of what is said in the name.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crlcheck.catalog.history import HISTORY_PREFIX
from crlcheck.encoding.secrets import without_secrets
from crlcheck.encoding.strict_json import (
    canonical_json,
    members_of,
    parse_json,
    take,
    take_time,
    typed,
)
from crlcheck.errors import CrlCheckError
from crlcheck.remedies import remedy_of
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text

REFUSED_PREFIX = f"{HISTORY_PREFIX}refused/"

_FORMAT = 1
_LATEST = 10**15 - 1
"""Milliseconds since 1970, far in the future: names count down from here."""
_NAME = re.compile(
    rf"{REFUSED_PREFIX}(?P<source>[0-9a-f]{{32}})/(?P<time>[0-9]{{15}})-(?P<same>[0-9a-f]{{32}})\.json"
)
# Of more sources all names are listed at once.
_FEW_SOURCES = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """
    The trace of a CRL that was refused.

    ``cause`` is the word that ``rejection_cause`` returns, ``detail`` the error's message.
    ``same`` is a hash of what two refusals for the same reason have in common: all but the
    time of the run. It is kept in the name.
    """

    at: datetime
    source: str
    cause: str
    detail: str
    remedy: str = ""
    actor: str = ""
    same: str = ""

    @classmethod
    def of(
        cls, source: str, error: Exception, cause: str, *, at: datetime, actor: str = ""
    ) -> Refusal:
        """Return the trace of a CRL of *source* that *error* refused, without secrets."""
        detail = str(error)
        now = getattr(error, "now", None)  # of a CRL that is too early, or too late
        lasting = detail.replace(time_text(now), "") if isinstance(now, datetime) else detail
        return cls(
            at=at.astimezone(UTC),
            source=without_secrets(source),
            cause=cause,
            detail=without_secrets(detail),
            remedy=remedy_of(error) or "",
            actor=without_secrets(actor),
            same=_digest(f"{cause} {lasting}"),
        )

    def to_bytes(self) -> bytes:
        """Return the trace as canonical JSON."""
        members = {
            "format": _FORMAT,
            "at": time_text(self.at.replace(microsecond=0)),
            "source": self.source,
            "cause": self.cause,
            "detail": self.detail,
            "remedy": self.remedy,
            "actor": self.actor,
        }
        return canonical_json({name: value for name, value in members.items() if value})

    @classmethod
    def from_bytes(cls, body: bytes) -> Refusal:
        """Read what ``to_bytes`` gave. Raises ValueError with the place."""
        members = members_of(parse_json(body), "the refusal")
        found = take(members, "format", int)
        if found != _FORMAT:
            raise ValueError(f"format: expected {_FORMAT}, found {found}")

        def text(name: str) -> str:
            return typed(members.get(name, ""), str, name)

        return cls(
            at=take_time(members, "at", "the refusal"),
            source=text("source"),
            cause=take(members, "cause", str),
            detail=text("detail"),
            remedy=text("remedy"),
            actor=text("actor"),
        )


def record_refusals(store: ObjectStore, refusals: Sequence[Refusal]) -> None:
    """
    Leave the traces of refusals, but of those that say the same as the last one of their source.

    The names tell that, so nothing is read. A failure is only logged.
    """
    try:
        last = _last_of(store, {_digest(one.source) for one in refusals})
    except (CrlCheckError, OSError) as error:
        _log.warning("no trace of refused CRLs was left in %s: %s", store.url, error)
        return
    for one in refusals:
        source = _digest(one.source)
        if last.get(source) == one.same:
            continue
        number = _LATEST - int((one.at - _EPOCH) / timedelta(milliseconds=1))
        try:
            store.write(f"{REFUSED_PREFIX}{source}/{number:015d}-{one.same}.json", one.to_bytes())
        except (CrlCheckError, OSError) as error:
            _log.warning("no trace of %s was left in %s: %s", one.source, store.url, error)


def _last_of(store: ObjectStore, sources: Set[str]) -> dict[str, str]:
    """Return what the last trace of each source says, by the hashes of both."""
    found: dict[str, str] = {}
    prefixes = [REFUSED_PREFIX]
    if len(sources) <= _FEW_SOURCES:
        prefixes = [f"{REFUSED_PREFIX}{source}/" for source in sorted(sources)]
    for prefix in prefixes:
        for name in store.names(prefix):
            match = _NAME.fullmatch(name)
            if match is not None and match["source"] in sources:
                found.setdefault(match["source"], match["same"])
                if prefix != REFUSED_PREFIX:
                    break
    return found


def refused_at(name: str) -> datetime | None:
    """Return when the trace of this name was left, None for the name of another object."""
    found = _NAME.fullmatch(name)
    return None if found is None else _EPOCH + timedelta(milliseconds=_LATEST - int(found["time"]))


def refusals_since(store: ObjectStore, since: datetime | None) -> Iterator[Refusal | str]:
    """
    Yield the traces since a time, the latest first; of one that cannot be read, its name.

    Only their names are held in memory.

    Raises:
        StoreError: the store does not answer, or cannot list its objects.
    """
    found = [(at, name) for name in store.names(REFUSED_PREFIX) if (at := refused_at(name))]
    for at, name in sorted(found, reverse=True):
        if since is not None and at < since:
            return
        try:
            yield Refusal.from_bytes(store.read(name).body)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except ValueError:
            yield name


def delete_old_refusals(store: ObjectStore, before: datetime) -> None:
    """Delete the traces that were left before a time. A failure is only logged."""
    for name in store.names(REFUSED_PREFIX):
        at = refused_at(name)
        if at is not None and at < before:
            try:
                store.delete(name)
            except (CrlCheckError, OSError) as error:
                _log.warning("%s was not deleted from %s: %s", name, store.url, error)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
