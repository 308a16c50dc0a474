"""
Many authorizers under load while CRLs are published: ``make load``.

Each process is an execution environment that answers one request after the other,
polling every time; a new CRL comes every few seconds. CRLs of even numbers list
one client more. ``python tests/support/load.py worker SECONDS EVENTS`` is one such process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.authorizer import PKI, publish
from support.events import authorizer_event
from support.moto_server import environment_variables, make_client, moto_server

_BUCKET = "load"


@dataclass(frozen=True)
class Outcome:
    """``wrong`` are answers that no published CRL gives; times are milliseconds."""

    num_answers: int
    num_crls: int
    wrong: int
    errors: int
    percentiles: dict[str, float]


def run(num_processes: int, seconds: float, publish_every: float) -> Outcome:
    """Run so many authorizers for so long."""
    sometimes = PKI.authority.issue("device 10")
    certificates = {
        "good": PKI.good, "revoked": PKI.revoked, "foreign": PKI.foreign, "sometimes": sometimes,
    }  # fmt: skip
    always = PKI.revoked.certificate.serial_number
    with moto_server() as endpoint, tempfile.TemporaryDirectory() as directory:
        make_client(endpoint).create_bucket(Bucket=_BUCKET)
        environ = environment_variables(endpoint)
        store = f"s3://{_BUCKET}/published"
        events = Path(directory, "events.json")
        events.write_text(
            json.dumps(
                {
                    name: authorizer_event("http_2_0", issued.pem.decode())
                    for name, issued in certificates.items()
                }
            )
        )
        os.environ.update(environ)
        publish(store, PKI.crl(1))
        workers = [
            subprocess.Popen(
                [sys.executable, __file__, "worker", str(seconds), events],
                env={**environ, "CRLCHECK_STORE": store, "CRLCHECK_METRICS": "false"},
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(num_processes)
        ]
        number, deadline = 1, time.monotonic() + seconds
        while time.monotonic() + publish_every < deadline:
            time.sleep(publish_every)
            number += 1
            extra = [] if number % 2 else [sometimes.certificate.serial_number]
            publish(store, PKI.crl(number, revoked=[always, *extra], age=timedelta(0)))
        found = [json.loads(worker.communicate(timeout=seconds + 60)[0]) for worker in workers]
    times = sorted(each for one in found for each in one["milliseconds"])
    places = {"50": 0.5, "90": 0.9, "99": 0.99, "99.9": 0.999}
    return Outcome(
        len(times),
        number,
        sum(one["wrong"] for one in found),
        sum(one["errors"] for one in found),
        {name: times[int(len(times) * part)] for name, part in places.items()},
    )


def _work(seconds: float, events: dict[str, Any]) -> dict[str, Any]:
    from lambda_authorizer.handler import handler

    counts: Counter[str] = Counter()
    milliseconds: list[float] = []
    newest, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, event in events.items():
            started = time.perf_counter()
            context: Any = handler(event, None)["context"]
            milliseconds.append((time.perf_counter() - started) * 1e3)
            number = int(context.get("crl_number", newest))
            counts["errors"] += context.get("cause") not in (None, "unknown_issuer")
            counts["wrong"] += context["verdict"] != _expected(name, number) or number < newest
            newest = number
    return {"wrong": counts["wrong"], "errors": counts["errors"], "milliseconds": milliseconds}


def _expected(name: str, number: int) -> str:
    if name == "foreign":
        return "undetermined"
    is_revoked = name == "revoked" or (name == "sometimes" and number % 2 == 0)
    return "revoked" if is_revoked else "not_revoked"


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["worker"]:
        events = json.loads(Path(sys.argv[3]).read_text())
        print(json.dumps(_work(float(sys.argv[2]), events)))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--publish-every", type=float, default=5)
    options = parser.parse_args()
    outcome = run(options.processes, options.seconds, options.publish_every)
    print(outcome)
    if outcome.wrong or outcome.errors:
        sys.exit("found wrong answers or errors")


if __name__ == "__main__":
    main()
