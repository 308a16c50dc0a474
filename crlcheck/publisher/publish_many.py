"""
Publish many CRLs: compile them side by side, and swap the published set once for many.

The files are compiled as in ``side_by_side``. Compiled CRLs wait until a group is full, by
number, size or time, or until nothing is left to compile. Then the group is published by one
swap, as in ``publication``, while the next one is compiled. So what a run has published is
whole wherever it ends.

A result comes as soon as it is known: that of a CRL that cannot be compiled at once, that of
another one after the swap of its group. A delta CRL whose complete CRL is not published waits
for the groups that follow. Where sources come slowly, what is done is handed out between two of
them.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
import os
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Unpack

from crlcheck.catalog.history import Action
from crlcheck.catalog.signing_store import signing
from crlcheck.compiler.compile import CompileOptions, CrlSource
from crlcheck.compiler.source import DEFAULT_MAX_CRLS, BinaryReader
from crlcheck.compiler.worker import num_cores
from crlcheck.encoding.paths import open_file
from crlcheck.errors import CrlBaseMissingError, CrlError
from crlcheck.publisher import compile_process
from crlcheck.publisher.compiling import Compiled, CompileJob
from crlcheck.publisher.publication import KnownBefore, Publication
from crlcheck.publisher.publish import (
    DEFAULT_CLOCK_SKEW,
    DEFAULT_COMPARE_UP_TO,
    DEFAULT_GRACE,
    PublishOptions,
    log_warnings,
)
from crlcheck.publisher.rejections import clear_rejections, record_rejections
from crlcheck.publisher.rules import Offer, PublishRules, check_publishable
from crlcheck.publisher.side_by_side import Event, Job, Opened, SideBySide, StoppedError
from crlcheck.signing.root_signer import SignWith
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.times import clock_from, given_time
from crlcheck.types import PublishReport, several
from crlcheck.x509.certificates import CertificateSource, load_certificates
from crlcheck.x509.signers import Signers

MAX_GROUP = 10_000
"""A group has at most so many CRLs."""

MAX_GROUP_SIZE = 256 << 20
"""Bytes of images from which on a group is published."""

MAX_GROUP_SECONDS = 30.0
"""The time after which a compiled CRL is published, although others are being compiled."""

# Fewer paths are compiled sooner than processes have started.
_PATHS_FOR_PROCESSES = 64

# When so many compiled CRLs wait, their images are written although others are being compiled.
_PREPARED_AT_ONCE = 200

# Sources that are looked at before their turn comes, and for how long in a row, in seconds.
_LOOK_AHEAD = 1000
_LOOK_AHEAD_TIME = 0.2

DEFAULT_PER_HOST = 2
"""So many sources of one host are read at once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishSource:
    """
    A file for ``publish_many`` that is more than its path or its bytes.

    Args:
        source: a path, the bytes, a binary file, or a function that returns a context
            manager with a binary file. The function is called in another thread, when the
            turn of this file has come. None in the place of the file stands for one that has
            not changed.
        name: as *source_name* of ``publish_crl``; the default is the path.
        content_encoding: the Content-Encoding with which the file was delivered.
        allow_shrink, rebuild: as for ``publish_crl``; None for those of the call.
        host: of the sources of one host only a few are read at once.
    """

    source: CrlSource | Callable[[], contextlib.AbstractContextManager[BinaryReader | None]]
    name: str | None = None
    content_encoding: str | Callable[[], str] = ""
    allow_shrink: bool | None = None
    rebuild: bool | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SourceCrl:
    """
    Says which CRL a result of ``publish_many`` is about.

    ``given`` is the member of *sources*, ``number`` the CRL's number in that file, from 1.
    As text it is the name of the file, with ``#2`` and so on from the second CRL on.
    """

    given: object
    name: str
    number: int = 1

    def __str__(self) -> str:
        return self.name if self.number == 1 else f"{self.name}#{self.number}"


PublishResult = PublishReport | Exception | None
"""What became of a CRL: its report, or the error; None where its file has not changed."""


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """
    What became of all CRLs that ``publish_many`` was given.

    ``num_published`` counts those that are new in the published set, ``num_unchanged`` those
    that were published already or add nothing. ``refused`` has the CRLs that were refused
    and ``failed`` those that could not be read or published, by name. ``generation`` is
    that of the published set after the last swap, None where it was not read. ``seconds`` is
    how long all of it took.
    """

    num_published: int
    num_unchanged: int
    refused: Mapping[str, CrlError]
    failed: Mapping[str, Exception]
    generation: int | None
    seconds: float

    @property
    def num_refused(self) -> int:
        """How many CRLs were refused."""
        return len(self.refused)

    @property
    def num_failed(self) -> int:
        """How many files could not be read, and CRLs not published, although none was refused."""
        return len(self.failed)


