"""Which CRLs cover a certificate, by distribution point, kind and reasons."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from crlcheck.checker.scope import ALL_REASONS, ScopeTable
from crlcheck.encoding.names import name_key
from crlcheck.types import CertificateFacts, DistributionPoint, ImageMetadata, UndeterminedCause
from crlcheck.x509.distribution_points import comparable_uri, point_keys, point_of_name
from support.values import (
    PRINTABLE_STRING,
    der,
    make_certificate,
    make_issuer,
    make_metadata,
    make_name,
)

USER_ONLY = der(0x81, b"\xff")
CA_ONLY = der(0x82, b"\xff")
INDIRECT = der(0x84, b"\xff")
KEY_COMPROMISE, OTHERS = 1 << 1, ALL_REASONS & ~(1 << 1)
SOME_REASONS = {KEY_COMPROMISE: der(0x83, b"\x06\x40"), OTHERS: der(0x83, b"\x07\x3f\x80")}
CN_SHARD = bytes.fromhex("0603550403") + der(0x0C, b"shard")
"""The contents of an RDN's attribute."""


def uri(text: str) -> bytes:
    """A GeneralName."""
    return der(0x86, text.encode())


def directory(name: bytes) -> bytes:
    """A GeneralName with a Name."""
    return der(0xA4, name)


def idp(*parts: bytes, names: tuple[bytes, ...] = (), relative: bytes | None = None) -> bytes:
    """An issuingDistributionPoint with these names and whole other fields."""
    point = b""
    if names:
        point = der(0xA0, der(0xA0, *names))
    elif relative is not None:
        point = der(0xA0, der(0xA1, relative))
    return der(0x30, point, *parts)


def shard(number: int, **fields: Any) -> ImageMetadata:
    """A partition of the CA's CRL."""
    return make_metadata(
        issuing_distribution_point=idp(names=(uri(f"http://ca/{number}.crl"),)), **fields
    )


def pointing_at(*names: bytes, **fields: Any) -> CertificateFacts:
    """A certificate with a distribution point of these names."""
    return make_certificate(distribution_points=(DistributionPoint(names),), **fields)


def crls_for(
    certificate: CertificateFacts, *crls: ImageMetadata, **options: Any
) -> tuple[int, ...]:
    """The positions of the CRLs that cover a certificate of the CA."""
    return (
        ScopeTable(crls, [make_issuer(), *options.pop("issuers", ())], **options)
        .coverage(certificate)
        .crls
    )


def test_the_example_of_the_rules() -> None:
    """
    A CRL for CA certificates covers no client, and one for a distribution point
    covers those that name it, whatever the case of the host.
    """
    for_ca = make_metadata(issuing_distribution_point=idp(CA_ONLY))
    partition = make_metadata(issuing_distribution_point=idp(names=(uri("http://ca.example/1"),)))
    assert crls_for(pointing_at(uri("http://CA.example/1")), for_ca, partition) == (1,)
    table = ScopeTable([for_ca, partition], [make_issuer()])
    coverage = table.coverage(pointing_at(uri("http://ca.example/2")))
    assert coverage.cause is UndeterminedCause.OUT_OF_SCOPE


# ---- distribution points -----------------------------------------------------------


def test_a_partition_speaks_for_the_certificates_that_name_it() -> None:
    """
    Another shard's CRL says nothing, and is no substitute.
    """
    shards = [shard(number) for number in range(3)]
    certificate = pointing_at(uri("http://ca/1.crl"))
    assert crls_for(certificate, *shards) == (1,)
    assert crls_for(certificate, shards[0], shards[2]) == ()


