"""RFC 5280 6.3.3, with the rules of docs/design.md where the RFC leaves a choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from support.reference.publishing import CLOCK_SKEW, Held, ReferenceStore
from support.reference.values import ALL_REASONS, Certificate, Crl, Name

Keys = frozenset[tuple[Name, bytes]]
"""Names with their keys."""

REVOKED = "revoked"
NOT_REVOKED = "not_revoked"
UNDETERMINED = "undetermined"

HOLD = 6
REMOVE_FROM_CRL = 8


@dataclass(frozen=True)
class Answer:
    """
    A verdict. Where several things stand in the way ``causes`` has all of them:
    which one is named first is nobody's rule.
    """

    status: str
    causes: frozenset[str] = field(default=frozenset())


GOOD = Answer(NOT_REVOKED)
BAD = Answer(REVOKED)


def undetermined(*causes: str) -> Answer:
    """An answer for lack of one."""
    return Answer(UNDETERMINED, frozenset(causes))


class Reference:
    """Judges certificates by what a store holds, at one time."""

    def __init__(self, store: ReferenceStore, now: datetime) -> None:
        self._issuers = store.issuers
        self._scopes = store.scopes
        self._now = now

    def check(self, leaf: Certificate) -> Answer:
        """The worst answer on the way up from *leaf*."""
        answer = self._path(leaf, frozenset(), frozenset())
        assert answer is not None
        return answer

    def check_chain(self, path: list[Certificate]) -> Answer:
        """The worst answer on a path that is given, up to an anchor."""
        below = [path[0]]
        for certificate in path[1:]:
            if certificate.signed_by(certificate.key):
                break
            below.append(certificate)
        answers = []
        for position, certificate in enumerate(below):
            keys: frozenset[bytes] | Answer = self._issuer_keys(certificate)
            if position + 1 < len(path):
                keys = frozenset({path[position + 1].key})
            answers.append(self._judge(certificate, keys, frozenset()))
        return _worst(answers)

    # ---- paths ---------------------------------------------------------------

    def _path(self, certificate: Certificate, climbed: Keys, signers: Keys) -> Answer | None:
        """Judge a certificate and what leads from it to an anchor; None if nothing does."""
        keys = self._issuer_keys(certificate)
        if isinstance(keys, Answer):
            return keys
        answers = [self._judge(certificate, keys, signers)]
        for key in keys:
            # Whichever of them it was, none may be in disorder.
            above = self._climb(certificate.issuer, key, climbed, signers)
            if above is None:
                return None
            answers.append(above)
        return _worst(answers)

    def _climb(self, name: Name, key: bytes, climbed: Keys, signers: Keys) -> Answer | None:
        """The best of the ways up from an issuer's key; None if all lead in circles."""
        certificates = [issuer for issuer in self._named(name) if issuer.key == key]
        if any(map(self._ends_a_path, certificates)):
            return GOOD
        if (name, key) in climbed:
            return None
        ways = [self._path(issuer, climbed | {(name, key)}, signers) for issuer in certificates]
        ended = [way for way in ways if way is not None]
        return _best(ended) if ended else None

    def _signer(self, name: Name, key: bytes, signers: Keys) -> Answer:
        """Judge who signed a CRL, but not again within that."""
        certificates = [
            issuer for issuer in self._named(name) if issuer.key == key and issuer.may_sign_crls
        ]
        if (name, key) in signers or any(map(self._ends_a_path, certificates)):
            return GOOD
        ways = [self._path(signer, frozenset(), signers | {(name, key)}) for signer in certificates]
        return _best([way for way in ways if way is not None])

    def _ends_a_path(self, issuer: Certificate) -> bool:
        # Self-signed ones are anchors, and so is what nobody trusted has issued.
        if issuer.signed_by(issuer.key):
            return True
        return not any(issuer.signed_by(other.key) for other in self._named(issuer.issuer))

    def _named(self, name: Name) -> list[Certificate]:
        return [issuer for issuer in self._issuers if issuer.subject == name]

    def _issuer_keys(self, certificate: Certificate) -> frozenset[bytes] | Answer:
        """The keys that may have issued a certificate, which are one authority's."""
        named = self._named(certificate.issuer)
        if certificate.authority_key_id is not None:
            named = [issuer for issuer in named if issuer.key_id == certificate.authority_key_id]
        keys = frozenset(issuer.key for issuer in named)
        if not keys:
            return undetermined("unknown_issuer")
        if not all(self._tied(certificate.issuer, one, other) for one in keys for other in keys):
            return undetermined("ambiguous_issuer")
        return keys

    def _tied(self, name: Name, one: bytes, other: bytes) -> bool:
        """Whether two keys of one name are one authority's."""

        def certifiers(key: bytes) -> set[bytes]:
            return {
                parent.key
                for certificate in self._named(name)
                if certificate.key == key
                for parent in self._named(certificate.issuer)
                if certificate.signed_by(parent.key)
            }

        by_one, by_other = certifiers(one), certifiers(other)
        return one == other or one in by_other or other in by_one or bool(by_one & by_other)

    # ---- one certificate -----------------------------------------------------

    def _judge(
        self, certificate: Certificate, keys: frozenset[bytes] | Answer, signers: Keys
    ) -> Answer:
        if isinstance(keys, Answer):
            return keys
        covered: frozenset[int] = frozenset()
        offered: frozenset[int] = frozenset()
        answers = []
        for (issuer, key, _), held in self._scopes.items():
            by_own_issuer = issuer == certificate.issuer and all(
                self._tied(issuer, known, key) for known in keys
            )
            reasons = _reasons_covered(certificate, held.base, by_own_issuer)
            if not reasons:
                continue
            offered |= reasons
            # The certificate's own issuer is judged as its path is.
            own = issuer == certificate.issuer and keys == {key}
            signer = GOOD if own else self._signer(issuer, key, signers)
            answers.append(_signed(self._look_up(certificate, held), signer))
            if answers[-1].status == NOT_REVOKED:
                covered |= reasons
        if BAD in answers:
            return BAD
        if covered == ALL_REASONS:
            return GOOD
        if not offered:
            return undetermined("out_of_scope")
        if offered != ALL_REASONS:
            answers.append(undetermined("reasons_not_covered"))
        return _merged(answers)

    def _look_up(self, certificate: Certificate, held: Held) -> Answer:
        """What a complete CRL and its delta say (6.3.3 i to k, and when)."""
        listed = held.base.reasons_for(certificate)
        latest = held.base
        if held.delta is not None:
            changed = held.delta.reasons_for(certificate)
            if any(reason != REMOVE_FROM_CRL for reason in changed):
                return BAD
            if held.delta.this_update <= self._now + CLOCK_SKEW:
                latest = held.delta
            lifts = bool(changed) and not self._time_causes(held.delta)
            if lifts and all(reason == HOLD for reason in listed):
                listed = []
        if listed:
            return BAD
        causes = self._time_causes(latest)
        since = held.base.expired_since
        if certificate.not_after < self._now and (since is None or since > certificate.not_after):
            causes = causes | {"certificate_expired"}
        return undetermined(*causes) if causes else GOOD

    def _time_causes(self, crl: Crl) -> frozenset[str]:
        if crl.this_update > self._now + CLOCK_SKEW:
            return frozenset({"not_yet_valid"})
        if crl.next_update is not None and crl.next_update < self._now:
            return frozenset({"stale"})
        return frozenset()


