"""
Show on a terminal how far a run is, while it reads, uploads, downloads or works.

Everything is written to standard error and is gone when it is done. Nothing is written
where standard error is no terminal or a dumb one, nor with ``--json`` or ``--quiet``.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from crlcheck.cli.output import output
from crlcheck.cli.text import console
from crlcheck.compiler.source import BinaryReader


def is_shown() -> bool:
    """Whether this run shows how far it is."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return is_terminal and output().shows_text and os.environ.get("TERM", "dumb") != "dumb"


class Bytes:
    """Shows bytes that were read or copied, and then that what follows is under way."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, size: int) -> None:
        """Count *size* more bytes."""
        self._progress.advance(self._task, size)

    def update(self, done: int, total: int) -> None:
        """Set how many bytes of how many are done."""
        self._progress.update(self._task, completed=done, total=total)

    def reader(self, file: BinaryReader, then: str) -> BinaryReader:
        """Return *file* with its reads counted; after its end the words are *then*."""

        def at_end() -> None:
            self._progress.update(self._task, description=then, total=None)

        return _CountedReader(file, self.advance, at_end)


@contextlib.contextmanager
def counting(words: str, total: int | None = None) -> Iterator[Bytes]:
    """Show *words* and how many of *total* bytes are done; None where that is not known."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with _progress(*columns) as progress:
        yield Bytes(progress, progress.add_task(words, total=total))


def _counted() -> tuple[ProgressColumn, ...]:
    """Return the columns that show how many of how many are done."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )


@contextlib.contextmanager
def counting_things(words: str) -> Iterator[Callable[[int, int], None]]:
    """Show *words* and how many things of how many are done; give what sets both numbers."""
    with _progress(*_counted()) as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Told(Protocol):
    """Takes the progress off the terminal where a result *is_told*, and counts what *is_done*."""

    def __call__(
        self, *, is_done: bool, is_told: bool
    ) -> contextlib.AbstractContextManager[None]: ...


@contextlib.contextmanager
def counting_results(words: str, total: int) -> Iterator[_Told]:
    """Show *words* and how many of *total* are done, while results are told."""
    with _progress(*_counted()) as progress:
        task = progress.add_task(words, total=total)

        @contextlib.contextmanager
        def told(*, is_done: bool, is_told: bool) -> Iterator[None]:
            with paused(progress) if is_told else contextlib.nullcontext():
                yield
            if is_done:
                progress.advance(task)

        yield told


@contextlib.contextmanager
def working_on_one() -> Iterator[_Told]:
    """As ``counting_results``, where there is nothing to count."""

    @contextlib.contextmanager
    def told(**_: bool) -> Iterator[None]:
        yield

    yield told


@contextlib.contextmanager
def working(words: str) -> Iterator[Progress]:
    """
    Show *words* and the time that has passed, for what has no size.

    Nothing may be written to standard output meanwhile, unless it is stopped.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with _progress(*columns) as progress:
        progress.add_task(words, total=None)
        yield progress


@contextlib.contextmanager
def paused(progress: Progress) -> Iterator[None]:
    """Take *progress* off the terminal while something else is written there."""
    progress.stop()
    yield
    progress.start()


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(
        *columns,
        console=console(sys.stderr),
        transient=True,
        disable=not is_shown(),
        # Standard output may be a file, and must get what is meant for it.
        redirect_stdout=False,
    )


class _CountedReader:
    """A binary file that reports how much of it was read."""

    def __init__(
        self, file: BinaryReader, advance: Callable[[int], None], at_end: Callable[[], None]
    ) -> None:
        self._file = file
        self._advance = advance
        self._at_end = at_end

    def read(self, size: int, /) -> bytes | None:
        chunk = self._file.read(size)
        if chunk:
            self._advance(len(chunk))
        else:
            self._at_end()
        return chunk