def test_each_distribution_point_counts() -> None:
    """
    The second distribution point, and the second name of one, find their CRL
    too; so does the second name of the CRL's (RUSTSEC-2026-0049).
    """
    elsewhere, here = uri("http://elsewhere"), uri("http://ca/1.crl")
    second = make_certificate(
        distribution_points=(DistributionPoint((elsewhere,)), DistributionPoint((here,)))
    )
    assert crls_for(second, shard(1)) == (0,)
    assert crls_for(pointing_at(elsewhere, here), shard(1)) == (0,)
    crl = make_metadata(issuing_distribution_point=idp(names=(uri("ldap://x"), here)))
    assert crls_for(second, crl) == (0,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://ca/1.crl", "HTTP://ca/1.crl"),
        ("http://ca/1.crl", "http://CA/1.crl"),
        ("http://ca", "http://CA"),
        ("http://ca?q", "http://CA?q"),
        ("http://ca#f", "HTTP://Ca#f"),
        ("http://u:P@ca:80/1", "http://u:P@CA:80/1"),
        ("http://u@v@ca/1", "http://u@v@CA/1"),
        ("http://[2001:db8::a]:80/1", "http://[2001:DB8::A]:80/1"),
        ("http://c%2fa/1", "http://C%2Fa/1"),
        ("ldap:///cn=CA?certificateRevocationList", "LDAP:///cn=CA?certificateRevocationList"),
        ("ldap://ca/cn=CA?x?base", "ldap://CA/cn=CA?x?base"),
        ("urn:CA:1", "URN:CA:1"),
    ],
)
def test_scheme_and_host_of_a_uri_have_no_case(one: str, other: str) -> None:
    """
    RFC 5280 7.4, on either side: the CRL's distribution point and the
    certificate's.
    """
    for of_crl, of_certificate in ((one, other), (other, one)):
        crl = make_metadata(issuing_distribution_point=idp(names=(uri(of_crl),)))
        assert crls_for(pointing_at(uri(of_certificate)), crl) == (0,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://ca/1.crl", "http://ca/1.CRL"),
        ("http://ca/1?Q", "http://ca/1?q"),
        ("http://ca/1#F", "http://ca/1#f"),
        ("http://U@ca/1", "http://u@ca/1"),
        ("http://ca/A@b", "http://ca/a@b"),
        ("http://ca:80/1", "http://ca/1"),
        ("http://ca/%31", "http://ca/1"),
        ("http://ca/%2f", "http://ca/%2F"),
        ("http://ca/./1", "http://ca/1"),
        ("http://ca/1", "http://ca/1 "),
        ("http://ca/1", "https://ca/1"),
        ("ldap:///cn=CA", "ldap:///cn=ca"),
        ("urn:CA:1", "urn:ca:1"),
        ("//CA/1", "//ca/1"),
        ("CA/1", "ca/1"),
    ],
)
def test_the_rest_of_a_uri_is_compared_as_it_stands(one: str, other: str) -> None:
    """
    Userinfo, path and query have case, and neither a port nor percent-encoding
    is normalised: what is not surely one distribution point is two.
    """
    for of_crl, of_certificate in ((one, other), (other, one)):
        crl = make_metadata(issuing_distribution_point=idp(names=(uri(of_crl),)))
        assert crls_for(pointing_at(uri(of_certificate)), crl) == ()


def test_a_uri_is_compared_in_lower_case_up_to_its_path() -> None:
    """
    Scheme and host, as RFC 5280 7.4 has it; nothing else is changed.
    """
    assert comparable_uri(b"HTTP://User@CA.Test:80/A?B") == b"http://User@ca.test:80/A?B"
    assert comparable_uri(b"LDAP:///CN=A") == b"ldap:///CN=A"
    assert comparable_uri(b"URN:X:Y") == b"urn:X:Y"
    assert comparable_uri(b"//CA/A") == b"//CA/A"


def test_a_directory_name_is_told_from_names_of_other_kinds() -> None:
    """
    So that no bytes of one can be those of the other.
    """
    names = (uri("HTTP://ca/A"), der(0x82, b"ca.test"), directory(make_name("CA")))
    keys = list(point_keys(DistributionPoint(names), b""))
    assert keys[:2] == [(False, b"uri:http://ca/A"), (False, der(0x82, b"ca.test"))]
    assert keys[2:] == [point_of_name(make_name("ca"))] == [(True, name_key(make_name("CA")))]


def test_names_of_other_kinds_match_octet_for_octet() -> None:
    """
    A name is equal to one of its own kind only.
    """
    crl = make_metadata(issuing_distribution_point=idp(names=(der(0x82, b"ca.test"),)))
    assert crls_for(pointing_at(der(0x82, b"ca.test")), crl) == (0,)
    for name in (der(0x82, b"CA.test"), uri("ca.test"), der(0x81, b"ca.test")):
        assert crls_for(pointing_at(name), crl) == ()


