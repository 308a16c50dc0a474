"""
Run moto's S3 server on a free port of this machine, as long as standard input is
open. The first line of output is the endpoint, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def clean_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment *inherited* without the variables that could lead an AWS
    client elsewhere: the user's credentials, profiles, endpoints and proxies.
    """
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("AWS_", "CRLCHECK_")) and not name.lower().endswith("_proxy")
    }


def aws_environment(endpoint: str) -> dict[str, str]:
    """Return the variables that make AWS clients use *endpoint*, with invalid credentials."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextlib.contextmanager
def environment(environ: Mapping[str, str]) -> Iterator[None]:
    """Use *environ* as this process's environment in the block."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def main() -> None:
    """Serve until standard input is closed."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()

    def serve(environ: Any, start_response: Callable[..., Any]) -> Any:
        # S3 checks a condition and stores in one step, moto in two.
        with one_at_a_time:
            return application(environ, start_response)

    server = make_server("127.0.0.1", 0, serve, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps(f"http://127.0.0.1:{server.port}"), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
