"""Fetch several URLs and publish what they answer with, in any order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Unpack

from crlcheck.catalog.signing_store import signing
from crlcheck.compiler.source import DEFAULT_MAX_CRLS
from crlcheck.errors import CrlBaseMissingError, CrlCheckError, CrlError
from crlcheck.publisher.fetch import Fetched, FetchLimits, fetch
from crlcheck.publisher.publish import PublishOptions, WaitingDelta
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.types import PublishReport
from crlcheck.x509.certificates import CertificateSource, load_certificates

FetchResult = PublishReport | CrlCheckError | OSError | None
"""What becomes of a CRL: its report, or the error; None where its URL has not changed."""


def fetch_each(
    urls: Iterable[str],
    store: str | os.PathLike[str] | ObjectStore,
    limits: FetchLimits | None = None,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    max_crls: int = DEFAULT_MAX_CRLS,
    again: bool = False,
    **options: Unpack[PublishOptions],
) -> Iterator[tuple[str, FetchResult]]:
    """
    Fetch each URL once, publish its CRLs, and yield what became of each, by its name.

    A URL that fails keeps no other from being fetched. A delta CRL whose complete CRL is
    not published waits until all the others are done. *again* fetches also what has not
    changed. The other arguments are those of ``fetch`` and ``publish_each``.

    Raises:
        ValueError: a URL is none that ``check_url`` takes; those before it are published.
        CertificateError: *issuer* holds something that is not a certificate.
    """
    target = signing(open_for_writing(store), options.pop("sign_with", None))
    issuers = load_certificates(issuer)
    run = _Run()
    try:
        for url in dict.fromkeys(urls):
            try:
                with fetch(url, target, limits, now=options.get("now"), again=again) as fetched:
                    if fetched is None:
                        yield url, None
                        continue
                    answer = _Answer(fetched)
                    run.answers.append(answer)
                    for name, result in fetched.publish_or_hold(
                        issuer=issuers, max_crls=max_crls, **options
                    ):
                        if isinstance(result, WaitingDelta):
                            answer.waiting.append(result)
                        else:
                            yield name, run.noted(answer, name, result)
                    answer.is_whole = True
            except (CrlCheckError, OSError) as error:
                run.failed.append(url)
                yield url, error
        yield from run.publish_waiting()
        yield from run.remember()
    finally:
        run.close()


@dataclass(slots=True)
class _Answer:
    """An answer, the reports of its CRLs, and its delta CRLs that wait."""

    fetched: Fetched
    reports: list[PublishReport] = field(default_factory=list)
    waiting: list[WaitingDelta] = field(default_factory=list)
    num_refused: int = 0
    is_whole: bool = False


@dataclass(slots=True)
class _Run:
    """The answers of a run, and what failed in it."""

    answers: list[_Answer] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def noted(
        self, answer: _Answer, name: str, result: PublishReport | CrlError
    ) -> PublishReport | CrlError:
        """Note what became of a CRL, and return it."""
        if isinstance(result, PublishReport):
            answer.reports.append(result)
        else:
            answer.num_refused += 1
            self.failed.append(name)
        return result

    def publish_waiting(self) -> Iterator[tuple[str, FetchResult]]:
        """Publish the delta CRLs that wait, the lowest number first."""
        before = tuple(self.failed)
        waiting = [(delta, answer) for answer in self.answers for delta in answer.waiting]
        for delta, answer in sorted(waiting, key=lambda one: one[0].crl_number):
            try:
                result = self.noted(answer, delta.name, delta.publish())
            except (CrlCheckError, OSError) as error:
                answer.is_whole = False
                yield delta.name, error
                continue
            if isinstance(result, CrlBaseMissingError) and before:
                result.add_note(
                    f"its complete CRL may be that of {', '.join(before)}, which failed"
                )
            yield delta.name, result

    def remember(self) -> Iterator[tuple[str, FetchResult]]:
        """Remember the answers of which every CRL is published."""
        for answer in self.answers:
            if answer.is_whole and not answer.num_refused:
                try:
                    answer.fetched.remember(answer.reports)
                except (CrlCheckError, OSError) as error:
                    yield answer.fetched.url, error

    def close(self) -> None:
        """Remove the images of delta CRLs that were not published."""
        for answer in self.answers:
            for delta in answer.waiting:
                delta.close()
