"""
Compile CRLs in a process of its own, and write their images to the store.

The parent speaks by pickled messages through pipes, so that neither the parent's ``__main__``
nor shared memory is needed, which AWS Lambda does not have. The process belongs to no
terminal, and ends when the parent does: then its pipe is at its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from crlcheck.catalog.signing_store import unsigned_store
from crlcheck.compiler.compile import CompileOptions
from crlcheck.errors import CrlCheckError, CrlError
from crlcheck.publisher.compiling import Compiled, CompileJob, compile_file
from crlcheck.stores import LocalStore, ObjectStore, S3Store
from crlcheck.x509.certificates import load_certificate, load_certificates
from crlcheck.x509.signers import Signers

NUM_WRITERS = 8
"""Images are written to a store on a server by so many threads at once."""

_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from crlcheck.publisher.compile_process import main; main()"
)


class Failure(NamedTuple):
    """An exception on its way to the other process."""

    kind: type[BaseException]
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Take an exception apart, because most of crlcheck's need more than their message."""
        try:
            pickle.dumps((type(error), error.args, vars(error)))
        except Exception:  # noqa: BLE001 - whatever its attributes are, its words arrive
            return cls(RuntimeError, (f"{type(error).__name__}: {error}",), {})
        arguments = error.args
        if isinstance(error, OSError) and error.filename is not None:
            arguments = (*error.args[:2], os.fspath(error.filename))
        return cls(type(error), arguments, dict(vars(error)))

    def error(self) -> BaseException:
        """Return the exception."""
        error = self.kind.__new__(self.kind, *self.arguments)
        error.args = self.arguments[:2] if issubclass(self.kind, OSError) else self.arguments
        error.__dict__.update(self.attributes)
        return error


class _Settings(NamedTuple):
    certificates: tuple[bytes, ...]
    options: CompileOptions
    max_crls: int
    directory: str
    store: bytes | None


CompiledFile = list["Compiled | Exception"]
"""The CRLs of a file, and at the end the error that kept it from being read further."""


class CompileProcess:
    """A process that compiles, and writes images. One thread uses it at a time."""

    def __init__(self, job: CompileJob, store: ObjectStore) -> None:
        assert job.directory is not None, "images of other processes lie in one directory"
        self._settings = _Settings(
            tuple(one.der for one in job.signers.certificates),
            job.options,
            job.max_crls,
            job.directory,
            _pickled(store),
        )
        self._certificates = job.signers.certificates
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def compile(self, paths: Sequence[Path]) -> list[CompiledFile]:
        """
        Compile the CRLs of each of some files.

        Raises:
            EOFError: the process has ended.
        """
        found: list[CompiledFile] = self._ask(("compile", list(paths)))
        return [[self._arrived(one) for one in file] for file in found]

    def write(
        self, files: Sequence[tuple[str, bytes | Path]]
    ) -> dict[str, CrlCheckError | OSError]:
        """
        Write *files* to the store under their names; return the errors by name.

        Raises:
            EOFError: the process has ended.
        """
        found: dict[str, Failure] = self._ask(("write", list(files)))
        return {name: _expected(failure.error()) for name, failure in found.items()}

    def are_self_signed(self, certificates: Sequence[bytes]) -> list[bool | None]:
        """
        Return ``x509.signatures.is_self_signed`` of each certificate, given as DER.

        Raises:
            EOFError: the process has ended.
        """
        found: list[bool | None] = self._ask(("are_self_signed", list(certificates)))
        return found

    def _ask(self, request: object) -> Any:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            status = self.close()
            raise EOFError(f"the process that compiles ended with status {status}") from error

    def _start(self) -> subprocess.Popen[bytes]:
        if self._is_killed:
            raise EOFError("the run has ended")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # which the next request finds out
            pickle.dump(self._settings, self._process.stdin)
            self._process.stdin.flush()
        return self._process

    def _arrived(self, one: Any) -> Compiled | Exception:
        if isinstance(one, Failure):
            error = one.error()
            assert isinstance(error, Exception)
            return error
        number, image, signer, seconds = one
        if isinstance(image, Failure):
            image = image.error()
        elif signer is not None:
            image = replace(image, signer=self._certificates[signer])
        return Compiled(number, image, seconds)

    def kill(self) -> None:
        """End the process at once, from another thread; what it was asked fails."""
        self._is_killed = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> int | None:
        """End the process, and return its exit status; the next request starts another one."""
        process, self._process = self._process, None
        if process is None:
            return None
        with process:
            process.kill()
        return process.returncode


