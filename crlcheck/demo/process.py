"""Run modules in processes of their own, as servers and Lambda functions are."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, Self

_PATIENCE = 10.0  # seconds to end after its input was closed


class DemoError(Exception):
    """A part of the demo did not run; the message has its output."""


class ModuleProcess:
    """
    Runs ``python -m <module> <arguments>``.

    The module must write a line of JSON when it is ready, and answer each line with
    one. It must end when its standard input is closed, so that it ends with this
    process, however that ends.

    Use it as a context manager. ``greeting`` is the first line.
    """

    def __init__(self, module: str, *arguments: str, environ: Mapping[str, str]) -> None:
        self._module = module
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._environ = dict(environ)
        self.greeting: Any = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            self._process = stack.enter_context(
                subprocess.Popen(
                    self._command,
                    env=self._environ,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    text=True,
                )
            )
            stack.callback(self._end)
            self.greeting = self._read()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def process_id(self) -> int:
        """The system's number for the process."""
        return self._process.pid

    def ask(self, request: object) -> Any:
        """
        Send one line of JSON and return the answer.

        Raises:
            DemoError: the process ended instead.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading tells why
            self._process.stdin.write(f"{json.dumps(request)}\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise DemoError(f"{self._module} ended early and wrote: {self._log.read().strip()}")
        return json.loads(line)

    def _end(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        except BaseException:
            self._process.kill()  # interrupted while waiting: nothing stays behind
            raise
