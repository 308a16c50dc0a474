"""Paths to a trust anchor, by the rules of RFC 5280 6.1."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from crlcheck import CertificateFacts, PathValidationError, load_certificate, validate_path
from crlcheck.demo.encoding import der, der_integer, der_oid
from crlcheck.demo.pki import CertificateAuthority, KeyType
from crlcheck.x509 import path_validation
from support.paths import Issued, issue, key_usage, self_signed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\5\0")
ROOT = self_signed("Root", now=NOW)
SUB = issue(ROOT, "Sub", now=NOW, is_ca=True)
LEAF = issue(SUB, "leaf", now=NOW)


def facts(*issued: Issued) -> list[CertificateFacts]:
    """What crlcheck reads of certificates."""
    return [load_certificate(one.der) for one in issued]


def refusal(*chain: Issued, anchors: Sequence[Issued] = (ROOT,)) -> PathValidationError:
    """Why a chain is refused."""
    with pytest.raises(PathValidationError) as caught:
        validate_path(facts(*chain), facts(*anchors), now=NOW)
    assert f"(RFC 5280 {caught.value.section})" in str(caught.value)
    return caught.value


def accept(*chain: Issued, anchors: Sequence[Issued] = (ROOT,)) -> None:
    """Assert that a chain is accepted, and its first certificate comes back."""
    assert validate_path(facts(*chain), facts(*anchors), now=NOW).der == chain[0].der


# ---- NIST's test suite -------------------------------------------------------

PKITS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "pkits_paths.json").read_text()
)
FILES = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data" / "certs"


@pytest.fixture(scope="module")
def authorities() -> list[CertificateFacts]:
    """All certificates of the suite that are no end entity's."""
    paths = [path for path in sorted(FILES.glob("*.crt")) if not path.stem.endswith("EE")]
    return [load_certificate(path.read_bytes()) for path in paths]


def pkits_answer(test: str, authorities: Sequence[CertificateFacts]) -> str:
    """The section that refuses a test's end entity, "valid" where none does."""
    leaf = load_certificate((FILES / f"{test}EE.crt").read_bytes())
    anchor = load_certificate((FILES / "TrustAnchorRootCertificate.crt").read_bytes())
    try:
        validate_path([leaf, *authorities], [anchor], now=datetime.fromisoformat(PKITS["time"]))
    except PathValidationError as error:
        return error.section
    return "valid"


def test_pkits_agrees(authorities: list[CertificateFacts]) -> None:
    """
    Of each end entity of NIST's suite a path is found, with all authorities to choose
    from, exactly where there is a valid one; else the rule that the test breaks is named.
    """
    expected = dict.fromkeys(PKITS["valid"] + PKITS["revoked"], "valid")
    expected |= PKITS["refused"] | PKITS["unsupported"]
    assert expected == {test: pkits_answer(test, authorities) for test in expected}


def test_pkits_is_complete() -> None:
    """
    No test is left out, and those that their names call valid or invalid are listed so.
    """
    listed = [
        test for kind in ("valid", "revoked", "refused", "unsupported") for test in PKITS[kind]
    ]
    assert sorted(f"{test}EE" for test in listed) == sorted(
        path.stem for path in FILES.glob("*EE.crt")
    )
    assert not [test for test in PKITS["valid"] if test.startswith("Invalid")]
    assert all(test.startswith("Invalid") for test in (*PKITS["refused"], *PKITS["revoked"]))
    # Sections 4.1.7, 4.4, 4.5, 4.14 and 4.15: a CRL decides.
    of_crls = "crl|revoked|serialnumber|selfissued|distributionpoint|onlycontains|onlysome"
    assert not [one for one in PKITS["revoked"] if not re.search(of_crls, one.lower())]


# ---- what RFC 5280 does not ask for ------------------------------------------


def test_a_leaf_without_authority_key_id_is_accepted() -> None:
    """
    4.2.1.1 is the CA's duty, and 6.1 does not look at it.
    """
    accept(issue(SUB, "leaf", now=NOW, authority_key_id=False), SUB)
    bare = issue(ROOT, "Sub", now=NOW, is_ca=True, authority_key_id=False, subject_key_id=False)
    accept(issue(bare, "leaf", now=NOW, authority_key_id=False), bare)


