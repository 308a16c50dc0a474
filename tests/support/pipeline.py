"""The preprocessor with a bucket of its own, as the tests drive it."""

from __future__ import annotations

import json
from typing import Any

import pytest

import crlcheck
from support.events import s3_event
from support.example_pki import example_pki
from support.functions import import_function
from support.moto_server import S3Environment

PKI = example_pki()


class Pipeline:
    """CRLs, issuers (the example one) and images in one bucket, under three prefixes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> None:
        self._monkeypatch = monkeypatch
        self.bucket = s3.bucket
        self.client = s3.client
        self.store = f"s3://{s3.bucket}/published"
        self.settings = {"store": self.store, "issuers": f"s3://{s3.bucket}/issuers/"}
        self.function: Any = None
        self.put("issuers/ca.pem", PKI.authority.pem)

    def start(self, **settings: str) -> Any:
        """Start a new execution environment, with these settings besides its own."""
        self.function = import_function(
            self._monkeypatch, "preprocessor", **{**self.settings, **settings}
        )
        return self.function

    def put(self, key: str, body: bytes) -> tuple[str, str]:
        """Upload an object and return what a notification says of it."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)
        return self.bucket, key

    def run(self, *objects: tuple[str, str]) -> list[dict[str, Any]]:
        """Invoke the function with one notification and return the outcomes."""
        outcomes: list[dict[str, Any]] = self.invoke(s3_event(*objects))["objects"]
        return outcomes

    def invoke(self, event: object) -> Any:
        """Invoke the function with any event and return its answer, as JSON has it."""
        if self.function is None:
            self.start()
        return json.loads(json.dumps(self.function.handler(event, None)))

    def verdict(self, name: str = "revoked") -> str:
        """What a checker over the published images says of a client."""
        checker = crlcheck.RevocationChecker(self.store)
        return checker.check(PKI.client(name).encode()).status.value

    def published(self) -> set[str]:
        """The keys of all that was published: catalog and images, without what is noted beside."""
        noted = ("published/status/", "published/nodes/", "published/history/")
        return {key for key in self.stored() if not key.startswith(noted)}

    def stored(self) -> set[str]:
        """The keys of all that is in the store."""
        listing = self.client.list_objects_v2(Bucket=self.bucket, Prefix="published/")
        return {entry["Key"] for entry in listing.get("Contents", ())}
