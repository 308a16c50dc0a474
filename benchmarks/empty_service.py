"""
Run ``crlcheck serve`` with an application that answers 204 to everything and looks at nothing.

``python -m benchmarks.empty_service STORE ...`` takes the same settings, and has the same
processes, sockets and server: what is left of the time of a check is the check's own.
"""

from __future__ import annotations

from typing import Any

from crlcheck.cli import main
from crlcheck.serve import worker


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    # Before the workers are forked.
    vars(worker)["Application"] = lambda *_: answer
    main()
