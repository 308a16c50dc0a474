"""Which CRLs cover a certificate."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.checker.scope import (
    ApplicableCrl,
    Coverage,
    ScopeTable,
    looks_self_signed,
)
from crlcheck.encoding.names import names_match
from crlcheck.types import CertificateFacts, ImageMetadata, UndeterminedCause
from support.values import (
    PRINTABLE_STRING,
    make_certificate,
    make_issuer,
    make_metadata,
    make_name,
)

UNKNOWN_ISSUER = Coverage(cause=UndeterminedCause.UNKNOWN_ISSUER)
AMBIGUOUS_ISSUER = Coverage(cause=UndeterminedCause.AMBIGUOUS_ISSUER)
OUT_OF_SCOPE = Coverage(cause=UndeterminedCause.OUT_OF_SCOPE)

INAPPLICABLE = {
    "delta": make_metadata(base_crl_number=12),
    "for CA certificates": make_metadata(issuing_distribution_point=b"\x30\x03\x82\x01\xff"),
    "for attribute certificates": make_metadata(issuing_distribution_point=b"\x30\x03\x85\x01\xff"),
    "delta for user certificates": make_metadata(
        base_crl_number=12, issuing_distribution_point=b"\x30\x03\x81\x01\xff"
    ),
    "for none": make_metadata(issuing_distribution_point=b"\x30\x06\x81\x01\xff\x82\x01\xff"),
    "unreadable": make_metadata(issuing_distribution_point=b"\x30\x01\x00"),
}


# ---- by key ------------------------------------------------------------------


def test_the_authority_key_id_chooses_the_key() -> None:
    """
    Of two authorities of one name, the CRL of the one that the certificate's
    authority key id names counts, and only that one.
    """
    crls = [make_metadata(), make_metadata(key="other", verifier_subject_key_id=b"other id",
                                           authority_key_id=b"other id")]  # fmt: skip
    table = ScopeTable(crls, [make_issuer(), make_issuer(key="other", subject_key_id=b"other id")])
    assert table.coverage(make_certificate()).crls == (0,)
    assert table.coverage(make_certificate(authority_key_id=b"other id")).crls == (1,)


def test_a_namesakes_crl_does_not_count() -> None:
    """
    A CRL that another key of the same name signed says nothing of the
    certificate, although its issuer name is equal.
    """
    other = make_metadata(key="other", verifier_subject_key_id=b"o", authority_key_id=b"o")
    table = ScopeTable([other], [make_issuer(), make_issuer(key="other", subject_key_id=b"o")])
    assert table.coverage(make_certificate()) == OUT_OF_SCOPE


def test_an_unknown_key_id_is_an_unknown_issuer() -> None:
    """
    A certificate of a key that nobody vouches for is not covered by the CRL of a
    known key of the same name.
    """
    table = ScopeTable([make_metadata()], [make_issuer()])
    assert table.coverage(make_certificate(authority_key_id=b"another")) == UNKNOWN_ISSUER


def test_without_key_id_the_only_key_of_the_name_counts() -> None:
    """
    Several certificates of one key are one key; the certificate needs no
    authority key id then.
    """
    table = ScopeTable([make_metadata()], [make_issuer(), make_issuer(subject_key_id=b"renewed")])
    assert table.coverage(make_certificate(authority_key_id=None)).crls == (0,)


def test_without_key_id_several_keys_are_ambiguous() -> None:
    """
    With two keys under the issuer's name, and nothing to choose by, no CRL is
    taken, not even where only one key has any.
    """
    table = ScopeTable([make_metadata()], [make_issuer(), make_issuer(key="other")])
    assert table.coverage(make_certificate(authority_key_id=None)) == AMBIGUOUS_ISSUER


def test_one_key_id_for_two_keys_is_ambiguous() -> None:
    """
    An id that two keys have does not distinguish them.
    """
    table = ScopeTable([make_metadata()], [make_issuer(), make_issuer(key="other")])
    assert table.coverage(make_certificate()) == AMBIGUOUS_ISSUER


def test_a_known_issuer_without_crl_is_out_of_scope() -> None:
    """
    A trusted issuer for which no CRL is held gives OUT_OF_SCOPE, an issuer that
    nobody trusts UNKNOWN_ISSUER.
    """
    table = ScopeTable([], [make_issuer()])
    assert table.coverage(make_certificate()) == OUT_OF_SCOPE
    assert table.coverage(make_certificate(issuer="another")) == UNKNOWN_ISSUER


def test_a_crl_does_not_make_its_issuer_trusted() -> None:
    """
    Where issuer certificates say whom to trust, a CRL alone does not.
    """
    assert ScopeTable([make_metadata()], []).coverage(make_certificate()) == UNKNOWN_ISSUER


# ---- names ------------------------------------------------------------------


def test_names_match_in_canonical_form() -> None:
    """
    String type, case and spacing do not separate a certificate, its issuer and
    the CRL (RFC 5280 7.1).
    """
    table = ScopeTable(
        [make_metadata(issuer=make_name("EXAMPLE  CA", PRINTABLE_STRING))],
        [make_issuer(subject=make_name("Example ca"))],
    )
    assert table.coverage(make_certificate(issuer=make_name(" example CA"))).crls == (0,)
    assert table.coverage(make_certificate(issuer=make_name("Example CB"))) == UNKNOWN_ISSUER


def test_a_malformed_name_matches_only_itself() -> None:
    """
    Bytes that are no Name have no canonical form: they match byte for byte.
    """
    malformed = b"\x30\x03\x31\x01\x00"
    table = ScopeTable([], [make_issuer(subject=malformed)])
    assert table.coverage(make_certificate(issuer=malformed)) == OUT_OF_SCOPE
    assert table.coverage(make_certificate(issuer=malformed + b"\0")) == UNKNOWN_ISSUER
    assert names_match(malformed, malformed)
    assert names_match(make_name("EXAMPLE  CA", PRINTABLE_STRING), make_name("Example ca"))
    assert not names_match(malformed, make_name("CA"))


# ---- what this table does not apply ---------------------------------------------


@pytest.mark.parametrize("inapplicable", INAPPLICABLE.values(), ids=INAPPLICABLE)
def test_an_inapplicable_crl_alone_is_out_of_scope(inapplicable: ImageMetadata) -> None:
    """
    A CRL for other certificates does not cover a client's; that it is held
    is counted.
    """
    coverage = ScopeTable([inapplicable], [make_issuer()]).coverage(make_certificate())
    assert coverage == Coverage(cause=UndeterminedCause.OUT_OF_SCOPE, num_inapplicable=1)


@pytest.mark.parametrize("inapplicable", INAPPLICABLE.values(), ids=INAPPLICABLE)
def test_an_inapplicable_crl_takes_nothing_away(inapplicable: ImageMetadata) -> None:
    """
    Beside a complete CRL, before or after it, an inapplicable one changes
    nothing.
    """
    for crls in ([inapplicable, make_metadata()], [make_metadata(), inapplicable]):
        covered = ScopeTable(crls, [make_issuer()]).coverage(make_certificate()).crls
        assert [crls[position] for position in covered] == [make_metadata()]


def test_an_unverified_crl_never_counts() -> None:
    """
    A CRL that was not verified neither covers a certificate nor makes an
    issuer known.
    """
    crl = make_metadata(key=None)
    assert ScopeTable([crl], [make_issuer()]).coverage(make_certificate()) == OUT_OF_SCOPE
    table = ScopeTable([crl], [], trust_verifiers=True)
    assert table.coverage(make_certificate()) == UNKNOWN_ISSUER


# ---- images without issuer certificates -----------------------------------------


def test_verifiers_are_issuers_where_asked() -> None:
    """
    From metadata alone a certificate is matched by name and key id, and by name
    where it has no key id and the name has one key.
    """
    table = ScopeTable([make_metadata()], [], trust_verifiers=True)
    assert table.coverage(make_certificate()).crls == (0,)
    assert table.coverage(make_certificate(authority_key_id=None)).crls == (0,)
    assert table.coverage(make_certificate(authority_key_id=b"other")) == UNKNOWN_ISSUER
    assert table.coverage(make_certificate(issuer="other")) == UNKNOWN_ISSUER


def test_verifiers_of_one_name_are_ambiguous_without_key_id() -> None:
    """
    Two CRLs of one name by two keys leave a certificate without key id open.
    """
    other = make_metadata(key="other", verifier_subject_key_id=b"o", authority_key_id=b"o")
    table = ScopeTable([make_metadata(), other], [], trust_verifiers=True)
    assert table.coverage(make_certificate(authority_key_id=None)) == AMBIGUOUS_ISSUER
    assert table.coverage(make_certificate(authority_key_id=b"o")).crls == (1,)


# ---- a path that is known -------------------------------------------------------


def test_a_known_issuer_certificate_settles_the_key() -> None:
    """
    Given the certificate that issued it, a certificate needs no key id, and one
    that contradicts the path does not count.
    """
    issuer, other = make_issuer(), make_issuer(key="other", subject_key_id=b"other")
    table = ScopeTable([make_metadata()], [issuer, other])
    nameless = make_certificate(authority_key_id=None)
    assert table.coverage(nameless, issuer).crls == (0,)
    assert table.coverage(nameless, other) == OUT_OF_SCOPE
    assert table.coverage(make_certificate(authority_key_id=b"odd"), issuer).crls == (0,)


def test_keys_that_are_known_say_nothing_of_other_certificates() -> None:
    """
    Of two certificates that state one issuer and key id, whoever knows the key of one
    gets the CRL of that key, whatever was asked before.
    """
    other = make_metadata(key="other", verifier_subject_key_id=b"o", authority_key_id=b"o")
    table = ScopeTable(
        [make_metadata(), other], [make_issuer(), make_issuer(key="other", subject_key_id=b"o")]
    )
    certificate = make_certificate()
    (first,) = table.issuers.identified(certificate.issuer, b"CA key")
    (second,) = table.issuers.identified(certificate.issuer, b"o")
    for _ in range(2):
        assert table.coverage(certificate, keys=(second,)).crls == (1,)
        assert table.coverage(certificate, keys=(first,)).crls == (0,)
        assert table.coverage(certificate).crls == (0,)


def test_an_untrusted_issuer_certificate_is_unknown() -> None:
    """
    A path through a key that is not among the trusted ones is not checked by a
    namesake's CRL, whatever key ids it claims.
    """
    table = ScopeTable([make_metadata()], [make_issuer()])
    assert table.coverage(make_certificate(), make_issuer(key="other")) == UNKNOWN_ISSUER


def test_self_signed_means_by_name_and_key() -> None:
    """
    The same name is not enough: the key id must be its own, or there is none.
    """
    assert looks_self_signed(_root(authority_key_id=None))
    assert looks_self_signed(_root(authority_key_id=b"its key"))
    assert not looks_self_signed(_root(authority_key_id=b"old key"))
    assert not looks_self_signed(make_issuer())


# ---- against a slow reference ----------------------------------------------------

NAMES = ["CA", " ca", "other"]
KEYS = ["k1", "k2", "k3"]
ONLY_CA = b"\x30\x03\x82\x01\xff"
KEY_IDS = [b"i1", b"i2", b"i3"]

issuers = st.builds(
    make_issuer,
    subject=st.sampled_from(NAMES),
    key=st.sampled_from(KEYS),
    subject_key_id=st.sampled_from(KEY_IDS),
)
crls = st.builds(
    make_metadata,
    issuer=st.sampled_from(NAMES),
    key=st.sampled_from([*KEYS, None]),
    verifier_subject_key_id=st.sampled_from([*KEY_IDS, None]),
    authority_key_id=st.sampled_from([*KEY_IDS, None]),
    base_crl_number=st.sampled_from([None, None, 3]),
    issuing_distribution_point=st.sampled_from([None, b"\x30\x03\x81\x01\xff", ONLY_CA]),
)
certificates = st.builds(
    make_certificate,
    issuer=st.sampled_from(NAMES),
    authority_key_id=st.sampled_from([*KEY_IDS, None]),
)


@given(st.lists(crls, max_size=5), st.lists(issuers, max_size=4), certificates, st.booleans())
def test_coverage_agrees_with_the_rule_spelled_out(
    crls: list[ImageMetadata],
    issuers: list[CertificateFacts],
    certificate: CertificateFacts,
    trust_verifiers: bool,
) -> None:
    """
    For any issuers, CRLs and certificate the table gives what the rule gives
    when it is applied to all of them one by one.
    """
    expected = _reference(crls, issuers, certificate, trust_verifiers)
    table = ScopeTable(crls, issuers, trust_verifiers=trust_verifiers)
    assert table.coverage(certificate) == expected


def _reference(
    crls: list[ImageMetadata],
    issuers: list[CertificateFacts],
    certificate: CertificateFacts,
    trust_verifiers: bool,
) -> Coverage:
    def same_name(name: bytes) -> bool:
        return _plain(name) == _plain(certificate.issuer)

    ids: dict[bytes, set[bytes | None]] = {}
    said: dict[bytes, set[bytes | None]] = {}
    for issuer in issuers:
        if same_name(issuer.subject):
            key = hashlib.sha256(issuer.subject_public_key_info).digest()
            ids.setdefault(key, set()).add(issuer.subject_key_id)
    certified = set(ids)
    of_name = [crl for crl in crls if same_name(crl.issuer) and crl.verifier_key_hash]
    for crl in of_name:
        assert crl.verifier_key_hash is not None
        if trust_verifiers and crl.verifier_key_hash not in certified:
            ids.setdefault(crl.verifier_key_hash, set()).add(crl.verifier_subject_key_id)
            said.setdefault(crl.verifier_key_hash, set()).add(crl.authority_key_id)
    wanted = certificate.authority_key_id
    keys = [key for key, known_as in ids.items() if wanted is None or wanted in known_as]
    if not keys:
        keys = [key for key, known_as in said.items() if wanted in known_as]
    if not keys:
        return UNKNOWN_ISSUER
    if len(keys) > 1:
        return AMBIGUOUS_ISSUER
    signed = [i for i, crl in enumerate(crls) if crl in of_name and crl.verifier_key_hash in keys]
    complete = tuple(
        i
        for i in signed
        if crls[i].base_crl_number is None and crls[i].issuing_distribution_point != ONLY_CA
    )
    if complete:
        return Coverage(tuple(ApplicableCrl(position) for position in complete))
    return Coverage((), UndeterminedCause.OUT_OF_SCOPE, len(signed))


def _plain(name: bytes) -> str:
    return next(known for known in NAMES if make_name(known) == name).strip().lower()


def _root(authority_key_id: bytes | None) -> CertificateFacts:
    return make_certificate(
        issuer="CA", subject="ca", authority_key_id=authority_key_id, subject_key_id=b"its key"
    )


def _with_key(certificate: CertificateFacts, subject_public_key_info: bytes) -> CertificateFacts:
    return dataclasses.replace(certificate, subject_public_key_info=subject_public_key_info)
