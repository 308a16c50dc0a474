"""Open the inputs of a command: a store, or a CRL, with a progress bar on a terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.earlier import EarlierStore, store_at
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.signing_store import SigningStore
from crlcheck.checker.root_demands import RootDemands
from crlcheck.cli.options import given_demands, given_signer
from crlcheck.cli.progress import counting, is_shown
from crlcheck.cli.status import about, warn
from crlcheck.cli.when import split_target
from crlcheck.compiler.compile import CrlSource
from crlcheck.encoding.kinds import LOOKED_AT, recognise
from crlcheck.encoding.paths import source_name
from crlcheck.errors import EarlierSetError, StoreError
from crlcheck.settings import looks_like_store
from crlcheck.stores import ObjectStore, open_store
from crlcheck.stores.rehearsal import RehearsalStore

STANDARD_INPUT = Path("-")
_log = logging.getLogger(__name__)
_AFTERWARDS = "verifying and writing"
_READ_ALREADY = "crlcheck.standard_input_read"


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Report the library's ValueError as wrong usage of the command."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def opening() -> Iterator[None]:
    """Report as wrong usage what names no store, or a generation that is yet to come."""
    try:
        with usage():
            yield
    except EarlierSetError as error:
        if error.found == "later":
            raise click.UsageError(str(error)) from error
        raise


def open_target(target: str) -> ObjectStore:
    """
    Open a store named on the command line, also as STORE@WHEN; a malformed name is wrong usage.

    Raises:
        EarlierSetError: the store cannot be shown as it was then.
    """
    location, when = split_target(target)
    with opening():
        store = open_store(location)
        if when is not None:
            store = store_at(store, when)
    _log.info("the store is %s", store.url)
    return store


def time_of(store: ObjectStore) -> datetime:
    """Return the time by which a store is judged: that of a store as it was is past."""
    return store.at if isinstance(store, EarlierStore) else datetime.now(UTC)


def demands_on(store: ObjectStore) -> dict[str, Any]:
    """
    Return what the root of a store must satisfy.

    An earlier root has no signature any more: that of the present one is verified here. A
    minimum generation does not count for one that was asked for.
    """
    demands = given_demands()
    if not isinstance(store, EarlierStore):
        return demands
    if "root_keys" in demands:
        with about(store.url, StoreError):
            store.verify_present(demands["root_keys"], now=datetime.now(UTC))
    return {}


def read_published_set(store: ObjectStore) -> PublishedSet:
    """
    Read the root of the store's published set, which satisfies what the options demand.

    Raises:
        RootSignatureError: it is signed by none of the keys that are accepted.
        StoreError: it cannot be read.
    """
    demands = RootDemands(**demands_on(store))
    with about(store.url, StoreError):
        published, _ = demands.read(store.read(CATALOG_NAME).body, store, datetime.now(UTC))
        demands.check_generation(published)
        return published


def open_for_change(target: str, *, dry_run: bool = False) -> ObjectStore:
    """
    Open a store that the command changes, whose root is signed as the options say.

    With *dry_run* it seems to change, and does not.
    """
    store, signer = open_target(target), given_signer()
    if dry_run:
        store = RehearsalStore(store)
    if signer is None:
        return store
    _log.info("the root is signed by %s", ", ".join(key.key_id for key in signer.accepted))
    return SigningStore(store, signer)


def read_published(store: ObjectStore) -> Catalog:
    """Read the store's whole catalog."""
    with about(store.url, StoreError):
        return read_published_set(store).everything()


def read_input(path: Path) -> bytes:
    """
    Return the contents of a file, or of standard input for ``-``.

    It is read at once, because it may be a pipe.
    """
    _log.info("reading %s", input_name(path))
    return _standard_input().read() if path == STANDARD_INPUT else path.read_bytes()


