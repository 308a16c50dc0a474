"""
A Flask application under gunicorn behind a proxy, on a Unix socket that only the proxy opens.

The checker and its images are loaded once, before the workers are forked:

    CRLCHECK_STORE=published gunicorn flask_app:app --preload --workers 2 --bind unix:app.sock
"""

from __future__ import annotations

import os
from datetime import timedelta

from flask import Flask, request

import crlcheck
from crlcheck.wsgi import RevocationMiddleware

checker = crlcheck.RevocationChecker(
    os.environ["CRLCHECK_STORE"],
    refresh_after=timedelta(seconds=1),
    background_refresh=True,  # its thread starts in each worker, with the first check
    max_catalog_age=timedelta(hours=12),
)
checker.preload()  # the workers share its memory

app = Flask(__name__)
app.wsgi_app = RevocationMiddleware(  # type: ignore[method-assign]
    app.wsgi_app,
    checker,
    verified_by="proxy",
    header="X-Client-Certificate",
    form="nginx",
    proxies=("unix",),
)


@app.get("/hello")
def hello() -> dict[str, str]:
    """Greet a client that is not revoked."""
    return {"verdict": request.environ["crlcheck.decision"].cause}
