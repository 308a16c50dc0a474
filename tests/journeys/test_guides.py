"""
The commands of the guides about stores and their operation, as they stand there.

What a guide calls by an example's name (a generation, a scope's key, a CA's URL) is called
otherwise here, and is replaced in the command and in what the guide says is printed.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from crlcheck.demo.pki import CertificateAuthority, sign_crl
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import advance_generation
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import open_store
from support.blocks import Block, as_page, blocks
from support.journey import Step, is_as_expected, open_bash, read_steps
from support.journey_places import DAY, NOW, Place, entry_of
from support.moto_server import environment_variables, make_client
from support.nginx import serving_by_nginx
from support.weak_s3 import WeakS3, weak_s3

STORE = "s3://bucket/published"
"""The store of the guides."""


def steps_of(taken: list[Block]) -> list[Step]:
    """The commands of console blocks."""
    return read_steps(as_page(taken))


@dataclass(frozen=True, slots=True)
class Guide:
    """Where the commands of a guide run, and what its examples are called here."""

    place: Place
    here: dict[str, str]

    def adapted(self, text: str) -> str:
        """The text with what the guide's examples are called here."""
        for there, here in self.here.items():
            text = text.replace(there, here)
        return text

    def run(self, command: str) -> tuple[int, str]:
        """Run a command in a shell of its own; return its exit status, and what it printed."""
        with open_bash(self.place.directory, self.place.environment) as bash:
            printed = bash.run(self.adapted(command))
            return int(bash.run("echo $?")), printed


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty directory."""
    with ExitStack() as stack:
        yield Place(tmp_path, {}, stack)


# ---- operations.md and stores.md ---------------------------------------------------------


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guide, Any]]:
    """
    The store in S3 and its mirror, the CRLs and the issuers as files; and a client of S3.

    CRL 16 was published ten days ago, and CRL 17, which
    revokes another client too, yesterday. Objects are kept for 30 days.
    """
    with ExitStack() as stack:
        place = Place(tmp_path_factory.mktemp("operated"), {}, stack)
        client = place.start_s3("bucket")
        client.create_bucket(Bucket="kept")
        ca, other = (CertificateAuthority.create(name) for name in ("Example CA", "Sub CA"))
        good, *revoked = (ca.issue(name) for name in ("client", "former", "stolen"))
        crls = {
            number: sign_crl(
                ca,
                b"".join(map(entry_of, revoked[: number - 15])),
                this_update=NOW - age,
                next_update=NOW + 30 * DAY,
                crl_number=number,
            )
            for number, age in ((16, 10 * DAY), (17, DAY))
        }
        for folder in ("crls", "issuers"):
            (place.directory / folder).mkdir()
        place.write(
            ca__pem=ca.pem,
            ca__crl=crls[17],
            client__pem=good.pem,
            **{"sub-ca__pem": other.pem, "crls/ca__crl": crls[17], "issuers/ca__pem": ca.pem},
        )
        with pytest.MonkeyPatch.context() as patch:
            for name, value in place.environment.items():
                patch.setenv(name, value)
            issuers = [ca.pem, other.pem]
            publish_crl(crls[16], STORE, issuer=issuers, now=NOW - 10 * DAY)
            clean_up(STORE, keep=30 * DAY, now=NOW - 10 * DAY)
            publish_crl(crls[17], STORE, issuer=issuers, now=NOW - DAY)
            mirror_store(STORE, place.directory / "mirror")
            (scope,) = read_set(open_store(STORE))[0].everything().scopes
        kms = make_client(place.environment["AWS_ENDPOINT_URL"], "kms")
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        kms.create_alias(AliasName="alias/crlcheck-root", TargetKeyId=key["Arn"])
        here = {
            "8acd7bc3cdaf251517735b3e85c2bb36": scope,
            "3f9c2a1b": hashlib.sha256(other.der).hexdigest(),
            "@41": "@2",
            "--above 41": "--above 2",
            "2026-11-24T10:30:00Z": f"{NOW - 5 * DAY:%Y-%m-%dT%H:%M:%SZ}",
            "/var/lib/crlcheck": "mirror",
            "fetch http://ca.example.com": f"fetch --allow-private {place.serve_directory()}",
        }
        _copy(client, "bucket", "kept")
        yield Guide(place, here), client


def _copy(client: Any, source: str, target: str) -> None:
    """Make the bucket *target* what *source* is."""
    for bucket in (target, source):
        for found in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            if bucket == target:
                client.delete_object(Bucket=target, Key=found["Key"])
            else:
                copied = {"Bucket": source, "Key": found["Key"]}
                client.copy_object(Bucket=target, Key=found["Key"], CopySource=copied)


BY_HAND = [
    *steps_of(blocks("operations.md", "## By hand")),
    *steps_of(blocks("operations.md", "## History")[:1]),
    *steps_of(blocks("operations.md", "## A restored store")),
]


@pytest.mark.parametrize("step", BY_HAND, ids=lambda step: step.command[:40])
def test_a_command_by_hand_works(
    step: Step, operated: tuple[Guide, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each of them on the store as it was in the beginning, and in this process, to save time.
    """
    guide, client = operated
    _copy(client, "kept", "bucket")
    for name, value in guide.place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(guide.place.directory)
    assert step.expected == ""
    program, *arguments = shlex.split(guide.adapted(step.command))
    assert program == "crlcheck"
    if arguments[0] == "sign":
        # Who signs regularly has signed before.
        assert main([*arguments, "--adopt"]) == 0
    assert main(arguments) == 0