def publish_many(
    sources: Iterable[CrlSource | PublishSource],
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuers: CertificateSource | Iterable[CertificateSource],
    jobs: int | None = None,
    on_result: Callable[[SourceCrl, PublishResult], None] | None = None,
    max_crls: int = DEFAULT_MAX_CRLS,
    max_group: int = MAX_GROUP,
    max_group_size: int = MAX_GROUP_SIZE,
    now: datetime | None = None,
    clock_skew: timedelta = DEFAULT_CLOCK_SKEW,
    issuers_from: str = "",
    allow_shrink: bool = False,
    rebuild: bool = False,
    grace: timedelta = DEFAULT_GRACE,
    keep: timedelta = timedelta(0),
    compare_up_to: int = DEFAULT_COMPARE_UP_TO,
    note: str = "",
    actor: str = "",
    sign_with: SignWith = None,
    **options: Unpack[CompileOptions],
) -> PublishSummary:
    """
    Verify, compile and publish the CRLs of many files, with one swap for many.

    A CRL that is refused, and a file that cannot be read, keep no other from being
    published. Every CRL of a PEM file is published. The CRLs that are swapped together are
    published as if one by one: complete CRLs first, the lower CRL number, the earlier
    thisUpdate and the fewer entries first. So a delta CRL finds its complete CRL, and of
    several CRLs of one scope the newest one stays. The report of one that another CRL of
    the same swap has replaced has no ``image_name``, because its image is not needed.

    Args:
        sources: the files, in any order: paths, bytes, binary files or ``PublishSource``. They
            are asked for in the thread of the caller, a thousand before their turn comes or
            as many as come at once. While one is awaited, no result is given.
        store: a store, or its directory or ``s3://`` URL.
        issuers: trusted issuer certificates, all of which become known to the checkers of
            this store.
        jobs: how many files are compiled at once, by default one for each core. From 64
            paths on they are compiled in processes of their own.
        on_result: called with each result as soon as it is known, in the thread of the
            caller: of a CRL that is refused by itself at once, of others after their swap.
        max_crls: how many CRLs one file may have, 0 for any.
        max_group: swap once for at most so many CRLs.
        max_group_size: swap as soon as the images that wait have so many bytes. Up to twice
            as many are in temporary files.
        now, clock_skew, issuers_from, allow_shrink, rebuild, grace, keep, compare_up_to, note,
            actor, sign_with, options: as for ``publish_crl``.

    Where this is interrupted (KeyboardInterrupt), a swap under way is finished and its
    results are given to *on_result*. All that was published is whole.

    Raises:
        CertificateError: *issuers* holds something that is not a certificate.
        TypeError: *sources* is a single one.
        ValueError: an argument is out of its range.
    """
    counts: Counter[str] = Counter()
    refused: dict[str, CrlError] = {}
    failed: dict[str, Exception] = {}
    started = time.monotonic()
    generation: int | None = None

    def note_result(crl: SourceCrl, result: PublishResult) -> None:
        nonlocal generation
        if isinstance(result, CrlError):
            refused[str(crl)] = result
        elif isinstance(result, Exception):
            failed[str(crl)] = result
        else:
            counts["published" if result is not None and result.published else "unchanged"] += 1
            if result is not None:
                generation = max(generation or 0, result.generation)
        if on_result is not None:
            on_result(crl, result)

    with Run(
        sources,
        store,
        issuers=issuers,
        jobs=jobs,
        max_crls=max_crls,
        max_group=max_group,
        max_group_size=max_group_size,
        now=now,
        clock_skew=clock_skew,
        issuers_from=issuers_from,
        allow_shrink=allow_shrink,
        rebuild=rebuild,
        grace=grace,
        keep=keep,
        compare_up_to=compare_up_to,
        note=note,
        actor=actor,
        sign_with=sign_with,
        **options,
    ) as run:
        is_told = False
        try:
            for crl, result in run.results():
                is_told = True
                note_result(crl, result)
                is_told = False
        except BaseException as error:
            if not (is_told and isinstance(error, Exception)):  # Ctrl-C, or another signal
                for crl, result in run.last_results():
                    note_result(crl, result)
            raise
    return PublishSummary(
        counts["published"],
        counts["unchanged"],
        MappingProxyType(refused),
        MappingProxyType(failed),
        generation,
        time.monotonic() - started,
    )


