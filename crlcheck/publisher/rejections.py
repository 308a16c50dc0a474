"""
Write and read status objects: each has the reason why a source's last CRL was refused.

A source with several CRLs (``…#2`` and so on) has one status object, about the first CRL
that was refused. The objects lie under ``status/`` in the store, named by a digest of the
source. They are for operators. No publication and no check depends on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crlcheck.catalog.descriptions import crl_text, some_of
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.encoding.secrets import without_secrets
from crlcheck.encoding.strict_json import members_of, parse_json, take, take_time, typed
from crlcheck.errors import (
    CertificateError,
    CrlBaseMissingError,
    CrlCheckError,
    CrlExpiredError,
    CrlNotYetValidError,
    CrlOrderUnknownError,
    CrlRollbackError,
    CrlShrinkError,
    CrlSignatureError,
    FetchError,
    MalformedCrlError,
    ReadOnlyStoreError,
    StoreError,
    UnsupportedCrlError,
)
from crlcheck.publisher.operator import change_store
from crlcheck.publisher.refusals import Refusal, record_refusals
from crlcheck.remedies import remedy_of
from crlcheck.stores import ObjectStore, open_for_writing, open_store
from crlcheck.times import time_text

KEPT = timedelta(days=30)
"""The age at which clean-up deletes a status object."""

_PREFIX = "status/"
_MAX_NAMED = 5
_CAUSES: dict[type[CrlCheckError], str] = {
    MalformedCrlError: "malformed",
    UnsupportedCrlError: "unsupported",
    CrlSignatureError: "signature",
    CrlNotYetValidError: "not_yet_valid",
    CrlOrderUnknownError: "order_unknown",  # before its base, which is less special
    CrlRollbackError: "rollback",
    CrlShrinkError: "shrink",
    CrlExpiredError: "expired",
    CrlBaseMissingError: "base_missing",
    CertificateError: "issuer_certificate",
    StoreError: "store",
    FetchError: "fetch",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rejection:
    """
    Why the last CRL of a source was refused.

    ``cause`` is a stable word, such as ``"rollback"``; ``serving`` names the
    CRLs of the same source that go on being used. ``remedy`` says what can be done, ""
    where there is nothing to say.
    """

    source: str
    cause: str
    detail: str
    at: datetime
    serving: tuple[str, ...]
    remedy: str = ""

    def members(self) -> dict[str, Any]:
        """Return it as JSON members."""
        return {
            "source": self.source,
            "cause": self.cause,
            "detail": self.detail,
            "remedy": self.remedy,
            "at": time_text(self.at),
            "serving": list(self.serving),
        }


def rejection_cause(error: Exception) -> str:
    """Return the stable word for the error by which a CRL was refused."""
    return next((word for kind, word in _CAUSES.items() if isinstance(error, kind)), "other")


def read_rejections(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    failed: Callable[[str, StoreError], None] | None = None,
) -> list[Rejection]:
    """
    Return the sources whose last CRL was refused, by name.

    With *failed* status objects that cannot be read are left out, and it is called with the
    name and the error of each.

    Raises:
        StoreError: the store does not answer, or a status object cannot be read.
    """
    target = open_store(store)
    found: list[Rejection] = []
    for name in target.names(_PREFIX):
        try:
            found.append(_read(target.read(name).body))
        except FileNotFoundError:
            continue  # cleared meanwhile
        except ValueError as error:
            unreadable = StoreError(f"{target.url}/{name} cannot be read: {error}")
            if failed is None:
                raise unreadable from error
            failed(name, unreadable)
    return sorted(found, key=lambda rejection: rejection.source)


def known_rejections(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    failed: Callable[[str, StoreError], None] | None = None,
) -> list[Rejection] | None:
    """
    Return what ``read_rejections`` does; None for a store whose objects cannot be listed.

    *failed* and the errors are as for ``read_rejections``.
    """
    try:
        return read_rejections(store, failed=failed)
    except ReadOnlyStoreError:
        return None


def record_rejections(
    store: ObjectStore, errors: Mapping[str, Exception], now: datetime, *, actor: str = ""
) -> None:
    """
    Write the status objects of sources whose CRLs were refused, and traces (step 6).

    The published set is read once for all of them. A failure is only logged, because
    *errors* matter more.
    """
    record_refusals(
        store,
        [
            Refusal.of(source, error, rejection_cause(error), at=now, actor=actor)
            for source, error in errors.items()
        ],
    )
    wanted: dict[str, Exception] = {}
    try:
        wanted = {
            source: error
            for source, error in errors.items()
            # Another one may be there about another CRL of the same file.
            if _number(source) == 1 or _recorded(store, source) is None
        }
        serving: dict[str, list[str]] = {source: [] for source in wanted}
        if serving:
            held, _ = read_set(store)
            # The reason of a refusal is worth more than the list of what stays published.
            for record in held.scopes(failed=lambda error: _log.info("%s", error)):
                if record.source in serving:
                    serving[record.source] += [crl_text(one.metadata) for one in record.images()]
    except (CrlCheckError, OSError) as failure:
        names = some_of([*errors], _MAX_NAMED)
        _log.warning("status of %s was not written to %s: %s", names, store.url, failure)
        return
    written: set[str] = set()
    for source, error in wanted.items():
        if _name(source) not in written:  # the first CRL of a file that was refused
            written.add(_name(source))
            _record(store, source, error, now, serving[source])


def _record(
    store: ObjectStore, source: str, error: Exception, now: datetime, serving: Sequence[str]
) -> None:
    body = {
        "source": source,
        "cause": rejection_cause(error),
        "detail": str(error),
        "remedy": remedy_of(error) or "",
        "at": time_text(now.astimezone(UTC).replace(microsecond=0)),
        "serving": list(serving),
    }
    try:
        store.write(_name(source), json.dumps(body, indent=2, sort_keys=True).encode("ascii"))
    except (CrlCheckError, OSError) as failure:
        _log.warning("status of %s was not written to %s: %s", source, store.url, failure)


def clear_rejection(store: ObjectStore, source: str) -> None:
    """
    Delete the status object of a source whose CRL was published (step 6).

    It stays where it is about another CRL of the same file and this one is not the first.
    """
    try:
        if _number(source) > 1 and _recorded(store, source) != source:
            return
        store.delete(_name(source))
    except (CrlCheckError, OSError) as failure:
        _log.warning("status of %s was not removed from %s: %s", source, store.url, failure)


def clear_rejections(store: ObjectStore, sources: Sequence[str]) -> None:
    """Do as ``clear_rejection`` for several sources; those without one cost nothing."""
    try:
        present = set(store.names(_PREFIX)) if sources else set()
    except (CrlCheckError, OSError) as failure:
        _log.warning("no status was removed from %s: %s", store.url, failure)
        return
    for source in sources:
        if _name(source) in present:
            clear_rejection(store, source)


def dismiss_rejection(
    store: str | os.PathLike[str] | ObjectStore,
    source: str,
    *,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Take a source off those whose last CRL was refused; return the catalog's generation.

    Args:
        store: as for ``publish_crl``; something must be published in it.
        source: the name of the source, as ``read_rejections`` has it.
        note: why, for whoever reads the history.
        actor: who does it, for the history; at most 200 characters.
        now: the time, UTC; by default the clock's.

    It is for a source of which no CRL will be published, such as a file that is no CRL. The
    trace of the refusal stays in the history. A refusal that comes meanwhile stays.

    Raises: as ``override_scope``; ValueError where no CRL of that source is refused.
    """
    target = open_for_writing(store)
    name = _name(source)
    try:
        body: bytes | None = target.read(name).body
    except FileNotFoundError:
        body = None
    if body is None or _source_in(body) != source:
        raise ValueError(
            f"refusal of {source!r:.200}: there is none, 'crlcheck refusal list' shows those "
            "there are"
        )
    generation = change_store(
        target,
        f"the refusal of {without_secrets(source)} is dismissed",
        lambda catalog: catalog,  # the next generation says so, and changes nothing else
        Action.of("dismiss_refusal", note=note, actor=actor, source=source),
        part=PublishedSet.settings,
        now=now,
    )
    with contextlib.suppress(FileNotFoundError):  # another one did it
        if target.read(name).body == body:
            target.delete(name)
    return generation