def _signed(found: Answer, signer: Answer) -> Answer:
    """What a CRL says, seeing who signed it."""
    if signer.status == REVOKED:
        return undetermined("crl_signer_revoked")
    return found if found == BAD else _merged([found, signer])


def _reasons_covered(certificate: Certificate, crl: Crl, by_own_issuer: bool) -> frozenset[int]:
    """For which reasons a CRL speaks for a certificate (6.3.3 b and d); none if it does not."""
    scope = crl.scope
    if scope is not None:
        if scope.only in ("attribute", "user" if certificate.is_ca else "ca"):
            return frozenset()
        own = scope.point.names(below=crl.issuer)
    of_crl = ALL_REASONS if scope is None or scope.point.reasons is None else scope.point.reasons
    covered: frozenset[int] = frozenset()
    for point in certificate.points:
        if point.crl_issuers:
            if crl.issuer not in point.crl_issuers or scope is None or not scope.indirect:
                continue
        elif not by_own_issuer:
            continue
        if scope is not None and scope.point.has_name:
            below = next(iter(point.crl_issuers), certificate.issuer)
            names = point.names(below) if point.has_name else frozenset(
                ("directoryName", name) for name in point.crl_issuers
            )  # fmt: skip
            if not own & names:
                continue
        covered |= of_crl if point.reasons is None else of_crl & point.reasons
    # What lies outside the distribution points counts too, as for one that names the issuer.
    if by_own_issuer and (
        scope is None or not scope.point.has_name or ("directoryName", certificate.issuer) in own
    ):
        covered |= of_crl
    return covered


def _worst(answers: Iterable[Answer]) -> Answer:
    answers = list(answers)
    if any(answer.status == REVOKED for answer in answers):
        return BAD
    return _merged(answers)


def _best(answers: Iterable[Answer]) -> Answer:
    """The best of several ways; there is always one."""
    answers = list(answers)
    if any(answer.status == NOT_REVOKED for answer in answers):
        return GOOD
    undecided = [answer for answer in answers if answer.status == UNDETERMINED]
    return _merged(undecided) if undecided else BAD


def _merged(answers: Iterable[Answer]) -> Answer:
    causes = frozenset().union(*(answer.causes for answer in answers))
    return undetermined(*causes) if causes else GOOD
