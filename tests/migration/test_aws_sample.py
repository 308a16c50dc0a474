"""
What the AWS sample has in its bucket: what is verified of it, what is different, and that
nothing of it is changed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crlcheck
from crlcheck.cli import main
from crlcheck.errors import CrlRollbackError, CrlSignatureError
from crlcheck.migration import (
    SampleCrl,
    SampleReport,
    examine_sample,
    read_serials,
    settings_in,
    translate_settings,
)
from support.example_pki import example_pki
from support.memory_store import MemoryStore
from support.moto_server import S3Environment
from support.pki import NOW, delta_of, make_authority, make_crl

PKI = example_pki()
SERIALS = [5, 0xABCDEF12, 1 << 150]


def list_of(serials: Iterable[int], *, packed: bool = False) -> bytes:
    """A list as the sample writes it."""
    body = json.dumps({hex(one): "" for one in serials}).encode()
    return zlib.compress(body, 2) if packed else body


class Bucket:
    """A bucket of the sample with one CA."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ca = make_authority()

    def put(
        self,
        serials: Iterable[int] = SERIALS,
        listed: Iterable[int] | bytes | None = SERIALS,
        *,
        name: str = "crl/partner.crl",
        by: Any = None,
        list_name: str = ".json",
        **options: Any,
    ) -> None:
        """Put a CRL, its CA's certificate and its list."""
        crl = make_crl(by or self.ca, 5, serials, **options)
        self.store.write(name, crl)
        self.store.write(f"{name}.crt", self.ca.pem)
        if listed is not None:
            body = listed if isinstance(listed, bytes) else list_of(listed)
            self.store.write(f"{name}{list_name}", body)

    def examine(self, **options: Any) -> SampleReport:
        """The whole report."""
        told: list[SampleCrl] = []
        report = examine_sample(self.store, now=NOW, on_crl=told.append, **options)
        assert tuple(told) == report.crls
        return report

    def only(self, **options: Any) -> SampleCrl:
        """The only CRL of the report."""
        (crl,) = self.examine(**options).crls
        return crl


@pytest.fixture
def bucket() -> Bucket:
    """A bucket with nothing in it."""
    return Bucket()


# ---- lists -------------------------------------------------------------------------------


@given(st.sets(st.integers(min_value=-(1 << 159), max_value=1 << 159), max_size=40), st.booleans())
def test_a_list_is_read_as_the_sample_writes_it(serials: set[int], packed: bool) -> None:
    """
    Any number of serial numbers, packed or not.
    """
    assert read_serials(list_of(serials, packed=packed), is_packed=packed) == serials


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=4), max_size=3), st.integers(0, 30))
def test_what_is_no_list_is_refused(members: dict[str, str], cut: int) -> None:
    """
    Any other object, and any part of a list; never a shorter list than was written.
    """
    body = list_of(SERIALS)
    assert read_serials(body, is_packed=False) == set(SERIALS)
    with pytest.raises(ValueError, match="expected|found"):
        read_serials(body[: -1 - cut], is_packed=False)
    if members:
        with pytest.raises(ValueError, match="expected|found"):
            read_serials(json.dumps(members).encode(), is_packed=False)


@pytest.mark.parametrize(
    ("body", "is_packed"),
    [
        (b"", False),
        (b"[]", False),
        (b'{"0x1": "",}', False),
        (b'{"0x1" ""}', False),
        (b'{"0x1": ""} {"0x2": ""}', False),
        (b'{"1": ""}', False),
        (b'{"0x": ""}', False),
        (b'{"0xABC": ""}', False),  # no certificate's number is looked for in this spelling
        (b'{"0x0abc": ""}', False),
        ('{"0x1": "ä"}'.encode(), False),
        (b"not zlib", True),
        (list_of(SERIALS, packed=True)[:-5], True),
        (zlib.compress(b'{"0x1": ""' + b" " * 100_000 + b"}"), True),
    ],
)
def test_odd_lists(body: bytes, is_packed: bool) -> None:
    """
    Also one that is far larger unpacked.
    """
    with pytest.raises(ValueError, match=r"expected|found|ends early"):
        read_serials(body, is_packed=is_packed, max_size=50_000)


# ---- comparing ---------------------------------------------------------------------------


@pytest.mark.parametrize("list_name", [".json", ".json.zip", ".cache.json"])
def test_a_good_sample_is_equal(bucket: Bucket, list_name: str) -> None:
    """
    Whatever its list is called. Nothing in the bucket changes.
    """
    bucket.put(listed=list_of(SERIALS, packed=list_name.endswith("zip")), list_name=list_name)
    before = {name: bucket.store.read(name).body for name in bucket.store.names("")}
    found = bucket.only()
    assert (found.num_entries, found.num_listed, found.num_equal) == (3, 3, 3)
    assert found.is_equal
    assert bucket.examine().is_equal
    assert {name: bucket.store.read(name).body for name in bucket.store.names("")} == before


