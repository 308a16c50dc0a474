"""
The whole path in one run: a CRL goes in through S3, and API Gateway events come
out as allow or deny.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crlcheck.demo.apis import EXPECTED, HTTP, REST, Answer, Api
from crlcheck.demo.events import PATH, REGION, object_created
from crlcheck.demo.process import DemoError, ModuleProcess
from crlcheck.demo.s3_server import aws_environment, clean_environment, environment
from crlcheck.demo.world import World, make_world

BUCKET = "crlcheck-demo"
CRL_KEY, ISSUER_KEY = "crl/ca.crl", "issuers/ca.pem"
STORE = f"s3://{BUCKET}/published"

_APIS = (REST, HTTP)
_NEEDED = ("boto3", "moto", "werkzeug", "cryptography_vectors")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened, and how long it took."""

    what: str
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What an authorizer made of one client.

    ``answer`` is None where it could not be understood, or was another one when
    the client came again, after ``seconds`` for the first time.
    """

    api: str
    client: str
    answer: Answer | None
    seconds: float
    seconds_again: float

    @property
    def is_right(self) -> bool:
        """Whether the client was let in, or kept out, for the right reason."""
        return self.answer == EXPECTED[self.client]


@dataclass(frozen=True, slots=True)
class TourReport:
    """Everything that happened; sizes are octets."""

    steps: tuple[Step, ...]
    decisions: tuple[Decision, ...]
    num_entries: int
    crl_size: int
    image_size: int

    @property
    def is_right(self) -> bool:
        """Whether there is a decision for each client of each API, and all are right."""
        found = sorted((decision.api, decision.client) for decision in self.decisions)
        expected = sorted((api.name, client) for api in _APIS for client in EXPECTED)
        return found == expected and all(decision.is_right for decision in self.decisions)


def require_packages() -> None:
    """
    Check that the demo's extra is installed.

    Raises:
        ImportError: it is not.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"the demo needs {', '.join(missing)}: pip install 'crlcheck[demo]'")


def run_tour(num_entries: int, *, tell: Callable[[Step], None] = lambda _: None) -> TourReport:
    """
    Run the whole path with a CRL of *num_entries*; *tell* hears of each step.

    Everything runs on this machine, in processes that end with this one.

    Raises:
        ImportError: the demo's extra is not installed.
        DemoError: a part did not run at all.
    """
    require_packages()
    with (
        tempfile.TemporaryDirectory(prefix="crlcheck-demo-") as directory,
        contextlib.ExitStack() as processes,
    ):
        environ = {**clean_environment(os.environ), "TMPDIR": directory}
        return _Tour(processes, tell).run(num_entries, environ)


class _Tour:
    """One run: its processes, and what has happened so far."""

    def __init__(self, processes: contextlib.ExitStack, tell: Callable[[Step], None]) -> None:
        self._processes = processes
        self._tell = tell
        self._steps: list[Step] = []

    def run(self, num_entries: int, environ: Mapping[str, str]) -> TourReport:
        """Go through all of it."""
        with self._step("S3 starts: moto's server in its own process") as notes:
            server = self._start("crlcheck.demo.s3_server", environ=environ)
            notes.append(server.greeting)
        environ = {**environ, **aws_environment(server.greeting)}
        with self._step("a CA signs a CRL and three client certificates") as notes:
            world = make_world(num_entries, now=datetime.now(UTC))
            notes.append(f"{world.num_entries:,} entries, {len(world.crl):,} octets")
        with self._step("CA and CRL are uploaded") as notes:
            event = _upload(world, environ)
            notes.append(f"s3://{BUCKET}/{ISSUER_KEY}, s3://{BUCKET}/{CRL_KEY}")
        image_size = self._publish(event, environ)
        decisions = [decision for api in _APIS for decision in self._authorize(api, world, environ)]
        return TourReport(
            tuple(self._steps), tuple(decisions), world.num_entries, len(world.crl), image_size
        )

    def _publish(self, event: object, environ: Mapping[str, str]) -> int:
        """Let the preprocessor publish the CRL; return the image's size."""
        settings = {"CRLCHECK_STORE": STORE, "CRLCHECK_ISSUERS": f"s3://{BUCKET}/issuers"}
        with self._step("the preprocessor starts") as notes:
            function = self._start_function("preprocessor.handler.handler", environ, settings)
            notes.append(_words(settings))
        outcome: dict[str, Any] = {}
        for what, expected in (
            ("the S3 event arrives: verify, compile, publish", "published"),
            ("the same event arrives again", "unchanged"),
        ):
            with self._step(what) as notes:
                (outcome,) = function.ask(event)["answer"]["objects"]
                if outcome["outcome"] != expected:
                    raise DemoError(f"{what}: expected {expected}, found {outcome}")
                notes.append(f"{expected}: generation {outcome['generation']}")
        return int(outcome["image_size"])

    def _authorize(self, api: Api, world: World, environ: Mapping[str, str]) -> Iterator[Decision]:
        """Let the authorizer decide on each client, and again once it has all it needs."""
        settings = {"CRLCHECK_STORE": STORE, "CRLCHECK_RESPONSE": api.response}
        with self._step(f"the authorizer starts, for the {api.name} API") as notes:
            function = self._start_function("lambda_authorizer.handler.handler", environ, settings)
            notes.append(_words(settings))
        events = {
            name: api.make_event(client.certificate, PATH) for name, client in world.clients.items()
        }
        first = {name: function.ask(event) for name, event in events.items()}
        again = {name: function.ask(event) for name, event in events.items()}
        for name in events:
            answers = [api.read_answer(asked["answer"]) for asked in (first[name], again[name])]
            yield Decision(
                api.name,
                name,
                answers[0] if answers[0] == answers[1] else None,
                first[name]["seconds"],
                again[name]["seconds"],
            )

    def _start_function(
        self, handler: str, environ: Mapping[str, str], settings: Mapping[str, str]
    ) -> ModuleProcess:
        # Settings are read when a handler is imported, so each has a process of its own.
        return self._start("crlcheck.demo.function", handler, environ={**environ, **settings})

    def _start(self, module: str, *arguments: str, environ: Mapping[str, str]) -> ModuleProcess:
        return self._processes.enter_context(ModuleProcess(module, *arguments, environ=environ))

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[list[str]]:
        """Time a step; the block adds what came of it."""
        notes: list[str] = []
        started = time.perf_counter()
        yield notes
        step = Step(what, ", ".join(notes), time.perf_counter() - started)
        self._steps.append(step)
        self._tell(step)


def _words(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _upload(world: World, environ: Mapping[str, str]) -> dict[str, Any]:
    """Put CA and CRL where the preprocessor looks; return what S3 says of the CRL."""
    import boto3

    with environment(environ):
        client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_object(Bucket=BUCKET, Key=ISSUER_KEY, Body=world.authority.pem)
    put = client.put_object(Bucket=BUCKET, Key=CRL_KEY, Body=world.crl)
    return object_created(BUCKET, CRL_KEY, size=len(world.crl), etag=put["ETag"])