@pytest.mark.parametrize(
    "usage", [None, key_usage(key_cert_sign=True), key_usage(key_cert_sign=True, crl_sign=True)]
)
@pytest.mark.parametrize("basic", [None, x509.BasicConstraints(ca=True, path_length=None)])
def test_an_anchor_needs_no_extensions(
    usage: x509.KeyUsage | None, basic: x509.BasicConstraints | None
) -> None:
    """
    It is a name and a key (6.1.1 (d)), also where its certificate says no more.
    """
    extensions = [(one, True) for one in (basic, usage) if one is not None]
    root = self_signed("Root", now=NOW, extensions=extensions)
    sub = issue(root, "Sub", now=NOW, is_ca=True)
    accept(issue(sub, "leaf", now=NOW), sub, anchors=[root])
    accept(issue(root, "leaf", now=NOW), anchors=[root])


def test_an_anchor_of_version_1_is_accepted() -> None:
    """
    Old roots have no extensions at all.
    """
    root = self_signed("Root", now=NOW, version=1)
    sub = issue(root, "Sub", now=NOW, is_ca=True, authority_key_id=False)
    accept(issue(sub, "leaf", now=NOW), sub, anchors=[root])
    # As an intermediate nothing tells that it is a CA's.
    old = issue(ROOT, "Sub", now=NOW, version=1)
    assert refusal(issue(old, "leaf", now=NOW), old).section == "6.1.4 (k)"


def test_an_intermediate_may_be_the_anchor() -> None:
    """
    Whoever trusts a CA below a root need not trust the root. What is above is not needed.
    """
    accept(LEAF, anchors=[SUB])
    accept(LEAF, SUB, ROOT, anchors=[SUB])
    below = issue(SUB, "Below", now=NOW, is_ca=True)
    accept(issue(below, "leaf", now=NOW), below, SUB, ROOT, anchors=[SUB])
    assert refusal(issue(ROOT, "leaf", now=NOW), ROOT, anchors=[SUB]).section.startswith("6.1")


@pytest.mark.parametrize("key_type", get_args(KeyType))
def test_every_kind_of_key_issues(key_type: KeyType) -> None:
    """
    What verifies CRLs verifies certificates: Ed25519, Ed448, ML-DSA and brainpool too.
    """
    root = CertificateAuthority.create("Root", key_type=key_type, now=NOW)
    issuing = CertificateAuthority.create("Issuing", key_type=key_type, parent=root, now=NOW)
    client = issuing.issue("client", not_before=NOW, not_after=NOW + timedelta(1))
    chain = [load_certificate(one) for one in (client.der, issuing.der)]
    anchor = load_certificate(root.der)
    assert validate_path(chain, [anchor], now=NOW).der == client.der
    damaged = bytearray(issuing.der)
    damaged[-1] ^= 1
    with pytest.raises(PathValidationError, match=r"6\.1\.3 \(a\)\(1\)"):
        validate_path([chain[0], load_certificate(bytes(damaged))], [anchor], now=NOW)


def test_a_leaf_of_version_1_is_accepted() -> None:
    """
    6.1.4 (k) is about certificates that are not the last.
    """
    accept(issue(SUB, "leaf", now=NOW, version=1), SUB)


# ---- order and choice --------------------------------------------------------


def test_the_others_may_be_in_any_order_and_too_many() -> None:
    """
    Only the first certificate has its place.
    """
    below = issue(SUB, "Below", now=NOW, is_ca=True)
    leaf = issue(below, "leaf", now=NOW)
    stranger = self_signed("Stranger", now=NOW)
    accept(leaf, SUB, below)
    accept(leaf, ROOT, stranger, SUB, leaf, below, SUB, below)
    assert refusal(leaf, SUB).section == "6.1.3 (a)(4)"
    assert refusal(SUB, leaf).section == "4.2.1.9"


