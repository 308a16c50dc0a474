"""
API Gateway as far as an authorizer sees it: events in, policies applied, an access log.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from support.events import authorizer_event
from support.runtime_api import LambdaFunction

HANDLER = "lambda_authorizer.handler.handler"


@dataclass
class Gateway:
    """
    A REST API or an HTTP API (format 2.0) with an authorizer, whose result is never
    cached. ``access_log`` has a record for each request, with what an access log
    can show of ``$context.authorizer``.
    """

    url: str
    shape: str
    access_log: list[dict[str, Any]] = field(default_factory=list)


@contextlib.contextmanager
def gateway(
    shape: str, environ: Mapping[str, str], *, num_environments: int = 1
) -> Iterator[Gateway]:
    """Run the gateway; its authorizer has so many execution environments."""
    with contextlib.ExitStack() as running:
        free: queue.Queue[LambdaFunction] = queue.Queue()
        for _ in range(num_environments):
            free.put(running.enter_context(LambdaFunction(HANDLER, environ)))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pem = unquote(self.headers["X-Client-Certificate"])
                event = authorizer_event(shape, pem)
                arn_member = "routeArn" if shape == "http_2_0" else "methodArn"
                arn = event[arn_member].rpartition("/GET/")[0] + f"/GET{self.path}"
                event[arn_member] = arn
                function = free.get()  # an environment has one request at a time
                try:
                    answer = function.invoke(event)
                finally:
                    free.put(function)
                status = _status(answer.payload, answer.failed, arn)
                context = {} if answer.failed else answer.payload["context"]
                api.access_log.append({"path": self.path, "status": status, **context})
                body = json.dumps(context).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        api = Gateway(f"http://127.0.0.1:{server.server_port}", shape)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _status(payload: Any, failed: bool, arn: str) -> int:
    """What API Gateway answers: 500 where the authorizer failed or gave nonsense."""
    if failed:
        return 500
    if "isAuthorized" in payload:
        return 200 if payload["isAuthorized"] is True else 403
    try:
        (statement,) = payload["policyDocument"]["Statement"]
        resource: str = statement["Resource"]
        applies = arn.startswith(resource.removesuffix("*"))
        scalars = all(isinstance(value, str | int | bool) for value in payload["context"].values())
    except (KeyError, TypeError, ValueError):
        return 500
    if not scalars or not payload["principalId"]:
        return 500
    return 200 if applies and statement["Effect"] == "Allow" else 403
