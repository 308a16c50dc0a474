"""Names within and without subtrees (RFC 5280 4.2.1.10)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from crlcheck import PathValidationError, load_certificate, validate_path
from crlcheck.demo.encoding import der
from support.paths import issue, name, self_signed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = self_signed("Root", now=NOW)


def dns(text: str) -> x509.GeneralName:
    """A dNSName."""
    return x509.DNSName(text)


def mail(text: str) -> x509.GeneralName:
    """An rfc822Name."""
    return x509.RFC822Name._init_without_validation(text)


def uri(text: str) -> x509.GeneralName:
    """A uniformResourceIdentifier."""
    return x509.UniformResourceIdentifier(text)


def net(text: str) -> x509.GeneralName:
    """An iPAddress of a subtree."""
    return x509.IPAddress(ipaddress.ip_network(text))


def ip(text: str) -> x509.GeneralName:
    """An iPAddress of a certificate."""
    return x509.IPAddress(ipaddress.ip_address(text))


def directory(*parts: str) -> x509.GeneralName:
    """A directoryName of organisational units, the outermost first."""
    return x509.DirectoryName(directory_name(*parts))


def directory_name(*parts: str) -> x509.Name:
    """A Name of organisational units, the outermost first."""
    oid = NameOID.ORGANIZATIONAL_UNIT_NAME
    return x509.Name([x509.NameAttribute(oid, part) for part in parts])


def other(oid: str) -> x509.GeneralName:
    """An otherName."""
    return x509.OtherName(ObjectIdentifier(oid), der(0x05))


def answer(
    names: Sequence[x509.GeneralName],
    *,
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
    subject: x509.Name | None = None,
) -> str:
    """The section that refuses a certificate with *names*, "valid" where none does."""
    constraints = x509.NameConstraints(list(permitted) or None, list(excluded) or None)
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(constraints, True)])
    leaf = issue(sub, name("leaf") if subject is None else subject, now=NOW, names=names)
    chain = [load_certificate(one.der) for one in (leaf, sub)]
    try:
        validate_path(chain, [load_certificate(ROOT.der)], now=NOW)
    except PathValidationError as error:
        return error.section
    return "valid"


WITHIN: list[tuple[x509.GeneralName, x509.GeneralName]] = [
    (dns("example.com"), dns("example.com")),
    (dns("a.b.example.com"), dns("example.com")),
    (dns("EXAMPLE.com"), dns("example.COM")),
    (dns("example.com."), dns("example.com")),
    (dns("*.example.com"), dns("example.com")),
    (dns("a.example.com"), dns(".example.com")),
    (dns("anything"), dns("")),
    (mail("a@example.com"), mail("a@example.com")),
    (mail("a@EXAMPLE.com"), mail("a@example.com")),
    (mail("a@example.com"), mail("example.com")),
    (mail("a@mail.example.com"), mail(".example.com")),
    (uri("https://example.com/x"), uri("example.com")),
    (uri("ftp://user@a.example.com:21/"), uri(".example.com")),
    (ip("10.1.2.3"), net("10.0.0.0/8")),
    (ip("10.1.2.3"), net("0.0.0.0/0")),
    (ip("2001:db8::1"), net("2001:db8::/32")),
    (directory("A", "B"), directory("A")),
    (directory("A"), directory("A")),
    (directory("a  b ", "C"), directory("A B")),
]
WITHOUT: list[tuple[x509.GeneralName, x509.GeneralName]] = [
    (dns("badexample.com"), dns("example.com")),
    (dns("example.org"), dns("example.com")),
    (dns("com"), dns("example.com")),
    (mail("A@example.com"), mail("b@example.com")),
    (mail("a@mail.example.com"), mail("example.com")),
    (mail("a@example.com"), mail(".example.com")),
    (mail("a@badexample.com"), mail(".example.com")),
    (uri("https://a.example.com/"), uri("example.com")),
    (uri("https://example.com/"), uri(".example.com")),
    (uri("https://example.com@evil.org/"), uri("example.com")),
    (ip("11.1.2.3"), net("10.0.0.0/8")),
    (ip("2001:db9::1"), net("2001:db8::/32")),
    (ip("10.1.2.3"), net("2001:db8::/32")),
    (directory("B", "A"), directory("A")),
    (directory("A"), directory("A", "B")),
]
NO_NAME: list[tuple[x509.GeneralName, x509.GeneralName]] = [
    (mail("nobody"), mail("example.com")),
    (mail("@example.com"), mail("example.com")),
    (mail("a@"), mail("example.com")),
    (uri("urn:x"), uri("example.com")),
    (uri("https://10.0.0.1/"), uri("10.0.0.1")),
    (uri("https://[2001:db8::1]/"), uri("example.com")),
    (uri("https://evil.org\\@example.com/"), uri("example.com")),
    (dns("a..example.com"), dns("example.com")),
    (dns(" example.com"), dns("example.com")),
    (dns("a*.example.com"), dns("example.com")),
    (dns("a.*.example.com"), dns("example.com")),
    (dns("a/b.example.com"), dns("example.com")),
    (uri("https://ex%61mple.com/"), uri("example.com")),
    (mail("a@[10.0.0.1]"), mail("example.com")),
    (mail('"a"@example.com'), mail("a@example.com")),
]
# Subtrees that are no host, and would exclude nothing.
NO_SUBTREE: list[tuple[x509.GeneralName, x509.GeneralName]] = [
    (dns("a.example.com"), dns("https://example.com")),
    (uri("https://example.com/"), uri("https://example.com/")),
    (uri("https://a.example.com/"), uri("*.example.com")),
    (mail("a@b.example.com"), mail("*.example.com")),
    (mail("a@b.example.com"), mail("a@*.example.com")),
]


@pytest.mark.parametrize(("one", "subtree"), WITHIN)
def test_names_within(one: x509.GeneralName, subtree: x509.GeneralName) -> None:
    """
    What lies within is permitted where the subtree is, and excluded where it is.
    """
    subject = x509.Name([])
    assert answer([one], permitted=[subtree], subject=subject) == "valid"
    assert answer([one], excluded=[subtree], subject=subject) == "6.1.3 (c)"


@pytest.mark.parametrize(("one", "subtree"), WITHOUT)
def test_names_without(one: x509.GeneralName, subtree: x509.GeneralName) -> None:
    """
    What lies without is the reverse.
    """
    subject = x509.Name([])
    assert answer([one], permitted=[subtree], subject=subject) == "6.1.3 (b)"
    assert answer([one], excluded=[subtree], subject=subject) == "valid"


@pytest.mark.parametrize(("one", "subtree"), NO_NAME)
def test_a_name_that_cannot_be_compared_is_refused(
    one: x509.GeneralName, subtree: x509.GeneralName
) -> None:
    """
    Neither permitted nor not excluded: nobody knows where it lies.
    """
    assert answer([one], permitted=[subtree]) == "6.1.3 (b)"
    assert answer([one], excluded=[subtree]) == "6.1.3 (b)"
    assert answer([one], permitted=[ip_subtree()]) == "valid"


@pytest.mark.parametrize(("one", "subtree"), NO_SUBTREE)
def test_a_subtree_that_is_no_host_refuses(
    one: x509.GeneralName, subtree: x509.GeneralName
) -> None:
    """
    A CA that meant to exclude by a pattern or a URL has not excluded nothing.
    """
    assert answer([one], permitted=[subtree]) == "6.1.3 (b)"
    assert answer([one], excluded=[subtree]) == "6.1.3 (b)"


def test_mailboxes_in_utf8_are_held_against_those_in_ascii() -> None:
    """
    RFC 9598 section 6; nobody here compares them, and so they are refused.
    """
    mailbox = x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.9"), der(0x0C, "ü@x.com".encode()))
    assert answer([mailbox], excluded=[mail("x.com")]) == "6.1.3 (b)"
    assert answer([mailbox], permitted=[mail("x.com")]) == "6.1.3 (b)"
    assert answer([mailbox], permitted=[dns("x.com")]) == "valid"
    assert answer([other("1.2.3")], excluded=[mail("x.com")]) == "valid"


@pytest.mark.parametrize("make", [dns, directory])
def test_the_work_of_comparing_is_bounded(make: Callable[[str], x509.GeneralName]) -> None:
    """
    Names times subtrees must not use up a verifier's time; what CAs have does not come near.
    """
    names = [make(f"a{number}") for number in range(400)]
    subtrees = [make(f"b{number}") for number in range(400)]
    assert answer(names, excluded=subtrees) == "6.1.3 (b)"
    assert answer(names[:60], excluded=subtrees[:60]) == "valid"


def ip_subtree() -> x509.GeneralName:
    """A subtree of a form that no other name here has."""
    return net("10.0.0.0/8")


@pytest.mark.parametrize(
    ("one", "subtree"),
    [
        (dns("*.example.com"), dns("secret.example.com")),
        (dns("example.com"), dns(".example.com")),
        (mail("A@example.com"), mail("a@example.com")),
    ],
)
def test_where_readings_differ_the_stricter_one_counts(
    one: x509.GeneralName, subtree: x509.GeneralName
) -> None:
    """
    It is not permitted, and it is excluded.
    """
    assert answer([one], permitted=[subtree]) == "6.1.3 (b)"
    assert answer([one], excluded=[subtree]) == "6.1.3 (c)"


def test_a_form_without_subtrees_is_not_constrained() -> None:
    """
    A list of DNS names says nothing of mail addresses.
    """
    assert answer([mail("a@example.org"), ip("10.0.0.1")], permitted=[dns("x")]) == "valid"
    assert answer([], permitted=[dns("x"), mail("y"), net("10.0.0.0/8")]) == "valid"


def test_every_name_counts() -> None:
    """
    One that lies without is enough.
    """
    names = [dns("a.example.com"), dns("b.example.com"), dns("example.org")]
    assert answer(names, permitted=[dns("example.com")]) == "6.1.3 (b)"
    assert answer(names, permitted=[dns("example.com"), dns("example.org")]) == "valid"
    permitted, excluded = [dns("example.com")], [dns("b.example.com")]
    assert answer(names[:2], permitted=permitted, excluded=excluded) == "6.1.3 (c)"
    assert answer(names[:1], permitted=permitted, excluded=excluded) == "valid"


def test_the_subject_is_a_directory_name() -> None:
    """
    It is constrained as one, and so are its mail addresses.
    """
    inside, outside = directory_name("A", "B"), directory_name("B")
    assert answer([], permitted=[directory("A")], subject=inside) == "valid"
    assert answer([], permitted=[directory("A")], subject=outside) == "6.1.3 (b)"
    assert answer([], excluded=[directory("A")], subject=inside) == "6.1.3 (c)"
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.com")])
    assert answer([], permitted=[mail("example.com")], subject=subject) == "valid"
    assert answer([], permitted=[mail("example.org")], subject=subject) == "6.1.3 (b)"
    assert answer([dns("x")], excluded=[mail("example.com")], subject=subject) == "6.1.3 (c)"


@pytest.mark.parametrize(
    ("constrained", "form"),
    [
        (other("1.3.6.1.4.1.311.20.2.3"), "otherName"),
        (x509.RegisteredID(ObjectIdentifier("1.2.3")), "registeredID"),
    ],
)
def test_other_forms_are_refused_by_name_where_they_occur(
    constrained: x509.GeneralName, form: str
) -> None:
    """
    Nobody compares them, so that they refuse each certificate that has one, and no other.
    """
    for permitted, excluded in (([constrained], []), ([], [constrained])):
        good = answer([dns("example.com")], permitted=permitted, excluded=excluded)
        bad = answer([constrained], permitted=permitted, excluded=excluded)
        assert (good, bad) == ("valid", "6.1.3 (b)")
    constraints = x509.NameConstraints([constrained], None)
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(constraints, True)])
    leaf = issue(sub, "leaf", now=NOW, names=[constrained])
    chain = [load_certificate(one.der) for one in (leaf, sub)]
    with pytest.raises(PathValidationError, match=f"of the form {form} are not supported"):
        validate_path(chain, [load_certificate(ROOT.der)], now=NOW)


def test_constraints_add_up_along_the_path() -> None:
    """
    Each authority can only take away. Their own names count, unless they are self-issued.
    """

    anchors = [load_certificate(ROOT.der)]

    def constrained(*permitted: x509.GeneralName) -> list[tuple[x509.ExtensionType, bool]]:
        return [(x509.NameConstraints(list(permitted), None), False)]

    upper = issue(ROOT, "Upper", now=NOW, is_ca=True, extensions=constrained(dns("example.com")))
    two = constrained(dns("org"), dns("a.example.com"))
    lower = issue(upper, "Lower", now=NOW, is_ca=True, extensions=two)
    outside = [dns("example.org")]
    named = issue(upper, "Lower", now=NOW, is_ca=True, names=outside)
    self_issued = issue(upper, "Upper", now=NOW, is_ca=True, names=outside)
    leaf = "leaf"
    for chain, position in (
        ([issue(lower, leaf, now=NOW, names=[dns("a.example.com")]), lower, upper], None),
        ([issue(lower, leaf, now=NOW, names=[dns("b.example.com")]), lower, upper], 1),
        ([issue(lower, leaf, now=NOW, names=outside), lower, upper], 1),
        ([issue(named, leaf, now=NOW), named, upper], 2),
        ([issue(self_issued, leaf, now=NOW), self_issued, upper], None),
        ([issue(upper, "Upper", now=NOW, names=outside), upper], 1),
    ):
        found = None
        try:
            validate_path([load_certificate(one.der) for one in chain], anchors, now=NOW)
        except PathValidationError as error:
            found = error.position, error.section
        assert found == (None if position is None else (position, "6.1.3 (b)"))


BASE = der(0x82, b"example.com")


@pytest.mark.parametrize(
    "value",
    [
        der(0x30, der(0xA0, der(0x30, BASE, der(0x80, b"\x01")))),  # a minimum
        der(0x30, der(0xA0, der(0x30, BASE, der(0x81, b"\x01")))),  # a maximum
        der(0x30, der(0xA0, der(0x30, der(0xA2, b"example.com")))),  # constructed
        der(0x30, der(0xA0, BASE)),  # no subtree
        der(0x30, der(0xA0)),  # none
        der(0x30, der(0xA2, der(0x30, BASE))),  # another list
        der(0x30, der(0xA1, der(0x30, BASE)), der(0xA0, der(0x30, BASE))),  # in the wrong order
        der(0x30, der(0xA0, der(0x30, BASE)), der(0xA0, der(0x30, BASE))),  # twice
        der(0x30, der(0xA0, der(0x30, BASE))) + b"\0",
        der(0x30, der(0xA0, der(0x30, BASE)))[:-1],
    ],
)
def test_constraints_that_cannot_be_read_refuse(value: bytes) -> None:
    """
    They are not ignored, critical or not.
    """
    broken = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.30"), value)
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(broken, False)])
    chain = [load_certificate(one.der) for one in (issue(sub, "leaf", now=NOW), sub)]
    with pytest.raises(PathValidationError, match="its nameConstraints") as caught:
        validate_path(chain, [load_certificate(ROOT.der)], now=NOW)
    assert caught.value.position == 2


@pytest.mark.parametrize(
    "value",
    [
        der(0x30, der(0xA2, b"example.org")),  # constructed, where it is primitive
        der(0x30, der(0x02, b"\1")),
        der(0x30, der(0x87, b"\x0a\0\0")),  # three octets of an address
        der(0x30, der(0x82, b"\xff.example.com")),
    ],
)
def test_a_name_in_another_form_does_not_escape(value: bytes) -> None:
    """
    What is no GeneralName where names are constrained refuses.
    """
    constraints = x509.NameConstraints([dns("example.com"), net("10.0.0.0/8")], None)
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(constraints, True)])
    broken = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.17"), value)
    leaf = issue(sub, "leaf", now=NOW, extensions=[(broken, False)])
    chain = [load_certificate(one.der) for one in (leaf, sub)]
    with pytest.raises(PathValidationError) as caught:
        validate_path(chain, [load_certificate(ROOT.der)], now=NOW)
    assert caught.value.position == 1


@pytest.mark.parametrize("mask", ["ff00ff00", "00ffffff", "fe01fe00"])
def test_a_mask_with_gaps_refuses(mask: str) -> None:
    """
    It is no prefix, and so no subtree.
    """
    subtree = der(0x87, bytes.fromhex("0a000000" + mask))
    value = der(0x30, der(0xA0, der(0x30, subtree)))
    broken = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.30"), value)
    sub = issue(ROOT, "Sub", now=NOW, is_ca=True, extensions=[(broken, True)])
    leaf = issue(sub, "leaf", now=NOW, names=[ip("10.0.0.1")])
    chain = [load_certificate(one.der) for one in (leaf, sub)]
    with pytest.raises(PathValidationError, match="a mask with gaps"):
        validate_path(chain, [load_certificate(ROOT.der)], now=NOW)
