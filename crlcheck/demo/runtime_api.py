"""
A stub of the Lambda Runtime API, to run a handler under the real runtime client.

``awslambdaric`` polls ``/2018-06-01/runtime/invocation/next`` for events and posts
each answer back. Here the events come from the demo or a test, and the function
runs in a process of its own, as on Lambda.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crlcheck.demo.process import DemoError

_PATH = "/2018-06-01/runtime/"
_PATIENCE = 60.0  # seconds: a busy machine starts interpreters slowly


@dataclass(frozen=True)
class Answer:
    """A post of the runtime client: its path and its JSON."""

    path: str
    payload: Any

    @property
    def failed(self) -> bool:
        """Whether it is an error rather than a response."""
        return self.path.endswith("/error")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[bytes | None] = queue.Queue()
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.before_restore: Callable[[], None] = lambda: None


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Hand out the next event, once there is one."""
        if self.path.endswith("/restore/next"):
            self.server.before_restore()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        event = self.server.events.get()
        if event is None:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(event)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 60) * 1000)))
        self.send_header(
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:eu-central-1:111122223333:function:under-test",
        )
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-65500000-0123456789abcdef01234567")
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        """Take an answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.answers.put(Answer(self.path.removeprefix(_PATH), json.loads(body)))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing: a test reads the function's log, not this server's."""


class LambdaFunction:
    """
    Runs *handler*, such as ``"preprocessor.handler.handler"``, in its own process.

    ``environ`` is the whole environment of the process, as Lambda's is. Use it
    as a context manager; ``log`` is the function's output. *before_restore* is
    called where SnapStart would continue from a snapshot. *interpreter* is the command
    that runs Python, this one by default.
    """

    def __init__(
        self,
        handler: str,
        environ: Mapping[str, str],
        *,
        before_restore: Callable[[], None] | None = None,
        interpreter: Sequence[str] = (sys.executable, "-P"),
    ) -> None:
        self._handler = handler
        self._interpreter = tuple(interpreter)
        self._environ = dict(environ)
        self._server = _Server()
        if before_restore is not None:
            self._server.before_restore = before_restore
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> LambdaFunction:
        self._thread.start()
        self._output = tempfile.TemporaryFile()
        host, port = self._server.server_address[:2]
        self._process = subprocess.Popen(
            [*self._interpreter, "-m", "awslambdaric", self._handler],
            env={**self._environ, "AWS_LAMBDA_RUNTIME_API": f"{host!s}:{port}"},
            cwd=Path(tempfile.gettempdir()),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait()
        self._server.events.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._output.close()

    def invoke(self, event: object) -> Answer:
        """
        Send one event and wait for its answer.

        Raises:
            DemoError: the function ended instead, or gave none in time.
        """
        self._server.events.put(json.dumps(event).encode())
        return self.next_answer()

    def next_answer(self) -> Answer:
        """Wait for the runtime client's next post, such as an error at import."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                return self._server.answers.get(timeout=0.1)
            except queue.Empty:
                if self._process.poll() is not None and self._server.answers.empty():
                    break
        raise DemoError(f"{self._handler} gave no answer; it wrote:\n{self.log}")

    @property
    def log(self) -> str:
        """The function's output so far."""
        # pread, because the process writes at the offset that a seek would move.
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()