def test_any_valid_path_will_do() -> None:
    """
    Of certificates of one name and key the good one is found, wherever it stands.
    """
    bad = [
        issue(ROOT, "Sub", now=NOW - timedelta(days=900), is_ca=True, key=SUB.key),
        issue(self_signed("Other", now=NOW), "Sub", now=NOW, is_ca=True, key=SUB.key),
        issue(ROOT, "Sub", now=NOW, key=SUB.key),
        issue(ROOT, "Sub", now=NOW, is_ca=True),
        self_signed("Sub", now=NOW),
    ]
    accept(LEAF, *bad, SUB)
    accept(LEAF, SUB, *bad)
    for one in bad:
        refusal(LEAF, one)
    refusal(LEAF, *bad)


def test_cross_certificates_lead_to_either_anchor() -> None:
    """
    A CA that two roots certified leads to the one that is trusted.
    """
    other = self_signed("Other", now=NOW)
    crossed = issue(other, "Sub", now=NOW, is_ca=True, key=SUB.key)
    for chain in ((LEAF, SUB, crossed), (LEAF, crossed, SUB)):
        accept(*chain)
        accept(*chain, anchors=[other])
    root_by_other = issue(other, "Root", now=NOW, is_ca=True, key=ROOT.key)
    accept(LEAF, SUB, root_by_other, anchors=[other])


def test_anchors_of_one_name_are_told_apart_by_their_keys() -> None:
    """
    After a rollover, both keys of a root may be trusted.
    """
    old = self_signed("Root", now=NOW)
    for anchors in ([old, ROOT], [ROOT, old]):
        accept(LEAF, SUB, anchors=anchors)
    error = refusal(LEAF, SUB, anchors=[old])
    assert (error.section, error.position) == ("6.1.3 (a)(1)", 2)


def test_a_self_issued_rollover_certificate_does_not_count() -> None:
    """
    pathLenConstraint counts CAs that are not self-issued (6.1.4 (l)).
    """
    limited = issue(ROOT, "Sub", now=NOW, is_ca=True, path_length=0)
    new_with_old = issue(limited, "Sub", now=NOW, is_ca=True)
    accept(issue(new_with_old, "leaf", now=NOW), new_with_old, limited)
    below = issue(new_with_old, "Below", now=NOW, is_ca=True)
    error = refusal(issue(below, "leaf", now=NOW), below, new_with_old, limited)
    assert (error.section, error.position) == ("6.1.4 (l)", 2)


def test_circles_end() -> None:
    """
    Authorities that certified each other, or themselves, lead nowhere.
    """
    one = self_signed("One", now=NOW)
    two = issue(one, "Two", now=NOW, is_ca=True)
    one_by_two = issue(two, "One", now=NOW, is_ca=True, key=one.key)
    leaf = issue(two, "leaf", now=NOW)
    assert refusal(leaf, two, one, one_by_two).section.startswith("6.1")
    accept(leaf, two, one, one_by_two, anchors=[one])


