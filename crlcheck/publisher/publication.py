"""
Publish compiled CRLs: check each against its scope, and swap the catalog once for all.

These are the steps of "One publication" in docs/explanation/design.md, by the same numbers. Section
numbers are those of RFC 5280.

1. The CRL alone. The compiler has checked its size, DER, issuer and signature. A delta
   CRL must have a CRL number (5.2.3), and thisUpdate must not lie in the future.
2. The CRL against its scope. It is published only if
   - it was signed by the key of an issuer that no operator removed,
   - it is newer than the published CRL, and than the last one where an operator removed
     the scope. A delta CRL needs its complete CRL published (5.2.4),
     Where neither number nor time tells, a CRL that revokes all that the published one
     does is taken, and any other is refused with CrlOrderUnknownError,
   - it does not lack most of the entries of the published CRL, unless that is allowed,
   - it is not past its nextUpdate while the published CRL is current and revokes no less.
3. The swap. A store without a catalog is tried first: one that does not compare and swap is
   refused (``crlcheck.stores.probe``). The image is written under a name that no image had
   before, then the catalog is swapped. Where another publication came first, step 2 is done
   again on its catalog, with the image that is already written.
4. What changed. ``publish`` compares the images before and after, and adds the warnings.
5. Clean-up. An object that is used no longer is noted in the history with the time. It is
   deleted once the grace period is over.
6. Status. ``rejections`` keeps the reason why a CRL was refused.

A group of CRLs is published by one swap, as if they came one by one in the order of
``Offer.order``. While the last ones are compiled, ``prepare`` judges those that wait and
writes their images, so that little is left to do for the swap, which judges all of them anew.
One that is refused keeps no other from being published. Where a node of the catalog is
missing or damaged, the CRLs fail that need it, and no others (``catalog.readable_part``). Of
several CRLs of one scope, only those that stay are written. One that is older than what is
published, and than another CRL of the group that is not refused, changes nothing: a directory
that keeps its old CRLs can be published again. ``publish_crl`` publishes a group of one.

For example, CRL 17 is published and CRL 18 comes. It passes steps 1 and 2 and its image is
written, but the swap fails: another publisher has published CRL 19 meanwhile. Step 2 is
done again, now against CRL 19. CRL 18 is older, so it is refused with CrlRollbackError, and
its image is deleted. Had the other publisher changed another scope, CRL 18 would pass
step 2 again and the second swap would name the same image.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from crlcheck.catalog.catalog import Catalog, Draft, IssuerRecord, PublishedImage
from crlcheck.catalog.compare_and_swap import (
    MAX_SWAPS,
    Change,
    back_off,
    set_to_go_on_from,
    swap,
)
from crlcheck.catalog.descriptions import crl_text
from crlcheck.catalog.entries import changed_entries, homes_of, name_hash, points_of_crl
from crlcheck.catalog.given_up import due_objects, given_up_since, keep_of
from crlcheck.catalog.history import Action
from crlcheck.catalog.neighbours import Neighbourhood
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.readable_part import ReadablePart
from crlcheck.catalog.root import Certificates, Cleaned
from crlcheck.catalog.signing_store import SigningStore, check_may_change
from crlcheck.encoding.names import name_text
from crlcheck.errors import (
    CatalogDamagedError,
    CrlCheckError,
    CrlRollbackError,
    RootSignatureError,
    SigningKeyError,
    StoreUnavailableError,
)
from crlcheck.image.diff import Difference
from crlcheck.publisher.comparison import NO_CONTENTS, difference
from crlcheck.publisher.locks import turn
from crlcheck.publisher.rules import Offer, PublishRules, Successors
from crlcheck.publisher.warnings import (
    warnings_of,
    warnings_of_issuers,
    warnings_of_neighbours,
)
from crlcheck.stores import ObjectStore
from crlcheck.stores.probe import probe_store
from crlcheck.types import (
    CertificateFacts,
    ImageMetadata,
    PublishReport,
    PublishWarning,
    PublishWarningKind,
)
from crlcheck.x509.certificates import published_certificate
from crlcheck.x509.distribution_points import PointKey

# One publication deletes no more objects than this, or two for each of its CRLs, so that
# it does not take long.
_MAX_DELETED = 32

# A group of so many CRLs takes long to be judged anew, where another swap came first.
_MANY = 100

# Whoever waited while so many generations were published writes its image anew.
_MAX_FOLLOWED = 1000

_log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


class Helpers(Protocol):
    """Does for a group of CRLs what waits for the store."""

    def write(
        self, store: ObjectStore, files: Sequence[tuple[str, bytes | Path]]
    ) -> dict[str, CrlCheckError | OSError]:
        """Write *files* under their names; return the errors, by name."""

    def each(self, function: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
        """Return what *function* returns for each of *items*, in their order."""

    def are_self_signed(self, certificates: Sequence[CertificateFacts]) -> list[bool | None]:
        """Return ``x509.signatures.is_self_signed`` of each certificate, in their order."""


class NoHelpers:
    """Does one thing after the other, in the caller's thread."""

    def write(
        self, store: ObjectStore, files: Sequence[tuple[str, bytes | Path]]
    ) -> dict[str, CrlCheckError | OSError]:
        """As Helpers.write."""
        failed: dict[str, CrlCheckError | OSError] = {}
        for name, path in files:
            try:
                store.write(name, path)
            except (CrlCheckError, OSError) as error:
                failed[name] = error
        return failed

    def each(self, function: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
        """As Helpers.each."""
        return [function(item) for item in items]

    def are_self_signed(self, certificates: Sequence[CertificateFacts]) -> list[bool | None]:
        """As Helpers.are_self_signed."""
        # Only here, because it imports `cryptography`.
        from crlcheck.x509.signatures import is_self_signed

        return [is_self_signed(one) for one in certificates]


class KnownBefore:
    """What several publications in one store with the same issuers need to find out once."""

    def __init__(self, issuers: Sequence[CertificateFacts]) -> None:
        self.certificates = {one.der: one for one in issuers}
        self.digest = Certificates.of(IssuerRecord(der).fingerprint for der in self.certificates)
        self._self_signed: dict[bytes, bool | None] = {}
        self._trusted_in: Certificates | None = None
        self.is_probed = False

    def are_trusted_in(self, trusted: Certificates) -> bool:
        """Whether all are among the trusted issuers of a set, and nothing need be read to tell."""
        return trusted in (self.digest, self._trusted_in)

    def note_trusted_in(self, trusted: Certificates) -> None:
        """Note a set whose trusted issuers have all of them."""
        self._trusted_in = trusted

    def are_self_signed(
        self, certificates: Sequence[CertificateFacts], helpers: Helpers
    ) -> list[bool | None]:
        """Return whether each of *certificates* is self-signed, decided once."""
        new = [one for one in certificates if one.der not in self._self_signed]
        found = helpers.are_self_signed(new) if new else ()
        self._self_signed.update(zip((one.der for one in new), found, strict=True))
        return [self._self_signed[one.der] for one in certificates]


# ---- the publication (steps 2 to 5) ------------------------------------------------------


class Publication:
    """
    Publishes a group of compiled CRLs in one store.

    After ``run`` each offer has its ``result``. ``seconds`` has the time of each stage.
    """

    def __init__(
        self,
        store: ObjectStore,
        offers: Iterable[Offer],
        rules: PublishRules,
        *,
        known: KnownBefore | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._store = store
        # Sorting is stable, so that of the same CRL twice the first one is published.
        self._offers = sorted(offers, key=lambda offer: offer.order)
        self._rules = rules
        self._known = known or KnownBefore(rules.issuers)
        self._helpers: Helpers = helpers or NoHelpers()
        self._num_lost = 0
        # Given issuers whose entries in a damaged catalog cannot be read.
        self._left_out: frozenset[bytes] = frozenset()
        self._deleted: set[str] = set()
        self._may_be_named = False
        self._given_up: tuple[tuple[int, int], set[str] | None] | None = None

    def run(self) -> None:
        """
        Publish the CRLs, unless they are published already.

        Raises:
            StoreError: the store fails, or others came first too often. Offers without a
                result may have been published.
        """
        with turn(self._store) if len(self._offers) >= _MANY else nullcontext():
            self._run()

    def _run(self) -> None:
        for self._num_lost in range(MAX_SWAPS):
            if not self._open:
                return
            with self._timed("swap"):
                if self._num_lost:
                    back_off(self._num_lost)
                held, etag = self._read_set()
            try:
                if self._try(held, etag):
                    return
            except CatalogDamagedError:
                if not self._is_superseded(etag):
                    raise
            except (RootSignatureError, SigningKeyError):
                self._discard_images(self._open)
                raise
        what = self._open
        subject = (
            f"{crl_text(what[0].metadata)} was" if len(what) == 1 else f"{len(what):,} CRLs were"
        )
        raise StoreUnavailableError(
            f"{subject} not published: other publications to "
            f"{self._store.url} came first {MAX_SWAPS} times"
        )

    @property
    def _open(self) -> list[Offer]:
        return [offer for offer in self._offers if offer.result is None]

    def _read_set(self) -> tuple[PublishedSet, str | None]:
        held, etag = read_set(self._store)
        check_may_change(self._store, held.members)
        if etag is None and not isinstance(self._store, SigningStore):
            held = set_to_go_on_from(self._store) or held
        if etag is None and not self._known.is_probed:
            probe_store(self._store)
            self._known.is_probed = True
        return held, etag

    def _try(self, held: PublishedSet, etag: str | None) -> bool:
        """Publish in the set of *etag*; return False where another set came first."""
        with self._timed("swap"):
            catalog, damaged = self._read_part(held, self._open, self._rules.issuers)
        if damaged and self._is_superseded(etag):
            return False
        self._forget_given_up(held)
        self._settle_published(catalog)
        while offers := self._open:
            readable = [offer for offer in offers if offer not in damaged]
            draft, refused = self._judge(catalog, readable)  # step 2
            refused.update(damaged)
            passed = [offer for offer in offers if offer not in refused]
            issuers = self._issuer_records(held, catalog) if passed else []
            after = draft.catalog(issuers)
            used = [offer for offer in passed if _is_used(offer, after)]
            self._discard_images(set(offers) - set(used))
            if failed := self._write_images(used, held.generation):
                for offer, failure in failed.items():
                    offer.result = failure
                continue  # step 2 again, without those that could not be written
            is_changed = any(offer.is_changed for offer in passed)
            for offer, error in refused.items():
                offer.result = error
            if not is_changed and not catalog.lacks(issuers):
                self._note_issuers(held, catalog)
                self._report(passed, catalog, ())
            else:
                with self._timed("swap"):
                    change = Change(
                        before=catalog,
                        after=after,
                        action=_action(used, self._rules),
                        cleaned=self._delete_given_up(held),  # step 5
                        at=self._rules.clock(),
                        clock=self._rules.clock,
                    )
                    written = self._swap(held, etag, change, damaged)  # step 3
                if written is None:
                    for offer in refused:
                        offer.result = None  # what came first may be what it lacked
                    if damaged and not self._is_superseded(etag):
                        continue  # step 2 again, without those that cannot be written
                    return False
                self._note_issuers(written, after)
                after = replace(after, generation=written.generation)
                known = set(catalog.issuer_certificates())
                self._report(passed, after, {one.certificate for one in issuers} - known)
        return True

    def _swap(
        self,
        held: PublishedSet,
        etag: str | None,
        change: Change,
        damaged: dict[Offer, CatalogDamagedError],
    ) -> PublishedSet | None:
        """
        Return the set that was written; None where another came first.

        None is also returned where CRLs change what cannot be read. They are in *damaged* then.
        """
        try:
            return swap(self._store, held, etag, change, on_doubt=self._doubt)
        except CatalogDamagedError:
            if not self._is_superseded(etag):
                found = self._unwritable(held, change, self._open)
                if not found:
                    raise
                damaged.update(found)
            return None

    def prepare(self) -> None:
        """
        Write the images of those CRLs that ``run`` would publish now.

        Another publication with these offers and others decides anew when it runs, and does
        what was not done here. Call ``give_up`` where none runs.

        Raises:
            CrlCheckError: the store fails.
            OSError: from the store.
        """
        held, _ = self._read_set()
        # Those of ``rebuild`` need what is published, which is read only once.
        offers = [offer for offer in self._open if not offer.rebuild]
        catalog, damaged = self._read_part(held, offers)
        self._decide_issuers(catalog, offers)
        offers = [offer for offer in offers if offer not in damaged]
        draft, refused = self._judge(catalog, offers)
        after = draft.catalog(())
        used = [one for one in offers if one not in refused and _is_used(one, after)]
        self._write_images(used, held.generation)

    def give_up(self) -> None:
        """Delete what was written for a publication that was ended before its swap."""
        self._discard_images(self._open)

    # ---- reading -----------------------------------------------------------------------

    def _is_superseded(self, etag: str | None) -> bool:
        """
        Whether another set is published than that of *etag*.

        Then an object of that set may be gone because clean-up has deleted it: no later
        generation uses it.
        """
        return read_set(self._store)[1] != etag

    def _read_part(
        self,
        held: PublishedSet,
        offers: Iterable[Offer],
        issuers: Iterable[CertificateFacts] = (),
    ) -> tuple[Catalog, dict[Offer, CatalogDamagedError]]:
        """
        Return what the catalog has of the CRLs' issuers, and of *issuers* if they are new.

        Of a damaged catalog return what can be read, and the CRLs that need what cannot,
        each with the reason.
        """
        if self._known.are_trusted_in(held.root.trusted):
            issuers = ()
        self._left_out = frozenset()
        names, points = _needed_by(offers)
        names = {**homes_of(one.subject for one in issuers), **names}
        try:
            return held.closure(names.values(), points), {}
        except CatalogDamagedError as error:
            _log.info("the rest of the catalog is read without it: %s", error)
        return self._read_rest(ReadablePart(held), offers, issuers)

    def _read_rest(
        self, part: ReadablePart, offers: Iterable[Offer], issuers: Iterable[CertificateFacts]
    ) -> tuple[Catalog, dict[Offer, CatalogDamagedError]]:
        """
        Return what can be read for ``_read_part``, and the CRLs that need the rest.

        An issuer whose entries cannot be read is not added: nobody can tell whether it is
        trusted already.
        """
        found = {
            offer: part.damage_under(offer.metadata.issuer, points_of_crl(offer.metadata))
            for offer in offers
        }
        names, points = _needed_by(offer for offer, error in found.items() if error is None)
        unread = {one.der: part.damage_under(one.subject, ()) for one in issuers}
        readable = [one.subject for one in issuers if unread[one.der] is None]
        self._left_out = frozenset(der for der, error in unread.items() if error is not None)
        if self._left_out:
            _log.warning(
                "%s: %s of %s issuers given cannot be looked up in the damaged catalog, and none "
                "of them is added to the trusted issuers",
                self._store.url,
                f"{len(self._left_out):,}",
                f"{len(unread):,}",
            )
        catalog = part.closure({**homes_of(readable), **names}.values(), points)
        return catalog, {offer: error for offer, error in found.items() if error is not None}

    def _unwritable(
        self, held: PublishedSet, change: Change, offers: Iterable[Offer]
    ) -> dict[Offer, CatalogDamagedError]:
        """
        Return the CRLs whose scopes change leaves that cannot be read, each with the reason.

        Not all entries of a scope were read: those in the lists of an issuer's scopes and of
        indirect CRLs are only changed.
        """
        part = ReadablePart(held)
        found: dict[str, CatalogDamagedError] = {}
        offers = list(offers)
        for scope in {offer.metadata.scope for offer in offers}:
            before, after = (_only(one, scope) for one in (change.before, change.after))
            error = part.damage_at(changed_entries(before, after))
            if error is not None:
                found[scope] = error
        scopes = ((offer, offer.metadata.scope) for offer in offers)
        return {offer: found[scope] for offer, scope in scopes if scope in found}

    def _forget_given_up(self, held: PublishedSet) -> None:
        """Give new names to written images that a generation since then has given up (step 5)."""
        for offer in self._open:
            if offer.image is not None and offer.is_written and self._was_given_up(offer, held):
                offer.image, offer.is_written = None, False

    def _was_given_up(self, offer: Offer, held: PublishedSet) -> bool:
        """
        Whether a generation since a CRL's image was written has given it up (step 5).

        Clean-up notes images that no catalog names, and deletes them later. To note this
        one later takes a swap, after which this publication's swap fails.
        """
        key = held.generation, offer.written_after
        if self._given_up is None or self._given_up[0] != key:
            names = given_up_since(self._store, held, offer.written_after, _MAX_FOLLOWED)
            self._given_up = key, names
        names = self._given_up[1]
        return names is None or (offer.image is not None and offer.image.name in names)

    def _settle_published(self, catalog: Catalog) -> None:
        """Report the CRLs whose swap was reported as lost and succeeded: it was sent twice."""
        settled = []
        for offer in self._open:
            current = catalog.scopes.get(offer.metadata.scope)
            if offer.is_written and offer.image and current and current.names(offer.image):
                offer.after = current
                settled.append(offer)
        self._report(settled, catalog, ())

    # ---- step 2 ------------------------------------------------------------------------

    def _judge(
        self, catalog: Catalog, offers: Sequence[Offer]
    ) -> tuple[Draft, dict[Offer, CrlCheckError | OSError]]:
        """Put the CRLs into a draft of the next catalog; return it, and those that are refused."""
        draft = Draft(catalog)
        successors = Successors(self._store, catalog, draft, self._rules, _contents_of(offers))
        chains: dict[str, list[Offer]] = {}
        for offer in offers:
            chains.setdefault(offer.metadata.scope, []).append(offer)
        refused: dict[Offer, CrlCheckError | OSError] = {}

        def follow(chain: Sequence[Offer]) -> None:
            for offer in chain:
                try:
                    offer.before, offer.after = successors.of(offer)
                except (CrlCheckError, OSError) as error:
                    refused[offer] = error
                    continue
                if offer.is_changed:
                    offer.after = draft.put(offer.after)
            for offer in chain:
                if _is_only_older(offer, chain, refused):
                    # As in the run that published both, where it came first.
                    del refused[offer]
                    offer.before = offer.after = draft.scope(offer.metadata.scope)

        if any(offer.rebuild for offer in offers):
            self._helpers.each(follow, list(chains.values()))  # each reads an image
        else:
            for chain in chains.values():
                follow(chain)
        return draft, refused

    def _issuer_records(self, held: PublishedSet, catalog: Catalog) -> list[IssuerRecord]:
        """
        Return the records of the given issuers that are new to the catalog.

        Added are completed records of those issuers whose records in the catalog, by an
        older writer, lack the source or whether they are self-signed.
        """
        moment = self._rules.clock().replace(microsecond=0)
        published = {one.certificate: one for one in catalog.issuers}
        given, source = self._known.certificates, self._rules.issuers_from
        records: dict[bytes, IssuerRecord] = {}
        if not self._known.are_trusted_in(held.root.trusted):
            records = {
                der: IssuerRecord(der, moment, source)
                for der in given
                if der not in published and der not in self._left_out
            }
        for der, record in published.items():
            if not record.added_by and der in given:
                records[der] = replace(record, added_by=source)
        undecided = {
            der: record
            for der, record in {**published, **records}.items()
            if record.self_signed is None
        }
        facts = (given.get(der) or published_certificate(der) for der in undecided)
        certificates = [one for one in facts if one is not None]
        found = self._known.are_self_signed(certificates, self._helpers)
        for certificate, self_signed in zip(certificates, found, strict=True):
            if self_signed is not None:
                der = certificate.der
                records[der] = replace(undecided[der], self_signed=self_signed)
        return [*records.values()]

    def _decide_issuers(self, catalog: Catalog, offers: Iterable[Offer]) -> None:
        """Decide which signers that are new to the catalog are self-signed."""
        published = set(catalog.issuer_certificates())
        signers = {one.der: one for offer in offers if (one := offer.compiled.signer) is not None}
        new = [one for der, one in signers.items() if der not in published]
        self._known.are_self_signed(new, self._helpers)

    def _note_issuers(self, held: PublishedSet, catalog: Catalog) -> None:
        """Note that the set has all given issuers, where it has."""
        if self._known.are_trusted_in(held.root.trusted):
            return
        if self._known.certificates.keys() <= set(catalog.issuer_certificates()):
            self._known.note_trusted_in(held.root.trusted)

    # ---- images (step 3) ---------------------------------------------------------------

    def _write_images(
        self, used: Sequence[Offer], generation: int
    ) -> dict[Offer, CrlCheckError | OSError]:
        """Write the images that are not written; return the errors."""
        new = {offer.named_image().name: offer for offer in used if not offer.is_written}
        if not new:
            return {}
        with self._timed("upload"):
            files = [(name, offer.compiled.content) for name, offer in new.items()]
            failed = self._helpers.write(self._store, files)
        for name, offer in new.items():
            if name not in failed:
                offer.is_written, offer.written_after = True, generation
        return {new[name]: error for name, error in failed.items()}

    def _discard_images(self, offers: Collection[Offer]) -> None:
        """Delete the images that were written and that no catalog names."""
        gone = [offer.image.name for offer in offers if offer.is_written and offer.image]
        for offer in offers:
            offer.image, offer.is_written = None, False
        if not self._may_be_named:
            self._helpers.each(self._try_to_delete, gone)

    def _doubt(self) -> None:
        """Note that a catalog may have named the images; then clean-up deletes them."""
        self._may_be_named = True

    def _delete_given_up(self, held: PublishedSet) -> Cleaned:
        """Delete objects whose grace period is over (step 5); return how far that reaches."""
        now, kept_for = self._rules.clock(), max(self._rules.grace, keep_of(held.root))
        limit = max(_MAX_DELETED, 2 * len(self._offers))
        names, cleaned = due_objects(self._store, held, lambda at: now - at >= kept_for, limit)
        names = [name for name in names if name not in self._deleted]
        if not all(self._helpers.each(self._try_to_delete, names)):
            return held.root.cleaned
        self._deleted.update(names)
        return cleaned

    def _try_to_delete(self, name: str) -> bool:
        try:
            self._store.delete(name)
        except (CrlCheckError, OSError) as error:
            _log.warning("%s was not deleted from %s: %s", name, self._store.url, error)
            return False
        return True

    # ---- what changed (step 4) ---------------------------------------------------------

    def _report(self, offers: Sequence[Offer], catalog: Catalog, added: Collection[bytes]) -> None:
        """Make the reports of *offers*; *added* are the issuer certificates that are new."""
        if not offers:
            return
        now, contents = self._rules.clock(), _contents_of(offers)
        neighbourhood = Neighbourhood(catalog, self._rules.issuers)
        changed = [offer for offer in offers if offer.is_changed and offer.before is not None]

        def compare(offer: Offer) -> Difference | None:
            assert offer.before is not None
            assert offer.after is not None
            started = time.monotonic()
            found = difference(
                self._store,
                offer.compiled,
                offer.before,
                offer.after,
                now=now,
                limit=self._rules.compare_up_to,
                local=contents,
            )
            offer.seconds["compare"] = time.monotonic() - started
            return found

        found = dict(zip(changed, self._helpers.each(compare, changed), strict=True))
        of_issuers = tuple(warnings_of_issuers(self._rules.issuers, added, catalog))
        for offer in offers:
            assert offer.after is not None, "step 2 has set it"
            self._finish(offer, catalog, found.get(offer))
            assert isinstance(offer.result, PublishReport)
            warnings = (
                *warnings_of(offer.metadata, offer.before, offer.after, found.get(offer), now=now),
                *warnings_of_neighbours(offer.after, neighbourhood, now),
                *of_issuers,
            )
            offer.result = replace(offer.result, warnings=warnings)
            # Those of a new issuer are about the first CRL that brings it.
            of_issuers = _without_new(of_issuers)

    def _finish(self, offer: Offer, catalog: Catalog, found: Difference | None) -> None:
        record = offer.after
        assert record is not None, "step 2 has set it"
        is_published = offer.is_changed
        image: PublishedImage | None = record.base
        if is_published:
            image = offer.image  # None where a later CRL of this group has replaced it
        elif offer.metadata.is_delta and record.delta is not None:
            image = record.delta
        counts: dict[str, Any] = {}
        if found is not None:
            counts = {
                "num_newly_revoked": found.num_newly_revoked,
                "num_lifted": found.num_lifted,
                "num_lifted_recently": found.num_lifted_recently,
            }
        elif is_published and offer.before is None:
            counts = {
                "num_newly_revoked": offer.metadata.num_entries,
                "num_lifted": 0,
                "num_lifted_recently": 0,
            }
        offer.result = PublishReport(
            compiled=offer.compiled.report,
            image_name="" if image is None else image.name,
            generation=catalog.generation,
            published=is_published,
            seconds={**self.seconds, **offer.seconds},
            num_lost_swaps=self._num_lost,
            issuer_name=name_text(offer.metadata.issuer),
            **counts,
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


def _needed_by(offers: Iterable[Offer]) -> tuple[dict[str, bytes], dict[str, set[PointKey]]]:
    """Return the issuer names of CRLs by their hashes, and their distribution points."""
    names: dict[str, bytes] = {}
    points: dict[str, set[PointKey]] = {}
    for offer in offers:
        home = name_hash(offer.metadata.issuer)
        names[home] = offer.metadata.issuer
        points.setdefault(home, set()).update(points_of_crl(offer.metadata))
    return names, points


def _only(catalog: Catalog, scope: str) -> Catalog:
    """Return the part of a catalog that has one scope, with its tombstone."""
    return Catalog(
        0,
        {key: catalog.scopes[key] for key in (scope,) if key in catalog.scopes},
        (),
        {key: catalog.tombstones[key] for key in (scope,) if key in catalog.tombstones},
    )


def _is_only_older(
    offer: Offer, chain: Sequence[Offer], refused: Mapping[Offer, Exception]
) -> bool:
    """Whether a CRL was refused as older than published, and a newer one of its group was not."""
    if not isinstance(refused.get(offer), CrlRollbackError):
        return False
    return any(
        other not in refused and other.metadata.is_delta == offer.metadata.is_delta
        for other in chain
        if _is_newer(other.metadata, offer.metadata)
    )


def _is_newer(one: ImageMetadata, other: ImageMetadata) -> bool:
    """Whether number, or time where one has no number, says so. CRLs of one number are not."""
    if one.crl_number is not None and other.crl_number is not None:
        return one.crl_number > other.crl_number
    return one.this_update > other.this_update


def _is_used(offer: Offer, catalog: Catalog) -> bool:
    """Whether the catalog names the image of a CRL."""
    record = catalog.scopes.get(offer.metadata.scope)
    return bool(offer.is_changed and offer.image and record and record.names(offer.image))


def _contents_of(offers: Sequence[Offer]) -> Mapping[str, bytes | Path]:
    """Return the images by digest, where there are several."""
    if len(offers) < 2:
        return NO_CONTENTS
    return {offer.compiled.digest: offer.compiled.content for offer in offers}


def _action(used: Sequence[Offer], rules: PublishRules) -> Action:
    """Return what the history says of this publication."""
    note, actor = rules.note, rules.actor
    if not used:
        return Action.of("trust", note=note, actor=actor)
    sources = {offer.metadata.tbs_digest: offer.source_name for offer in used}
    return Action.of("publish", note=note, actor=actor, sources=sources)


def _without_new(warnings: Sequence[PublishWarning]) -> tuple[PublishWarning, ...]:
    kind = PublishWarningKind.UNVERIFIED_SELF_SIGNED
    return tuple(warning for warning in warnings if warning.kind is not kind)
