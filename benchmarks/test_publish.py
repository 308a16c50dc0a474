"""From the upload of a CRL to its published image: the preprocessor, over a local S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from benchmarks.compile_memory import resident
from benchmarks.contenders import fresh_image
from benchmarks.record import Call, keep, measure
from benchmarks.workloads import Workload, make_workload
from crlcheck.demo.events import object_created
from crlcheck.demo.process import ModuleProcess
from crlcheck.demo.s3_server import aws_environment, clean_environment, environment

_BUCKET = "benchmarks"
_STORE = "published/"
_CRL_KEY = "crl/ca.crl"


class Site:
    """S3 with one CRL and its issuer, and a preprocessor that waits for events."""

    def __init__(self, workload: Workload, environ: dict[str, str]) -> None:
        import boto3

        self.workload = workload
        self.environ = {
            **environ,
            "CRLCHECK_STORE": f"s3://{_BUCKET}/{_STORE}",
            "CRLCHECK_ISSUERS": f"s3://{_BUCKET}/issuers",
        }
        with environment(environ):
            self.client = boto3.client("s3")
        self.client.create_bucket(
            Bucket=_BUCKET,
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        self._put("issuers/ca.pem", workload.issuer)
        etag = self._put(_CRL_KEY, workload.crl)
        self.event = object_created(_BUCKET, _CRL_KEY, size=workload.crl_size, etag=etag)

    def _put(self, key: str, path: Path) -> str:
        with path.open("rb") as file:
            etag: str = self.client.put_object(Bucket=_BUCKET, Key=key, Body=file)["ETag"]
        return etag

    def unpublish(self) -> None:
        """Remove all that the preprocessor has written."""
        found = self.client.list_objects_v2(Bucket=_BUCKET, Prefix=_STORE).get("Contents", ())
        for each in found:
            self.client.delete_object(Bucket=_BUCKET, Key=each["Key"])

    def transfer(self, image: Path) -> None:
        """GET the CRL, piece by piece, and PUT an image."""
        body = self.client.get_object(Bucket=_BUCKET, Key=_CRL_KEY)["Body"]
        while body.read(1 << 20):
            pass
        self._put("image", image)


@pytest.fixture(scope="module")
def site(largest: int) -> Iterator[Site]:
    """A site with the largest CRL."""
    base = clean_environment(os.environ)
    with ModuleProcess("crlcheck.demo.s3_server", environ=base) as server:
        yield Site(make_workload("random16", largest), {**base, **aws_environment(server.greeting)})


def _row(of: Site, **more: Any) -> dict[str, Any]:
    return {
        "measure": "publish",
        "contender": "crlcheck",
        "kind": of.workload.kind,
        "num_entries": of.workload.num_entries,
        **more,
    }


def test_publish(benchmark: Any, site: Site) -> None:
    """
    From the event to the answer that the image is published, beside a plain compile
    to a file, and beside the time that S3 takes to send the CRL and to receive the image.
    """
    image = site.workload.compile_image()
    written: list[Path] = []

    def compile_to_file() -> Call:
        while written:
            written.pop().unlink()
        written.append(fresh_image(site.workload.crl))
        return partial(
            crlcheck.compile_crl,
            site.workload.crl,
            written[0],
            issuer=site.workload.issuer,
            fsync=False,
            max_source_size=0,
        )

    with ModuleProcess(
        "crlcheck.demo.function", "preprocessor.handler.handler", environ=site.environ
    ) as function:

        def publish() -> Call:
            site.unpublish()
            return partial(function.ask, site.event)

        answer = measure(
            benchmark,
            _row(site),
            publish,
            beside={
                "compile": compile_to_file,
                "transfer": lambda: partial(site.transfer, image),
            },
            rounds=5,
        )
        peak = resident(function.process_id, "VmHWM")
    written.pop().unlink()
    (outcome,) = answer["answer"]["objects"]
    assert outcome["outcome"] == "published", outcome
    figures = {"peak": peak, "image_size": image.stat().st_size}
    keep(benchmark, _row(site, figures=figures))
