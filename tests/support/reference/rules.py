"""
The rules that go beyond the letter of RFC 5280, or that it leaves open, by name.

The reference follows all of them, or all but some: a rule has decided where the
answer without it is another one. What follows without it stands with the rule.
"""

from __future__ import annotations

from collections.abc import Collection

RULES = {
    # Denials by hand.
    "denied: the certificate": "A certificate that is denied is REVOKED.",
    "denied: an issuer": (
        "A denied certificate of a key denies every path through that key. "
        "Without: it counts only where that certificate is checked itself."
    ),
    "denied: where a path ends": "So does one of an anchor's key, or of a key that ends the path.",
    "denied: a twin": "So does one beside which the key has other certificates.",
    "denied: beyond the path depth": "So does one above the issuers that are checked.",
    # Where paths lead.
    "end: self-signed by signature": (
        "An anchor is what its own key verifies. Without: what names itself as its issuer, "
        "by name and by key id if there is one."
    ),
    "end: operator's anchor": "A path ends at an issuer that an operator made an anchor.",
    "end: explicit anchors": "Given anchors take the place of the self-signed ones.",
    "end: by name": (
        "An issuer ends a path where no other trusted key has its issuer's name. "
        "Without: also where key ids lead to no trusted key."
    ),
    "alternatives: the best": "Among certificates of one key that can be checked the best counts.",
    "alternatives: revoked": (
        "Where one that can be checked is revoked, one that cannot be does not help."
    ),
    "own key": "The signature of a self-issued certificate tells if its own key is its issuer.",
    # Key ids.
    "key id: alias": "A key id that is made from a trusted key stands for it.",
    "key id: stated first": "A key id that a certificate states comes before one that is made.",
    "key id: serial narrows": (
        "Issuer and serial number in an authority key id choose among keys of one name."
    ),
    "key id: serial never excludes": "Where they fit none of these, all stay.",
    "key id: any signer": (
        "A CRL is that of any key of its issuer's name that verifies it. "
        "Without: only if its authority key id is stated by that issuer."
    ),
    "key id: none adopted": (
        "A CRL's authority key id says nothing of which key its signer is. "
        "Without: a signer that states none goes by it."
    ),
    "tied": "A CRL covers what the keys tied to its signer's have issued.",
    "unknown issuer: by name": (
        "The waiver for unknown issuers holds for names that nobody trusted has."
    ),
    "unknown issuer: waived": "And there it holds.",
    "unpublished: waived": "An issuer that publishes no CRL may be excepted.",
    "unpublished: no CRL held": "But only while no CRL of its keys is held.",
    "unpublished: none removed": "And none was removed.",
    # Distribution points.
    "point: own name revokes": (
        "A CRL whose distribution point is its issuer's name revokes what has other points."
    ),
    "point: own name does not clear": "But it does not clear that.",
    "point: case of URIs": "Scheme and host of a URI have no case.",
    "reasons: none": (
        "A CRL for none of the eight reasons may revoke. Without: it says nothing (6.3.3 e)."
    ),
    "setting: covers": (
        "An operator may let a CRL cover what has no distribution points although it names one."
    ),
    "setting: stays": "Later CRLs of that scope do so too.",
    "setting: removed": "But not those after a removal.",
    # Odd values of extensions that are not needed.
    "odd: left out": "A CRL with an odd one that is not critical is taken.",
    "odd: critical": "One in which it is critical is refused.",
    "odd: no reason": (
        "An odd reason code is none: final, and no removal. Without: it is what it seems to mean."
    ),
    "odd: no date": "Of an odd expiredCertsOnCRL likewise nothing follows.",
    # Time.
    "fresh: newest decides": "For each reason the newest CRL that applies says if it is stale.",
    "fresh: grace": "A grace period puts nextUpdate off.",
    # Holds.
    "hold: waived": "A policy may take a certificate on hold for one that is not listed.",
    "hold: yields in the delta": (
        "A final reason in the complete CRL stands against a hold in its delta."
    ),
    "hold: yields in one CRL": "Of several entries for one certificate the most final counts.",
    "hold: yields to another scope": "A final reason in any CRL that applies stands.",
    "hold: lifted by a current CRL": (
        "A hold on an expired CRL alone is lifted by a newer, current one that does not list it."
    ),
    "hold: lifted by a newer CRL only": "An older one does not know of it.",
    # Publication.
    "removed: number": "After a removal a complete CRL needs at least the removed delta's number.",
    "removed: time": "And it is no older than that.",
    "removed: remembered": "And it is newer than the removed complete CRL.",
    "expired: adds nothing": (
        "An expired CRL replaces no current one that lists all that it lists."
    ),
    "expired: adds something": "But one that lists more is taken.",
    "one second: taken": (
        "Of two CRLs of one second, the first without a number, the second is taken where it "
        "revokes all that the first does."
    ),
    "one second: lists all": "And only there.",
    "one second: final": "A hold does not take the place of a final reason there.",
    "one second: lasts": "Of two that revoke the same the one stays that is current for longer.",
    "times: backwards": "A CRL with nextUpdate before thisUpdate is malformed.",
}


class Rulebook:
    """
    All RULES but *without* some. ``asked`` has those that were looked up: none of
    the others can have decided anything, so a rule is asked for last.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        unknown = frozenset(without) - RULES.keys()
        if unknown:
            raise ValueError(f"no such rules: {sorted(unknown)}")
        self._without = frozenset(without)
        self.asked: set[str] = set()

    def __contains__(self, rule: str) -> bool:
        assert rule in RULES, rule
        self.asked.add(rule)
        return rule not in self._without