def test_a_search_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where every key verifies every signature, the ways are too many to try, and the
    chain is refused soon.
    """
    members = [issue(ROOT, "Sub", now=NOW, is_ca=True) for _ in range(9)]
    looped = [dataclasses.replace(one, issuer=one.subject) for one in facts(*members)]
    calls = []

    def verifies(*_pair: CertificateFacts) -> None:
        calls.append(1)

    monkeypatch.setattr(path_validation, "certificate_fault", verifies)
    (leaf,) = facts(issue(members[0], "leaf", now=NOW))
    with pytest.raises(PathValidationError):
        validate_path([leaf, *looped], facts(self_signed("Else", now=NOW)), now=NOW)
    assert len(calls) <= 100  # each pair once


# ---- what RFC 5280 does ask for ----------------------------------------------


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"is_ca": False}, "6.1.4 (k)"),
        ({"is_ca": None}, "6.1.4 (k)"),
        ({"usage": key_usage(crl_sign=True)}, "6.1.4 (n)"),
        ({"now": NOW - timedelta(days=900)}, "6.1.3 (a)(2)"),
        ({"now": NOW + timedelta(days=90)}, "6.1.3 (a)(2)"),
        ({"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}, "4.2.1.12"),
        (
            {
                "extensions": [
                    (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\5\0"), True)
                ]
            },
            "6.1.4 (o)",
        ),
        ({"key": rsa.generate_private_key(65537, 1024)}, "6.1.3 (a)(1)"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "6.1.3 (a)(1)"),
        ({"hash_name": "sha1"}, "6.1.3 (a)(1)"),
        ({"hash_name": "sha224"}, "6.1.3 (a)(1)"),
    ],
)
def test_a_faulty_intermediate_is_refused(changes: dict[str, Any], section: str) -> None:
    """
    Each rule of 6.1.3 and 6.1.4 counts, and the message says which one and where.
    """
    sub = issue(ROOT, "Sub", **{"now": NOW, "is_ca": True, **changes})
    error = refusal(issue(sub, "leaf", now=NOW), sub)
    assert error.section == section
    # A key that may not sign is found with the signature that it made.
    assert error.position == (1 if "key" in changes else 2)


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"is_ca": True}, "4.2.1.9"),
        ({"usage": key_usage(key_cert_sign=True)}, "4.2.1.3"),
        ({"now": NOW - timedelta(days=900)}, "6.1.3 (a)(2)"),
        ({"now": NOW + timedelta(days=90)}, "6.1.3 (a)(2)"),
        ({"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}, "4.2.1.12"),
        ({"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]}, "4.2.1.12"),
        (
            {
                "extensions": [
                    (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\5\0"), True)
                ]
            },
            "6.1.5 (f)",
        ),
        ({"key": rsa.generate_private_key(65537, 1024)}, "4.1.2.7"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "4.1.2.7"),
        ({"hash_name": "sha1"}, "6.1.3 (a)(1)"),
    ],
)
def test_a_faulty_leaf_is_refused(changes: dict[str, Any], section: str) -> None:
    """
    So are a CA's certificate, one for another purpose, and one with a weak key.
    """
    error = refusal(issue(SUB, "leaf", **{"now": NOW, **changes}), SUB)
    assert (error.section, error.position) == (section, 1)


@pytest.mark.parametrize(
    "extension",
    [
        x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("1.2.3"), None)]),
        x509.InhibitAnyPolicy(0),
        x509.PolicyConstraints(require_explicit_policy=None, inhibit_policy_mapping=0),
        x509.PolicyConstraints(require_explicit_policy=5, inhibit_policy_mapping=None),
    ],
)
def test_policies_that_require_nothing_are_passed_over(extension: x509.ExtensionType) -> None:
    """
    Critical or not: without a required policy none can fail.
    """
    for critical in (True, False):
        sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(extension, critical)])
        accept(issue(sub, "leaf", now=NOW), sub)


def test_distribution_points_may_be_critical() -> None:
    """
    They say which CRLs cover a certificate, and that is asked after the path is validated.
    """
    name = x509.UniformResourceIdentifier("http://crl.example/ca.crl")
    point = x509.DistributionPoint([name], relative_name=None, reasons=None, crl_issuer=None)
    extensions = [(x509.CRLDistributionPoints([point]), True)]
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=extensions)
    accept(issue(sub, "leaf", now=NOW, extensions=extensions), sub)


@pytest.mark.parametrize("required", [0, 1])
def test_a_required_policy_is_refused_by_name(required: int) -> None:
    """
    Nothing here makes the policy tree, so that nobody knows whether it is empty.
    """
    extension = x509.PolicyConstraints(
        require_explicit_policy=required, inhibit_policy_mapping=None
    )
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(extension, True)])
    error = refusal(issue(sub, "leaf", now=NOW), sub)
    assert "explicit policy, which is not supported" in str(error)
    assert error.section == ("6.1.3 (f)" if required == 0 else "6.1.5 (g)")


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"extensions": [(x509.BasicConstraints(ca=False, path_length=None), True)]}, "6.1.4 (k)"),
        ({"extensions": [(key_usage(crl_sign=True), True)]}, "6.1.4 (n)"),
        ({"now": NOW - timedelta(days=900)}, "6.1.3 (a)(2)"),
        ({"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}, "4.2.1.12"),
    ],
)
def test_what_an_anchor_states_is_kept(changes: dict[str, Any], section: str) -> None:
    """
    A pinned device's certificate issues no others, and an expired root has expired.
    """
    root = self_signed("Root", **{"now": NOW, "extensions": [], **changes})
    error = refusal(issue(root, "leaf", now=NOW), anchors=[root])
    assert (error.section, error.position) == (section, 0)


def test_the_path_length_and_names_of_an_anchor_are_kept() -> None:
    """
    They can only refuse (6.2).
    """
    constraints = x509.NameConstraints([x509.DNSName("example.com")], None)
    for extensions, section in (
        ([(x509.BasicConstraints(ca=True, path_length=0), True)], "6.1.4 (l)"),
        ([(constraints, True)], "6.1.3 (b)"),
    ):
        root = self_signed("Root", now=NOW, extensions=extensions)
        sub = issue(root, "Sub", now=NOW, is_ca=True)
        leaf = issue(sub, "leaf", now=NOW, names=[x509.DNSName("example.org")])
        assert refusal(leaf, sub, anchors=[root]).section == section


def test_explicit_curve_parameters_are_refused() -> None:
    """
    A chain whose CA brings its own curve is signed by nobody.
    """
    (sub,) = facts(SUB)
    point = sub.subject_public_key_info[-65:]
    parameters = der(0x30, der_integer(1))
    algorithm = der(0x30, der_oid("1.2.840.10045.2.1"), parameters)
    info = der(0x30, algorithm, der(0x03, b"\0" + point))
    hostile = dataclasses.replace(sub, subject_public_key_info=info)
    with pytest.raises(PathValidationError, match="explicit curve parameters"):
        validate_path([*facts(LEAF), hostile], facts(ROOT), now=NOW)


def test_messages_have_no_names() -> None:
    """
    A subject is personal data, and the message goes to the log.
    """
    constraints = x509.NameConstraints([x509.DNSName("secret.example")], None)
    sub = issue(ROOT, "Secret", now=NOW, is_ca=True, extensions=[(constraints, True)])
    leaf = issue(sub, "secret", now=NOW, names=[x509.DNSName("secret.example.org")])
    for chain in ((leaf, sub), (leaf,), (issue(sub, "secret", now=NOW, is_ca=True), sub)):
        assert "secret" not in str(refusal(*chain)).lower()


def test_an_empty_chain_is_misuse() -> None:
    """
    There is no certificate to speak of.
    """
    with pytest.raises(ValueError, match="expected a chain"):
        validate_path([], facts(ROOT), now=NOW)


@pytest.mark.parametrize(
    "value",
    [b"", b"\x30\x00", b"\x04\x00", b"\x30\x80", b"\x30\x02\x06\x00", b"\x30\x03\x02\x01\xff"],
)
@pytest.mark.parametrize("oid", ["2.5.29.37", "2.5.29.30", "2.5.29.17", "2.5.29.33", "2.5.29.36"])
def test_malformed_extensions_refuse(oid: str, value: bytes) -> None:
    """
    What counts and cannot be read is never ignored, and never a crash.
    """
    broken = (x509.UnrecognizedExtension(ObjectIdentifier(oid), value), False)
    constraints = (x509.NameConstraints([x509.DNSName("example.com")], None), True)
    above = [] if oid == "2.5.29.30" else [constraints]
    parent = issue(ROOT, "Parent", now=NOW, is_ca=True, extensions=above)
    sub = issue(parent, "Sub", now=NOW, is_ca=True, extensions=[broken])
    with pytest.raises(PathValidationError) as caught:
        validate_path(facts(issue(sub, "leaf", now=NOW), sub, parent), facts(ROOT), now=NOW)
    assert caught.value.position == 2