def test_directory_names_match_in_canonical_form() -> None:
    """
    A distribution point that is a Name is compared as a Name, and a name
    relative to the CRL issuer as the whole one that it stands for.
    """
    crl = make_metadata(issuing_distribution_point=idp(names=(directory(make_name("A  b")),)))
    spelled = directory(make_name("a B", PRINTABLE_STRING))
    assert crls_for(pointing_at(spelled), crl) == (0,)
    attribute = der(0x30, CN_SHARD)
    whole = der(0x30, make_name("CA")[2:], der(0x31, attribute))
    relative = make_metadata(issuing_distribution_point=idp(relative=attribute))
    full = make_metadata(issuing_distribution_point=idp(names=(directory(whole),)))
    by_rdn = make_certificate(distribution_points=(DistributionPoint(relative_name=attribute),))
    for certificate in (by_rdn, pointing_at(directory(whole))):
        assert crls_for(certificate, relative, full) == (0, 1)
    assert crls_for(pointing_at(directory(make_name("shard"))), relative, full) == ()


def test_a_crl_without_distribution_point_speaks_for_all() -> None:
    """
    AWS Private CA's complete CRLs come so, for certificates that do name a
    distribution point.
    """
    assert crls_for(pointing_at(uri("http://ca/1.crl")), make_metadata()) == (0,)
    assert crls_for(pointing_at(uri("http://ca/1.crl")), shard(1), make_metadata()) == (1, 0)


def test_a_certificate_without_distribution_point_needs_a_crl_without() -> None:
    """
    A CRL that names a distribution point does not cover it (PKITS 4.14.9),
    unless that is the issuer's own name.
    """
    bare = make_certificate()
    coverage = ScopeTable([shard(1)], [make_issuer()]).coverage(bare)
    assert (coverage.cause, coverage.num_inapplicable) == (UndeterminedCause.OUT_OF_SCOPE, 1)
    own = make_metadata(issuing_distribution_point=idp(names=(directory(make_name("ca")),)))
    assert crls_for(bare, own) == (0,)


OWN = directory(make_name("ca"))
ELSEWHERE = uri("http://nowhere")


@pytest.mark.parametrize(
    ("points", "reasons"),
    [
        ((), ALL_REASONS),
        ((DistributionPoint((OWN,)),), ALL_REASONS),
        ((DistributionPoint((ELSEWHERE, OWN)),), ALL_REASONS),
        ((DistributionPoint((ELSEWHERE,)), DistributionPoint((OWN,))), ALL_REASONS),
        ((DistributionPoint((OWN,), reasons=KEY_COMPROMISE),), KEY_COMPROMISE),
        ((DistributionPoint((ELSEWHERE,)),), 0),
        ((DistributionPoint(relative_name=der(0x30, CN_SHARD)),), 0),
        ((DistributionPoint((OWN,), crl_issuers=(OWN,)),), 0),
        ((DistributionPoint(crl_issuers=(OWN,)),), 0),
        ((DistributionPoint((OWN,), reasons=1),), 0),
        ((DistributionPoint(),), 0),
    ],
    ids=["none", "its own", "its own second", "a second one", "for some reasons", "another",
         "relative", "by cRLIssuer", "only cRLIssuer", "for no reason", "empty"],
)  # fmt: skip
@pytest.mark.parametrize("indirect", [b"", INDIRECT], ids=["direct", "indirect"])
def test_a_crl_called_by_its_issuers_name_clears_what_does_not_name_others(
    points: tuple[DistributionPoint, ...], reasons: int, indirect: bytes
) -> None:
    """
    It covers certificates that name no distribution point, or this one. It
    applies to the others too, but for no reason: it may revoke them only.
    cRLIssuer leads to indirect CRLs, this one among them if it is one.
    """
    crl = make_metadata(issuing_distribution_point=idp(indirect, names=(OWN,)))
    certificate = make_certificate(distribution_points=points)
    (applied,) = ScopeTable([crl], [make_issuer()]).coverage(certificate).applicable
    if indirect and any(point.crl_issuers for point in points):
        reasons = ALL_REASONS
    assert applied.reasons == reasons


def test_what_a_crl_covers_anyway_is_not_waived() -> None:
    """
    One that names the issuer and another point covers a certificate without
    points by the former; that a policy would let it do so by the latter is no
    waiver.
    """
    crl = make_metadata(issuing_distribution_point=idp(names=(ELSEWHERE, OWN)))
    table = ScopeTable([crl], [make_issuer()], waive_points=True)
    (applied,) = table.coverage(make_certificate()).applicable
    assert (applied.reasons, applied.waived) == (ALL_REASONS, False)


