"""Random worlds, drawn so that their parts have to do with each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

from support.worlds import POINTS, SCOPES, CrlSpec, EntrySpec, LeafSpec, World

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

_SERIALS = (1, 2, 3)
_CA_SERIALS = (99, 11, 12, 13, 14, 15, 16, 17, 18)
_REASONS = (None, 1, 3, 6, 6, 8)


_Choice = TypeVar("_Choice")


class _Drawer:
    """Draws the parts of a world, without what is to be avoided."""

    def __init__(self, draw: st.DrawFn, avoid: Collection[str]) -> None:
        self._draw = draw
        self._avoid = frozenset(avoid)

    def one_of(self, choices: Iterable[_Choice]) -> _Choice:
        """One of *choices*, each of which is a name, names or neither."""
        allowed = [choice for choice in choices if self._avoid.isdisjoint(_names(choice))]
        return self._draw(st.sampled_from(allowed))

    def mostly(self, usual: Iterable[_Choice], odd: Iterable[_Choice]) -> _Choice:
        """Usually one of *usual*."""
        return self.one_of(usual if self._draw(st.integers(0, 7)) else odd)

    def rarely(self, what: str) -> bool:
        """True in one world of eight, unless *what* is avoided."""
        return what not in self._avoid and self._draw(st.integers(0, 7)) == 0

    def several(self, choices: Iterable[_Choice], most: int) -> list[_Choice]:
        """Up to *most* of *choices*."""
        choices = tuple(choices)
        return [self.one_of(choices) for _ in range(self._draw(st.integers(0, most)))]

    def world(self) -> World:
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
            crls = self._draw(st.permutations(crls))
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
        is_delta = bool(before) and self._draw(st.booleans())
        serials: tuple[int, ...] = (*_SERIALS, 11)
        if is_delta and not self.rarely("a delta of nothing"):
            base = before[self._draw(st.integers(0, len(before) - 1))]
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
            base=self._draw(st.integers(1, number)) if is_delta else None,
            this_update=self.mostly((number - 20,), (-19, -1, 0, 1) if may_be_late else (-19,)),
            next_update=self.mostly((30,), (3, -1) if may_be_late else (30,)),
            respelled=self.rarely("respelled"),
            keeps_expired=self.rarely("keeps expired"),
        )

    def entries(
        self, serials: tuple[int, ...], *, is_delta: bool = False, is_indirect: bool = False
    ) -> tuple[EntrySpec, ...]:
        """Up to four entries, with duplicates and removals where those have no place too."""
        removals = () if not is_delta and "removeFromCRL" in self._avoid else (8,)
        reasons = (None, 1, 3, 6, 6, *removals * (3 if is_delta else 1))
        owners = (None, "CA", "CA", "CRL Issuer", "Root") if is_indirect else (None,)
        entries = [
            EntrySpec(self.one_of(serials), self.one_of(reasons), self.one_of(owners))
            for _ in range(self.one_of(range(5)))
        ]
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
        if self._draw(st.booleans()):
            crl = crls[self._draw(st.integers(0, len(crls) - 1))]
            serials = tuple(entry.serial_number for entry in crl.entries) or serials
            if "crl issuer" not in crl.authority:
                authority = crl.authority
        return LeafSpec(
            authority,
            self.one_of(serials),
            points,
            authority_key_id=not self.rarely("no key id"),
            expired=self.rarely("expired"),
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
    return _Drawer(draw, avoid).world()
