"""Fetch several URLs side by side, and publish what they answer with, in any order."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Unpack
from urllib.parse import urlsplit

from crlcheck.compiler.source import DEFAULT_MAX_CRLS, BinaryReader
from crlcheck.errors import CrlBaseMissingError, CrlCheckError, CrlError
from crlcheck.publisher.fetch import Fetched, FetchLimits, check_url, fetch
from crlcheck.publisher.publish import PublishOptions
from crlcheck.publisher.publish_many import DEFAULT_PER_HOST, PublishSource, Run, SourceCrl
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.types import PublishReport, several
from crlcheck.x509.certificates import CertificateSource, load_certificates

FetchResult = PublishReport | Exception | None
"""What becomes of a CRL: its report, or the error; None where its URL has not changed."""

DEFAULT_FETCH_JOBS = 8
"""So many URLs are fetched at once."""


def fetch_each(
    urls: Iterable[str],
    store: str | os.PathLike[str] | ObjectStore,
    limits: FetchLimits | None = None,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    jobs: int = DEFAULT_FETCH_JOBS,
    max_per_host: int = DEFAULT_PER_HOST,
    max_crls: int = DEFAULT_MAX_CRLS,
    again: bool = False,
    **options: Unpack[PublishOptions],
) -> Iterator[tuple[str, FetchResult]]:
    """
    Fetch each URL once, publish its CRLs, and yield what became of each, by its name.

    URLs are fetched side by side, up to *jobs* at once and *max_per_host* of one host, with
    a short random pause between two of them. What they answer with is swapped together, as
    by ``publish_many``, so that they may come in any order. A URL that fails keeps no other
    from being fetched. *again* fetches also what has not changed. The other arguments are
    those of ``fetch`` and ``publish_each``.

    Raises:
        ValueError: a URL is none that ``check_url`` takes; nothing is fetched.
        CertificateError: *issuer* holds something that is not a certificate.
    """
    wanted = [check_url(url) for url in dict.fromkeys(several("urls", urls))]
    target, issuers = open_for_writing(store), load_certificates(issuer)
    answers = _Answers(target, limits, options.get("now"), again=again)
    run = Run(
        map(answers.source, wanted),
        target,
        issuers=issuers,
        jobs=min(jobs, max(len(wanted), 1)),
        max_per_host=max_per_host,
        max_crls=max_crls,
        on_settled=answers.remember,
        **options,
    )
    with run:
        for crl, result in run.results():
            yield answers.noted(crl, result), result
        yield from answers.unremembered


class _Answers:
    """The answers of a run, and what failed in it."""

    def __init__(
        self, store: ObjectStore, limits: FetchLimits | None, now: datetime | None, *, again: bool
    ) -> None:
        self._store = store
        self._limits = limits
        self._now = now
        self._again = again
        self._answers: dict[str, _Answer] = {}
        self._failed: list[str] = []
        self.unremembered: list[tuple[str, FetchResult]] = []

    def source(self, url: str) -> PublishSource:
        """Return a source that fetches *url* when its turn comes."""
        # A body that was remembered is fetched again only if its image is gone or damaged.
        return PublishSource(
            source=functools.partial(self._opened, url),
            name=url,
            rebuild=True,
            host=urlsplit(url).hostname,
        )

    @contextlib.contextmanager
    def _opened(self, url: str) -> Iterator[BinaryReader | None]:
        with fetch(url, self._store, self._limits, now=self._now, again=self._again) as fetched:
            if fetched is not None:
                self._answers[url] = _Answer(fetched)
            yield None if fetched is None else fetched.body

    def noted(self, crl: SourceCrl, result: FetchResult) -> str:
        """Note what became of a CRL; return the name to report it by."""
        name, answer = str(crl), self._answers.get(crl.name)
        if isinstance(result, Exception):
            if isinstance(result, CrlBaseMissingError) and self._failed:
                failed = ", ".join(self._failed)
                result.add_note(f"its complete CRL may be that of {failed}, which failed")
            elif not isinstance(result, CrlError):
                name = crl.name  # it is the URL that failed
            self._failed.append(name)
            if answer is not None:
                answer.has_failed = True
        elif result is not None and answer is not None:
            answer.reports.append(result)
        return name

    def remember(self, given: object) -> None:
        """Remember the answer of a URL of which every CRL is published."""
        assert isinstance(given, PublishSource)
        answer = self._answers.pop(given.name or "", None)
        if answer is not None and not answer.has_failed:
            try:
                answer.fetched.remember(answer.reports)
            except (CrlCheckError, OSError) as error:
                self.unremembered.append((answer.fetched.url, error))


@dataclass(slots=True)
class _Answer:
    """An answer, the reports of its CRLs, and whether one of them was not published."""

    fetched: Fetched
    reports: list[PublishReport] = field(default_factory=list)
    has_failed: bool = False
