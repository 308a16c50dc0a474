"""
S3 for tests: moto's server in a process of its own, on a free port.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crlcheck.demo.s3_server import aws_environment

_REGION = "us-east-1"  # the one in which a bucket is made without naming a region


@dataclass(frozen=True)
class S3Environment:
    """
    A fresh bucket on the server.

    ``client`` is a boto3 S3 client; ``variables`` are the environment variables
    that lead any other AWS client, in this process or another, to the server.
    """

    endpoint: str
    client: Any
    bucket: str
    variables: dict[str, str]


def environment_variables(endpoint: str) -> dict[str, str]:
    """What must be in the environment for AWS clients to use *endpoint* and no other."""
    return {**aws_environment(endpoint), "AWS_DEFAULT_REGION": _REGION}


def make_client(endpoint: str, service: str = "s3") -> Any:
    """Return a boto3 client of *service* at *endpoint*."""
    import boto3

    make: Any = boto3.client  # its stubs want the service as a literal
    return make(
        service,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name=_REGION,
    )


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Run the server and give its endpoint; it also ends when this process is killed."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                endpoint = process.stdout.readline().strip()
                if not endpoint:
                    process.wait()
                    log.seek(0)
                    raise RuntimeError(f"moto's server did not start:\n{log.read()}")
                yield endpoint
            finally:
                process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()


def main() -> None:
    """Serve until standard input is closed; the first line of output is the endpoint."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()

    def serve(environ: Any, start_response: Callable[..., Any]) -> Any:
        # S3 checks a condition and stores in one step, moto in two.
        with one_at_a_time:
            return application(environ, start_response)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, serve, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
