"""
Run the authorizer, and what it is compared with, in processes of their own over a local S3.

``python -m benchmarks.authorizer memory HANDLER EVENT`` answers an event for each line
of standard input and prints the most memory that the process ever had.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import crlcheck
from benchmarks.compile_memory import resident
from benchmarks.generate import generate_crl
from benchmarks.serials import make_serials
from benchmarks.slow_s3 import SlowS3
from crlcheck.demo.events import rest_request
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.demo.process import ModuleProcess
from crlcheck.demo.s3_server import aws_environment, clean_environment, environment
from crlcheck.settings import S3Location

HANDLER = "lambda_authorizer.handler"
SAMPLE = "benchmarks.baselines.sample_authorizer"

_BUCKET = "benchmarks"
_ROOT = Path(__file__).parents[1]

# What a process does from its start to its last line of output.
PROGRAMS = {
    "interpreter": "print('ready', flush=True)",
    "imports": "import lambda_authorizer.handler; print('ready', flush=True)",
    "own_get": "from crlcheck.stores.s3_http import S3Getter; print('ready', flush=True)",
    "botocore_signer": (
        "import urllib3, botocore.auth, botocore.awsrequest, botocore.credentials; "
        "urllib3.PoolManager(); print('ready', flush=True)"
    ),
    "botocore_client": (
        "import botocore.session; botocore.session.get_session().create_client('s3'); "
        "print('ready', flush=True)"
    ),
    "boto3_client": "import boto3; boto3.client('s3'); print('ready', flush=True)",
    "boto3_get": (
        "import boto3, sys; bucket, _, key = sys.argv[1].partition('/'); "
        "body = boto3.client('s3').get_object(Bucket=bucket, Key=key)['Body'].read(); "
        "print('ready', len(body), flush=True)"
    ),
    "imports_and_get": (
        "import lambda_authorizer.handler, sys, urllib.request; "
        "body = urllib.request.urlopen(sys.argv[1]).read(); print('ready', len(body), flush=True)"
    ),
    "decision": (
        "import importlib, json, sys; "
        "event = json.load(open(sys.argv[2])); "
        "answer = importlib.import_module(sys.argv[1]).handler(event, None); "
        "print(answer['policyDocument']['Statement'][0]['Effect'], flush=True)"
    ),
}


@dataclass(frozen=True)
class World:
    """
    S3 on this machine with a published CRL of *num_entries* and its image.

    ``event`` is a file with a request of a client that is not listed, or with several, and
    ``next_crl`` the CRL that follows. With ``has_sample`` the sample's JSON is there too.
    """

    num_entries: int
    environ: dict[str, str]
    store: str
    image: str
    image_size: int
    sample: str
    event: Path
    authority: CertificateAuthority
    next_crl: Path
    has_sample: bool

    def settings(self, **settings: str) -> dict[str, str]:
        """The environment of an authorizer, with these settings."""
        named = {f"CRLCHECK_{name.upper()}": value for name, value in settings.items()}
        return {**self.environ, "CRLCHECK_STORE": self.store, "SAMPLE_JSON": self.sample, **named}

    def through(self, proxy: SlowS3) -> World:
        """Return the same as it is seen through *proxy*, which gets all that is published."""
        place = S3Location.parse(self.store)
        with environment(self.environ):
            proxy.keep(_client(), place.bucket, place.prefix)
        return replace(self, environ={**self.environ, "AWS_ENDPOINT_URL": proxy.endpoint})

    def with_sample(self) -> World:
        """Return the same with the sample's JSON of the published CRL, which is put into S3."""
        serials = make_serials("random16", self.num_entries, 1)
        bucket, _, key = self.sample.partition("/")
        with environment(self.environ):
            body = json.dumps({hex(each): "" for each in serials.integers()}).encode()
            _client().put_object(Bucket=bucket, Key=key, Body=body)
        return replace(self, has_sample=True)

    def with_clients(self, count: int, path: Path) -> World:
        """Return the same with the requests of so many clients, which are kept in *path*."""
        path.write_text(json.dumps(self._requests(count)))
        return replace(self, event=path)

    def clients(self, count: int, directory: Path) -> list[Path]:
        """Keep the request of each of so many clients in a file of its own."""
        paths = [directory / f"client-{self.num_entries}-{place}.json" for place in range(count)]
        for path, request in zip(paths, self._requests(count), strict=True):
            path.write_text(json.dumps(request))
        return paths

    def _requests(self, count: int) -> list[dict[str, Any]]:
        return [_request(self.authority, each) for each in _strangers(count)]

    def publish_next(self) -> None:
        """Publish the CRL that follows, and the sample's JSON of it."""
        with environment(self.environ):
            crlcheck.publish_crl(
                self.next_crl, crlcheck.open_store(self.store), issuer=self.authority.pem
            )
            if not self.has_sample:
                return
            bucket, _, key = self.sample.partition("/")
            client = _client()
            body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            client.put_object(Bucket=bucket, Key=key, Body=body + b"\n")