# ---- security.md ----------------------------------------------------------------------------


def test_a_signed_root(place: Place) -> None:
    """
    The commands print what the page shows, but for the key and the time of the run.
    """
    ca = CertificateAuthority.create("Example CA")
    client = ca.issue("client")
    first, second = (
        sign_crl(ca, b"", this_update=NOW, next_update=NOW + DAY, crl_number=number)
        for number in (1, 2)
    )
    place.write(ca__pem=ca.pem, ca__crl=second, client__pem=client.pem)
    store = place.directory / "published"
    publish_crl(first, store, issuer=ca.pem)
    advance_generation(store, above=6)
    new_key, sign, *others = steps_of(blocks("security.md", "## A signed root"))
    guide = Guide(place, {})
    status, printed = guide.run(new_key.command)
    assert status == 0
    key = r"public key  (ed25519:\S+)\nkey id      (\w+)"
    shown, made = (re.fullmatch(key, text) for text in (new_key.expected, printed))
    assert shown is not None
    assert made is not None
    guide.here.update(zip(shown.groups(), made.groups(), strict=True))
    status, printed = guide.run(sign.command)
    expected = re.sub(r"until .*", "until …", guide.adapted(sign.expected))
    assert is_as_expected(expected, printed), printed
    for step in others:
        assert step.expected == ""
        status, printed = guide.run(step.command)
        assert status == 0, printed


# ---- stores.md ------------------------------------------------------------------------------


@pytest.fixture
def weak(place: Place) -> Iterator[WeakS3]:
    """An S3 server that ignores If-Match, for the commands."""
    with weak_s3(WeakS3(ignored=frozenset({"if-match"}))) as server:
        place.environment.update(environment_variables(server.endpoint))
        yield server


@pytest.mark.usefixtures("weak")
def test_what_the_doctor_says_of_a_server_that_loses_updates(place: Place) -> None:
    """
    The lines that are shown, in that order, and the counts.
    """
    (step,) = steps_of(blocks("stores.md", "## `crlcheck doctor`"))
    status, printed = Guide(place, {}).run(step.command)
    assert status == 4
    parts = [re.escape(part) for part in step.expected.split("\n...\n")]
    assert re.fullmatch(r"\n(?:.*\n)*".join(parts), printed), printed


@pytest.mark.usefixtures("weak")
def test_the_first_publication_to_such_a_server(place: Place) -> None:
    """
    It is refused with the words that are shown.
    """
    ca = CertificateAuthority.create("Example CA")
    crl = sign_crl(ca, b"", this_update=NOW, next_update=NOW + DAY, crl_number=1)
    place.write(ca__pem=ca.pem, ca__crl=crl)
    (shown,) = blocks("stores.md", "## What a store must do")
    status, printed = Guide(place, {}).run(f"crlcheck publish ca.crl --issuer ca.pem --to {STORE}")
    assert (status, f"{printed}\n") == (4, shown.text)


def test_a_store_at_a_url(place: Place) -> None:
    """
    A web server that serves the directory is enough.
    """
    ca = CertificateAuthority.create("Example CA")
    crl = sign_crl(ca, b"", this_update=NOW, next_update=NOW + DAY, crl_number=1)
    publish_crl(crl, place.directory / "published", issuer=ca.pem)
    place.write(client__pem=ca.issue("client").pem)
    here = {
        "https://cdn.example.com": place.serve_directory(),
        "/var/lib/crlcheck": str(place.directory / "mirror"),
    }
    for step in steps_of(blocks("stores.md", "## A web server, a CDN or a static bucket")):
        assert step.expected == ""
        status, printed = Guide(place, here).run(step.command)
        assert status == 0, printed
    assert (place.directory / "mirror" / "catalog.json").is_file()


def test_what_nginx_lets_caches_keep(place: Place) -> None:
    """
    The root for seconds, images and nodes for good; history and refusals are not served.
    """
    ca = CertificateAuthority.create("Example CA")
    crl = sign_crl(ca, b"", this_update=NOW, next_update=NOW + DAY, crl_number=1)
    publish_crl(crl, place.directory / "published", issuer=ca.pem)
    (shown,) = blocks("stores.md", "### Caches")
    files = [one for one in place.directory.rglob("[!.]*") if one.is_file()]
    nginx = place.directory / "nginx"
    nginx.mkdir()
    kept = {}
    with serving_by_nginx(place.directory, nginx, shown.text) as served:
        trusted = ssl.create_default_context(cafile=nginx / "server.pem")
        for path in files:
            name = path.relative_to(place.directory / "published").as_posix()
            try:
                answer = urlopen(f"{served.url}/published/{name}", context=trusted)
            except HTTPError as error:
                answer = error
            with answer:
                kept[name.split("/")[0]] = (answer.status, answer.headers["Cache-Control"])
    assert kept == {
        "catalog.json": (200, "max-age=10"),
        "images": (200, "max-age=315360000"),
        "nodes": (200, "max-age=315360000"),
        "history": (403, None),
    }