def test_a_crl_for_some_reasons_called_by_its_issuers_name() -> None:
    """
    Where it may clear, it does so for its own reasons only; with
    onlyContainsCACerts it says nothing of a client at all.
    """
    some = make_metadata(issuing_distribution_point=idp(SOME_REASONS[OTHERS], names=(OWN,)))
    for certificate, reasons in ((make_certificate(), OTHERS), (pointing_at(ELSEWHERE), 0)):
        (applied,) = ScopeTable([some], [make_issuer()]).coverage(certificate).applicable
        assert applied.reasons == reasons
    for_cas = make_metadata(issuing_distribution_point=idp(CA_ONLY, names=(OWN,)))
    assert crls_for(pointing_at(ELSEWHERE), for_cas) == ()


def test_another_issuers_crl_called_by_its_name_is_a_partition() -> None:
    """
    An indirect CRL whose point is its issuer's name says nothing of a
    certificate that names that issuer in cRLIssuer and another point.
    """
    crl = indirect(INDIRECT, names=(directory(make_name("CRL issuer")),))
    for names, expected in (((), (0,)), ((ELSEWHERE,), ())):
        point = DistributionPoint(names, crl_issuers=(directory(make_name("CRL issuer")),))
        certificate = make_certificate(distribution_points=(point,))
        assert crls_for(certificate, crl, issuers=[CRL_ISSUER]) == expected


def test_many_names_of_many_crl_issuers_take_linear_time() -> None:
    """
    A certificate may name every indirect CRL's issuer, and thousands of others, with
    thousands of names of the point and a relative one.
    """
    names = [make_name(f"Issuer {number}") for number in range(300)]
    indirect = idp(INDIRECT, names=tuple(uri(f"http://ca/{number}") for number in range(10)))
    crls = [make_metadata(issuer=name, issuing_distribution_point=indirect) for name in names]
    issuers = [make_issuer(subject=name) for name in names]
    table = ScopeTable(crls, [make_issuer(), *issuers])
    strangers = tuple(directory(make_name(f"Stranger {number}")) for number in range(10_000))
    own = tuple(map(directory, names))
    uris = tuple(uri(f"http://ca/{number}") for number in range(9, 10_000))
    for point, expected in (
        (DistributionPoint(uris, crl_issuers=own), 300),
        (DistributionPoint((), crl_issuers=(*strangers, *own)), 0),
        (DistributionPoint((), relative_name=CN_SHARD, crl_issuers=(*strangers, *own)), 0),
    ):
        start = time.thread_time()
        coverage = table.coverage(make_certificate(distribution_points=(point,)))
        assert time.thread_time() - start < 5
        assert len(coverage.crls) == expected


def test_many_names_of_one_crl_issuer_are_one() -> None:
    """
    A distribution point that names its CRL issuer thousands of times is looked
    up as one that does so once: the work grows with its size only.
    """
    names = tuple(directory(make_name("CRL issuer" + " " * (n % 9))) for n in range(5_000))
    crls = [indirect(INDIRECT, names=(directory(make_name(f"no {n}")),)) for n in range(100)]
    point = DistributionPoint(crl_issuers=names)
    certificate = make_certificate(distribution_points=(point,))
    table = ScopeTable(crls, [make_issuer(), CRL_ISSUER])
    candidates = list(table._indirect_candidates(point))
    assert len(candidates) == 0
    assert table.coverage(certificate).cause is UndeterminedCause.OUT_OF_SCOPE
    (one,) = ScopeTable([indirect(INDIRECT)], [make_issuer(), CRL_ISSUER])._indirect_candidates(
        point
    )
    assert one[0].position == 0


def test_an_operator_may_let_it_speak_for_certificates_without_any() -> None:
    """
    One scope by the catalog, all by the policy, which is then named as waived;
    certificates that name another distribution point are not meant.
    """
    bare, other = make_certificate(), pointing_at(uri("http://ca/3.crl"))
    table = ScopeTable([shard(1), shard(2)], [make_issuer()], any_point={1})
    assert table.coverage(bare).crls == (1,)
    assert not table.coverage(bare).applicable[0].waived
    assert table.coverage(other).crls == ()
    waiving = ScopeTable([shard(1), shard(2)], [make_issuer()], any_point={1}, waive_points=True)
    assert {crl.position: crl.waived for crl in waiving.coverage(bare).applicable} == {
        0: True,
        1: False,
    }
    assert waiving.coverage(other).crls == ()


