"""RFC 5280 6.3.3, with the rules of docs/explanation/design.md where the RFC leaves a choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from support.reference.publishing import (
    CLOCK_SKEW,
    HOLD,
    REMOVE_FROM_CRL,
    Held,
    Key,
    ReferenceStore,
    ScopeKey,
)
from support.reference.rules import Rulebook
from support.reference.values import (
    ALL_REASONS,
    Certificate,
    Crl,
    GeneralName,
    Name,
    Point,
    derived_key_ids,
    prepared_uri,
)

REVOKED = "revoked"
NOT_REVOKED = "not_revoked"
UNDETERMINED = "undetermined"

DENIALS_ONLY = -1
"""A path depth at which not even the certificate asked for is checked."""

HOLD_FLAG = 6
"""The bit of certificateHold in ReasonFlags (RFC 5280 4.2.1.13)."""


@dataclass(frozen=True)
class Leave:
    """
    What may be waived: ``unpublished`` are the keys of issuers that publish no
    CRL, ``path_depth`` is how many issuers above a certificate are checked.
    """

    hold: bool = False
    unknown_issuer: bool = False
    unpublished: frozenset[Key] = frozenset()
    grace: timedelta = timedelta(0)
    path_depth: int | None = None


@dataclass(frozen=True)
class Answer:
    """
    A verdict. Where several things stand in the way ``causes`` has all of them:
    which one is named first is nobody's rule. ``leads_on`` is false where a
    certificate's issuer is not found, ``is_circle`` true where a path ends in one:
    neither says anything against the other certificates of its key.
    """

    status: str
    causes: frozenset[str] = field(default=frozenset())
    leads_on: bool = field(default=True, compare=False)
    is_circle: bool = field(default=False, compare=False)

    @property
    def is_checked(self) -> bool:
        """Whether it is the answer of a path that was followed to an end."""
        return self.leads_on and not self.is_circle


GOOD = Answer(NOT_REVOKED)
BAD = Answer(REVOKED)


def undetermined(*causes: str) -> Answer:
    """An answer for lack of one."""
    return Answer(UNDETERMINED, frozenset(causes))


# A path that comes back to a key that it has passed: nothing new is above, and any
# other way on from that key says more.
CIRCLE = Answer(NOT_REVOKED, is_circle=True)


@dataclass(frozen=True)
class _Evidence:
    """
    What a complete CRL and its delta say of a certificate: the reasons for which they
    list it, those for which they clear it, and ``causes`` that keep them from that.
    """

    listed: tuple[int | None, ...]
    clears: frozenset[int]
    causes: frozenset[str]
    this_update: datetime
    has_begun: bool
    is_stale: bool
    is_expired: bool

    @property
    def is_final(self) -> bool:
        return any(reason != HOLD for reason in self.listed)


class Reference:
    """
    Checks certificates against what a store holds, at one time. ``anchors`` are
    subjects and keys; where none are given the self-signed issuers are anchors.
    """

    def __init__(
        self,
        store: ReferenceStore,
        now: datetime,
        *,
        leave: Leave | None = None,
        anchors: Collection[Key] | None = None,
        rules: Rulebook | None = None,
    ) -> None:
        self._issuers = store.issuers
        self._scopes = store.scopes
        self._removed = store.removed
        self._denied = store.denied
        self._now = now
        self._leave = Leave() if leave is None else leave
        self._checked_depth = self._leave.path_depth
        self._unpublished = store.unpublished | self._leave.unpublished
        self._rules = Rulebook() if rules is None else rules
        self._anchors = set()
        if store.anchors and "end: operator's anchor" in self._rules:
            self._anchors |= store.anchors
        if anchors is not None and "end: explicit anchors" in self._rules:
            self._anchors |= set(anchors)
        else:
            self._anchors |= {
                (issuer.subject, issuer.key)
                for issuer in self._issuers
                if self._is_self_signed(issuer)
            }

    # ---- what is asked -------------------------------------------------------

    def check(self, leaf: Certificate) -> Answer:
        """The worst answer on the way up from *leaf*."""
        return self._whole_path(leaf, self._issuer_keys(leaf))

    def check_serial(self, leaf: Certificate, issuer: Certificate | None) -> Answer:
        """
        As :meth:`check` of what *leaf* states but its authority key id, in place of
        which stands the certificate of its issuer, or nothing.
        """
        leaf = dataclasses.replace(leaf, authority_key_id=None, authority_serial=None)
        keys = self._issuer_keys(leaf)
        if issuer is not None and self._named(leaf.issuer):
            is_trusted = bool(self._certificates(issuer.subject, issuer.key))
            keys = frozenset({issuer.key}) if is_trusted else undetermined("unknown_issuer")
        return self._whole_path(leaf, keys)

    def check_chain(self, path: list[Certificate]) -> Answer:
        """
        The worst answer on a path that is given, up to the first anchor. Denials
        count on all of it, and above its end where that is no anchor.
        """
        below = [path[0]]
        for certificate in path[1:]:
            if self._is_anchor(certificate):
                break
            below.append(certificate)
        answers = []
        for position, certificate in enumerate(below):
            keys: frozenset[bytes] | Answer = self._issuer_keys(certificate)
            if position + 1 < len(path):
                keys = frozenset({path[position + 1].key})
            answers.append(self._by_crls(certificate, keys, frozenset()))
        for position, certificate in enumerate(path):
            ends = position == len(below)
            is_denied = self._is_denied(certificate)
            if position:
                key = (certificate.subject, certificate.key)
                is_denied = is_denied or self._is_key_denied(*key, ends=ends)
            if is_denied:
                answers.append(BAD)
        if len(below) == len(path):
            answers.append(self._denials_above(path[-1], self._issuer_keys(path[-1])))
        return _worst(answers)

    # ---- denials -------------------------------------------------------------

    def _denials_above(self, certificate: Certificate, keys: frozenset[bytes] | Answer) -> Answer:
        """What denials alone make of all that is above a certificate."""
        other = object.__new__(Reference)
        leave = dataclasses.replace(self._leave, path_depth=DENIALS_ONLY)
        other.__dict__.update(self.__dict__, _leave=leave)
        return other._path(certificate, keys, frozenset(), frozenset(), 0)

    def _is_denied(self, certificate: Certificate) -> bool:
        is_denied = (certificate.issuer, certificate.serial) in self._denied
        return is_denied and "denied: the certificate" in self._rules

    def _is_key_denied(
        self, name: Name, key: bytes, *, ends: bool = False, beyond: bool = False
    ) -> bool:
        """
        Whether a trusted certificate of a key is denied: whoever denies one of them
        denies the key, because nobody can tell by which of them a path was built.
        """
        certificates = self._certificates(name, key)
        denied = [one for one in certificates if (one.issuer, one.serial) in self._denied]
        if not denied or "denied: an issuer" not in self._rules:
            return False
        if beyond and "denied: beyond the path depth" not in self._rules:
            return False
        if len(certificates) > len(denied) and "denied: a twin" not in self._rules:
            return False
        ends = ends or any(map(self._ends_a_path, certificates))
        return not ends or "denied: where a path ends" in self._rules

    # ---- paths ---------------------------------------------------------------

    def _whole_path(self, leaf: Certificate, keys: frozenset[bytes] | Answer) -> Answer:
        """
        The worse of two answers: that of the CRLs, as far up as the policy's path depth,
        and that of the denials on the whole path, whatever the depth.
        """
        if self._is_denied(leaf):
            return BAD
        checked = self._path(leaf, keys, frozenset(), frozenset(), 0)
        return _worst([checked, self._denials_above(leaf, keys)])

    def _path(
        self,
        certificate: Certificate,
        keys: frozenset[bytes] | Answer,
        visited: frozenset[Key],
        signers: frozenset[Key],
        height: int,
    ) -> Answer:
        """Check a certificate, *height* issuers above the one asked for, and all above it."""
        depth = self._leave.path_depth
        is_checked = depth is None or height <= depth
        if isinstance(keys, Answer):
            if is_checked:
                return dataclasses.replace(keys, leads_on=False)
            if self._checked_depth is None or height <= self._checked_depth:
                # It is checked apart from this walk, which looks for denials only.
                return Answer(NOT_REVOKED, leads_on=False)
            # Any of these keys, which are not tied, may be its issuer's: none may be denied.
            keys = self._candidates(certificate)
            if not keys:
                return Answer(NOT_REVOKED, leads_on=False)
        answers = [self._by_crls(certificate, keys, signers)] if is_checked else []
        # Any of these keys may be its issuer's: the worst answer above them counts.
        answers += [
            self._path_above(certificate.issuer, key, visited, signers, height + 1)
            for key in sorted(keys)
        ]
        return _worst(answers)

    def _path_above(
        self,
        name: Name,
        key: bytes,
        visited: frozenset[Key],
        signers: frozenset[Key],
        height: int,
    ) -> Answer:
        """The best of the ways up from an issuer's key."""
        depth = self._leave.path_depth
        beyond = depth is not None and height > depth
        if self._is_key_denied(name, key, beyond=beyond):
            return BAD
        certificates = self._certificates(name, key)
        if not certificates or any(map(self._is_anchor, certificates)):
            return GOOD
        if (name, key) in visited:
            # Beyond the depth, a circle changes no answer below it.
            return GOOD if beyond and depth != DENIALS_ONLY else CIRCLE
        return self._best_way(certificates, visited | {(name, key)}, signers, height)

    def _best_way(
        self,
        certificates: list[Certificate],
        visited: frozenset[Key],
        signers: frozenset[Key],
        height: int,
    ) -> Answer:
        """
        The best of the ways on from the certificates of one key. One whose issuer is
        not trusted ends a path, but not where another is known to be revoked; nor is
        it any help then that one's issuer is not found.
        """
        ends = [certificate for certificate in certificates if self._ends_a_path(certificate)]
        ways = [
            self._path(one, self._issuer_keys(one), visited, signers, height)
            for one in certificates
            if one not in ends
        ]
        if len(certificates) > 1 and "alternatives: the best" not in self._rules:
            return _worst(ways)
        checked = [way for way in ways if way.is_checked]
        if any(way.status == NOT_REVOKED for way in checked):
            return GOOD
        revoked = any(way == BAD for way in checked)
        others = len(certificates) > len(checked)
        straight = [way for way in ways if not way.is_circle]
        if revoked and (not others or "alternatives: revoked" in self._rules):
            if all(way == BAD for way in checked):
                return BAD
            return _best(way for way in straight if way.status == UNDETERMINED)
        return GOOD if ends else _best(straight or ways)

    def _signer(self, name: Name, key: bytes, signers: frozenset[Key]) -> Answer:
        """
        Check the signer of a CRL, but not again while that signer is being checked. Its own
        certificate is checked whatever the path depth, which counts from there (6.3.3 f).
        """
        if self._is_key_denied(name, key):
            return BAD
        certificates = [issuer for issuer in self._certificates(name, key) if issuer.may_sign_crls]
        if (name, key) in signers or any(map(self._is_anchor, certificates)):
            return GOOD
        # Its certificates that must not sign CRLs may stand above all the same.
        return self._best_way(certificates, frozenset(), signers | {(name, key)}, 0)

    def _is_self_signed(self, issuer: Certificate) -> bool:
        looks_so = issuer.subject == issuer.issuer and (
            issuer.authority_key_id in (None, issuer.key_id)
        )
        if looks_so != issuer.is_self_signed and "end: self-signed by signature" not in self._rules:
            return looks_so
        return issuer.is_self_signed

    def _is_anchor(self, issuer: Certificate) -> bool:
        return (issuer.subject, issuer.key) in self._anchors

    def _ends_a_path(self, issuer: Certificate) -> bool:
        """Whether nothing of what is trusted can be above an issuer."""
        if self._is_anchor(issuer):
            return True
        if all(other.key == issuer.key for other in self._named(issuer.issuer)):
            return True
        return not self._candidates(issuer) and "end: by name" not in self._rules

    def _named(self, name: Name) -> list[Certificate]:
        return [issuer for issuer in self._issuers if issuer.subject == name]

    def _certificates(self, name: Name, key: bytes) -> list[Certificate]:
        return [issuer for issuer in self._named(name) if issuer.key == key]

    # ---- keys ----------------------------------------------------------------

    def _candidates(self, certificate: Certificate) -> frozenset[bytes]:
        """The trusted keys that may have issued a certificate, by its authority key id."""
        named = self._named(certificate.issuer)
        if certificate.subject == certificate.issuer and "own key" in self._rules:
            # The signature tells whether its own key issued it, or another of its name.
            own = certificate.is_self_signed
            named = [issuer for issuer in named if (issuer.key == certificate.key) == own]
        wanted = certificate.authority_key_id
        if wanted is not None:
            stated = [issuer for issuer in named if wanted in self._stated_ids(issuer)]
            made = [
                issuer
                for issuer in named
                if issuer not in stated and wanted in derived_key_ids(issuer.key)
            ]
            named = stated
            if made and not stated and "key id: alias" in self._rules:
                named = made
            if made and stated and "key id: stated first" not in self._rules:
                named = stated + made
        keys = frozenset(issuer.key for issuer in named)
        if certificate.authority_serial is None:
            return keys
        names, serial = certificate.authority_serial
        meant = frozenset(
            issuer.key for issuer in named if issuer.serial == serial and issuer.issuer in names
        )
        if meant == keys or "key id: serial narrows" not in self._rules:
            return keys
        if not meant and "key id: serial never excludes" in self._rules:
            return keys
        return meant

    def _stated_ids(self, issuer: Certificate) -> set[bytes | None]:
        adopted = {
            of.authority_key_id
            for (name, key, _), held in self._scopes.items()
            for of in (held.base, held.delta)
            if of is not None and (name, key) == (issuer.subject, issuer.key)
        }
        if issuer.key_id is None and adopted and "key id: none adopted" not in self._rules:
            return adopted
        return {issuer.key_id}

    def _issuer_keys(self, certificate: Certificate) -> frozenset[bytes] | Answer:
        """The keys that may have issued a certificate, which are one authority's."""
        keys = self._candidates(certificate)
        if not keys:
            is_unknown = not self._named(certificate.issuer)
            if (
                self._leave.unknown_issuer
                and (is_unknown or "unknown issuer: by name" not in self._rules)
                and "unknown issuer: waived" in self._rules
            ):
                return GOOD
            return undetermined("unknown_issuer")
        if not all(self._tied(certificate.issuer, one, other) for one in keys for other in keys):
            return undetermined("ambiguous_issuer")
        return keys

    def _tied(self, name: Name, one: bytes, other: bytes) -> bool:
        """
        Whether two keys of one name are one authority's. Who certified a trusted
        certificate is who its authority key id means and its signature proves.
        """
        if one == other:
            return True

        def certifiers(key: bytes) -> set[bytes]:
            return {
                parent
                for certificate in self._certificates(name, key)
                for parent in self._candidates(certificate)
                if certificate.signed_by(parent)
            }

        by_one, by_other = certifiers(one), certifiers(other)
        is_tied = one in by_other or other in by_one or bool(by_one & by_other)
        return is_tied and "tied" in self._rules

    # ---- one certificate -----------------------------------------------------

    def _by_crls(
        self,
        certificate: Certificate,
        keys: frozenset[bytes] | Answer,
        signers: frozenset[Key],
    ) -> Answer:
        """What the CRLs say of a certificate."""
        if isinstance(keys, Answer):
            return keys
        evidence: list[_Evidence] = []
        causes: set[str] = set()
        offered: frozenset[int] = frozenset()
        for (issuer, key, _), held in self._scopes.items():
            by_own_issuer = issuer == certificate.issuer and all(
                self._tied(issuer, known, key) for known in keys
            )
            applies, clears = self._reach(certificate, held, by_own_issuer)
            if not applies:
                continue
            offered |= clears
            # The certificate's own issuer is checked as a part of its path.
            own = issuer == certificate.issuer and keys == {key}
            signer = GOOD if own else self._signer(issuer, key, signers)
            if signer.status == REVOKED:
                # Such a CRL is not used, not even to tell that another is stale.
                causes |= {"crl_signer_revoked"} if clears else set()
                continue
            evidence.append(self._evidence(certificate, held, clears, signer))
        if self._is_listed(evidence):
            return BAD
        if not offered:
            return GOOD if self._is_excepted(certificate, keys) else undetermined("out_of_scope")
        if all(self._clears(evidence, reason) for reason in ALL_REASONS):
            return GOOD
        causes.update(*(one.causes for one in evidence if one.clears))
        if offered != ALL_REASONS:
            causes.add("reasons_not_covered")
        return undetermined(*causes)

    def _is_excepted(self, certificate: Certificate, keys: frozenset[bytes]) -> bool:
        """
        Whether a certificate's issuer is known to publish no CRL. It is not where one
        of its keys is held, or was until an operator removed it.
        """
        name = certificate.issuer
        if any((name, key) not in self._unpublished for key in keys):
            return False

        def has_published(scopes: Iterable[ScopeKey]) -> bool:
            return any(
                issuer == name and self._tied(name, known, key)
                for issuer, key, _ in scopes
                for known in keys
            )

        return (
            not (has_published(self._scopes) and "unpublished: no CRL held" in self._rules)
            and not (has_published(self._removed) and "unpublished: none removed" in self._rules)
            and "unpublished: waived" in self._rules
        )

    def _evidence(
        self, certificate: Certificate, held: Held, clears: frozenset[int], signer: Answer
    ) -> _Evidence:
        """What a complete CRL and its delta say (6.3.3 i to k, and when)."""
        listed = held.base.reasons_for(certificate)
        if held.delta is not None:
            changed = held.delta.reasons_for(certificate)
            removes = all(reason == REMOVE_FROM_CRL for reason in changed)
            added = [] if removes else changed
            if changed and removes and self._is_current(held.delta):
                # A removal lifts holds, and nothing else.
                listed = [] if all(reason == HOLD for reason in listed) else listed
            if added and listed and "hold: yields in the delta" not in self._rules:
                listed = []
            listed = [*added, *listed]
        if len(listed) > 1 and "hold: yields in one CRL" not in self._rules:
            listed = listed[:1]
        latest = held.latest(self._now)
        causes = set(signer.causes)
        has_begun = latest.this_update <= self._now + CLOCK_SKEW
        is_expired = latest.next_update is not None and latest.next_update < self._now
        grace = self._leave.grace
        if grace and is_expired and "fresh: grace" not in self._rules:
            grace = timedelta(0)
        is_stale = latest.next_update is not None and latest.next_update + grace < self._now
        if not has_begun:
            causes.add("not_yet_valid")
        elif is_stale:
            causes.add("stale")
        since = held.base.expired_since
        if certificate.not_after < self._now and (since is None or since > certificate.not_after):
            causes.add("certificate_expired")
        return _Evidence(
            tuple(listed),
            clears,
            frozenset(causes),
            latest.this_update,
            has_begun=has_begun,
            is_stale=is_stale,
            is_expired=is_expired,
        )

    def _is_current(self, crl: Crl) -> bool:
        has_begun = crl.this_update <= self._now + CLOCK_SKEW
        return has_begun and (crl.next_update is None or crl.next_update >= self._now)

    def _is_listed(self, evidence: list[_Evidence]) -> bool:
        """Whether any of the CRLs revokes: for good, or by a hold that nothing lifts."""
        holds = [one for one in evidence if one.listed and not one.is_final]
        if any(one.is_final for one in evidence) and (
            not holds or "hold: yields to another scope" in self._rules
        ):
            return True
        if holds and self._leave.hold and "hold: waived" in self._rules:
            return False
        return any(not self._is_lifted(hold, evidence) for hold in holds)

    def _is_lifted(self, hold: _Evidence, evidence: list[_Evidence]) -> bool:
        """
        Whether a hold on an expired CRL is over: a current CRL that covers the reason
        certificateHold, and whose signer is good, does not list the certificate. It must
        be newer, because an entry may have been added since an older one.
        """
        current = [
            one
            for one in evidence
            if HOLD_FLAG in one.clears
            and not one.listed
            and not one.is_expired
            and not one.causes - {"certificate_expired"}
        ]
        newer = [one for one in current if one.this_update > hold.this_update]
        if not hold.is_expired or not current:
            return False
        if not newer and "hold: lifted by a newer CRL only" in self._rules:
            return False
        return "hold: lifted by a current CRL" in self._rules

    def _clears(self, evidence: list[_Evidence], reason: int) -> bool:
        """
        Whether the certificate is not revoked for a reason: a CRL that covers that reason
        is in order, and the newest of those that cover it, and have begun, is not stale.
        Of two of the same time one that is current is enough.
        """
        covering = [one for one in evidence if reason in one.clears]
        if all(one.causes for one in covering):
            return False
        begun = [one for one in covering if one.has_begun]
        newest = max(one.this_update for one in begun)
        is_stale = all(one.is_stale for one in begun if one.this_update == newest)
        return not is_stale or "fresh: newest decides" not in self._rules

    # ---- distribution points -------------------------------------------------

    def _reach(
        self, certificate: Certificate, held: Held, by_own_issuer: bool
    ) -> tuple[bool, frozenset[int]]:
        """
        Whether a CRL covers a certificate, and for which reasons it may clear it
        (6.3.3 b and d).
        """
        crl = held.base
        scope = crl.scope
        other_kind = ("attribute", "user" if certificate.is_ca else "ca")
        if scope is not None and scope.only in other_kind:
            return False, frozenset()
        of_crl = (
            ALL_REASONS if scope is None or scope.point.reasons is None else scope.point.reasons
        )
        # One for no reason that there is clears nobody: 6.3.3 (e) has no use for it. But
        # what it lists is revoked.
        if not of_crl and "reasons: none" not in self._rules:
            return False, frozenset()
        covered: frozenset[int] = frozenset()
        leads = False
        for point in certificate.points:
            if self._fits(point, certificate, crl, by_own_issuer):
                covered |= of_crl if point.reasons is None else of_crl & point.reasons
                leads = leads or bool(covered) or not of_crl
        if not by_own_issuer:
            return leads, covered
        # What lies outside the distribution points counts too (the last paragraph of
        # 6.3.3, which assumes a distribution point that names the issuer): all of it
        # where the CRL has no name. One that names the issuer clears what has no
        # distribution points, and of the rest it only tells what is revoked.
        if scope is None or not scope.point.has_name:
            return True, covered | of_crl
        if ("directoryName", certificate.issuer) not in scope.point.names(below=crl.issuer):
            if not certificate.points and held.covers_no_point and "setting: covers" in self._rules:
                return True, of_crl
            return leads, covered
        if not certificate.points or "point: own name does not clear" not in self._rules:
            return True, covered | of_crl
        return leads or "point: own name revokes" in self._rules, covered

    def _fits(self, point: Point, certificate: Certificate, crl: Crl, by_own_issuer: bool) -> bool:
        """Whether a CRL is that of a distribution point of a certificate."""
        scope = crl.scope
        if point.crl_issuers:
            if crl.issuer not in point.crl_issuers or scope is None or not scope.indirect:
                return False
        elif not by_own_issuer:
            return False
        if scope is None or not scope.point.has_name:
            return True
        below = next(iter(point.crl_issuers), certificate.issuer)
        names = point.names(below) if point.has_name else frozenset(
            ("directoryName", name) for name in point.crl_issuers
        )  # fmt: skip
        own = scope.point.names(below=crl.issuer)
        if own & names:
            return True
        is_same = bool(set(map(_comparable, own)) & set(map(_comparable, names)))
        return is_same and "point: case of URIs" in self._rules


def _comparable(name: GeneralName) -> GeneralName:
    kind, value = name
    return (kind, prepared_uri(value)) if kind == "uniformResourceIdentifier" else name


def _worst(answers: Iterable[Answer]) -> Answer:
    answers = list(answers)
    if any(answer.status == REVOKED for answer in answers):
        return BAD
    # A way that ends in a circle leads nowhere, whatever lies on it.
    causes = frozenset().union(*(answer.causes for answer in answers))
    is_circle = any(answer.is_circle for answer in answers)
    return Answer(UNDETERMINED if causes else NOT_REVOKED, causes, is_circle=is_circle)


def _best(answers: Iterable[Answer]) -> Answer:
    """The best of several answers; where that is undetermined, for the causes of all."""
    answers = list(answers)
    for status in (NOT_REVOKED, UNDETERMINED, REVOKED):
        those = [answer for answer in answers if answer.status == status]
        if those:
            causes = frozenset().union(*(answer.causes for answer in those))
            return Answer(status, causes, is_circle=all(answer.is_circle for answer in those))
    raise ValueError("there is no best of no answers")