@given(
    st.sets(st.integers(1, 60), min_size=1),
    st.sets(st.integers(1, 60)),
)
def test_each_serial_number_is_compared(revoked: set[int], listed: set[int]) -> None:
    """
    Both ways, like sets of Python.
    """
    bucket = Bucket()
    bucket.put(sorted(revoked), sorted(listed))
    found = bucket.only()
    assert found.num_equal == len(revoked & listed)
    assert (found.num_only_in_list, found.num_only_in_crl) == (
        len(listed - revoked),
        len(revoked - listed),
    )
    assert set(found.only_in_list) <= listed - revoked
    assert set(found.only_in_crl) <= revoked - listed
    assert found.is_equal == (revoked == listed)


def test_a_crl_that_the_ca_did_not_sign(bucket: Bucket) -> None:
    """
    The sample takes it; it is refused, and its list counts as unverified. Nothing is published.
    """
    bucket.put(by=make_authority("Somebody Else"))
    target = MemoryStore()
    found = bucket.only(to=target)
    assert isinstance(found.refused, CrlSignatureError)
    assert not found.is_equal
    assert found.num_listed == 3
    assert list(target.names("")) == []


def test_without_the_ca_s_certificate(bucket: Bucket) -> None:
    """
    A sample that asks AWS Private CA has none in its bucket: it is given.
    """
    bucket.put()
    bucket.store.delete("crl/partner.crl.crt")
    assert isinstance(bucket.only().refused, CrlSignatureError)
    assert bucket.only(issuers=[bucket.ca.pem]).is_equal


def test_a_certificate_that_is_none(bucket: Bucket) -> None:
    """
    It is named, and the CRL is not trusted.
    """
    bucket.put()
    bucket.store.write("crl/partner.crl.crt", b"not a certificate")
    found = bucket.only()
    assert found.refused is not None
    assert any("crl/partner.crl.crt is no certificate" in one for one in found.findings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda one: one.put(listed=None), "the sample denies nobody"),
        (lambda one: one.put(listed=b"[]"), "is no list as the sample writes it"),
        (
            lambda one: one.put(next_update=NOW - timedelta(hours=1)),
            "has been stale since",
        ),
        (lambda one: one.put(extensions=[delta_of(4)]), "changes since CRL 4 alone"),
    ],
    ids=["no list", "odd list", "expired", "delta"],
)
def test_what_the_sample_passes_over(
    bucket: Bucket, change: Callable[[Bucket], None], expected: str
) -> None:
    """
    Each is a finding.
    """
    change(bucket)
    found = bucket.only()
    assert any(expected in one for one in found.findings), found.findings
    assert not found.is_equal


def test_lists_without_a_crl_and_other_objects(bucket: Bucket) -> None:
    """
    A list whose CRL has gone is named; what is not the sample's is passed over.
    """
    bucket.put()
    bucket.store.write("crl/gone.crl.json", list_of([1]))
    bucket.store.write("settings.json", b"{}")
    bucket.store.write("published/status/x.crl.json", b"{}")
    report = bucket.examine(left_out=["published/"])
    assert report.orphans == ("crl/gone.crl.json",)
    assert [one.name for one in report.crls] == ["crl/partner.crl"]
    assert not report.is_equal
    assert not Bucket().examine().is_equal, "nothing is not the same as equal"


def test_a_serial_number_of_two_cas(bucket: Bucket) -> None:
    """
    The sample denies one CA's client for the other's; it also reads only one of the lists.
    """
    other = make_authority("Other CA")
    bucket.put()
    bucket.put([5, 6], [5, 6], name="crl/other.crl", by=other)
    bucket.store.write("crl/other.crl.crt", other.pem)
    report = bucket.examine()
    assert [one.is_equal for one in report.crls] == [True, True]
    assert report.num_shared == 1
    assert not report.is_equal


def test_of_several_lists_the_one_that_is_read_counts(bucket: Bucket) -> None:
    """
    By the authorizer's settings; without them the others are named.
    """
    bucket.put()
    bucket.put(listed=[1], list_name=".json.zip")
    bucket.put(listed=list_of([1], packed=True), list_name=".json.zip")
    found = bucket.only(read_list="crl/partner.crl.json")
    assert (found.list_name, found.is_equal) == ("crl/partner.crl.json", True)
    found = bucket.only(read_list="crl/partner.crl.json.zip")
    assert (found.list_name, found.num_only_in_list) == ("crl/partner.crl.json.zip", 1)
    found = bucket.only()
    assert any("was not compared" in one for one in found.findings)
    assert not found.is_equal


