"""Random worlds, drawn so that their parts have to do with each other."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hypothesis import strategies as st

from support.worlds import (
    AUTHORITIES,
    ODD_CRLS,
    ODD_ENTRIES,
    ODD_REASONS,
    POINTS,
    SCOPES,
    CrlSpec,
    EntrySpec,
    LeafSpec,
    PolicySpec,
    Removal,
    Setting,
    Step,
    World,
)

# Each of these is one choice of a world; () means that it has nothing of the kind.
_Choices = tuple[tuple[str, ...], ...]
_CA: _Choices = (("ca",),) * 6 + (
    ("ca", "ca twice"),
    ("ca without cRLSign",),
    ("ca of unknown root",),
)
_ROLLOVER: _Choices = ((),) * 3 + (
    ("new ca",),
    ("new ca with old",),
    ("new ca with old", "old ca with new"),
    ("new ca", "old ca with new"),
)
_SIGNER: _Choices = ((),) * 3 + (("signer",), ("signer by ca",))
_NAMESAKE: _Choices = ((),) * 6 + (
    ("namesake",),
    ("other root", "namesake"),
    ("self-signed namesake",),
)
_CRL_ISSUER: _Choices = (
    ("crl issuer",),
    ("crl issuer by ca",),
    ("crl issuer", "second crl issuer"),
)


@dataclass(frozen=True, slots=True)
class _Theme:
    """Scopes of CRLs and points of certificates that have to do with each other."""

    scopes: tuple[str | None, ...]
    points: tuple[tuple[str, ...], ...]


_THEMES = (
    _Theme((None,), ((), ("one",))),
    _Theme((None, "users", "cas", "attributes"), ((), ("one",))),
    _Theme(
        ("one", "one", "two", "one or two", "one, users"),
        (("one",), ("two",), ("two", "one"), ("one or two",), ()),
    ),
    _Theme(
        ("relative", "expanded", "ca itself"), (("relative",), ("expanded",), ("ca itself",), ())
    ),
    _Theme(
        ("compromise", "others", "one, compromise", "one, others", "two, others", "one"),
        (("one",), ("one", "two"), ("one, compromise", "two, others"),
         ("one, compromise", "one, others"), ("one, others",)),
    ),
    _Theme(
        ("indirect", "indirect, one", "indirect, relative", "indirect, crl issuer",
         "indirect, compromise"),
        (("by crl issuer",), ("one by crl issuer",), ("relative by crl issuer",),
         ("by crl issuer, compromise",), ("by crl issuer", "one"), ("by ca",), ()),
    ),
)  # fmt: skip

# Worlds that are about one thing, so that it decides.
_ROOTS: _Choices = (("root",),) * 3 + (
    (),
    ("root", "root twice"),
    ("root", "new root"),
    ("root", "new root with old"),
    ("root", "new root with old, unnamed"),
    ("new root", "old root with new"),
    ("new root with old", "old root with new"),
)
_BELOW: _Choices = (("ca",), ("ca", "ca twice")) * 2 + (
    ("ca", "ca of unknown root"),
    ("ca", "ca of unknown root"),
    ("ca twice", "ca of unknown root"),
    ("ca of unknown root",),
    ("ca by wrong id",),
    ("ca", "ca by wrong id, again"),
    ("ca", "ca by other root", "other root"),
    ("ca", "ca by other root", "other root", "ca of unknown root"),
    ("ca", "ca by new root"),
    ("ca", "new ca with old, unnamed"),
    ("new ca with old, unnamed",),
    ("new ca with old", "old ca with new"),
    ("ca unnamed",),
    ("ca", "signer"),
    ("ca", "signer by ca"),
)
_Listing = tuple[tuple[int, ...], int]
"""Reasons for which a CRL lists the certificate, and the day of its nextUpdate."""
_HOLD, _FINAL = 6, 1
_PAIRS: tuple[tuple[_Listing, _Listing], ...] = (
    (((), 30), ((), 3)),
    (((), 3), ((), 30)),
    (((_HOLD,), 3), ((), 30)),
    (((), 30), ((_HOLD,), 3)),
    (((_HOLD,), 30), ((), 30)),
    (((_HOLD,), 30), ((_FINAL,), 3)),
    (((_FINAL,), 3), ((_HOLD,), 30)),
    (((_FINAL,), 3), ((), 30)),
)

_Ids = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class _Naming:
    """Authorities, and ids by which certificates and CRLs may name them."""

    authorities: tuple[str, ...]
    of_leaves: _Ids
    of_crls: _Ids = ("sha1", "sha256", None, "wrong")


_ANY_ID: _Ids = (
    "sha1", "sha256", "sha384", "sha512", "spki", None, "wrong",
    "serial", "wrong serial", "sha1+serial", "sha1+wrong serial", "sha256+serial",
)  # fmt: skip
_NAMINGS = (
    _Naming(("ca with sha256",), _ANY_ID),
    _Naming(("ca with spki",), _ANY_ID),
    _Naming(("ca without key id",), _ANY_ID, ("wrong", "sha1 of 4")),
    _Naming(("ca without key id",), ("sha1 of 4", "wrong"), ("wrong", "sha1 of 4")),
    _Naming(("ca without key id", "namesake", "other root"), ("sha1",), ("sha1 of 4",)),
    _Naming(("ca", "namesake with ca's key id", "other root"), ("sha256",)),
    _Naming(("ca", "namesake with ca's key id", "other root"), ("sha256", "sha1", None)),
    _Naming(("ca", "namesake", "other root"), ("serial", "sha1+serial", "wrong serial", None)),
    _Naming(("ca", "namesake by root"), ("serial", "wrong serial", None)),
    _Naming(("namesake without key id", "other root"), _ANY_ID, ("sha1 of 1", "sha1")),
    _Naming(("ca by serial", "new root"), ("sha1",)),
    _Naming(("ca by wrong serial",), ("sha1",)),
    _Naming(("ca by wrong id",), ("sha1",)),
    _Naming(("ca by sha384 of root",), ("sha1",)),
    _Naming(("ca unnamed", "new root"), ("sha1",)),
    _Naming(("ca", "new ca with old, unnamed"), ("sha1", None)),
)

_SERIALS = (1, 2, 3)
_CA_SERIALS = (99, 11, 12, 13, 14, 15, 16, 17, 18)
_REASONS = (None, 1, 3, 6, 6, 8)


_Choice = TypeVar("_Choice")


class _Drawer:
    """Draws the parts of a world, without what is to be avoided."""

    def __init__(self, choose: Callable[[Sequence[Any]], Any], avoid: Collection[str]) -> None:
        self._choose = choose
        self._avoid = frozenset(avoid)

    def one_of(self, choices: Iterable[_Choice]) -> _Choice:
        """One of *choices*, each of which is a name, names or neither."""
        allowed = [choice for choice in choices if self._avoid.isdisjoint(_names(choice))]
        chosen: _Choice = self._choose(allowed)
        return chosen

    def mostly(self, usual: Iterable[_Choice], odd: Iterable[_Choice]) -> _Choice:
        """Usually one of *usual*."""
        return self.one_of(usual if self._choose(range(8)) else odd)

    def rarely(self, what: str) -> bool:
        """True in one world of eight, unless *what* is avoided."""
        return what not in self._avoid and self._choose(range(8)) == 0

    def several(self, choices: Iterable[_Choice], most: int) -> list[_Choice]:
        """Up to *most* of *choices*."""
        choices = tuple(choices)
        return [self.one_of(choices) for _ in range(self._choose(range(most + 1)))]

    def world(self) -> World:
        if self._avoid:
            return self.one_of((*(self.any_world,) * 6, self.one_second, self.odd))()
        kinds = (
            *(self.any_world, self.points) * 3,
            *(self.removals,) * 4,
            *(self.paths,) * 6,
            *(self.names,) * 4,
            *(self.times,) * 4,
            *(self.deltas,) * 3,
            *(self.respelled, self.odd, self.settings) * 2,
            *(self.one_second,) * 3,
            self.no_reasons,
        )
        return self.one_of(kinds)()

    def any_world(self) -> World:
        """A world of anything."""
        theme = self.one_of(_THEMES)
        kinds = [_CA, _ROLLOVER, _SIGNER, _NAMESAKE]
        if "indirect" in theme.scopes or self.rarely("crl issuer"):
            kinds.append(_CRL_ISSUER)
        issuing = tuple(name for kind in kinds for name in self.one_of(kind))
        num_crls = self.one_of((1, 1, 2, 2, 3, 4))
        crls: list[CrlSpec] = []
        for number in range(1, num_crls + 1):
            crls.append(self.crl(issuing, theme, number, crls))
        if not self.rarely("no CRL of the root"):
            crls.insert(0, self.root_crl())
        if self.rarely("another order"):
            crls = [crls.pop(self._choose(range(len(crls)))) for _ in range(len(crls))]
        leaves = [self.leaf(issuing, theme, crls) for _ in range(self.one_of((1, 2, 3)))]
        days = self.one_of((0, 0, 0, 0, 0, 5, 40, -5))
        return World(("root", *issuing), tuple(crls), tuple(leaves), days)

    def crl(
        self,
        issuing: tuple[str, ...],
        theme: _Theme,
        number: int,
        before: Sequence[CrlSpec],
    ) -> CrlSpec:
        """The CRL that is published as the *number*-th, perhaps a delta of one *before*."""
        authority = self.mostly(issuing, ("stranger", "root"))
        point = self.mostly(theme.scopes, (None, *SCOPES))
        is_delta = bool(before) and self._choose((False, True))
        serials: tuple[int, ...] = (*_SERIALS, 11)
        if is_delta and not self.rarely("a delta of nothing"):
            base = before[self._choose(range(len(before)))]
            authority, point = base.authority, base.point
            serials = tuple(entry.serial_number for entry in base.entries) or serials
        is_indirect = point is not None and point.startswith("indirect")
        may_be_late = not is_delta or "late delta" not in self._avoid
        crl_issuers = [name for name in issuing if "crl issuer" in name]
        if is_indirect and crl_issuers and not is_delta:
            authority = self.mostly(crl_issuers, issuing)
        return CrlSpec(
            authority,
            self.mostly((number,), (None, 1, 2, 3)),
            self.entries(serials, is_delta=is_delta, is_indirect=is_indirect),
            point,
            base=self._choose(range(1, number + 1)) if is_delta else None,
            this_update=self.mostly((number - 20,), (-19, -1, 0, 1) if may_be_late else (-19,)),
            next_update=self.mostly((30,), (3, -1) if may_be_late else (30,)),
            respelled=self.rarely("respelled"),
            keeps_expired=self.rarely("keeps expired"),
            odd=self.one_of(ODD_CRLS) if self.rarely("odd CRL") else None,
        )

    def entries(
        self, serials: tuple[int, ...], *, is_delta: bool = False, is_indirect: bool = False
    ) -> tuple[EntrySpec, ...]:
        """Up to four entries, with duplicates and removals where those have no place too."""
        removals: tuple[int, ...] = () if not is_delta and "removeFromCRL" in self._avoid else (8,)
        reasons = (None, 1, 3, 6, 6, *removals * (3 if is_delta else 1))
        owners = (None, "CA", "CA", "CRL Issuer", "Root") if is_indirect else (None,)
        entries = [
            EntrySpec(self.one_of(serials), self.one_of(reasons), self.one_of(owners))
            for _ in range(self.one_of(range(5)))
        ]
        if entries and self.rarely("odd entry"):
            entries[0] = replace(entries[0], odd=self.one_of(ODD_ENTRIES))
        if "duplicates" in self._avoid:
            entries = list({entry.serial_number: entry for entry in entries}.values())
        return tuple(entries)

    def root_crl(self) -> CrlSpec:
        return CrlSpec(
            "root",
            number=self.one_of((1, 2, 3)),
            entries=self.entries(_CA_SERIALS)[:2],
            point=self.mostly((None,), ("cas", "users", "one")),
            this_update=-5,
            next_update=self.mostly((50,), (-1,)),
        )

    def leaf(self, issuing: tuple[str, ...], theme: _Theme, crls: Sequence[CrlSpec]) -> LeafSpec:
        """A certificate, often one that some CRL has to do with."""
        points: tuple[str, ...] = self.one_of(theme.points)
        if self.rarely("odd points"):
            points = tuple(dict.fromkeys(self.several(POINTS, 2)))
        authority = self.mostly(issuing, ("root", "stranger"))
        serials: tuple[int, ...] = _SERIALS
        if self._choose((False, True)):
            crl = crls[self._choose(range(len(crls)))]
            serials = tuple(entry.serial_number for entry in crl.entries) or serials
            if "crl issuer" not in crl.authority:
                authority = crl.authority
        return LeafSpec(
            authority,
            self.one_of(serials),
            points,
            issuer_id=None if self.rarely("no key id") else "sha1",
            expired=self.rarely("expired"),
        )

    # ---- worlds about one thing ----------------------------------------------

    def paths(self) -> World:
        """Where paths lead, what is revoked and denied on them, and where they end."""
        roots, below = self.one_of(_ROOTS), self.one_of(_BELOW)
        authorities = (*roots, *below)
        crls = [self.crl_on_authorities(name, authorities) for name in self.signers(authorities)]
        leaves = [
            LeafSpec(
                self.mostly(below, ("stranger",)),
                self.one_of(_SERIALS),
                issuer_id=self.mostly(("sha1",), (None,)),
            )
            for _ in range(self.one_of((1, 2)))
        ]
        return World(
            authorities,
            tuple(crls),
            tuple(leaves),
            denied=tuple(self.several((*authorities, *authorities, 0), self.one_of((0, 1, 2)))),
            anchors=self.one_of((None,) * 5 * len(authorities) + tuple((a,) for a in authorities)),
            marked=self.one_of(((),) * 4 * len(authorities) + tuple((a,) for a in authorities)),
            policy=PolicySpec(
                path_depth=self.one_of((None, None, None, 0, 1)),
                unknown_issuer=self.rarely("policy"),
            ),
        )

    def signers(self, authorities: Sequence[str]) -> list[str]:
        """One authority of each key, in most cases."""
        keys = {AUTHORITIES[name].key: name for name in authorities}
        return [name for name in keys.values() if not self.rarely("no CRL")] or [authorities[0]]

    def crl_on_authorities(self, name: str, authorities: Sequence[str]) -> CrlSpec:
        """The CRL of one, which revokes some of those that it issued."""
        issued = [
            AUTHORITIES[other].serial_number
            for other in authorities
            if AUTHORITIES[AUTHORITIES[other].parent or other].name == AUTHORITIES[name].name
        ]
        listed = [self.one_of((*issued, 99)) for _ in range(self.one_of((0, 1, 2)))]
        return CrlSpec(
            name,
            1,
            tuple(EntrySpec(serial) for serial in dict.fromkeys(listed)),
            next_update=self.mostly((30,), (-1,)),
        )

    def names(self) -> World:
        """How certificates and CRLs name their issuers."""
        naming = self.one_of(_NAMINGS)
        authorities = ("root", *naming.authorities)
        cas = tuple(name for name in naming.authorities if AUTHORITIES[name].name == "CA")
        crls = [
            CrlSpec(
                name,
                1,
                self.entries(_SERIALS)[:1],
                self.one_of((None, None, None, "cas")),
                key_id=self.one_of(naming.of_crls),
            )
            for name in self.signers(naming.authorities)
        ]
        crls.append(self.crl_on_authorities("root", authorities))
        if self.one_of((False, False, False, True)):
            crls = [crl for crl in crls if AUTHORITIES[crl.authority].name != "CA"]
        leaves = [
            LeafSpec(
                self.mostly(cas, ("namesake", "new ca", "stranger")),
                self.one_of(_SERIALS),
                issuer_id=self.mostly(naming.of_leaves, _ANY_ID),
            )
            for _ in range(self.one_of((1, 2, 3)))
        ]
        return World(
            authorities,
            tuple(crls),
            tuple(leaves),
            silent=self.one_of(((), (), cas[:1], cas)),
            policy=PolicySpec(
                unknown_issuer=self.one_of((False, True)),
                unpublished=self.one_of(((), (), cas[-1:], (*cas, "root"))),
            ),
        )

    def points(self) -> World:
        """Distribution points that name the issuer, and URIs of other spellings."""
        scopes, points = self.one_of((
            (("one", "one?A", "two"), (("one, respelled",), ("one?a",), ("one",))),
            (
                ("ca itself", "ca itself", "ca itself, compromise", "one", None),
                (("one",), ("two",), (), ("ca itself",), ("two", "ca itself"), ("by ca",)),
            ),
        ))  # fmt: skip
        crls = [
            CrlSpec(
                "ca",
                number,
                self.entries(_SERIALS)[:2],
                self.one_of(scopes),
                this_update=number - 20,
                next_update=self.mostly((30,), (-1,)),
            )
            for number in range(1, self.one_of((2, 3)))
        ]
        leaves = [LeafSpec("ca", serial, self.one_of(points)) for serial in (1, 2)]
        return World(("root", "ca"), (CrlSpec("root", 1), *crls), tuple(leaves))

    def times(self) -> World:
        """Two scopes of one issuer that are of different times, and holds on them."""
        rollover = self.one_of(("new ca", "new ca with old", "signer"))
        older, newer = self.one_of(_PAIRS)
        parts = self.one_of(((None, None), (None, None), (None, "users"), ("users", None)))
        signers = ("ca", "ca") if None in parts and parts != (None, None) else ("ca", rollover)
        crls = [
            CrlSpec(
                signer,
                1,
                tuple(EntrySpec(1, reason) for reason in listed),
                self.mostly((part,), ("compromise", "others", "overlapping")),
                this_update=self.mostly((this_update,), (-15, -10)),
                next_update=self.mostly((next_update,), (3, 30)),
            )
            for signer, part, this_update, (listed, next_update) in zip(
                self.one_of((signers, signers[::-1])), parts, (-20, -10), (older, newer),
                strict=True,
            )
        ]  # fmt: skip
        return self.later(("root", "ca", rollover), crls)

    def deltas(self) -> World:
        """A complete CRL and its delta, each with a hold, a final reason or a removal."""
        entries = ((), (EntrySpec(1, 1),), (EntrySpec(1, 6),), (EntrySpec(1, 6),))
        base = CrlSpec("ca", 1, self.one_of(entries), this_update=-20)
        delta = CrlSpec(
            "ca",
            2,
            self.one_of((*entries, (EntrySpec(1, 8),))),
            base=1,
            this_update=-10,
            next_update=self.mostly((30,), (3,)),
        )
        return self.later(("root", "ca"), [base, delta], waives_holds=(False, True, True))

    def later(
        self,
        authorities: tuple[str, ...],
        crls: Sequence[CrlSpec],
        waives_holds: tuple[bool, ...] = (False, False, True),
    ) -> World:
        """A world that is checked after days, by a policy on time and holds."""
        return World(
            authorities,
            (CrlSpec("root", 1, next_update=100), *crls),
            (LeafSpec("ca", 1), LeafSpec("ca", 2)),
            days=5,
            policy=PolicySpec(hold=self.one_of(waives_holds), grace=self.one_of((0, 0, 0, 6))),
        )

    def removals(self) -> World:
        """A scope that is removed and offered CRLs again, late ones among them."""
        steps: list[Step] = [CrlSpec("root", 1), self.numbered(None, 10, -10)]
        if self.one_of((False, True, True)):
            steps.append(self.numbered(10, 13, -6))
        if self.one_of((False, True, True)):
            steps.append(Removal(1))
        for _ in range(self.one_of((1, 2, 3))):
            base = self.one_of((None, None, None, 10))
            number, this_update = (
                self.one_of((10, 11, 12, 12, 13, 14)),
                self.one_of((-8, -8, -6, -4)),
            )
            steps.append(self.numbered(base, number, this_update))
        return World(
            ("root", "ca"),
            tuple(steps),
            (LeafSpec("ca", 1), LeafSpec("ca", 2)),
            silent=self.one_of(((), (), (), ("ca",))),
        )

    def numbered(self, base: int | None, number: int, this_update: int) -> CrlSpec:
        """One in a row of CRLs of one scope, which may be expired or malformed."""
        return CrlSpec(
            "ca",
            number,
            tuple(EntrySpec(serial, self.one_of((1, 6))) for serial in self.several((1, 2), 2)),
            base=base,
            this_update=this_update,
            next_update=self.one_of((*(30,) * 6, -1, this_update - 1)),
            exactly=True,
        )

    def one_second(self) -> World:
        """CRLs of one second, most without a number: nobody can tell which is newer."""
        signer, point, leaf_point = self.one_of((
            *(("ca", None, None),) * 3,
            ("crl issuer", "indirect", "by crl issuer"),
        ))  # fmt: skip
        steps: list[Step] = [CrlSpec("root", 1)]
        for _ in range(self.one_of((2, 3, 4))):
            listed = self.several((1, 2), 3 if "duplicates" not in self._avoid else 1)
            steps.append(
                CrlSpec(
                    signer,
                    self.mostly((None,), (5,)),
                    tuple(
                        EntrySpec(
                            serial,
                            self.one_of((None, 1, 6, 6)),
                            None if point is None else "CA",
                            respelled=point is not None and self.one_of((False, True)),
                        )
                        for serial in listed
                    ),
                    point,
                    base=5 if self.rarely("a delta of one second") else None,
                    this_update=self.mostly((-10,), (-11, -9)),
                    next_update=self.one_of((30, 30, 20, -1)),
                )
            )
        if self.rarely("a removal of one second"):
            steps.insert(len(steps) - 1, Removal(1))
        points = () if leaf_point is None else (leaf_point,)
        return World(
            ("root", "ca", *(() if signer == "ca" else (signer,))),
            tuple(steps),
            (LeafSpec("ca", 1, points), LeafSpec("ca", 2, points)),
            policy=PolicySpec(hold=self.waives_holds()),
        )

    def odd(self) -> World:
        """A complete CRL and perhaps a delta that have odd values."""
        crls = [
            CrlSpec(
                "ca",
                number,
                tuple(
                    EntrySpec(
                        serial,
                        self.one_of((1, 6, 6) if base is None else (1, 6, 8, 8)),
                        odd=self.one_of((None, *ODD_REASONS * 2, *ODD_ENTRIES)),
                    )
                    for serial in dict.fromkeys(self.several((1, 2), 2))
                ),
                base=base,
                this_update=number - 20,
                keeps_expired=self.one_of((False, True)),
                odd=self.one_of((*(None,) * 4, *ODD_CRLS)),
            )
            for number, base in ((1, None), *self.several(((2, 1),), 1))
        ]
        expired = "expired" not in self._avoid and self.one_of((False, True))
        return World(
            ("root", "ca"),
            (CrlSpec("root", 1), *crls),
            (LeafSpec("ca", 1), LeafSpec("ca", 2, expired=expired)),
            policy=PolicySpec(hold=self.waives_holds()),
        )

    def waives_holds(self) -> bool:
        """Whether holds are waived, which only the policy of crlcheck can."""
        return not self._avoid and self.one_of((False, True))

    def settings(self) -> World:
        """What an operator sets of a scope, and what comes after it."""
        point = self.one_of(("one", "one, users", "one, compromise", "one, none"))
        steps: list[Step] = [CrlSpec("root", 1), self.pointed(point, 10), Setting(1, covers=True)]
        for number in self.one_of(((11,), (11, 12), (11, 13))):
            delta = self.pointed(point, number, base=10)
            steps += self.one_of((
                (self.pointed(point, number),),
                (Removal(1), self.pointed(point, number)),
                (delta, self.pointed(point, number + 1)),
                (delta,),
                (Setting(1, covers=False), self.pointed(point, number)),
            ))  # fmt: skip
        return World(
            ("root", "ca"),
            tuple(steps),
            (LeafSpec("ca", 1), LeafSpec("ca", 2, ("one",)), LeafSpec("ca", 2)),
        )

    def pointed(self, point: str, number: int, base: int | None = None) -> CrlSpec:
        """One in a row of CRLs of one scope that has a distribution point."""
        entries = self.entries((1, 2))[:1]
        return CrlSpec("ca", number, entries, point, base=base, this_update=number - 20)

    def no_reasons(self) -> World:
        """CRLs for none of the eight reasons, and others beside them."""
        scopes, points = self.one_of((
            (("none", "one, none", "ca itself, none", None, "one"), ((), ("one",), ("two",))),
            (
                ("indirect, none", "indirect, none", "indirect", "none"),
                ((), ("by crl issuer",), ("by crl issuer", "one")),
            ),
        ))  # fmt: skip
        crls = []
        for number in range(1, self.one_of((2, 3, 4))):
            scope = self.one_of(scopes)
            is_indirect = scope is not None and scope.startswith("indirect")
            entries = [
                EntrySpec(serial, self.one_of((1, 6)), "CA" if is_indirect else None)
                for serial in self.several((1, 2), 1)
            ]
            signer = "crl issuer" if is_indirect else "ca"
            crls.append(CrlSpec(signer, number, tuple(entries), scope, this_update=number - 20))
        leaves = tuple(LeafSpec("ca", serial, self.one_of(points)) for serial in (1, 2))
        return World(("root", "ca", "crl issuer"), (CrlSpec("root", 1), *crls), leaves)

    def respelled(self) -> World:
        """An indirect CRL that writes the names of certificate issuers in several ways."""
        entries = [
            EntrySpec(
                1,
                self.one_of((None, 1, 6, 6, 6)),
                self.one_of((None, "CA", "CA", "CA")),
                respelled=self.one_of((False, True)),
            )
            for _ in range(self.one_of((1, 2, 3)))
        ]
        crl = CrlSpec(
            "crl issuer",
            1,
            tuple(entries),
            self.one_of(("indirect", "indirect, one")),
            next_update=self.mostly((30,), (-1,)),
        )
        own = CrlSpec("ca", 1, self.entries((1, 2))[:1], next_update=self.one_of((30, -1)))
        points = self.one_of((("by crl issuer",), ("one by crl issuer",)))
        return World(
            ("root", "ca", "crl issuer"),
            (CrlSpec("root", 1), crl, *self.several((own,), 1)),
            (LeafSpec("ca", 1, points), LeafSpec("ca", 2, points)),
            policy=PolicySpec(hold=self.one_of((False, True, True))),
        )


def _names(choice: object) -> tuple[str, ...]:
    """The names in a choice that may be avoided."""
    if isinstance(choice, str):
        return (choice,)
    return choice if isinstance(choice, tuple) else ()


@st.composite
def worlds(draw: st.DrawFn, avoid: Collection[str] = ()) -> World:
    """
    Draw a world without the authorities, scopes, points and habits named in
    *avoid*: ``"removeFromCRL"`` (in complete CRLs), ``"duplicates"``,
    ``"late delta"`` (of other times than its base), ``"no key id"``, ``"expired"``.
    """
    return _Drawer(lambda choices: draw(st.sampled_from(choices)), avoid).world()


@st.composite
def even_worlds(draw: st.DrawFn) -> World:
    """
    Draw a world of which each choice is as likely as any other. Hypothesis likes to
    vary what it has tried, and so takes longer to try everything; but a world that it
    chose itself it can make smaller.
    """
    # Bytes, because of a large number hypothesis mostly draws a small one, the same again.
    seed = draw(st.binary(min_size=8, max_size=8))
    return _Drawer(random.Random(seed).choice, ()).world()