_Result = tuple[SourceCrl, PublishResult]


@dataclass(slots=True, eq=False)
class _File:
    """A file of a run, and what became of its CRLs so far."""

    given: object
    source: PublishSource
    name: str
    is_named: bool
    num_open: int = 0
    num_seen: int = 0
    has_ended: bool = False
    errors: dict[int, CrlError] = field(default_factory=dict)
    successes: set[int] = field(default_factory=set)

    def crl(self, number: int) -> SourceCrl:
        return SourceCrl(self.given, self.name, number)


class _Waiting(NamedTuple):
    file: _File
    number: int
    offer: Offer


class Run:
    """
    A run of ``publish_many``, whose arguments it takes.

    Use it as a context manager, which removes the temporary files. *on_settled* is called with
    each member of *sources* once the results of all its CRLs were taken.
    """

    def __init__(
        self,
        sources: Iterable[CrlSource | PublishSource],
        store: str | os.PathLike[str] | ObjectStore,
        *,
        issuers: CertificateSource | Iterable[CertificateSource],
        jobs: int | None = None,
        max_crls: int = DEFAULT_MAX_CRLS,
        max_group: int = MAX_GROUP,
        max_group_size: int = MAX_GROUP_SIZE,
        max_per_host: int = DEFAULT_PER_HOST,
        on_settled: Callable[[object], None] | None = None,
        now: datetime | None = None,
        clock_skew: timedelta = DEFAULT_CLOCK_SKEW,
        issuers_from: str | None = "",
        allow_shrink: bool = False,
        rebuild: bool = False,
        grace: timedelta = DEFAULT_GRACE,
        keep: timedelta = timedelta(0),
        compare_up_to: int = DEFAULT_COMPARE_UP_TO,
        note: str = "",
        actor: str = "",
        sign_with: SignWith = None,
        **options: Unpack[CompileOptions],
    ) -> None:
        self._sources = enumerate(several("sources", sources), 1)
        self._has_more = True
        jobs = num_cores() if jobs is None else jobs
        for name, value in (("jobs", jobs), ("max_group", max_group)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, found {value}")
        Action.of("publish", note=note, actor=actor)  # refuses them before a CRL is read
        self._store = signing(open_for_writing(store), sign_with)
        trusted = load_certificates(issuers)
        self._jobs = jobs
        self._max_group, self._max_group_size = max_group, max_group_size
        self._max_per_host = max_per_host
        self._on_settled = on_settled
        self._moment = moment = given_time(now)
        self._clock_skew = clock_skew
        self._defaults = allow_shrink, rebuild
        self._rules = PublishRules(
            clock=clock_from(moment),
            issuers=trusted,
            issuers_from=issuers_from or "",
            grace=max(grace, keep),
            compare_up_to=compare_up_to,
            note=note,
            actor=actor,
        )
        self._known = KnownBefore(trusted)
        self._compile_job = CompileJob(Signers(trusted), options, max_crls)
        self._files: dict[Job, _File] = {}
        self._waiting: list[_Waiting] = []
        self._held: list[_Waiting] = []  # delta CRLs without their complete CRL
        self._ready: deque[_Result] = deque()
        self._is_group_done = False
        self._oldest = 0.0
        self._size = 0
        self._num_jobs = 0
        self._num_prepared = 0  # of those that wait
        self._publishing: _Publishing | None = None
        self._ended: list[_File] = []
        self._temporary: str | None = None
        self._lanes: SideBySide | None = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, and remove the temporary files."""
        lanes, self._lanes = self._lanes, None
        try:
            if lanes is not None:
                lanes.stop()
            if self._publishing is not None:
                self._publishing.join()
            if lanes is not None:
                lanes.close()
            self._discard_prepared()
        finally:
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def results(self) -> Iterator[_Result]:
        """Yield the result of each CRL as soon as it is known."""
        lanes = self._start()
        while True:
            self._feed(lanes)
            if self._publishing is None:
                if self._is_due():
                    self._publish(lanes)
                elif self._is_compiled and not self._waiting:
                    if not self._held:
                        break
                    self._publish(lanes)
                elif len(self._waiting) >= self._num_prepared + _PREPARED_AT_ONCE:
                    self._prepare(lanes)
            lanes.hold(is_held=self._size >= 2 * self._max_group_size)
            self._wait(lanes)
            yield from self._taken()
            if self._is_group_done:  # only now, because the results are taken
                self._is_group_done = False
                self._record_ended()
        self._record_ended()

    def last_results(self) -> Iterator[_Result]:
        """After an interruption: finish the swap under way, and yield its results."""
        if self._lanes is not None:
            self._lanes.stop()
        if self._publishing is not None:
            self._publishing.join()
            self._note_published(is_last=False)
        yield from self._taken()
        self._record_ended()

    def _taken(self) -> Iterator[_Result]:
        while self._ready:
            yield self._ready.popleft()

    # ---- compiling -----------------------------------------------------------------

    def _start(self) -> SideBySide:
        # Inside of ``results``, so that nothing is begun before it is wanted.
        # Made by who first has an image for it, by a name that nobody can foresee.
        self._temporary = str(Path(tempfile.gettempdir(), f"crlcheck.{secrets.token_hex(16)}"))
        first = list(self._next_jobs(_LOOK_AHEAD))
        num_paths = sum(job.path is not None for job in first)
        jobs = self._jobs if self._has_more else min(self._jobs, max(len(first), 1))
        self._lanes = lanes = SideBySide(
            self._compile_job._replace(directory=self._temporary, is_alone=jobs == 1),
            self._store,
            jobs=jobs,
            has_processes=jobs > 1
            and num_paths >= _PATHS_FOR_PROCESSES
            and compile_process.is_available(),
            max_per_host=self._max_per_host,
        )
        for job in first:
            self._submit(lanes, job)
        return lanes

    def _feed(self, lanes: SideBySide) -> None:
        """Submit further files, so many that the threads have a choice of hosts."""
        for job in self._next_jobs(_LOOK_AHEAD - lanes.num_waiting):
            self._submit(lanes, job)

    def _next_jobs(self, at_most: int) -> Iterator[Job]:
        """Yield the next jobs, or as many as come in a short time, but at least one."""
        ends = time.monotonic() + _LOOK_AHEAD_TIME
        for _ in range(at_most):
            one = next(self._sources, None)
            if one is None:
                self._has_more = False
                return
            yield self._job(*one)
            if time.monotonic() >= ends:
                return

    def _submit(self, lanes: SideBySide, job: Job) -> None:
        self._num_jobs += 1
        lanes.submit(job)

    def _job(self, position: int, given: CrlSource | PublishSource) -> Job:
        source = given if isinstance(given, PublishSource) else PublishSource(source=given)
        what, path, opener = source.source, None, None
        if isinstance(what, str | os.PathLike):
            path = Path(what)
        else:
            opener = _opener(source)
        name = source.name or (f"source {position}" if path is None else str(path))
        is_named = source.name is not None or path is not None
        if source.content_encoding and path is not None:
            path, opener = None, _opener(source)
        job = Job(path, opener, source.host)
        self._files[job] = _File(given, source, name, is_named)
        return job

    # ---- results ---------------------------------------------------------------------

    def _wait(self, lanes: SideBySide) -> None:
        """Wait for what happens next, and note the results that it has."""
        timeout = None
        if self._has_more and lanes.num_waiting < _LOOK_AHEAD:
            timeout = 0.0  # the next source comes first, and may take its time
        elif self._waiting and self._publishing is None:
            timeout = max(0.0, self._oldest + MAX_GROUP_SECONDS - time.monotonic())
        with contextlib.suppress(queue.Empty):
            self._note(lanes.events.get(timeout=timeout))
            # A file is several events: they would heap up where each is noted between two files.
            for _ in range(lanes.events.qsize()):
                self._note(lanes.events.get_nowait())

    def _note(self, event: object) -> None:
        if event is self._publishing:
            self._note_published(is_last=self._is_compiled and not self._waiting)
        elif isinstance(event, BaseException):
            raise event
        elif isinstance(event, Event):
            self._note_compiled(event)

    def _note_compiled(self, event: Event) -> None:
        file = self._files[event.job]
        if event.compiled is None:
            self._num_jobs -= 1
            del self._files[event.job]
            file.has_ended = True
            if event.error is not None:
                file.num_seen += 1
                self._ready.append((file.crl(file.num_seen), event.error))
            elif event.is_unchanged:
                self._ready.append((file.crl(1), None))
            self._ended.append(file)
            return
        number, image, _ = event.compiled
        file.num_seen = number
        result: CrlError | None = image if isinstance(image, CrlError) else None
        if not isinstance(image, CrlError):
            try:
                check_publishable(image.metadata, self._moment, self._clock_skew)
            except CrlError as error:
                image.remove()
                result = error
        if result is not None:
            file.errors[number] = result
            self._ready.append((file.crl(number), result))
            return
        assert not isinstance(image, CrlError)
        self._offer(file, event.compiled, Offer(image))

    def _offer(self, file: _File, compiled: Compiled, offer: Offer) -> None:
        allow_shrink, rebuild = self._defaults
        source = file.source
        offer.source_name = str(file.crl(compiled.number)) if file.is_named else None
        offer.allow_shrink = allow_shrink if source.allow_shrink is None else source.allow_shrink
        offer.rebuild = rebuild if source.rebuild is None else source.rebuild
        offer.seconds["compile"] = compiled.seconds
        if not self._waiting:
            self._oldest = time.monotonic()
        file.num_open += 1
        self._waiting.append(_Waiting(file, compiled.number, offer))
        self._size += offer.compiled.report.image_size

    # ---- groups ----------------------------------------------------------------------

    @property
    def _is_compiled(self) -> bool:
        """Whether nothing is left to compile."""
        return self._num_jobs == 0 and not self._has_more

    def _is_due(self) -> bool:
        if not self._waiting:
            return False
        return (
            self._is_compiled
            or len(self._waiting) >= self._max_group
            or self._size >= self._max_group_size
            or time.monotonic() >= self._oldest + MAX_GROUP_SECONDS
        )

    def _publish(self, lanes: SideBySide) -> None:
        """Begin to publish what waits, in another thread."""
        group, self._waiting = self._waiting[: self._max_group], self._waiting[self._max_group :]
        self._num_prepared = max(0, self._num_prepared - len(group))
        group += self._held
        self._held = []
        self._oldest = time.monotonic()
        publication = self._publication(group, lanes)
        self._publishing = _Publishing(group, publication, lanes.events.put)

    def _prepare(self, lanes: SideBySide) -> None:
        """Begin to write images of CRLs that wait, in another thread."""
        new = self._waiting[self._num_prepared :]
        self._num_prepared = len(self._waiting)
        self._publishing = _Preparing([], self._publication(new, lanes), lanes.events.put)

    def _publication(
        self, group: Iterable[_Waiting], lanes: SideBySide | None = None
    ) -> Publication:
        offers = [waiting.offer for waiting in group]
        return Publication(self._store, offers, self._rules, known=self._known, helpers=lanes)

    def _discard_prepared(self) -> None:
        """Delete the images that were written for CRLs that are not published."""
        self._publication((*self._waiting, *self._held)).give_up()

    def _note_published(self, *, is_last: bool) -> None:
        """Note the results of the group that was published."""
        publishing, self._publishing = self._publishing, None
        if publishing is None:
            return
        publishing.join()
        reports = []
        for waiting in sorted(publishing.group, key=lambda one: one.offer.order):
            result = publishing.result_of(waiting.offer)
            if result is None:
                continue  # the run was ended
            if isinstance(result, CrlBaseMissingError) and not is_last:
                waiting.offer.result = None
                self._held.append(waiting)
                continue
            self._settle(waiting, result)
            if isinstance(result, PublishReport):
                reports.append(result)
            self._ready.append((waiting.file.crl(waiting.number), result))
        log_warnings(self._store, reports)
        self._is_group_done = bool(publishing.group)

    def _settle(self, waiting: _Waiting, result: PublishReport | Exception) -> None:
        """Note the result of a CRL, and remove its image."""
        file, offer = waiting.file, waiting.offer
        self._size -= offer.compiled.report.image_size
        offer.compiled.remove()
        file.num_open -= 1
        if isinstance(result, CrlError):
            file.errors[waiting.number] = result
        elif isinstance(result, PublishReport):
            file.successes.add(waiting.number)

    def _record_ended(self) -> None:
        """Write why the CRLs of files were refused, and remove what is said of earlier ones."""
        done = [file for file in self._ended if not file.num_open]
        self._ended = [file for file in self._ended if file.num_open]
        cleared, errors = [], {}
        for file in done:
            if self._on_settled is not None:
                self._on_settled(file.given)
            if file.is_named:
                cleared += [str(file.crl(number)) for number in sorted(file.successes)]
                errors.update(
                    {str(file.crl(number)): file.errors[number] for number in sorted(file.errors)}
                )
        clear_rejections(self._store, cleared)
        if errors:
            record_rejections(self._store, errors, self._moment, actor=self._rules.actor)


class _Publishing:
    """The publication of a group, in a thread of its own."""

    def __init__(
        self,
        group: list[_Waiting],
        publication: Publication,
        at_end: Callable[[_Publishing], None],
    ) -> None:
        self.group = group
        self._publication = publication
        self._at_end = at_end
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name="crlcheck-publish",
            daemon=True,
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            self._do(self._publication)
        finally:
            self._at_end(self)

    def _do(self, publication: Publication) -> None:
        try:
            publication.run()
        except StoppedError:
            publication.give_up()
        except Exception as error:  # noqa: BLE001 - it is the result of each CRL
            self._error = error

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def result_of(self, offer: Offer) -> PublishReport | Exception | None:
        """Return what became of a CRL; None where the run was ended before."""
        return self._error if offer.result is None else offer.result


class _Preparing(_Publishing):
    """Writes images for the publication of a group that is not complete yet."""

    def _do(self, publication: Publication) -> None:
        try:
            publication.prepare()
        except StoppedError:
            publication.give_up()
        except Exception as error:  # noqa: BLE001 - the publication itself will tell
            _log.info("no images were written ahead: %s", error)


def _opener(
    source: PublishSource,
) -> Callable[[], contextlib.AbstractContextManager[Opened]]:
    """Return what opens a source that is not only a path."""

    @contextlib.contextmanager
    def opened() -> Iterator[Opened]:
        what, encoding = source.source, source.content_encoding
        with contextlib.ExitStack() as stack:
            reader: BinaryReader | None
            if callable(what):
                reader = stack.enter_context(what())
            elif isinstance(what, str | os.PathLike):
                reader = stack.enter_context(open_file(what))
            elif isinstance(what, bytes | bytearray | memoryview):
                reader = io.BytesIO(what)
            elif isinstance(what, BinaryReader):
                reader = what
            else:
                raise TypeError(
                    f"a CRL is given as path, bytes-like or binary file, not {type(what).__name__}"
                )
            yield Opened(reader, encoding() if callable(encoding) else encoding)

    return opened


def publish_each(
    source: BinaryReader,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    source_name: str | None = None,
    max_crls: int = DEFAULT_MAX_CRLS,
    content_encoding: str = "",
    **options: Unpack[PublishOptions],
) -> Iterator[tuple[str, PublishReport | CrlError]]:
    """
    Publish each CRL of a file, one of DER or as many as a PEM file has.

    Yield the name of each CRL with its report, or with the error that refused it. A
    refused CRL keeps no other from being published. The first CRL has the name
    *source_name*, the second has ``#2`` after it, and so on. They are swapped together, as
    by ``publish_many``, so that they may come in any order.

    Args:
        source: a binary file.
        max_crls: how many CRLs it may have, 0 for any; see ``split_crls``.
        content_encoding: the Content-Encoding with which HTTP or S3 delivered the file;
            gzip is decoded.
        store, issuer, source_name, options: as for ``publish_crl``. *max_source_size*
            limits the whole file, packed and unpacked.

    Raises:
        CertificateError: *issuer* holds something that is not a certificate.
        StoreError: as for ``publish_crl``; CRLs of earlier results are published.
        OSError: from reading.
    """
    given = PublishSource(source=source, name=source_name, content_encoding=content_encoding)
    options.setdefault("issuers_from", source_name or "")
    with Run([given], store, issuers=issuer, jobs=1, max_crls=max_crls, **options) as run:
        # All of them belong to one swap, so that their order costs no time.
        for crl, result in sorted(run.results(), key=lambda one: one[0].number):
            if isinstance(result, PublishReport | CrlError):
                name = str(crl) if source_name is not None else str(crl).removeprefix(crl.name)
                yield name, result
            elif result is not None:
                raise result