def _expected(error: BaseException) -> CrlCheckError | OSError:
    if isinstance(error, CrlCheckError | OSError):
        return error
    raise error


def can_write(store: ObjectStore) -> bool:
    """Whether another process can open *store* as this one has."""
    return _pickled(store) is not None


def is_available() -> bool:
    """Whether this interpreter can start another one."""
    return bool(sys.executable)


def _pickled(store: ObjectStore) -> bytes | None:
    """Return a store pickled for another process, None where it exists in this process alone."""
    store = unsigned_store(store)  # only the root is signed
    if type(store) not in (LocalStore, S3Store):
        return None
    try:
        return pickle.dumps(store)
    except TypeError:  # it has a client of the caller's own
        return None


# ---- in the process -----------------------------------------------------------------------


def main() -> None:
    """Answer requests until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    # Whatever else is printed must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings: _Settings = pickle.load(requests)
    server = _Server(settings)
    try:
        while True:
            kind, what = pickle.load(requests)
            pickle.dump(server.answers[kind](what), answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        # The parent was killed, or it would have ended this process by itself.
        shutil.rmtree(settings.directory, ignore_errors=True)
        os._exit(0)  # what is left to write has no reader


class _Server:
    def __init__(self, settings: _Settings) -> None:
        self._job = CompileJob(
            Signers(load_certificates(settings.certificates)),
            settings.options,
            settings.max_crls,
            settings.directory,
            is_alone=False,
        )
        self._places = {der: place for place, der in enumerate(settings.certificates)}
        self._store: ObjectStore | None = None
        if settings.store is not None:
            self._store = pickle.loads(settings.store)
        self.answers: dict[str, Callable[[Any], object]] = {
            "compile": self.compiled,
            "write": self.written,
            "are_self_signed": self.are_self_signed,
        }

    def are_self_signed(self, certificates: Sequence[bytes]) -> list[bool | None]:
        """Return whether each certificate is self-signed."""
        # Only here, because it imports `cryptography`.
        from crlcheck.x509.signatures import is_self_signed

        return [is_self_signed(load_certificate(der)) for der in certificates]

    def compiled(self, paths: Sequence[Path]) -> list[list[Any]]:
        """Return what became of each CRL of each file."""
        return [self._compiled_file(path) for path in paths]

    def _compiled_file(self, path: Path) -> list[Any]:
        found: list[Any] = []
        try:
            for number, image, seconds in compile_file(path, self._job):
                if isinstance(image, CrlError):
                    found.append((number, Failure.of(image), None, seconds))
                    continue
                # The parent has the certificates, and to send one takes as long as to parse it.
                signer = None if image.signer is None else self._places[image.signer.der]
                found.append((number, replace(image, signer=None), signer, seconds))
        except Exception as error:  # noqa: BLE001 - the parent raises it
            found.append(Failure.of(error))
        return found

    def written(self, files: Sequence[tuple[str, bytes | Path]]) -> dict[str, Failure]:
        """Return the failures of writing images, by name."""
        assert self._store is not None, "it is asked only where it can open the store"
        failed = write_files(self._store, files)
        return {name: Failure.of(error) for name, error in failed.items()}


def write_files(
    store: ObjectStore,
    files: Sequence[tuple[str, bytes | Path]],
    is_stopped: Callable[[], bool] = lambda: False,
) -> dict[str, CrlCheckError | OSError]:
    """Write *files* under their names, several at once; return the errors by name."""
    failed: dict[str, CrlCheckError | OSError] = {}

    def write(file: tuple[str, bytes | Path]) -> None:
        name, content = file
        if is_stopped():
            return
        try:
            store.write(name, content)
        except (CrlCheckError, OSError) as error:
            failed[name] = error

    if len(files) < 2:
        for file in files:
            write(file)
    else:  # also into a directory: a disk makes many files safe together
        with ThreadPoolExecutor(min(NUM_WRITERS, len(files)), "crlcheck-write") as writers:
            for _ in writers.map(write, files):
                pass
    return failed
