"""
Read what path validation needs of a certificate's extensions (RFC 5280 4.2.1).

The certificate parser has checked their frame, but not the values that are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from crlcheck.encoding.der import oid_text, read_element, read_elements
from crlcheck.types import CertificateFacts

KEY_USAGE = "2.5.29.15"
SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
BASIC_CONSTRAINTS = "2.5.29.19"
NAME_CONSTRAINTS = "2.5.29.30"
CRL_DISTRIBUTION_POINTS = "2.5.29.31"
CERTIFICATE_POLICIES = "2.5.29.32"
POLICY_MAPPINGS = "2.5.29.33"
POLICY_CONSTRAINTS = "2.5.29.36"
EXTENDED_KEY_USAGE = "2.5.29.37"
INHIBIT_ANY_POLICY = "2.5.29.54"

EXTENSION_NAMES = {
    "2.5.29.14": "subjectKeyIdentifier",
    KEY_USAGE: "keyUsage",
    SUBJECT_ALTERNATIVE_NAME: "subjectAltName",
    "2.5.29.18": "issuerAltName",
    BASIC_CONSTRAINTS: "basicConstraints",
    NAME_CONSTRAINTS: "nameConstraints",
    CRL_DISTRIBUTION_POINTS: "cRLDistributionPoints",
    CERTIFICATE_POLICIES: "certificatePolicies",
    POLICY_MAPPINGS: "policyMappings",
    "2.5.29.35": "authorityKeyIdentifier",
    POLICY_CONSTRAINTS: "policyConstraints",
    EXTENDED_KEY_USAGE: "extendedKeyUsage",
    "2.5.29.46": "freshestCRL",
    INHIBIT_ANY_POLICY: "inhibitAnyPolicy",
}
"""Their names in RFC 5280, for messages."""

_ANY_POLICY = "2.5.29.32.0"

_BOOLEAN, _INTEGER, _OCTET_STRING, _OID, _SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x30
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_PERMITTED, _EXCLUDED = 0xA0, 0xA1
_REQUIRE_EXPLICIT_POLICY, _INHIBIT_POLICY_MAPPING = 0x80, 0x81


OTHER_NAME, RFC822_NAME, DNS_NAME, X400_ADDRESS = 0xA0, 0x81, 0x82, 0xA3
DIRECTORY_NAME, EDI_PARTY_NAME, URI, IP_ADDRESS, REGISTERED_ID = 0xA4, 0xA5, 0x86, 0x87, 0x88

FORM_NAMES = {
    OTHER_NAME: "otherName",
    RFC822_NAME: "rfc822Name",
    DNS_NAME: "dNSName",
    X400_ADDRESS: "x400Address",
    DIRECTORY_NAME: "directoryName",
    EDI_PARTY_NAME: "ediPartyName",
    URI: "uniformResourceIdentifier",
    IP_ADDRESS: "iPAddress",
    REGISTERED_ID: "registeredID",
}
"""The forms of a GeneralName, by their tags."""


class Extension(NamedTuple):
    """One extension: whether it is critical, and its value in DER."""

    critical: bool
    value: bytes


class GeneralName(NamedTuple):
    """A GeneralName by its tag and contents (RFC 5280 4.2.1.6)."""

    tag: int
    contents: bytes


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """The subtrees of one extension; None where it has no list of the kind."""

    permitted: tuple[GeneralName, ...] | None
    excluded: tuple[GeneralName, ...] | None


class ExtensionError(ValueError):
    """An extension's value is malformed, or has what is not supported; ``oid`` says which."""

    def __init__(self, message: str, oid: str) -> None:
        super().__init__(message)
        self.oid = oid


