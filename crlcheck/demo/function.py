"""
Run a Lambda function in a minimal execution environment.

``python -m crlcheck.demo.function preprocessor.handler.handler`` imports the handler,
prints how long that took, and answers each event (a line of JSON) with a line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time


def main(path: str) -> None:
    """Answer events with the function at *path* until standard input is closed."""
    # What the function prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    started = time.perf_counter()
    module, _, name = path.rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    print(json.dumps({"seconds": time.perf_counter() - started}), file=answers, flush=True)
    for line in sys.stdin:
        event = json.loads(line)
        started = time.perf_counter()
        answer = handler(event, None)
        seconds = time.perf_counter() - started
        print(json.dumps({"answer": answer, "seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