def test_what_is_verified_is_published(bucket: Bucket) -> None:
    """
    And decides as the CRL says.
    """
    bucket.put()
    bucket.put([7], [7], name="crl/other.crl", by=make_authority("Somebody Else"))
    target = MemoryStore()
    report = bucket.examine(to=target, note="moved", actor="test")
    assert [one.publication and one.publication.generation for one in report.crls] == [None, 1]
    with crlcheck.RevocationChecker(target, clock=lambda: NOW) as checker:
        revoked = [
            number
            for number in (*SERIALS, 7)
            if checker.check_serial(bucket.ca.der, number).status.name == "REVOKED"
        ]
    assert revoked == SERIALS


def test_an_older_crl_than_the_store_has_is_not_published(bucket: Bucket) -> None:
    """
    It is said, the others go on, and the store keeps what it has.
    """
    target = MemoryStore()
    crlcheck.publish_crl(
        make_crl(bucket.ca, 9, [1, *SERIALS]), target, issuer=bucket.ca.pem, now=NOW
    )
    bucket.put()
    found = bucket.only(to=target)
    assert isinstance(found.unpublished, CrlRollbackError)
    assert (found.publication, found.num_equal, found.is_equal) == (None, 3, False)


# ---- settings ----------------------------------------------------------------------------


def test_each_setting_of_the_sample_has_an_answer() -> None:
    """
    Those of both functions; the values are of crlcheck's settings.
    """
    environment = {
        "s3Bucket": "partner-crls",
        "s3Key": "crl/partner.crl.json",
        "COMPRESSED_CACHE": "False",
        "COMPRESS_CACHE": "True",
        "IS_REST_API_GW": "False",
        "LOGGING_LEVEL": "DEBUG",
        "USE_ACM_PCA": "True",
        "ACM_PCA_ARN": "arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/x",
        "ALLOW_EXPIRED_CRL": "True",
    }
    document = {"FunctionName": "x", "Environment": {"Variables": environment}}
    found = translate_settings(settings_in(document), "s3://partner-crls/published")
    texts = {one.sample: one.crlcheck for one in found}
    assert texts.keys() == environment.keys()
    assert texts["s3Bucket"] == "CRLCHECK_STORE=s3://partner-crls/published"
    assert texts["LOGGING_LEVEL"] == "CRLCHECK_LOG_LEVEL=debug"
    assert texts["ACM_PCA_ARN"] == f"CRLCHECK_PRIVATE_CAS={environment['ACM_PCA_ARN']}"
    assert texts["ALLOW_EXPIRED_CRL"] == "CRLCHECK_STALE=grace, CRLCHECK_STALE_GRACE=24h"
    assert all(one.why for one in found)
    assert "takes any text for true" in next(
        one.why for one in found if one.sample == "IS_REST_API_GW"
    )
    bad: tuple[object, ...] = ({}, [], {"Environment": {"Variables": {"a": 1}}})
    for one in bad:
        with pytest.raises(crlcheck.CrlCheckError, match="get-function-configuration"):
            settings_in(one)


# ---- the command -------------------------------------------------------------------------


def fill(s3: S3Environment, listed: Iterable[int]) -> None:
    """Put the example CRL into a bucket, as the sample has it."""
    for name, body in (
        ("crl/partner.crl", PKI.crl()),
        ("crl/partner.crl.crt", PKI.authority.pem),
        ("crl/partner.crl.json", list_of(listed)),
    ):
        s3.client.put_object(Bucket=s3.bucket, Key=name, Body=body)


