"""
Validate the path from a client's certificate to a trust anchor (RFC 5280 6.1).

The steps have the section's numbers. The policy tree is not made: a path can
only fail for it where requireExplicitPolicy has counted down to 0, and such a path is
refused. Beyond 6.1, and where that leaves a choice,

- the first certificate must not be a CA's, and extendedKeyUsage, where present, must
  have clientAuth (4.2.1.12),
- algorithms and keys are as strong as those of CRLs,
- an anchor counts by its name and key, and needs no extension. What its certificate
  states is kept all the same, as 6.2 allows: dates, basicConstraints, keyUsage,
  extendedKeyUsage, and name constraints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from crlcheck.encoding.names import name_key, names_match
from crlcheck.errors import PathValidationError
from crlcheck.types import CertificateFacts, several
from crlcheck.x509 import name_constraints
from crlcheck.x509.extensions import (
    BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    CRL_DISTRIBUTION_POINTS,
    EXTENDED_KEY_USAGE,
    EXTENSION_NAMES,
    FORM_NAMES,
    INHIBIT_ANY_POLICY,
    KEY_USAGE,
    NAME_CONSTRAINTS,
    POLICY_CONSTRAINTS,
    POLICY_MAPPINGS,
    SUBJECT_ALTERNATIVE_NAME,
    ExtensionError,
    Extensions,
    NameConstraints,
)
from crlcheck.x509.signatures import certificate_fault, key_fault

_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_KEY_CERT_SIGN = 1 << 5
_MAX_PATH = 16
_MAX_STEPS = 500
# What a critical extension must be (6.1.4 (o), 6.1.5 (f)). Policies can be ignored; which
# CRLs cover the certificates of the path is asked after this.
_PROCESSED = frozenset(
    (
        KEY_USAGE,
        SUBJECT_ALTERNATIVE_NAME,
        BASIC_CONSTRAINTS,
        NAME_CONSTRAINTS,
        CRL_DISTRIBUTION_POINTS,
        CERTIFICATE_POLICIES,
        POLICY_MAPPINGS,
        POLICY_CONSTRAINTS,
        EXTENDED_KEY_USAGE,
        INHIBIT_ANY_POLICY,
    )
)


class _RuleError(Exception):
    """A rule that does not hold, and its section."""

    def __init__(self, message: str, section: str) -> None:
        super().__init__(message)
        self.section = section


class _Member(NamedTuple):
    """A certificate of the chain, or an anchor, which has position 0."""

    certificate: CertificateFacts
    position: int

    def refuse(self, fault: _RuleError) -> PathValidationError:
        who = f"certificate {self.position} of the chain" if self.position else "the trust anchor"
        return PathValidationError(
            f"{who}: {fault} (RFC 5280 {fault.section})",
            section=fault.section,
            position=self.position,
        )


def validate_path(
    chain: Sequence[CertificateFacts], anchors: Sequence[CertificateFacts], *, now: datetime
) -> CertificateFacts:
    """
    Return the first certificate of *chain* if a path leads from it to one of *anchors*.

    The others may be in any order, and may have more than one path needs. Any path that
    is valid at *now* will do. Revocation is not looked at.

    Raises:
        PathValidationError: there is no such path. The error is of the path that came
            furthest.
        ValueError: *chain* is empty.
    """
    several("chain", chain)
    several("anchors", anchors)
    if not chain:
        raise ValueError("found no certificate, expected a chain")
    leaf, *others = (_Member(one, number) for number, one in enumerate(chain, 1))
    pool = [*(_Member(one, 0) for one in anchors), *_distinct(others)]
    search = _Search(pool)
    for path in search.paths([leaf]):
        try:
            _validate(path, now)
        except PathValidationError as error:
            search.note(error, len(path) + len(pool))  # further than any that found no anchor
        else:
            return leaf.certificate
    assert search.error is not None, "without a path there is an error"
    raise search.error


def _distinct(members: Sequence[_Member]) -> list[_Member]:
    """Return *members* without repetitions, which would multiply the paths."""
    return list({member.certificate.der: member for member in reversed(members)}.values())[::-1]


class _Search:
    """
    Finds the paths from a certificate to the anchors of *pool*.

    No path has a name and key twice, and a certificate leads only to those whose key
    signed it. So there are few paths, except where somebody made keys that verify one
    another's signatures: the search ends after so many steps.
    """

    def __init__(self, pool: Sequence[_Member]) -> None:
        self._by_name: dict[bytes, list[_Member]] = {}
        for member in pool:
            self._by_name.setdefault(name_key(member.certificate.subject), []).append(member)
        self._issuers: dict[bytes, tuple[list[_Member], _RuleError | None]] = {}
        self.error: PathValidationError | None = None
        self._furthest = 0
        self._steps = 0

    def note(self, error: PathValidationError, how_far: int) -> None:
        """Keep the error of the path that came furthest."""
        if how_far > self._furthest:
            self.error, self._furthest = error, how_far

    def paths(self, path: list[_Member]) -> Iterator[list[_Member]]:
        """Yield the paths that begin with *path*, which is from the leaf up."""
        last = path[-1]
        if len(path) > 1 and last.position == 0:
            yield path
            return
        self._steps += 1
        if len(path) >= _MAX_PATH or self._steps > _MAX_STEPS:
            fault = _RuleError("it is too far from a trust anchor, by too many ways", "6.1")
            self.note(last.refuse(fault), len(path))
            return
        issuers, why_none = self._issuers_of(last.certificate)
        if why_none is not None:
            self.note(last.refuse(why_none), len(path))
        taken = {_identity(member) for member in path}
        for issuer in issuers:
            if issuer.position == 0 or _identity(issuer) not in taken:
                yield from self.paths([*path, issuer])
            else:
                circle = _RuleError("it is signed in a circle, which leads to no anchor", "6.1")
                self.note(last.refuse(circle), len(path))

    def _issuers_of(self, certificate: CertificateFacts) -> tuple[list[_Member], _RuleError | None]:
        """Return who signed *certificate*, anchors first, or why nobody did."""
        found = self._issuers.get(certificate.der)
        if found is None:
            found = self._issuers[certificate.der] = self._find_issuers(certificate)
        return found

    def _find_issuers(
        self, certificate: CertificateFacts
    ) -> tuple[list[_Member], _RuleError | None]:
        named = self._by_name.get(name_key(certificate.issuer), [])
        if not named:
            return [], _RuleError(
                "no trust anchor and no certificate of the chain has the name of its issuer",
                "6.1.3 (a)(4)",
            )
        faults: dict[bytes, str | None] = {}  # by key: several certificates may have it
        for member in named:
            key = member.certificate.subject_public_key_info
            if key not in faults:
                faults[key] = certificate_fault(certificate, member.certificate)
        issuers = [one for one in named if faults[one.certificate.subject_public_key_info] is None]
        if issuers:
            return issuers, None
        return [], _RuleError("; ".join(dict.fromkeys(map(str, faults.values()))), "6.1.3 (a)(1)")


def _identity(member: _Member) -> tuple[bytes, bytes]:
    certificate = member.certificate
    return name_key(certificate.subject), certificate.subject_public_key_info


def _validate(path: list[_Member], now: datetime) -> None:
    """
    Validate *path*, from the leaf to its anchor; its signatures hold and its names chain.

    Raises:
        PathValidationError: a rule does not hold.
    """
    state = _State(now, len(path))
    for number, member in enumerate(reversed(path)):
        try:
            state.take(member, is_leaf=number == len(path) - 1)
        except _RuleError as fault:
            raise member.refuse(fault) from None
        except ExtensionError as error:
            name = EXTENSION_NAMES[error.oid]
            raise member.refuse(_RuleError(f"its {name}: {error}", "4.2")) from error
        except ValueError as error:
            raise member.refuse(_RuleError(f"it cannot be read: {error}", "4.1")) from error


class _State:
    """The variables of 6.1.2, and what each certificate makes of them."""

    def __init__(self, now: datetime, path_length: int) -> None:
        self._now = now
        self._max_path_length = path_length
        self._explicit_policy = path_length + 1
        self._constraints: list[NameConstraints] = []
        self._work_left = name_constraints.MAX_WORK

    def take(self, member: _Member, *, is_leaf: bool) -> None:
        """
        Process the next certificate, the anchor first.

        Raises:
            _RuleError, ValueError: a rule does not hold, or an extension cannot be read.
        """
        certificate = member.certificate
        extensions = Extensions.of(certificate)
        self._check_time(certificate)
        is_self_issued = names_match(certificate.subject, certificate.issuer)
        if is_leaf or not is_self_issued:
            self._check_names(certificate, extensions)
        self._check_policy("6.1.3 (f)")
        _check_critical(extensions, "6.1.5 (f)" if is_leaf else "6.1.4 (o)")
        _check_purpose(extensions)
        if is_leaf:
            _check_leaf(certificate)
            required = extensions.require_explicit_policy()
            self._explicit_policy = 0 if required == 0 else max(self._explicit_policy - 1, 0)
            self._check_policy("6.1.5 (g)")
            return
        if extensions.maps_any_policy():
            raise _RuleError("its policyMappings map anyPolicy", "6.1.4 (a)")
        _check_issuer(member, extensions)
        self._count(member, extensions, is_self_issued=is_self_issued)
        constraints = extensions.name_constraints()
        if constraints is not None:
            self._constraints.append(constraints)

    def _check_time(self, certificate: CertificateFacts) -> None:
        if self._now < certificate.not_before:
            raise _RuleError("it is not valid yet", "6.1.3 (a)(2)")
        if self._now > certificate.not_after:
            raise _RuleError("it has expired", "6.1.3 (a)(2)")

    def _check_names(self, certificate: CertificateFacts, extensions: Extensions) -> None:
        if not self._constraints:
            return
        names = name_constraints.names_of(certificate, extensions)
        for constraints in self._constraints:
            self._work_left -= name_constraints.work(names, constraints)
            if self._work_left < 0:
                raise _RuleError("its names and their constraints are too many", "6.1.3 (b)")
            for name in names:
                form = FORM_NAMES[name.tag]
                try:
                    is_permitted = name_constraints.is_permitted(name, constraints)
                    is_excluded = name_constraints.is_excluded(name, constraints)
                except ValueError as error:
                    raise _RuleError(
                        f"its names are constrained, but {error}", "6.1.3 (b)"
                    ) from error
                if not is_permitted:
                    raise _RuleError(f"a {form} lies in no permitted subtree", "6.1.3 (b)")
                if is_excluded:
                    raise _RuleError(f"a {form} lies in an excluded subtree", "6.1.3 (c)")

    def _check_policy(self, section: str) -> None:
        if self._explicit_policy == 0:
            raise _RuleError(
                "policyConstraints above it, or its own, require an explicit policy, which is not "
                "supported",
                section,
            )

    def _count(self, member: _Member, extensions: Extensions, *, is_self_issued: bool) -> None:
        # The anchor is above the path, and so is not counted.
        if member.position and not is_self_issued:
            self._explicit_policy = max(self._explicit_policy - 1, 0)
            if self._max_path_length <= 0:
                raise _RuleError("a pathLenConstraint above it allows no more CAs", "6.1.4 (l)")
            self._max_path_length -= 1
        required = extensions.require_explicit_policy()
        if required is not None:
            self._explicit_policy = min(self._explicit_policy, required)
        path_length = extensions.path_length()
        if path_length is not None:
            self._max_path_length = min(self._max_path_length, path_length)


def _check_critical(extensions: Extensions, section: str) -> None:
    for oid, extension in extensions.by_oid.items():
        if extension.critical and oid not in _PROCESSED:
            name = EXTENSION_NAMES.get(oid)
            shown = oid if name is None else f"{name} ({oid})"
            raise _RuleError(f"its critical extension {shown} is not supported", section)


def _check_purpose(extensions: Extensions) -> None:
    purposes = extensions.extended_key_usage()
    if purposes is not None and _CLIENT_AUTH not in purposes:
        raise _RuleError("its extendedKeyUsage lacks clientAuth", "4.2.1.12")


def _check_leaf(certificate: CertificateFacts) -> None:
    if certificate.is_ca:
        raise _RuleError("it is a CA's, expected that of an end entity first", "4.2.1.9")
    if certificate.key_usage is not None and certificate.key_usage & _KEY_CERT_SIGN:
        raise _RuleError("its keyUsage has keyCertSign, but it is no CA's", "4.2.1.3")
    fault = key_fault(certificate)
    if fault is not None:
        raise _RuleError(fault, "4.1.2.7")


def _check_issuer(member: _Member, extensions: Extensions) -> None:
    certificate = member.certificate
    states_it = BASIC_CONSTRAINTS in extensions.by_oid
    if not certificate.is_ca and (member.position or states_it):
        if extensions.version < 3:
            raise _RuleError("it is of version 1 or 2, in which no CA is told", "6.1.4 (k)")
        found = "has cA FALSE" if states_it else "is missing"
        raise _RuleError(f"it is no CA's: its basicConstraints {found}", "6.1.4 (k)")
    if certificate.key_usage is not None and not certificate.key_usage & _KEY_CERT_SIGN:
        raise _RuleError("its keyUsage lacks keyCertSign", "6.1.4 (n)")
