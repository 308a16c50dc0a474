"""What is said of a certificate whose issuer's key is not known, or not the only one."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from crlcheck.checker.results import uncovered
from crlcheck.checker.scope import ScopeTable
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ImageMetadata,
    Policy,
    RevocationStatus,
    Rule,
    UndeterminedCause,
)
from support.checking import remedy_in, without_remedy
from support.values import key_hash, make_certificate, make_issuer, make_metadata

ALLOW = Policy(unknown_issuer=Rule.ALLOW)


def said_of(
    certificate: CertificateFacts, *issuers: CertificateFacts, policy: Policy | None = None
) -> CheckResult:
    """The verdict where these issuers are trusted."""
    return uncovered(certificate, ScopeTable([], issuers).coverage(certificate), policy)


def reason(result: CheckResult) -> str:
    """Why it is undetermined."""
    assert result.status is RevocationStatus.UNDETERMINED
    said = result.detail.removeprefix("certificate 4a3f issued by CN=CA is undetermined: ")
    return without_remedy(said)


NAMESAKES = "issuers of that name are trusted, but none of their keys is the one that issued it"


@pytest.mark.parametrize(
    ("key_id", "words"),
    [(b"\x01\x02", "no trusted issuer has that name and key id 0102"),
     (None, "no trusted issuer has that name")],
)  # fmt: skip
def test_a_name_that_nobody_trusts(key_id: bytes | None, words: str) -> None:
    """It is said with the key id, and a policy may let it pass for that reason."""
    certificate = make_certificate(authority_key_id=key_id)
    assert reason(said_of(certificate, make_issuer("another"))) == words
    passed = said_of(certificate, policy=ALLOW)
    assert passed == CheckResult(
        status=RevocationStatus.NOT_REVOKED,
        cause=None,
        detail=f"certificate 4a3f issued by CN=CA is accepted by policy: {words}",
        serial_number=0x4A3F,
        certificate=certificate,
        waived=(UndeterminedCause.UNKNOWN_ISSUER,),
    )
    assert said_of(certificate, policy=Policy()).cause is UndeterminedCause.UNKNOWN_ISSUER


def test_a_trusted_name_with_another_key() -> None:
    """Both key ids are said, and what can be done; no policy lets it pass."""
    certificate = make_certificate(authority_key_id=b"\x01\x02")
    result = said_of(certificate, make_issuer(), policy=ALLOW)
    assert result.cause is UndeterminedCause.UNKNOWN_ISSUER
    assert reason(result) == (
        f"{NAMESAKES}: its authority key id is 0102, theirs are key id {b'CA key'.hex()} "
        "(certificate 4a3f)"
    )
    assert remedy_in(result.detail) == (
        "publish with the issuer's certificate, too (crlcheck publish --issuer)"
    )


def test_an_issuer_that_no_other_key_of_its_name_signed() -> None:
    """As one whose own key is the only one of that name: it says that no key id is there."""
    certificate = make_certificate(authority_key_id=None)
    coverage = ScopeTable([], [make_issuer()]).coverage(certificate, keys=())
    words = reason(uncovered(certificate, coverage))
    assert words.startswith(f"{NAMESAKES}: it has no authority key id, theirs are key id ")


def test_a_ca_of_another_key_may_be_marked_as_an_anchor() -> None:
    """The command is said with its fingerprint; a client is never an anchor."""
    authority = dataclasses.replace(
        make_certificate(authority_key_id=b"\x01\x02", is_ca=True), der=b"DER"
    )
    way_out = (
        "publish with the issuer's certificate, too (crlcheck publish --issuer), or mark this "
        "certificate as an anchor (crlcheck issuer anchor STORE "
        f"{hashlib.sha256(b'DER').hexdigest()}, or trust_anchors=) where it was trusted directly"
    )
    assert remedy_in(said_of(authority, make_issuer()).detail) == way_out
    for other in (
        dataclasses.replace(authority, is_ca=False),
        dataclasses.replace(authority, der=b""),
    ):
        assert "anchor" not in said_of(other, make_issuer()).detail


@pytest.mark.parametrize("num_keys", [1, 4, 5, 6, 9])
def test_five_keys_of_a_name_are_told_apart(num_keys: int) -> None:
    """More than that are counted."""
    certificate = make_certificate(authority_key_id=b"\x01\x02")
    issuers = [
        make_issuer(key=f"key {i}", subject_key_id=f"key {i}".encode()) for i in range(num_keys)
    ]
    words = reason(said_of(certificate, *issuers))
    shown = ", ".join(
        f"key id {f'key {i}'.encode().hex()} (certificate 4a3f)" for i in range(min(num_keys, 5))
    )
    more = f" and {num_keys - 5} more" if num_keys > 5 else ""
    assert words.endswith(f"theirs are {shown}{more}")


def test_several_keys_that_a_certificate_may_be_of() -> None:
    """All of them are listed, and why nothing distinguishes them."""
    keys = [make_issuer(), make_issuer(key="other")]
    both = f"key id {b'CA key'.hex()} (certificate 4a3f)"
    with_id = said_of(make_certificate(), *keys)
    assert with_id.cause is UndeterminedCause.AMBIGUOUS_ISSUER
    assert reason(with_id) == (
        f"several issuer keys have that name and all have id {b'CA key'.hex()}: {both}, {both}"
    )
    without = reason(said_of(make_certificate(authority_key_id=None), *keys))
    assert without.startswith("several issuer keys have that name and it has no authority key id: ")


# ---- keys --------------------------------------------------------------------


def describe(*issuers: CertificateFacts, **crl: bytes | None) -> str:
    """How the only key of the name CA is called."""
    crls = [make_metadata(**crl)] if crl else []  # type: ignore[arg-type]
    table = ScopeTable(crls, issuers, trust_verifiers=True)
    (key,) = table.issuers.named(make_certificate().issuer)
    return key.describe()


def test_a_key_is_called_by_the_ids_that_its_certificates_state() -> None:
    """In order, with the serial numbers of the certificates."""
    renewed = dataclasses.replace(make_issuer(subject_key_id=b"\x02"), serial_number=0x1F)
    first = make_issuer(subject_key_id=b"\x01")
    assert describe(renewed, first) == "key id 01 or 02 (certificate 1f, 4a3f)"


def test_a_key_without_stated_id_is_called_by_its_hash() -> None:
    """The usual one, SHA-1 of the key bits."""
    issuer = make_issuer(subject_key_id=None)
    usual = hashlib.sha1(issuer.subject_public_key_info[-32:], usedforsecurity=False).hexdigest()
    assert describe(issuer) == f"key id {usual} (certificate 4a3f)"


def test_a_key_that_only_crls_tell_of() -> None:
    """By the id that the CRL states, else by the key's own hash."""
    assert describe(verifier_subject_key_id=None, authority_key_id=b"\x03") == "key id 03"
    bare = describe(verifier_subject_key_id=None, authority_key_id=None)
    assert bare == f"key {key_hash('CA key').hex()}"


def test_only_a_crl_that_went_with_its_issuer_tells_of_a_removed_issuer() -> None:
    """A removed CRL of a key that is still trusted does not, and hides no other's."""
    client = make_certificate(authority_key_id=None)
    alone, gone = make_metadata(key="CA key"), make_metadata(key="a removed key")

    def removed(*crls: ImageMetadata) -> ImageMetadata | None:
        return ScopeTable([], [make_issuer()], removed=crls).issuers.removed_crl(client)

    assert removed(alone) is None
    assert removed(gone) is gone
    assert removed(alone, gone) is gone
