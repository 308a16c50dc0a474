"""Stand in for API Gateway: call the authorizer, apply its policy, keep an access log."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from cryptography import x509

from crlcheck.demo.apis import Api
from crlcheck.demo.loopback import serving, url_of
from crlcheck.demo.runtime_api import LambdaFunction

_AUTHORIZER = "lambda_authorizer.handler.handler"


@dataclass
class Gateway:
    """
    An API whose clients come through a TLS terminator, with an authorizer whose
    result is never cached. ``access_log`` has a record for each request, with the
    members of ``$context.authorizer`` that an access log can show.
    """

    url: str
    access_log: list[dict[str, Any]] = field(default_factory=list)


def access_log_line(record: Mapping[str, Any]) -> str:
    """Return a request's line in an access log of a usual format; ``-`` is nothing."""
    shown = (f"{name}={record.get(name, '-')}" for name in ("verdict", "cause", "crl_number"))
    return f"GET {record['path']} {record['status']} {' '.join(shown)}"


@contextlib.contextmanager
def gateway(
    api: Api, environ: Mapping[str, str], *, num_environments: int = 1
) -> Iterator[Gateway]:
    """
    Run the gateway. Its authorizer has that many execution environments, with the
    environment variables *environ*.

    The terminator passes a client's certificate on in ``X-Client-Certificate``, as
    escaped PEM. The API's backend answers with ``$context.authorizer``.
    """
    with contextlib.ExitStack() as running:
        settings = {"CRLCHECK_RESPONSE": api.response, **environ}
        free: queue.Queue[LambdaFunction] = queue.Queue()
        for _ in range(num_environments):
            free.put(running.enter_context(LambdaFunction(_AUTHORIZER, settings)))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pem = unquote(self.headers["X-Client-Certificate"])
                certificate = x509.load_pem_x509_certificate(pem.encode())
                event = api.make_event(certificate, self.path)
                function = free.get()  # an environment has one request at a time
                try:
                    given = function.invoke(event)
                finally:
                    free.put(function)
                answer = None if given.failed else api.read_answer(given.payload)
                # API Gateway answers 500 where the authorizer failed or gave nonsense.
                status = 500 if answer is None else 200 if answer.allowed else 403
                context = {} if answer is None else given.payload["context"]
                started.access_log.append({"path": self.path, "status": status, **context})
                body = json.dumps(context).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        started = Gateway(url_of(running.enter_context(serving(Handler))))
        yield started