@dataclass(frozen=True, slots=True)
class Extensions:
    """The version and the extensions of a certificate, by their OIDs."""

    version: int
    by_oid: dict[str, Extension]

    @classmethod
    def of(cls, certificate: CertificateFacts) -> Extensions:
        """Find them in a certificate that the parser has read."""
        tbs = next(read_elements(read_element(certificate.der, _SEQUENCE)))
        version, found = 1, {}
        for element in read_elements(tbs.contents):
            if element.tag == _VERSION:
                version = read_element(element.contents, _INTEGER)[0] + 1
            elif element.tag == _EXTENSIONS:
                for one in read_elements(read_element(element.contents, _SEQUENCE)):
                    oid, *rest = read_elements(one.contents)
                    critical = rest[0].tag == _BOOLEAN and rest[0].contents != b"\0"
                    found[oid_text(oid.contents)] = Extension(critical, rest[-1].contents)
        return cls(version, found)

    def path_length(self) -> int | None:
        """
        Return the pathLenConstraint of basicConstraints, None without one (4.2.1.9).

        Raises:
            ExtensionError: it is negative.
        """
        extension = self.by_oid.get(BASIC_CONSTRAINTS)
        if extension is None:
            return None
        for element in read_elements(read_element(extension.value, _SEQUENCE)):
            if element.tag == _INTEGER:
                return _count(element.contents, BASIC_CONSTRAINTS)
        return None

    def extended_key_usage(self) -> frozenset[str] | None:
        """
        Return the purposes of extendedKeyUsage, None without it (4.2.1.12).

        Raises:
            ExtensionError: it is malformed.
        """
        elements = self._elements(EXTENDED_KEY_USAGE)
        if elements is None:
            return None
        return frozenset(_oid(tag, contents, EXTENDED_KEY_USAGE) for tag, contents in elements)

    def alternative_names(self) -> tuple[GeneralName, ...]:
        """
        Return the names of subjectAltName (4.2.1.6).

        Raises:
            ExtensionError: it is malformed.
        """
        names = self._elements(SUBJECT_ALTERNATIVE_NAME) or ()
        return tuple(_general_name(one, SUBJECT_ALTERNATIVE_NAME) for one in names)

    def name_constraints(self) -> NameConstraints | None:
        """
        Return nameConstraints, None without them (4.2.1.10).

        Raises:
            ExtensionError: they are malformed, or have a minimum or maximum.
        """
        elements = self._elements(NAME_CONSTRAINTS)
        if elements is None:
            return None
        found: dict[int, tuple[GeneralName, ...]] = {}
        for tag, contents in elements:
            if tag not in (_PERMITTED, _EXCLUDED) or tag in found or _EXCLUDED in found:
                raise ExtensionError("it has another list of subtrees", NAME_CONSTRAINTS)
            found[tag] = tuple(map(_subtree, _list_of(contents, NAME_CONSTRAINTS)))
        return NameConstraints(found.get(_PERMITTED), found.get(_EXCLUDED))

    def require_explicit_policy(self) -> int | None:
        """
        Return requireExplicitPolicy of policyConstraints, None without it (4.2.1.11).

        Raises:
            ExtensionError: they are malformed.
        """
        counts: dict[int, int] = {}
        for tag, contents in self._elements(POLICY_CONSTRAINTS) or ():
            if tag not in (_REQUIRE_EXPLICIT_POLICY, _INHIBIT_POLICY_MAPPING) or tag in counts:
                raise ExtensionError("it is malformed: expected two counts", POLICY_CONSTRAINTS)
            counts[tag] = _count(contents, POLICY_CONSTRAINTS)
        return counts.get(_REQUIRE_EXPLICIT_POLICY)

    def maps_any_policy(self) -> bool:
        """
        Whether policyMappings map from or to anyPolicy (4.2.1.5).

        Raises:
            ExtensionError: they are malformed.
        """
        for _, contents in self._elements(POLICY_MAPPINGS) or ():
            policies = _list_of(contents, POLICY_MAPPINGS)
            if any(_oid(tag, one, POLICY_MAPPINGS) == _ANY_POLICY for tag, one in policies):
                return True
        return False

    def _elements(self, oid: str) -> tuple[GeneralName, ...] | None:
        """Return the elements of an extension that is a SEQUENCE OF at least one."""
        extension = self.by_oid.get(oid)
        if extension is None:
            return None
        try:
            contents = read_element(extension.value, _SEQUENCE)
        except ValueError as error:
            raise ExtensionError(f"it is malformed: {error}", oid) from error
        return _list_of(contents, oid)


def _count(contents: bytes, oid: str) -> int:
    number = int.from_bytes(contents, "big", signed=True)
    if not contents or number < 0:
        raise ExtensionError("it is malformed: expected a number from 0 on", oid)
    return number


def _list_of(contents: bytes, oid: str) -> tuple[GeneralName, ...]:
    try:
        elements = tuple(GeneralName(one.tag, one.contents) for one in read_elements(contents))
    except ValueError as error:
        raise ExtensionError(f"it is malformed: {error}", oid) from error
    if not elements:
        raise ExtensionError("it is empty", oid)
    return elements


def _oid(tag: int, contents: bytes, extension: str) -> str:
    if tag != _OID or not contents:
        raise ExtensionError("it is malformed: expected an OID", extension)
    return oid_text(contents)


def _subtree(element: GeneralName) -> GeneralName:
    if element.tag != _SEQUENCE:
        raise ExtensionError("it is malformed: expected a subtree", NAME_CONSTRAINTS)
    base, *rest = _list_of(element.contents, NAME_CONSTRAINTS)
    if rest:  # a minimum other than 0, or a maximum: RFC 5280 has neither
        raise ExtensionError("a subtree has a minimum or a maximum", NAME_CONSTRAINTS)
    return _general_name(base, NAME_CONSTRAINTS)


def _general_name(name: GeneralName, oid: str) -> GeneralName:
    # Another form of a tag must not keep a name from its constraints.
    if name.tag not in FORM_NAMES:
        raise ExtensionError("it is malformed: expected a GeneralName", oid)
    return name