@contextlib.contextmanager
def world(num_entries: int, directory: Path) -> Iterator[World]:
    """Start S3 and publish into it."""
    base = clean_environment(os.environ)
    with ModuleProcess("crlcheck.demo.s3_server", environ=base) as server:
        environ = {**base, **aws_environment(server.greeting)}
        authority = CertificateAuthority.create("Benchmark CA")
        paths = [directory / f"{number}-{num_entries}.crl" for number in (1, 2)]
        for number, path in enumerate(paths, 1):
            generate_crl(
                num_entries,
                seed=number,
                authority=authority,
                output=path,
                reasons=True,
                crl_number=number,
            )
        store, sample = f"s3://{_BUCKET}/published", f"{_BUCKET}/revoked.json"
        with environment(environ):
            client = _client()
            client.create_bucket(
                Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
            report = crlcheck.publish_crl(
                paths[0], crlcheck.open_store(store), issuer=authority.pem
            )
        event = directory / f"event-{num_entries}.json"
        event.write_text(json.dumps(_request(authority, *_strangers(1))))
        yield World(
            num_entries,
            environ,
            store,
            f"{_BUCKET}/published/{report.image_name}",
            report.compiled.image_size,
            sample,
            event,
            authority,
            paths[1],
            False,
        )


def _strangers(count: int) -> list[int]:
    """
    Return serials of the habit of the CRLs that are not on them: 16 random bytes are not.

    One of another length would be answered without a look at the entries.
    """
    return make_serials("random16", count, seed=97).integers()


def _request(authority: CertificateAuthority, serial_number: int) -> dict[str, Any]:
    """Return the request of a client whose certificate has this serial."""
    return rest_request(authority.issue("a client", serial_number=serial_number).certificate)


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def start_and_answer(program: str, *arguments: str, environ: dict[str, str]) -> str:
    """Run a program until its last line of output, which is returned; it ends untimed."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAMS[program], *arguments],
        env=environ,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = ""
        while not line.startswith(("ready", "Allow", "Deny")):
            line = process.stdout.readline()
            assert line, f"{program} ended without a word"
        process.kill()
    return line


def load_handler(environ: dict[str, str]) -> Callable[[Any, Any], Any]:
    """Import the authorizer anew into this process, as an execution environment would."""
    for name in [each for each in sys.modules if each.startswith("lambda_authorizer.")]:
        del sys.modules[name]
    with environment(environ):
        handler: Callable[[Any, Any], Any] = importlib.import_module(HANDLER).handler
    return handler


def conditional_get(environ: dict[str, str], store: str) -> Callable[[], None]:
    """
    Return a call that makes one bare conditional GET of the catalog, answered 304.

    It has the headers without which S3 answers no GET, signed beforehand.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    place = S3Location.parse(store)
    key = f"{place.prefix}catalog.json"
    with environment(environ):
        etag = _client().head_object(Bucket=place.bucket, Key=key)["ETag"]
    endpoint = environ["AWS_ENDPOINT_URL"]
    path = f"/{place.bucket}/{key}"
    request = AWSRequest(method="GET", url=endpoint + path)
    keys = Credentials(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
    S3SigV4Auth(keys, "s3", environ["AWS_DEFAULT_REGION"]).add_auth(request)
    headers = {**dict(request.headers.items()), "if-none-match": etag}
    host = urlsplit(endpoint).netloc

    def get() -> None:
        connection = http.client.HTTPConnection(host)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 304, answer.status

    return get


def peak_memory(handler: str, of: World, *, proxy: SlowS3 | None = None, **settings: str) -> int:
    """
    Return the most bytes that were resident of a process that answers the events of a world,
    sees the next CRL published, and answers by that; over *proxy* where there is one.
    """
    seen = of if proxy is None else of.through(proxy)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.authorizer", "memory", handler, of.event],
        env=seen.settings(metrics="false", **settings),
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        peak = 0
        for follows in (False, True):
            if follows:
                of.publish_next()
                if proxy is not None:
                    of.through(proxy)
            process.stdin.write("next\n")
            process.stdin.flush()
            peak = int(process.stdout.readline())
        process.stdin.close()
    return peak


def _measure_memory(handler: str, path: Path) -> None:
    module = importlib.import_module(handler)
    found = json.loads(path.read_text())
    events = found if isinstance(found, list) else [found]
    for _ in sys.stdin:
        for event in events:
            answer = module.handler(event, None)
            assert answer["policyDocument"]["Statement"][0]["Effect"] == "Allow", answer
        print(resident(field="VmHWM"), flush=True)


def main() -> None:
    """See the module."""
    _, handler, event = sys.argv[1:]
    _measure_memory(handler, Path(event))


if __name__ == "__main__":
    main()
