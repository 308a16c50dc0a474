"""What is said, and what can be done, where no CRL held covers a certificate."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from cryptography import x509

from crlcheck.checker.results import uncovered
from crlcheck.checker.scope import ALL_REASONS, ScopeTable
from crlcheck.checker.verdict import Evidence, decide
from crlcheck.cli import main
from crlcheck.demo.pki import CertificateAuthority, encode_extension
from crlcheck.stores import LocalStore
from crlcheck.types import (
    CertificateFacts,
    DistributionPoint,
    Policy,
    RevocationStatus,
    Rule,
    UndeterminedCause,
)
from support.certificate_der import ISSUER
from support.checking import (
    make_checker,
    verdict,
    without_remedy,
)
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_client, make_crl
from support.publishing import publish
from support.values import der, make_certificate, make_issuer, make_metadata, make_name

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
OUT_OF_SCOPE = UndeterminedCause.OUT_OF_SCOPE


def uri(text: str) -> bytes:
    """A GeneralName."""
    return der(0x86, text.encode())


def partition(*names: bytes, flags: bytes = b"") -> bytes:
    """An issuingDistributionPoint."""
    return der(0x30, der(0xA0, der(0xA0, *names)) if names else b"", flags)


def detail_for(certificate: CertificateFacts, *scopes: bytes | None) -> str:
    """Why a certificate is not covered where the CA has CRLs of these scopes."""
    return without_remedy(said_of(certificate, *scopes))


def said_of(certificate: CertificateFacts, *scopes: bytes | None) -> str:
    """Why it is not covered, and what can be done."""
    crls = [make_metadata(issuing_distribution_point=scope) for scope in scopes]
    coverage = ScopeTable(crls, [make_issuer()]).coverage(certificate)
    result = uncovered(certificate, coverage)
    assert result.cause is OUT_OF_SCOPE
    return result.detail.removeprefix("certificate 4a3f issued by CN=CA is undetermined: ")


def pointing_at(*names: bytes) -> CertificateFacts:
    """A certificate with a distribution point of these names."""
    return make_certificate(distribution_points=(DistributionPoint(names),))


# ---- what is said ----------------------------------------------------------------------


def test_the_points_of_the_certificate_and_of_the_nearest_crl_are_named() -> None:
    """
    Of many partitions it is the one whose name begins most like the
    certificate's, which is the one that somebody mistyped.
    """
    scopes = [partition(uri(f"http://ca/{part}/1.crl")) for part in ("east", "north", "west")]
    scopes.append(partition(uri("ldap:///cn=CA")))
    assert detail_for(pointing_at(uri("http://ca/nort/1.crl")), *scopes) == (
        "none of the 4 CRLs held for that issuer covers it: the certificate names "
        "http://ca/nort/1.crl; the nearest is CRL 17 of CN=CA, for http://ca/north/1.crl"
    )


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("http://ca/nort/1.crl", "north"),
        ("http://ca/northern/1.crl", "north"),
        ("http://ca/aeast/1.crl", "east"),
        ("http://ca/z/1.crl", "west"),
        ("http://ca/eastern/1.crl", "east"),
    ],
)
def test_what_begins_most_like_a_name_is_nearest(mistyped: str, meant: str) -> None:
    """
    Whether it comes before or behind it in order.
    """
    scopes = [partition(uri(f"http://ca/{part}/1.crl")) for part in ("east", "north", "west")]
    for ordered in itertools.permutations(scopes):
        detail = detail_for(pointing_at(uri(mistyped)), *ordered)
        assert detail.endswith(f"the nearest is CRL 17 of CN=CA, for http://ca/{meant}/1.crl")


def test_a_name_of_another_kind_is_never_nearer() -> None:
    """
    A directory name is compared with directory names, a URI with others.
    """
    name = partition(der(0xA4, make_name("Z")))
    path = partition(uri("http://ca/1"))
    for scopes in ((name, path), (path, name)):
        by_name = detail_for(pointing_at(der(0xA4, make_name("A"))), *scopes)
        assert by_name.endswith("the nearest is CRL 17 of CN=CA, for CN=Z")
        for other in (uri("zzz"), der(0x82, b"dns.test")):
            by_other = detail_for(pointing_at(other), *scopes)
            assert by_other.endswith("the nearest is CRL 17 of CN=CA, for http://ca/1")


def test_a_certificate_of_many_names_is_compared_in_part() -> None:
    """
    By its first eight names, so that what is only a message costs no more.
    """
    scopes = [partition(uri(f"http://{part}/1.crl")) for part in ("first", "last")]
    names = [uri(f"http://first/{i}") for i in range(8)] + [uri("http://last/1.crl/")]
    detail = detail_for(pointing_at(*names), *scopes)
    assert detail.endswith("the nearest is CRL 17 of CN=CA, for http://first/1.crl")
    detail = detail_for(pointing_at(*names[::-1]), *scopes)
    assert detail.endswith("the nearest is CRL 17 of CN=CA, for http://last/1.crl")


def test_the_nearest_crl_is_one_that_could_be_meant() -> None:
    """
    Without a point to compare, it is one that a distribution point leads to, and
    for the certificate's kind where there is such a one.
    """
    point = partition(uri("http://ca/1"))
    for_cas = partition(uri("http://ca/2"), flags=der(0x82, b"\xff"))
    attributes = partition(flags=der(0x85, b"\xff"))
    nearest = "the nearest is CRL 17 of CN=CA, for http://ca/1. What to do: if the CA leaves"
    for scopes in ((attributes, point), (for_cas, point), (point, for_cas)):
        assert nearest in said_of(make_certificate(), *scopes)
    elsewhere = pointing_at(uri("http://ca"))
    both = partition(uri("http://ca/3"), flags=der(0x81, b"\xff"))
    twin = partition(uri("http://ca/3"), flags=der(0x82, b"\xff"))
    for scopes in ((both, twin), (twin, both)):
        assert "for http://ca/3, user certificates only" in detail_for(elsewhere, *scopes)
    assert "http://ca/2, CA certificates only" in detail_for(make_certificate(), for_cas)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (partition(uri("http://ca/1"), flags=der(0x82, b"\xff")),
         "http://ca/1, CA certificates only"),
        (partition(flags=der(0x82, b"\xff")), "CA certificates only"),
        (partition(flags=der(0x85, b"\xff")), "attribute certificates only"),
        (partition(der(0xA4, ISSUER)), "CN=Issuer"),
        (partition(der(0x82, b"ca.test")), "820763612e74657374"),
        (der(0x30, der(0xA0, der(0xA1, der(0x30, bytes.fromhex("0603550403"), der(0x0C, b"x"))))),
         "a name relative to the issuer's"),
        (b"\x30\x01\x00", "an extension that cannot be read (300100)"),
    ],
)  # fmt: skip
def test_what_a_crl_is_for_is_said(scope: bytes, words: str) -> None:
    """
    Names of every kind, and what else restricts it.
    """
    assert f"CRL 17 of CN=CA is for {words}" in detail_for(pointing_at(uri("http://x")), scope)


def test_a_certificate_that_names_another_crl_issuer_is_told_so() -> None:
    """
    The CRL to look for is not its own issuer's then.
    """
    point = DistributionPoint(crl_issuers=(der(0xA4, ISSUER),))
    certificate = make_certificate(distribution_points=(point,))
    assert detail_for(certificate) == (
        "no CRL of that issuer is held, and the certificate names CRLs by CN=Issuer"
    )


def test_names_are_cut_short_and_escaped() -> None:
    """
    A certificate may have a thousand names of a thousand bytes, with control
    and direction characters in them; what is said of them is one short line.
    """
    hostile = uri("http://ca/\x1b[31m\n\x07" + "x" * 1000)
    shown = detail_for(
        pointing_at(*[hostile] * 1000),
        partition(uri("http://ca/\x1b"), *[uri("y" * 999)] * 500),
    )
    assert shown.isprintable()
    assert r"the certificate names http://ca/\x1b[31m\n\x07xxx" in shown
    assert r"for http://ca/\x1b, yyy" in shown
    assert shown.count(" and more") == 2
    assert shown.count("…") == 5
    assert len(shown) < 2000
    attribute = der(0x30, bytes.fromhex("0603550403"), der(0x0C, "\u202eevil".encode()))
    turned = der(0xA4, der(0x30, der(0x31, attribute)))
    assert detail_for(pointing_at(turned), partition(uri("http://ca"))).isprintable()


def test_the_ways_out_are_named_where_the_certificate_has_no_point() -> None:
    """
    The operator's setting for this scope as a command and as a function, and the
    policy for all of them: not where the certificate names another point, and not
    where the CRL names none.
    """
    scope = partition(uri("https://ca/crl"), flags=der(0x81, b"\xff"))
    key = make_metadata(issuing_distribution_point=scope).scope
    assert said_of(make_certificate(), scope) == (
        "the only CRL held for that issuer does not cover it: the certificate names no "
        "distribution point; CRL 17 of CN=CA is for https://ca/crl, user certificates only. "
        "What to do: if the CA leaves the extension out of certificates that this CRL covers, let "
        f"it cover them: crlcheck scope set STORE {key} --covers-no-distribution-point "
        "(crlcheck.override_scope), or Policy.no_distribution_point for all CRLs"
    )
    assert "override_scope" not in said_of(pointing_at(uri("http://x")), scope)
    assert "override_scope" not in said_of(
        make_certificate(is_ca=True), partition(flags=der(0x81, b"\xff"))
    )


def test_points_that_are_not_known_are_said_to_be_so() -> None:
    """Where a serial number alone is asked about, not that the certificate names none."""
    crl = make_metadata(issuing_distribution_point=partition(flags=der(0x81, b"\xff")))
    certificate = make_certificate(is_ca=True)
    coverage = ScopeTable([crl], [make_issuer()]).coverage(certificate, any_points=True)
    said = uncovered(certificate, coverage).detail
    assert "does not cover it: the certificate's distribution points are not known; " in said


# ---- a CRL that may only revoke ----------------------------------------------------------


def test_what_only_a_crl_that_cannot_clear_covers_is_out_of_scope() -> None:
    """
    Not stale, though that CRL is, and not for lack of reasons: the certificate's
    own distribution point is what is missing.
    """
    metadata = make_metadata(
        issuing_distribution_point=partition(der(0xA4, make_issuer().subject)),
        next_update=NOW - DAY,
    )
    certificate = pointing_at(uri("http://ca/1"))
    evidence = Evidence(metadata, metadata.scope, None, reasons=0)
    result = decide(certificate, [evidence], now=NOW, policy=Policy())
    assert verdict(result) == (UNDETERMINED, OUT_OF_SCOPE)
    assert "the certificate names http://ca/1; CRL 17 of CN=CA is for CN=CA" in result.detail
    other = dataclasses.replace(metadata, next_update=None)
    partly = Evidence(other, "another", None, reasons=1 << 1)
    result = decide(certificate, [evidence, partly], now=NOW, policy=Policy())
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.REASONS_NOT_COVERED)


@pytest.mark.parametrize(
    ("unsure_reasons", "words"),
    [
        (ALL_REASONS, "the certificate's distribution points are not known"),
        (0, "the certificate names no distribution point"),
    ],
)
def test_a_crl_that_may_cover_a_serial_number_clears_nothing(
    unsure_reasons: int, words: str
) -> None:
    """
    Where only such CRLs are held, the answer says what was not known.
    """
    metadata = make_metadata()
    evidence = Evidence(metadata, metadata.scope, None, reasons=0, unsure_reasons=unsure_reasons)
    result = decide(make_certificate(), [evidence], now=NOW, policy=Policy())
    assert verdict(result) == (RevocationStatus.UNDETERMINED, UndeterminedCause.OUT_OF_SCOPE)
    assert f"the only CRL held for that issuer does not cover it: {words}" in result.detail


def test_a_crl_called_by_its_issuers_name_revokes_and_does_not_clear() -> None:
    """
    End to end: a certificate with another point is REVOKED if listed, else
    OUT_OF_SCOPE until its own partition is there; one without is cleared.
    """
    authority = make_authority()
    name = der(0xA4, authority.certificate.subject.public_bytes())
    own = encode_extension("2.5.29.28", partition(name), critical=True)
    part = encode_extension("2.5.29.28", partition(uri("http://ca/1")), critical=True)
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("HTTP://CA/1")], None, None, None
    )

    def client(serial_number: int) -> bytes:
        return authority.issue(
            "client",
            serial_number=serial_number,
            distribution_points=[point],
            not_before=NOW - DAY,
            not_after=NOW + DAY,
        ).der

    store = MemoryStore()
    publish(store, make_crl(authority, 1, [2], extensions=[own]), authority.der)
    checker = make_checker(store)
    assert verdict(checker.check(client(2))) == (REVOKED, None)
    assert verdict(checker.check(client(3))) == (UNDETERMINED, OUT_OF_SCOPE)
    assert verdict(checker.check(make_client(authority, 3))) == (NOT_REVOKED, None)
    publish(store, make_crl(authority, 1, [], extensions=[part]), authority.der)
    assert verdict(checker.check(client(2))) == (REVOKED, None)
    assert verdict(checker.check(client(3))) == (NOT_REVOKED, None)


SETTING = "--covers-no-distribution-point"


# ---- what can be done ---------------------------------------------------------------------


def test_a_scope_covers_certificates_without_points_where_an_operator_says_so(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The command that the verdict names does what it says, and undoes it.
    """
    authority: CertificateAuthority = make_authority()
    store = LocalStore(str(tmp_path))
    part = encode_extension("2.5.29.28", partition(uri("http://ca/1")), critical=True)
    scope = publish(store, make_crl(authority, 1, [2], extensions=[part]), authority.der).scope
    listed, other = make_client(authority, 2), make_client(authority, 3)
    checker = make_checker(store)
    for certificate in (listed, other):
        result = checker.check(certificate)
        assert verdict(result) == (UNDETERMINED, OUT_OF_SCOPE)
        assert f"crlcheck scope set STORE {scope} {SETTING} " in result.detail
    waiving = make_checker(store, policy=Policy(no_distribution_point=Rule.ALLOW))
    assert verdict(waiving.check(other)) == (NOT_REVOKED, None)
    assert main(["scope", "set", str(tmp_path), scope, SETTING]) == 0
    assert "covers certificates without distribution points" in capsys.readouterr().out
    assert verdict(checker.check(listed)) == (REVOKED, None)
    assert verdict(checker.check(other)) == (NOT_REVOKED, None)
    assert main(["scope", "set", str(tmp_path), scope, SETTING, "--undo"]) == 0
    assert verdict(checker.check(other)) == (UNDETERMINED, OUT_OF_SCOPE)
    assert main(["scope", "set", str(tmp_path), "no such scope", SETTING]) == 2