def test_the_command_compares_and_publishes(
    s3: S3Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    From a bucket into a part of the same bucket; a second run finds the sample's objects alone.
    """
    serial = PKI.revoked.certificate.serial_number
    fill(s3, [serial])
    settings = tmp_path / "authorizer.json"
    settings.write_text(json.dumps({"Environment": {"Variables": {"LOGGING_LEVEL": "INFO"}}}))
    store = f"s3://{s3.bucket}/published"
    arguments = ["migrate", "aws-sample", "--bucket", s3.bucket]
    assert main([*arguments, "--settings", str(settings)]) == 0
    said = capsys.readouterr().out
    assert "1 entry, 1 of them denied by the sample" in said
    assert "LOGGING_LEVEL=INFO -> CRLCHECK_LOG_LEVEL=info" in said
    assert "Nothing was published" in said
    for _ in range(2):
        assert main([*arguments, "--to", store, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["equal"]
        assert [one["name"] for one in document["crls"]] == ["crl/partner.crl"]
    with crlcheck.RevocationChecker(store) as checker:
        assert checker.check(PKI.client("revoked").encode()).status.name == "REVOKED"
    fill(s3, [serial, 4711])
    assert main(arguments) == 1
    assert "1 denied by the sample, and not revoked: 1267" in capsys.readouterr().out


def test_a_crl_whose_name_no_store_reads(
    s3: S3Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Is named, and nothing is called equal. What the console calls a folder is none.
    """
    fill(s3, [PKI.revoked.certificate.serial_number])
    s3.client.put_object(Bucket=s3.bucket, Key="crl/", Body=b"")
    assert main(["migrate", "aws-sample", "--bucket", s3.bucket]) == 0
    capsys.readouterr()
    s3.client.put_object(Bucket=s3.bucket, Key="crl//other.crl", Body=PKI.crl())
    assert main(["migrate", "aws-sample", "--bucket", s3.bucket]) == 1
    assert "'crl//other.crl': was not read" in capsys.readouterr().out

    (tmp_path / ".hidden.list").write_bytes(PKI.crl())
    (tmp_path / ".hidden.list.json").write_bytes(list_of([1]))
    (tmp_path / os.fsdecode(b"\xff\n.crl")).write_bytes(PKI.crl())
    assert main(["migrate", "aws-sample", "--bucket", str(tmp_path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["unread"] == [".hidden.list", "\\udcff\n.crl"]
    assert main(["migrate", "aws-sample", "--bucket", str(tmp_path)]) == 1
    assert "'\\udcff\\n.crl': was not read" in capsys.readouterr().out


def test_a_dry_run_compares_with_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It says what would be published, what is already, and what would be refused, and writes
    nothing: not even a store that is not there.
    """
    bucket, store = tmp_path / "bucket", tmp_path / "published"
    bucket.mkdir()

    def put(number: int, serials: list[int]) -> None:
        (bucket / "partner.crl").write_bytes(PKI.crl(number=number, revoked=serials))
        (bucket / "partner.crl.crt").write_bytes(PKI.authority.pem)
        (bucket / "partner.crl.json").write_bytes(list_of(serials))

    def run(*arguments: str) -> tuple[int, str]:
        given = ["migrate", "aws-sample", "--bucket", str(bucket), "--to", str(store)]
        status = main([*given, *arguments])
        return status, capsys.readouterr().out

    def published() -> dict[str, bytes]:
        return {str(one): one.read_bytes() for one in store.rglob("*") if one.is_file()}

    put(5, [1, 2])
    status, said = run("--dry-run")
    assert status == 0
    assert "2 of them denied by the sample, would be published\n" in said
    assert said.endswith("Nothing was published: this was a dry run.\n")
    assert not store.exists()
    assert run()[0] == 0
    before = published()
    assert ", published already\n" in run("--dry-run")[1]
    put(6, [2, 3, 4])
    assert "would be published (2 newly revoked, 1 lifted)\n" in run("--dry-run")[1]
    status, said = run("--dry-run", "--json")
    (crl,) = json.loads(said)["crls"]
    assert (json.loads(said)["dry_run"], crl["generation"]) == (True, None)
    assert (crl["publication"]["published"], crl["publication"]["num_lifted"]) == (True, 1)
    put(4, [1])
    status, said = run("--dry-run")
    assert status == 1
    assert "  not published: " in said
    assert published() == before
    assert main(["migrate", "aws-sample", "--bucket", str(bucket), "--dry-run"]) == 2
    assert "--dry-run needs --to" in capsys.readouterr().err


def test_the_command_takes_a_copy_of_the_bucket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A directory, and says so where nothing of the sample is in it.
    """
    assert main(["migrate", "aws-sample", "--bucket", str(tmp_path)]) == 1
    assert "there is no CRL of the sample in it" in capsys.readouterr().out
    (tmp_path / "partner.crl").write_bytes(PKI.crl())
    (tmp_path / "partner.crl.json").write_bytes(list_of([1]))
    issuer = tmp_path.parent / "issuer.pem"
    issuer.write_bytes(PKI.authority.pem)
    assert main(["migrate", "aws-sample", "--bucket", str(tmp_path), "--issuer", str(issuer)]) == 1
    said = capsys.readouterr().out
    assert "1 denied by the sample, and not revoked: 1\n" in said
    assert "1 revoked, and allowed by the sample: " in said
