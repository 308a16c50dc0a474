"""The history of a store says which function published, and in which invocation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crlcheck.catalog.history import MAX_ACTOR, chain
from crlcheck.catalog.published_set import read_set
from crlcheck.stores import open_store
from support.events import s3_event
from support.example_pki import example_pki
from support.moto_server import S3Environment
from support.pipeline import Pipeline


@pytest.mark.parametrize(
    ("context", "actor"),
    [
        (SimpleNamespace(function_name="pre", aws_request_id="8f5-1"), "lambda pre 8f5-1"),
        (SimpleNamespace(function_name="p" * 300), f"lambda {'p' * 300}"[:MAX_ACTOR]),
        (SimpleNamespace(function_name=None, aws_request_id=4), "lambda"),
        (None, "lambda"),
    ],
)
def test_the_function_and_the_request_are_the_actor(
    monkeypatch: pytest.MonkeyPatch, s3: S3Environment, context: object, actor: str
) -> None:
    """Of a publication, with the object as its source, and of a clean-up."""
    pipeline = Pipeline(monkeypatch, s3)
    uploaded = pipeline.put("crl/ca.crl", example_pki().crl(number=5))
    function = pipeline.start()
    (outcome,) = function.handler(s3_event(uploaded), context)["objects"]
    assert outcome["outcome"] == "published"
    store = open_store(pipeline.store)
    store.write("images/abandoned.crlx", b"")
    function.handler({"clean_up": True}, context)
    records = [record for _, record in chain(store, read_set(store)[0].root)]
    assert [one.action.action for one in records] == ["clean_up", "publish"]
    assert [one.action.actor for one in records] == [actor, actor]
    (scope,) = records[1].action.details["scopes"]
    assert scope["source"] == f"s3://{pipeline.bucket}/crl/ca.crl"