def delete_old_rejections(store: ObjectStore, now: datetime) -> None:
    """Delete the status objects older than ``KEPT``, and those that cannot be read."""
    for name in store.names(_PREFIX):
        try:
            is_old = now - _read(store.read(name).body).at > KEPT
        except FileNotFoundError:
            continue  # cleared meanwhile
        except ValueError:
            is_old = True
        if is_old:
            store.delete(name)


def _recorded(store: ObjectStore, source: str) -> str | None:
    """Return the source in the status object for the same file, None if there is none."""
    try:
        return _source_in(store.read(_name(source)).body)
    except FileNotFoundError:
        return None


def _source_in(body: bytes) -> str | None:
    """Return the source that a status object is about, None for one that cannot be read."""
    try:
        return _read(body).source
    except ValueError:
        return None


_ONE_OF_SEVERAL = re.compile(r"#([1-9][0-9]{0,8})\Z")


def _number(source: str) -> int:
    """Return the number of a source's CRL in its file."""
    match = _ONE_OF_SEVERAL.search(source)
    return 1 if match is None else int(match[1])


def _name(source: str) -> str:
    whole = _ONE_OF_SEVERAL.sub("", source)
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_PREFIX}{digest[:32]}.json"


def _read(body: bytes) -> Rejection:
    members = members_of(parse_json(body), "the status")
    return Rejection(
        source=take(members, "source", str),
        cause=take(members, "cause", str),
        detail=take(members, "detail", str),
        at=take_time(members, "at", ""),
        serving=tuple(str(one) for one in take(members, "serving", list)),
        remedy=typed(members.pop("remedy", ""), str, "remedy"),
    )
