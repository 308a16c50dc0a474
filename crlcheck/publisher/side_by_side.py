"""
Compile the CRLs of many files side by side.

Each of a few threads takes a file, compiles its CRLs and reports them as events, which
one thread of the caller reads. Where there are many paths, each of the threads has a process
that does the work, because compiling a small CRL is mostly Python's work.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import functools
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar

from crlcheck.compiler.source import BinaryReader
from crlcheck.errors import CrlCheckError, StoreUnavailableError
from crlcheck.publisher.compile_process import (
    NUM_WRITERS,
    CompileProcess,
    can_write,
    write_files,
)
from crlcheck.publisher.compiling import Compiled, CompileJob, compile_file
from crlcheck.publisher.publication import NoHelpers
from crlcheck.stores import ObjectStore
from crlcheck.types import CertificateFacts

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

# Paths that go to a process at once, and images or certificates.
_PATHS_AT_ONCE = 16
_ITEMS_AT_ONCE = 32

# Bytes of a file that is large.
_LARGE = 16 << 20

# In seconds: between two requests to one host.
_LONGEST_JITTER = 0.2


class Opened(NamedTuple):
    """What a file that is read in this process turned out to be; no reader: nothing new."""

    reader: BinaryReader | None
    content_encoding: str = ""


@dataclass(slots=True, eq=False)
class Job:
    """
    A file to compile: by its ``path``, or by ``open``, which is called when its turn comes.

    Of the jobs with the same ``host`` only a few are done at once.
    """

    path: Path | None
    open: Callable[[], contextlib.AbstractContextManager[Opened]] | None = None
    host: str | None = None


class Event(NamedTuple):
    """
    What happened to a job: a CRL was compiled or refused, or the job has ended.

    A job ends with None, or with the exception that ended it. ``is_unchanged`` is set
    where its file had nothing new.
    """

    job: Job
    compiled: Compiled | None = None
    error: Exception | None = None
    is_unchanged: bool = False


class StoppedError(Exception):
    """The run was ended before this was done."""


class SideBySide:
    """
    Runs jobs in *jobs* threads. ``events`` has what became of them, in the order it happened.

    It also does what ``publication.Helpers`` asks for.
    """

    def __init__(
        self,
        work: CompileJob,
        store: ObjectStore,
        *,
        jobs: int,
        has_processes: bool,
        max_per_host: int,
    ) -> None:
        # Its caller adds events of its own.
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._work = work
        self._jobs = jobs
        self._max_per_host = max_per_host
        self._changed = threading.Condition()
        self._waiting: collections.deque[Job] = collections.deque()
        self._requests: collections.deque[_Request[Any]] = collections.deque()
        self._large = threading.Lock()
        self._num_at_host: collections.Counter[str] = collections.Counter()
        self._is_held = False
        self._is_stopped = False
        self._writes_in_processes = has_processes and can_write(store)
        self._processes = [CompileProcess(work, store) for _ in range(jobs if has_processes else 0)]
        self._helpers: ThreadPoolExecutor | None = None
        self._threads = [
            threading.Thread(
                # What the caller's thread has set, such as how much is logged, holds here.
                target=contextvars.copy_context().run,
                args=(self._run, self._processes[number] if has_processes else None),
                name=f"crlcheck-compile-{number}",
                daemon=True,
            )
            for number in range(jobs)
        ]
        for thread in self._threads:
            thread.start()

    # ---- for the caller ------------------------------------------------------------

    @property
    def num_waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Add a job."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()

    def hold(self, *, is_held: bool) -> None:
        """Begin no further job, or go on: images may take too much room."""
        if is_held != self._is_held:
            with self._changed:
                self._is_held = is_held
                self._changed.notify_all()

    def stop(self) -> None:
        """Begin nothing further, and end the processes."""
        with self._changed:
            self._is_stopped = True
            self._waiting.clear()
            for request in self._requests:
                request.fail(StoppedError("the run was ended"))
            self._requests.clear()
            self._changed.notify_all()
        for process in self._processes:
            process.kill()

    def close(self) -> None:
        """Stop, and wait for the threads."""
        self.stop()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.close()
        if self._helpers is not None:
            self._helpers.shutdown(cancel_futures=True)

    # ---- publication.Helpers ---------------------------------------------------------

    def write(
        self, store: ObjectStore, files: Sequence[tuple[str, bytes | Path]]
    ) -> dict[str, CrlCheckError | OSError]:
        """
        As Helpers.write.

        Raises:
            StoppedError: the run was ended.
        """
        self._check()
        if not self._writes_in_processes:
            failed = write_files(store, files, lambda: self._is_stopped)
            self._check()
            return failed
        failed = {}
        for part in self._asked(_written, files):
            failed.update(part)
        return failed

    def each(self, function: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
        """As Helpers.each."""
        if len(items) < 2:
            return [function(item) for item in items]
        if self._helpers is None:
            self._helpers = ThreadPoolExecutor(NUM_WRITERS, "crlcheck-publish")
        runs = [functools.partial(contextvars.copy_context().run, function, one) for one in items]
        return list(self._helpers.map(_call, runs))

    def are_self_signed(self, certificates: Sequence[CertificateFacts]) -> list[bool | None]:
        """
        As Helpers.are_self_signed.

        Raises:
            StoppedError: the run was ended.
            OSError: a process has ended.
        """
        self._check()
        if not self._processes:
            return NoHelpers().are_self_signed(certificates)
        ders = [one.der for one in certificates]
        return [one for part in self._asked(_self_signed, ders) for one in part]

    def _asked(
        self,
        ask: Callable[[Sequence[_Item], CompileProcess], _Found],
        items: Sequence[_Item],
    ) -> list[_Found]:
        """Ask the processes for parts of *items*, and return the answers in order."""
        parts = [
            _Request(functools.partial(ask, items[start : start + _ITEMS_AT_ONCE]))
            for start in range(0, len(items), _ITEMS_AT_ONCE)
        ]
        with self._changed:
            self._check()
            self._requests.extend(parts)
            self._changed.notify_all()
        found = [part.answer() for part in parts]
        self._check()
        return found

    def _check(self) -> None:
        if self._is_stopped:
            raise StoppedError("the run was ended")

    # ---- in the threads ----------------------------------------------------------------

    def _run(self, process: CompileProcess | None) -> None:
        try:
            while True:
                request, jobs = self._take(has_process=process is not None)
                if request is not None:
                    assert process is not None
                    request.put_to(process)
                elif not jobs:
                    return
                elif process is not None and jobs[0].path is not None:
                    self._compile_paths(process, jobs)
                else:
                    self._compile(jobs[0])
        except BaseException as error:  # noqa: BLE001 - raised again by who reads the events
            self.events.put(error)

    def _take(self, *, has_process: bool) -> tuple[_Request[Any] | None, list[Job]]:
        """Wait for something to do; return nothing at the end."""
        with self._changed:
            while not self._is_stopped:
                if has_process and self._requests:
                    return self._requests.popleft(), []
                jobs = [] if self._is_held else self._next_jobs(many=has_process)
                if jobs:
                    return None, jobs
                self._changed.wait()
        return None, []

    def _next_jobs(self, *, many: bool) -> list[Job]:
        job = next((one for one in self._waiting if self._may_begin(one)), None)
        if job is None:
            return []
        self._waiting.remove(job)
        if job.host is not None:
            self._num_at_host[job.host] += 1
        found = [job]
        share = min(_PATHS_AT_ONCE, len(self._waiting) // (2 * self._jobs)) if many else 0
        while job.path is not None and len(found) <= share and self._waiting[0].path is not None:
            found.append(self._waiting.popleft())
        return found

    def _may_begin(self, job: Job) -> bool:
        return job.host is None or self._num_at_host[job.host] < self._max_per_host

    def _compile(self, job: Job) -> None:
        """Compile the CRLs of a file in this thread."""
        is_unchanged, failure = False, None
        try:
            if job.path is not None:
                self._report(job, compile_file(job.path, self._work))
            else:
                assert job.open is not None, "a job has a path or can be opened"
                with job.open() as (reader, content_encoding):
                    is_unchanged = reader is None
                    if reader is not None:
                        with _Gated(reader, self._large) as gated:
                            found = compile_file(
                                gated, self._work, content_encoding=content_encoding
                            )
                            self._report(job, found)
        except Exception as error:  # noqa: BLE001 - it is the job's result
            failure = error
        self.events.put(Event(job, None, failure, is_unchanged))
        if job.host is not None:
            if any(other.host == job.host for other in list(self._waiting)):
                time.sleep(random.uniform(0, _LONGEST_JITTER))
            with self._changed:
                self._num_at_host[job.host] -= 1
                self._changed.notify_all()

    def _report(self, job: Job, found: Iterable[Compiled]) -> None:
        for compiled in found:
            self.events.put(Event(job, compiled))
            if self._is_stopped:
                return

    def _compile_paths(self, process: CompileProcess, jobs: Sequence[Job]) -> None:
        """Compile the CRLs of some files in the process."""
        paths = [job.path for job in jobs if job.path is not None]
        try:
            files = process.compile(paths)
        except EOFError as error:
            if self._is_stopped:
                return
            if len(jobs) > 1:  # find out which of them it was
                for job in jobs:
                    self._compile_paths(process, [job])
                return
            failure = OSError(f"{paths[0]}: {error}")
            failure.__cause__ = error
            files = [[failure]]
        for job, file in zip(jobs, files, strict=True):
            last: Exception | None = None
            for one in file:
                if isinstance(one, Exception):
                    last = one
                else:
                    self.events.put(Event(job, one))
            self.events.put(Event(job, None, last))


def _call(function: Callable[[], _Found]) -> _Found:
    return function()


class _Gated:
    """
    A file that waits before it is read further than ``_LARGE`` while another large one is read.

    So the memory of a service is needed for one large CRL only, however many are compiled
    at once.
    """

    def __init__(self, file: BinaryReader, gate: threading.Lock) -> None:
        self._file = file
        self._gate = gate
        self._size = 0
        self._is_inside = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_inside:
            self._gate.release()

    def read(self, size: int, /) -> bytes | None:
        if self._size >= _LARGE and not self._is_inside:
            self._gate.acquire()
            self._is_inside = True
        chunk = self._file.read(size)
        self._size += len(chunk or b"")
        return chunk


class _Request(Generic[_Found]):
    """What a process is asked, and its answer."""

    def __init__(self, ask: Callable[[CompileProcess], _Found]) -> None:
        self._ask = ask
        self._answer: Future[_Found] = Future()

    def put_to(self, process: CompileProcess) -> None:
        try:
            self._answer.set_result(self._ask(process))
        except Exception as error:  # noqa: BLE001 - raised by who waits
            self._answer.set_exception(error)

    def fail(self, error: Exception) -> None:
        self._answer.set_exception(error)

    def answer(self) -> _Found:
        return self._answer.result()


def _written(
    files: Sequence[tuple[str, bytes | Path]], process: CompileProcess
) -> dict[str, CrlCheckError | OSError]:
    try:
        return process.write(files)
    except EOFError as error:
        failure = StoreUnavailableError(f"images were not written: {error}")
        return {name: failure for name, _ in files}


def _self_signed(certificates: Sequence[bytes], process: CompileProcess) -> list[bool | None]:
    try:
        return process.are_self_signed(certificates)
    except EOFError as error:
        raise OSError(f"no process told which issuers are self-signed: {error}") from error
