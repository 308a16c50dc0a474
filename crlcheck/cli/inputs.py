"""Open the inputs of a command: a store, or a CRL, with a progress bar on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from crlcheck.catalog.catalog import CATALOG_NAME, Catalog
from crlcheck.cli.status import about
from crlcheck.cli.text import console
from crlcheck.compiler.compile import CrlSource
from crlcheck.errors import StoreError
from crlcheck.stores import ObjectStore, open_store

STANDARD_INPUT = Path("-")


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Report the library's ValueError as wrong usage of the command."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def open_target(target: str) -> ObjectStore:
    """Open a store named on the command line; a malformed name is wrong usage."""
    with usage():
        return open_store(target)


def read_published(store: ObjectStore) -> Catalog:
    """Read the store's catalog."""
    with about(store.url, StoreError):
        return Catalog.from_bytes(store.read(CATALOG_NAME).body)


def is_store(target: str) -> bool:
    """Whether *target* is a store's URL or directory, rather than a file."""
    return "://" in target or Path(target).is_dir()


@contextlib.contextmanager
def open_crl(path: Path) -> Iterator[CrlSource]:
    """
    Give the CRL to compile: *path* itself, or standard input for ``-``.

    On a terminal, standard error shows how much has been read.
    """
    watched = sys.stderr is not None and sys.stderr.isatty()
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise OSError("standard input is closed")
        with _counted(sys.stdin.buffer, None, watched=watched) as source:
            yield source
    elif watched:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            with _counted(file, size, watched=True) as source:
                yield source
    else:
        yield path


@contextlib.contextmanager
def _counted(file: BinaryIO, size: int | None, *, watched: bool) -> Iterator[CrlSource]:
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, console=console(sys.stderr), transient=True, disable=not watched
    ) as progress:
        task = progress.add_task("reading", total=size)
        yield _CountedReader(file, lambda length: progress.advance(task, length))


class _CountedReader:
    """A binary file that reports how much of it was read."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(size)
        self._advance(len(chunk))
        return chunk