def test_thousands_of_relative_names_cost_no_memory() -> None:
    """
    Names relative to a long issuer name are not spelled out (CVE-2026-35189).
    """
    import tracemalloc

    attribute = der(0x30, CN_SHARD)
    issuer = make_name("x" * 20_000)
    points = tuple(
        DistributionPoint(relative_name=der(0x30, CN_SHARD[:-1] + bytes((48 + n % 10,))))
        for n in range(4_000)
    )
    certificate = make_certificate(issuer=issuer, distribution_points=points)
    crl = make_metadata(issuer=issuer, issuing_distribution_point=idp(relative=attribute))
    table = ScopeTable([crl], [make_issuer(issuer)])
    tracemalloc.start()
    assert table.coverage(certificate).cause is UndeterminedCause.OUT_OF_SCOPE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


# ---- kinds and reasons ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "of_ca", "of_user"), [(USER_ONLY, (), (0,)), (CA_ONLY, (0,), ())], ids=["user", "ca"]
)
def test_a_crl_for_one_kind_speaks_for_that_kind(
    flag: bytes, of_ca: tuple[int, ...], of_user: tuple[int, ...]
) -> None:
    """
    onlyContainsUserCerts and onlyContainsCACerts (RFC 5280 6.3.3 b 2 ii, iii).
    """
    crl = make_metadata(issuing_distribution_point=idp(flag))
    assert crls_for(make_certificate(is_ca=True), crl) == of_ca
    assert crls_for(make_certificate(), crl) == of_user


def test_reasons_are_those_of_both_sides() -> None:
    """
    What a CRL covers for a certificate is what its onlySomeReasons and the
    distribution point's reasons have in common (RFC 5280 6.3.3 d); with nothing
    in common it does not cover it.
    """
    name = uri("http://ca/1.crl")
    only = make_metadata(issuing_distribution_point=idp(SOME_REASONS[OTHERS]))
    table = ScopeTable([only], [make_issuer()])
    assert [crl.reasons for crl in table.coverage(make_certificate()).applicable] == [OTHERS]
    for mask, expected in ((KEY_COMPROMISE, []), (0b100, [0b100]), (None, [OTHERS])):
        crl = make_metadata(issuing_distribution_point=idp(SOME_REASONS[OTHERS], names=(name,)))
        point = DistributionPoint((name,), reasons=mask)
        certificate = make_certificate(distribution_points=(point,))
        coverage = ScopeTable([crl], [make_issuer()]).coverage(certificate)
        assert [crl.reasons for crl in coverage.applicable] == expected


@pytest.mark.parametrize("bits", [b"\x07\x80", b"\x06\x00\x40"], ids=["unused", "later"])
@pytest.mark.parametrize("names", [(), (OWN,), (ELSEWHERE,)], ids=["all", "own", "named"])
def test_a_crl_for_no_reason_that_is_known_may_only_revoke(
    bits: bytes, names: tuple[bytes, ...]
) -> None:
    """
    With bit 0 alone, which is unused, or one behind the last: a revocation in it counts,
    whatever else covers the certificate, and it clears nobody.
    """
    crl = make_metadata(issuing_distribution_point=idp(der(0x83, bits), names=names))
    complete = make_metadata(issuing_distribution_point=None)
    another = indirect(INDIRECT)
    for certificate in (make_certificate(), pointing_at(OWN), pointing_at(ELSEWHERE)):
        if names == (ELSEWHERE,) and certificate != pointing_at(ELSEWHERE):
            continue
        for crls in ([crl], [crl, complete], [crl, another], [crl, another, complete]):
            table = ScopeTable(crls, [make_issuer(), CRL_ISSUER])
            for any_points in (False, True):
                coverage = table.coverage(certificate, any_points=any_points)
                reasons = {crls[one.position]: one.reasons for one in coverage.applicable}
                assert reasons[crl] == 0
                assert reasons.get(complete, ALL_REASONS) == ALL_REASONS
                assert all(one.unsure_reasons in (0, ALL_REASONS) for one in coverage.applicable)


