"""Lines and events that the documents show are those that the preprocessor writes and takes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from crlcheck.demo.pki import encode_entry, sign_crl
from support.blocks import Block, blocks
from support.events import s3_event
from support.example_pki import example_pki
from support.fault_proxy import Fault, fault_proxy
from support.functions import lines_of
from support.moto_server import S3Environment
from support.pipeline import Pipeline

PKI = example_pki()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


def crl_of(number: int, serials: range, num_old: int) -> bytes:
    """A CRL in which the serials below a number were revoked a year ago, the others just now."""
    now = datetime.now(UTC).replace(microsecond=0)
    year_ago = now - timedelta(days=365)
    just_now = now - timedelta(hours=3, minutes=30)
    return sign_crl(
        PKI.authority,
        [encode_entry(1 + one, year_ago if one < num_old else just_now) for one in serials],
        this_update=now - timedelta(hours=20 - number),
        next_update=now + timedelta(days=7),
        crl_number=number,
    )


def test_the_messages_of_the_guide(
    pipeline: Pipeline,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A publication, a CRL that is older, and a storage that is overloaded.
    """
    (shown,) = blocks("operations.md", "## What it says")
    listed, revoked, lifted = (
        int(number.replace(",", ""))
        for number in re.findall(r"([\d,]+) (?:entries|newly|lifted)", shown.text)
    )
    last = lifted + listed
    old = last - revoked
    pipeline.run(pipeline.put("crl/ca.crl", crl_of(15, range(old), old)))
    caplog.clear()
    pipeline.run(pipeline.put("crl/ca.crl", crl_of(17, range(lifted, last), old)))
    pipeline.run(pipeline.put("crl/ca.crl", crl_of(16, range(lifted, last), old)))
    with fault_proxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.always, proxy.always_for = Fault(503, "SlowDown"), "catalog.json"
        pipeline.start()
        with pytest.raises(ExceptionGroup):
            pipeline.invoke(s3_event(pipeline.put("crl/ca.crl", PKI.crl(18))))
    printed = "".join(f"{line['message']}\n" for line in lines_of(caplog, "preprocessor"))
    expected = shown.text.replace("Example CA", "Example Issuing CA")
    assert printed == expected.replace("s3://bucket", f"s3://{pipeline.bucket}")


@pytest.mark.parametrize("event", blocks("events.md", "## What the preprocessor takes"), ids=str)
def test_each_event_of_the_page_is_taken(event: Block, pipeline: Pipeline) -> None:
    """
    With the members that are shown, and no others.
    """
    bucket, key = pipeline.put("crl/ca.crl", PKI.crl())
    text = json.dumps(json.loads(event.text)).replace("my-crls", bucket)
    assert key in text
    pipeline.invoke(json.loads(text))
    assert pipeline.verdict() == "revoked"