@contextlib.contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Give a file, or standard input for ``-``, to read it bit by bit."""
    if path == STANDARD_INPUT:
        yield _standard_input()
    else:
        with path.open("rb") as file:
            yield file


def input_name(path: Path) -> str:
    """Return what *path* is called in messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def source_names(paths: Iterable[Path]) -> str:
    """Return the names under which a store notes several files and directories as a source."""
    return ", ".join("-" if path == STANDARD_INPUT else source_name(path) for path in paths)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise OSError("standard input is closed")
    meta = click.get_current_context().meta
    if meta.get(_READ_ALREADY):
        raise click.UsageError('standard input is read once: "-" stands for one file only')
    meta[_READ_ALREADY] = True
    return sys.stdin.buffer


def files_of(
    paths: Iterable[Path], why_not: Callable[[Path], str | None] = lambda _: None
) -> list[Path]:
    """
    Return *paths* with the files of each directory in its place, ordered by name.

    A directory is read one level deep. What is not read there is named in a warning:
    directories, hidden files, what is no file, and that for which *why_not* has a reason.
    Nothing tells a file that does not belong there from a damaged one, so every other file
    must be what the command takes.

    Raises:
        click.UsageError: a directory has no file to read.
        OSError: a directory cannot be read.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = []
        for one in sorted(path.iterdir()):
            is_file = one.is_file() and not one.name.startswith(".")
            reason = why_not(one) if is_file else _why_not(one)
            if reason is None:
                files.append(one)
            else:
                warn(f"{one}: not read: {reason}")
        if not files:
            raise click.UsageError(f"{path}: there is no file to read in this directory")
        found += files
    return found


# What lies beside CRLs, and what no CRL turns into by an accident.
_NO_CRLS = {
    "certificate",
    "certificate_request",
    "catalog",
    "image",
    "key_store",
    "openssl_database",
    "pdf",
    "picture",
    "pkcs12",
    "private_key",
    "public_key",
}


# The blocks of PEM that have CRLs in them, whatever stands before them.
_MAY_HAVE_CRLS = re.compile(rb"BEGIN (?:X509 CRL|PKCS|CMS)")


def crl_files_of(paths: Iterable[Path]) -> list[Path]:
    """
    Return *paths* as ``files_of``, without the files of directories that are no CRLs.

    A file that is named as a CRL is never left out, nor one that may be a damaged CRL.
    """
    return files_of(paths, _why_no_crl)


def _why_no_crl(path: Path) -> str | None:
    if path.suffix.lower() == ".crl":
        return None
    try:
        with path.open("rb") as file:
            head = file.read(LOOKED_AT + 1)
    except OSError:
        return None  # the run says why it is not read
    kind = recognise(head[:LOOKED_AT])
    if kind is None or kind.name not in _NO_CRLS:
        return None
    if kind.may_continue and (len(head) > LOOKED_AT or _MAY_HAVE_CRLS.search(head)):
        return None
    return f"it is {kind.text}"


def _why_not(path: Path) -> str:
    if path.is_dir():
        return "it is a directory in a directory, which is named by itself if it is meant"
    if path.is_symlink() and not path.exists():
        return "it is a link to nothing"
    return "it is hidden" if path.name.startswith(".") else "it is no regular file"


def issuer_sources(paths: Iterable[Path]) -> list[Path | bytes]:
    """Return the issuer certificates that files, directories and standard input hold."""
    return [read_input(path) if path == STANDARD_INPUT else path for path in files_of(paths)]


def is_store(target: str) -> bool:
    """Whether *target* is a store's URL or directory, or STORE@WHEN, rather than a file."""
    location, _ = split_target(target)
    return looks_like_store(location) or Path(location).is_dir()


@contextlib.contextmanager
def open_crl(path: Path) -> Iterator[CrlSource]:
    """
    Give the CRL to compile: *path* itself, or standard input for ``-``.

    On a terminal, standard error shows how much has been read.
    """
    _log.info("reading %s", input_name(path))
    if path == STANDARD_INPUT:
        with counting(f"reading {input_name(path)}") as shown:
            yield shown.reader(_standard_input(), _AFTERWARDS)
    elif is_shown():
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            with counting(f"reading {path}", size) as shown:
                yield shown.reader(file, _AFTERWARDS)
    else:
        yield path
