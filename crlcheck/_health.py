"""Tell whether a checker could clear anybody, and what keeps it from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from crlcheck._images import HeldImage
from crlcheck._path import Judge
from crlcheck._reading import untimely
from crlcheck._snapshot import Snapshot
from crlcheck._wording import crl_text, name_text
from crlcheck._wording import time_text as _time
from crlcheck.scope import IssuerKey
from crlcheck.types import (
    Policy,
    ProblemKind,
    RevocationStatus,
    StatusProblem,
    UndeterminedCause,
)


def examine(
    snapshot: Snapshot | None,
    store_problems: Sequence[StatusProblem],
    *,
    now: datetime,
    policy: Policy,
) -> tuple[bool, tuple[StatusProblem, ...]]:
    """
    Return whether any certificate could be decided at *now*, and all that is wrong.

    It could where the set may be answered from and one complete CRL at least is in
    its time, or in the policy's grace, its image was not refused, and the issuers
    above it can be judged. Nothing is loaded to find that out.
    """
    if snapshot is None:
        return False, tuple(store_problems)
    problems = list(store_problems)
    issuers = snapshot.table.issuers
    judge = Judge(snapshot, policy, now, loads=False)
    undecided: dict[IssuerKey, StatusProblem | None] = {}
    num_complete = num_deciding = 0
    for base, delta in zip(snapshot.images, snapshot.deltas, strict=True):
        if base.metadata.is_delta:  # an index handed over, which lies beside its complete CRL too
            continue
        num_complete += 1
        found = list(_of_scope(base, delta, now, policy))
        problems += found
        key = issuers.key(base.metadata.issuer, base.metadata.verifier_key_hash or b"")
        if key is not None and key not in undecided:
            undecided[key] = _above(judge, key, base)
        num_deciding += not found and (key is None or undecided[key] is None)
    if not num_complete:
        detail = "the set has no complete CRL"
        problems.append(StatusProblem(ProblemKind.NOTHING_PUBLISHED, detail, is_error=True))
    if snapshot.catalog is not None:
        for issuer in issuers.unverified():
            detail = f"nobody verified that {name_text(issuer.subject)} is self-signed"
            problems.append(StatusProblem(ProblemKind.UNVERIFIED_ISSUER, detail))
    problems += [problem for problem in undecided.values() if problem is not None]
    may_answer = not any(one.is_error for one in store_problems)
    problems.sort(key=lambda one: not one.is_error)
    return may_answer and num_deciding > 0, tuple(problems)


def _above(judge: Judge, key: IssuerKey, image: HeldImage) -> StatusProblem | None:
    """Return why no certificate of an issuer can be cleared for what is above it, if so."""
    result = judge.judge_issuer(key)
    if result is None or result.status is not RevocationStatus.UNDETERMINED:
        return None  # a revoked issuer is an answer, too
    detail = f"certificates of {name_text(image.metadata.issuer)} cannot be cleared: {result}"
    return StatusProblem(ProblemKind.PATH_UNDETERMINED, detail, is_error=True, scope=image.scope)


def _of_scope(
    base: HeldImage, delta: HeldImage | None, now: datetime, policy: Policy
) -> Iterator[StatusProblem]:
    """Yield why a complete CRL and the delta beside it clear nobody."""
    found = untimely(base.metadata, None if delta is None else delta.metadata, now, policy)
    if found is not None:
        cause, metadata = found
        if cause is UndeterminedCause.STALE:
            kind, since = ProblemKind.STALE, f"has been stale since {_time(metadata.next_update)}"
        else:
            kind = ProblemKind.NOT_YET_VALID
            since = f"is not valid before {_time(metadata.this_update)}"
        detail = f"{crl_text(metadata)} {since}"
        yield StatusProblem(kind, detail, is_error=True, scope=base.scope)
    for image in (base, delta):
        if image is not None and image.error is not None and not image.is_open:
            detail = f"the image of {crl_text(image.metadata)} could not be loaded: {image.error}"
            yield StatusProblem(
                ProblemKind.IMAGE_UNAVAILABLE, detail, is_error=True, scope=base.scope
            )
