"""Set up the demo: S3 on this machine, and a preprocessor that publishes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crlcheck.demo.events import REGION, object_created
from crlcheck.demo.process import DemoError, ModuleProcess
from crlcheck.demo.s3_server import aws_environment, clean_environment, environment
from crlcheck.demo.world import World, make_world

BUCKET = "crlcheck-demo"
CRL_KEY, ISSUER_KEY = "crl/ca.crl", "issuers/ca.pem"
STORE = f"s3://{BUCKET}/published"

_NEEDED = ("awslambdaric", "boto3", "moto", "flask", "flask_cors", "cryptography_vectors")
_FUNCTIONS = ("lambda_authorizer", "preprocessor")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the demo, and how long it took."""

    what: str
    detail: str
    seconds: float


def require_packages() -> None:
    """
    Check that the demo's extra is installed, and that the functions can be imported.

    Raises:
        ImportError: something is missing; the message says what to do.
    """
    # First, as no extra brings them: to install it would be in vain.
    missing = [name for name in _FUNCTIONS if not _has_handler(name)]
    if missing:
        raise ImportError(
            f"the demo runs the Lambda functions, and {' and '.join(missing)} cannot be imported: "
            "an installed crlcheck does not bring them; run 'make demo' in a checkout of crlcheck"
        )
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"the demo needs {', '.join(missing)}: pip install 'crlcheck[demo]'")


def _has_handler(package: str) -> bool:
    """Tell whether *package* is a Lambda function, not another package of that name."""
    try:
        return importlib.util.find_spec(f"{package}.handler") is not None
    except ModuleNotFoundError:
        return False


@contextlib.contextmanager
def open_site(num_entries: int, *, tell: Callable[[Step], None] = lambda _: None) -> Iterator[Site]:
    """
    Start a site whose world has a CRL of *num_entries*; *tell* is called with each step.

    Everything runs on this machine, in processes that end with this one.

    Raises:
        ImportError: the demo's extra, or a Lambda function, is not there.
        DemoError: a part did not run at all.
    """
    require_packages()
    with (
        tempfile.TemporaryDirectory(prefix="crlcheck-demo-") as directory,
        contextlib.ExitStack() as processes,
    ):
        yield Site(processes, Path(directory), num_entries, tell)


class Site:
    """
    S3, a preprocessor, and a world whose CRL has been published.

    ``environ`` leads AWS clients to this S3, ``directory`` is for temporary files;
    ``image_size`` is in bytes; ``steps`` are those so far.
    """

    def __init__(
        self,
        processes: contextlib.ExitStack,
        directory: Path,
        num_entries: int,
        tell: Callable[[Step], None],
    ) -> None:
        self._processes = processes
        self._tell = tell
        self.directory = directory
        self.steps: list[Step] = []
        environ = {**clean_environment(os.environ), "TMPDIR": str(directory)}
        with self.step("S3 starts: moto's server in its own process") as notes:
            server = self.start("crlcheck.demo.s3_server", environ=environ)
            notes.append(server.greeting)
        self.environ = {**environ, **aws_environment(server.greeting)}
        with self.step("a CA signs a CRL and three client certificates") as notes:
            self.world = make_world(num_entries, now=datetime.now(UTC))
            notes.append(f"{num_entries:,} entries, {len(self.world.crl):,} bytes")
        with self.step("CA and CRL are uploaded") as notes:
            self._client = _create_bucket(self.world, self.environ)
            event = self.upload(self.world.crl)
            notes.append(f"s3://{BUCKET}/{ISSUER_KEY}, s3://{BUCKET}/{CRL_KEY}")
        settings = {"CRLCHECK_STORE": STORE, "CRLCHECK_ISSUERS": f"s3://{BUCKET}/issuers"}
        with self.step("the preprocessor starts") as notes:
            self._preprocessor = self.start_function("preprocessor.handler.handler", settings)
            notes.append(words(settings))
        self.publish(event, "the S3 event arrives: verify, compile, publish")
        outcome = self.publish(event, "the same event arrives again", expected="unchanged")
        self.image_size = int(outcome["image_size"])

    def upload(self, crl: bytes) -> dict[str, Any]:
        """Put a CRL where the preprocessor looks; return S3's notification."""
        put = self._client.put_object(Bucket=BUCKET, Key=CRL_KEY, Body=crl)
        return object_created(BUCKET, CRL_KEY, size=len(crl), etag=put["ETag"])

    def publish(self, event: object, what: str, *, expected: str = "published") -> dict[str, Any]:
        """
        Send *event* to the preprocessor, as a step; return the outcome of the CRL.

        Raises:
            DemoError: the CRL was not published.
        """
        with self.step(what) as notes:
            outcome: dict[str, Any]
            (outcome,) = self._preprocessor.ask(event)["answer"]["objects"]
            if outcome["outcome"] != expected:
                raise DemoError(f"{what}: expected {expected}, found {outcome}")
            notes.append(f"{expected}: generation {outcome['generation']}")
        return outcome

    def start_function(self, handler: str, settings: Mapping[str, str]) -> ModuleProcess:
        """Start a Lambda function; it reads *settings* when its handler is imported."""
        environ = {**self.environ, **settings}
        return self.start("crlcheck.demo.function", handler, environ=environ)

    def start(self, module: str, *arguments: str, environ: Mapping[str, str]) -> ModuleProcess:
        """Start a module in a process of its own, which ends with the site."""
        return self._processes.enter_context(ModuleProcess(module, *arguments, environ=environ))

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Time a step; the block adds its result."""
        notes: list[str] = []
        started = time.perf_counter()
        yield notes
        self.add(Step(what, ", ".join(notes), time.perf_counter() - started))

    def add(self, step: Step) -> None:
        """Add a step and pass it to *tell*."""
        self.steps.append(step)
        self._tell(step)


def words(settings: Mapping[str, str]) -> str:
    """Return settings as a shell has them."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _create_bucket(world: World, environ: Mapping[str, str]) -> Any:
    """Make the bucket, with the CA where the preprocessor looks; return the S3 client."""
    import boto3

    with environment(environ):
        client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_object(Bucket=BUCKET, Key=ISSUER_KEY, Body=world.authority.pem)
    return client
