"""Checks against a published set and against indexes: certificates, paths, time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_der_x509_certificate

from crlcheck.compiler.compile import compile_crl, compile_unverified_crl
from crlcheck.demo.pki import pem_block
from crlcheck.errors import (
    CertificateError,
    IndexClosedError,
    IndexFileError,
)
from crlcheck.image.index import open_index
from crlcheck.types import Policy, RevocationStatus, StaleRule, UndeterminedCause
from crlcheck.x509.certificates import CertificateSource, load_certificate
from support.checking import (
    BAD,
    CA,
    FOREIGN,
    GOOD,
    OTHER_CA,
    Clock,
    CountingStore,
    make_checker,
    make_index,
    publish,
    verdict,
)
from support.memory_store import MemoryStore
from support.moto_server import S3Environment
from support.pki import (
    DAY,
    NOW,
    ONLY_CA_CERTIFICATES,
    make_authority,
    make_client,
    make_crl,
)

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED


# ---- verdicts ------------------------------------------------------------------------


@pytest.fixture(params=["store", "directory", "index", "indexes", "path"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The same CRL in each form that a checker takes."""
    if request.param == "store":
        store = MemoryStore()
        publish(store)
        return store
    if request.param == "directory":
        publish(tmp_path)
        return str(tmp_path)
    if request.param == "path":
        compile_crl(make_crl(CA, revoked=[2]), tmp_path / "ca.crlx", issuer=CA.pem)
        return tmp_path / "ca.crlx"
    index = make_index()
    return index if request.param == "index" else iter([index, make_index(number=0, revoked=[1])])


def test_good_revoked_and_foreign(source: Any) -> None:
    """
    Whatever the CRL is held in, the three answers are the same; the foreign
    certificate has the revoked one's serial number.
    """
    checker = make_checker(source)
    assert verdict(checker.check(GOOD)) == (NOT_REVOKED, None)
    result = checker.check(BAD)
    assert verdict(result) == (REVOKED, None)
    assert (result.serial_number, result.crl_number) == (2, 1)
    assert result.certificate == load_certificate(BAD)
    assert verdict(checker.check(FOREIGN)) == (UNDETERMINED, UndeterminedCause.UNKNOWN_ISSUER)


def test_a_certificate_may_come_in_any_form(tmp_path: Path) -> None:
    """
    DER, PEM, text, a path and a cryptography object are one certificate.
    """
    checker = make_checker(make_index())
    pem = pem_block("CERTIFICATE", BAD)
    (tmp_path / "bad.pem").write_bytes(pem)
    forms: list[CertificateSource] = [BAD, memoryview(BAD), pem, pem.decode(), tmp_path / "bad.pem"]
    results = checker.check_many([*forms, load_der_x509_certificate(BAD)])
    assert [result.status for result in results] == [REVOKED] * 6
    assert len(set(results)) == 1


def test_what_is_no_certificate_is_an_error() -> None:
    """
    It is not a verdict; one bad certificate among several fails the call.
    """
    checker = make_checker(make_index())
    for bad in (b"", b"\x30\x00", BAD[:-1], make_crl(CA)):
        with pytest.raises(CertificateError):
            checker.check(bad)
        with pytest.raises(CertificateError):
            checker.check_many([GOOD, bad])