def test_distribution_points_of_one_crl_add_their_reasons() -> None:
    """
    Two distribution points that lead to one CRL, for different reasons, are
    looked up once for both.
    """
    first, second = uri("http://ca/1.crl"), uri("http://ca/also")
    crl = make_metadata(issuing_distribution_point=idp(names=(first, second)))
    points = (
        DistributionPoint((first,), reasons=KEY_COMPROMISE),
        DistributionPoint((second,), reasons=OTHERS),
    )
    certificate = make_certificate(distribution_points=points)
    coverage = ScopeTable([crl], [make_issuer()]).coverage(certificate)
    assert [crl.reasons for crl in coverage.applicable] == [ALL_REASONS]


# ---- indirect CRLs -------------------------------------------------------------------

CRL_ISSUER = make_issuer("CRL issuer", key="crl key", subject_key_id=b"crl key")


def indirect(*parts: bytes, **names: Any) -> ImageMetadata:
    """A CRL of the CRL issuer."""
    return make_metadata(
        issuer="CRL issuer",
        key="crl key",
        verifier_subject_key_id=b"crl key",
        authority_key_id=b"crl key",
        issuing_distribution_point=idp(*parts, **names),
    )


def test_what_covers_others_hides_no_indirect_crl() -> None:
    """
    The answer for a certificate without distribution points is not taken for the next one
    of its issuer, whose distribution point leads to an indirect CRL as well.
    """
    table = ScopeTable([make_metadata(), indirect(INDIRECT)], [make_issuer(), CRL_ISSUER])
    point = DistributionPoint(crl_issuers=(directory(make_name("CRL issuer")),))
    led = make_certificate(distribution_points=(point,))
    for _ in range(2):
        assert table.coverage(make_certificate()).crls == (0,)
        assert table.coverage(led).crls == (0, 1)


def test_an_indirect_crl_speaks_where_the_certificate_names_its_issuer() -> None:
    """
    cRLIssuer leads to the CRLs of that issuer that are indirect, and to no
    others (RFC 5280 6.3.3 b 1); without it they say nothing of another's
    certificates.
    """
    named = DistributionPoint(crl_issuers=(directory(make_name("crl ISSUER")),))
    certificate = make_certificate(distribution_points=(named,))
    coverage = ScopeTable([indirect(INDIRECT)], [make_issuer(), CRL_ISSUER]).coverage(certificate)
    assert coverage.crls == (0,)
    assert coverage.applicable[0].by_issuer
    assert coverage.applicable[0].signer is not None
    assert crls_for(certificate, indirect(USER_ONLY), issuers=[CRL_ISSUER]) == ()
    assert crls_for(make_certificate(), indirect(INDIRECT), issuers=[CRL_ISSUER]) == ()
    assert crls_for(certificate, indirect(INDIRECT)) == ()  # nobody trusts its issuer


def test_any_of_several_crl_issuers_may_speak() -> None:
    """
    Those of which no CRL is held, or which are no directory names, stand in nobody's way.
    """
    names = [
        uri("http://crl.test"),
        directory(make_name("another CRL issuer")),
        directory(make_name("CRL issuer")),
    ]
    for order in itertools.permutations(names):
        certificate = make_certificate(distribution_points=(DistributionPoint(crl_issuers=order),))
        assert crls_for(certificate, indirect(INDIRECT), issuers=[CRL_ISSUER]) == (0,)


def test_an_indirect_crl_is_matched_by_distribution_point_too() -> None:
    """
    Where the CRL names a distribution point, the certificate's must be that one;
    cRLIssuer stands in where the certificate gives none (6.3.3 b 2 i).
    """
    issuer = directory(make_name("CRL issuer"))
    there, elsewhere = uri("http://crl/1"), uri("http://crl/2")
    crls = [indirect(INDIRECT, names=(there,)), indirect(INDIRECT, names=(issuer,))]
    for names, expected in (((there,), (0,)), ((elsewhere,), ()), ((), (1,))):
        point = DistributionPoint(names, crl_issuers=(issuer,))
        certificate = make_certificate(distribution_points=(point,))
        assert crls_for(certificate, *crls, issuers=[CRL_ISSUER]) == expected


def test_an_issuers_own_indirect_crl_speaks_for_its_certificates() -> None:
    """
    Its entries are looked up under the certificate's issuer all the same.
    """
    crl = make_metadata(issuing_distribution_point=idp(INDIRECT))
    (applied,) = ScopeTable([crl], [make_issuer()]).coverage(make_certificate()).applicable
    assert (applied.by_issuer, applied.signer) == (True, None)