def test_many_certificates_are_checked_by_one_set() -> None:
    """
    Results are in order, and the store is asked once for all.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    store.counts.clear()
    results = checker.check_many([GOOD, BAD, FOREIGN, GOOD])
    assert [r.status for r in results] == [NOT_REVOKED, REVOKED, UNDETERMINED, NOT_REVOKED]
    # The root, the only node of its tree, and the image.
    assert store.counts == {"read_if_changed": 1, "read": 1, "load": 1}
    assert checker.check_many([]) == []


def test_the_clock_and_the_policy_decide() -> None:
    """
    Time is looked at at every check, and nothing is waived unless asked for.
    """
    clock = Clock()
    index = make_index()
    checker = make_checker(index, clock=clock)
    grace = Policy(stale=StaleRule.GRACE, stale_grace=2 * DAY)
    lenient = make_checker(index, clock=clock, policy=grace)
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 31 * DAY
    assert verdict(checker.check(GOOD)) == (UNDETERMINED, UndeterminedCause.STALE)
    assert checker.check(BAD).status is REVOKED
    assert lenient.check(GOOD).waived == (UndeterminedCause.STALE,)


def test_a_crl_for_other_certificates_neither_answers_nor_disturbs() -> None:
    """
    A CRL for CA certificates is out of scope for a client's alone, and beside a
    complete CRL it changes nothing.
    """
    other = make_index(number=9, revoked=[1], extensions=[ONLY_CA_CERTIFICATES])
    assert verdict(make_checker(other).check(GOOD)) == (
        UNDETERMINED,
        UndeterminedCause.OUT_OF_SCOPE,
    )
    assert make_checker([other, make_index()]).check(GOOD).status is NOT_REVOKED


def test_a_certificate_without_key_id_needs_an_only_key() -> None:
    """
    With indexes of two authorities of one name, a certificate that does not
    name its key is ambiguous; one that does is not.
    """
    namesake = make_authority()
    nameless = make_client(CA, 1, authority_key_id=False)
    assert make_checker(make_index()).check(nameless).status is NOT_REVOKED
    both = make_checker([make_index(), make_index(namesake)])
    assert both.check(nameless).cause is UndeterminedCause.AMBIGUOUS_ISSUER
    assert both.check(GOOD).status is NOT_REVOKED


def test_a_revoked_namesake_does_not_revoke() -> None:
    """
    A certificate that may be one of two authorities of one name stays undetermined
    where one of these is revoked: that may be the other one.
    """
    root = make_authority("Root")
    namesakes = [make_authority("Twin", root), make_authority("Twin")]
    nameless = make_client(namesakes[1], 1, authority_key_id=False)
    revoked = namesakes[0].certificate.serial_number
    checker = make_checker(
        make_index(root, revoked=[revoked]), issuers=[root.pem, *(twin.pem for twin in namesakes)]
    )
    assert checker.check(namesakes[0].pem).status is REVOKED
    assert checker.check(nameless).cause is UndeterminedCause.AMBIGUOUS_ISSUER


def test_issuers_given_are_known() -> None:
    """
    An issuer without CRL is out of scope instead of unknown, beside indexes and
    beside the issuers that a store names.
    """
    store = MemoryStore()
    publish(store)
    for source in (make_index(), store):
        for option in ("issuers", "trust_anchors"):
            checker = make_checker(source, **{option: OTHER_CA.pem})
            assert checker.check(FOREIGN).cause is UndeterminedCause.OUT_OF_SCOPE
            assert checker.check(BAD).status is REVOKED


def test_an_unverified_index_is_refused() -> None:
    """
    An image whose CRL was not verified answers nothing.
    """
    image = compile_unverified_crl(make_crl(CA)).image
    assert image is not None
    with pytest.raises(IndexFileError, match="was not verified"):
        make_checker([make_index(), open_index(image)])


def test_a_missing_image_file_is_no_empty_store(tmp_path: Path) -> None:
    """
    A path that ends as images do is one, there or not.
    """
    with pytest.raises(FileNotFoundError):
        make_checker(tmp_path / "missing.crlx")


# ---- paths ---------------------------------------------------------------------------

ROOT = make_authority("Root")
INTERMEDIATE = make_authority("Intermediate", ROOT)
LEAF = make_client(INTERMEDIATE, 5)
PATH = [LEAF, INTERMEDIATE.der, ROOT.der]


@pytest.mark.parametrize(
    ("root_revokes", "intermediate_revokes", "expected"),
    [
        ((), (), (NOT_REVOKED, None)),
        ((), (5,), (REVOKED, "leaf")),
        ((INTERMEDIATE.certificate.serial_number,), (), (REVOKED, "intermediate")),
        (None, (), (UNDETERMINED, "intermediate")),
        (None, (5,), (REVOKED, "leaf")),
        ((), None, (UNDETERMINED, "leaf")),
    ],
)
def test_the_worst_certificate_of_a_path_decides(
    root_revokes: tuple[int, ...] | None,
    intermediate_revokes: tuple[int, ...] | None,
    expected: tuple[RevocationStatus, str | None],
) -> None:
    """
    Leaf and intermediate are checked, each by its issuer's CRL, the self-signed
    root is not; the result names the certificate that decided.
    """
    indexes = []
    if root_revokes is not None:
        indexes.append(make_index(ROOT, revoked=root_revokes))
    if intermediate_revokes is not None:
        indexes.append(make_index(INTERMEDIATE, revoked=intermediate_revokes))
    checker = make_checker(indexes)
    result = checker.check_chain(PATH)
    assert result.status is expected[0]
    if expected[1] is not None:
        decided = LEAF if expected[1] == "leaf" else INTERMEDIATE.der
        assert result.certificate == load_certificate(decided)
    assert checker.check_chain(b"".join(pem_block("CERTIFICATE", der) for der in PATH)) == result


def test_a_path_ends_at_a_trust_anchor() -> None:
    """
    Where anchors are given, they and what is above them are not checked, and a
    self-signed certificate that is none of them is.
    """
    indexes = [make_index(INTERMEDIATE)]
    at_intermediate = make_checker(indexes, trust_anchors=INTERMEDIATE.pem)
    assert at_intermediate.check_chain(PATH).status is NOT_REVOKED
    elsewhere = make_checker(indexes, trust_anchors=OTHER_CA.pem)
    assert elsewhere.check_chain(PATH).status is UNDETERMINED


def test_the_leaf_is_always_checked() -> None:
    """
    A lone self-signed certificate, or a leaf that is an anchor, does not pass
    unchecked.
    """
    serial_number = ROOT.certificate.serial_number
    checker = make_checker(make_index(ROOT, revoked=[serial_number]))
    assert checker.check_chain([ROOT.der]).status is REVOKED
    anchored = make_checker(make_index(ROOT, revoked=[serial_number]), trust_anchors=ROOT.pem)
    assert anchored.check_chain(ROOT.der).status is REVOKED


def test_a_path_settles_which_key_issued() -> None:
    """
    What is ambiguous for the certificate alone is not with its issuer beside it.
    """
    namesake = make_authority()
    nameless = make_client(CA, 2, authority_key_id=False)
    checker = make_checker([make_index(), make_index(namesake, revoked=[])])
    assert checker.check(nameless).cause is UndeterminedCause.AMBIGUOUS_ISSUER
    assert checker.check_chain([nameless, CA.der]).status is REVOKED
    assert checker.check_chain([nameless, namesake.der]).status is NOT_REVOKED


@pytest.mark.parametrize(
    "path", [[LEAF, ROOT.der], [LEAF, ROOT.der, INTERMEDIATE.der], [INTERMEDIATE.der, LEAF]]
)
def test_a_path_with_a_hole_is_refused(path: list[bytes]) -> None:
    """
    What is missing could be revoked, so it must not pass.
    """
    checker = make_checker([make_index(ROOT), make_index(INTERMEDIATE)])
    with pytest.raises(ValueError, match="not a path"):
        checker.check_chain(path)


def test_an_empty_path_is_refused() -> None:
    """
    No certificate is no path, and certainly not a good one.
    """
    with pytest.raises(ValueError, match="no certificates"):
        make_checker(make_index()).check_chain([])


# ---- the end -----------------------------------------------------------------------------------


def test_a_closed_checker_says_so() -> None:
    """
    Every use after the end is an error, and the caller's index stays open.
    """
    index = make_index()
    with make_checker(index) as checker:
        assert checker.check(GOOD).status is NOT_REVOKED
    for use in (checker.refresh, checker.status, lambda: checker.check(GOOD)):
        with pytest.raises(IndexClosedError):
            use()
    checker.close()
    assert 2 in index


def test_an_index_closed_underneath_is_an_error() -> None:
    """
    It must not look like an answer.
    """
    index = make_index()
    checker = make_checker(index)
    index.close()
    with pytest.raises(IndexClosedError):
        checker.check(GOOD)


@pytest.mark.whole
def test_a_check_needs_neither_cryptography_nor_boto3(tmp_path: Path) -> None:
    """
    What an authorizer loads for PEM and DER certificates stays small.
    """
    publish(tmp_path / "store")
    (tmp_path / "bad.der").write_bytes(BAD)
    program = """
import sys, pathlib, crlcheck
directory = pathlib.Path(sys.argv[1])
checker = crlcheck.RevocationChecker(directory / "store")
der = (directory / "bad.der").read_bytes()
print(checker.check(der).status.value)
print(checker.check_chain([directory / "bad.der"]).status.value)
checker.refresh()
print(sorted({"cryptography", "boto3", "botocore", "numpy", "pyroaring"} & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stdout.split() == ["revoked", "revoked", "[]"]


def test_publish_and_check_over_s3(s3: S3Environment) -> None:
    """
    The same over S3: good, revoked, a new CRL, and the conditional read between.
    """
    url = f"s3://{s3.bucket}/published"
    publish(url, 1)
    checker = make_checker(url)
    assert checker.check(GOOD).status is NOT_REVOKED
    assert not checker.refresh()
    publish(url, 2, revoked=[1, 2])
    assert checker.check(GOOD).status is REVOKED
