"""Every change that can be made to a published set, for tests of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crlcheck.errors import MalformedCrlError
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.issuers import readmit_issuer, remove_issuer, set_issuer
from crlcheck.publisher.operator import (
    advance_generation,
    deny_certificate,
    grant_grace,
    lift_denial,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.rejections import dismiss_rejection, record_rejections
from crlcheck.x509.certificates import load_certificate
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, publish

NAME = load_certificate(CA.der).subject
OF_CA = make_crl(CA, 7, [2])


def first_scope(store: MemoryStore) -> str:
    """The scope of the CA."""
    return next(iter(catalog_of(store).scopes))


def first_issuer(store: MemoryStore) -> str:
    """The fingerprint of the CA."""
    found = {one.certificate: one.fingerprint for one in catalog_of(store).issuers}
    return found[CA.der]


def remove_and_readmit(store: MemoryStore, **by: Any) -> None:
    """Remove the issuer before it is readmitted."""
    fingerprint = first_issuer(store)
    remove_issuer(store, fingerprint)
    readmit_issuer(store, fingerprint, **by)


def deny_and_lift(store: MemoryStore, **by: Any) -> None:
    """Deny a certificate before that is lifted."""
    deny_certificate(store, NAME, 5, now=NOW)
    lift_denial(store, NAME, 5, now=NOW, **by)


def refuse_and_dismiss(store: MemoryStore, **by: Any) -> None:
    """Refuse a CRL before its refusal is dismissed."""
    record_rejections(store, {"b": MalformedCrlError("no CRL", rule="x", offset=0)}, NOW)
    dismiss_rejection(store, "b", now=NOW, **by)


CHANGES: dict[str, Callable[..., object]] = {
    "publish": lambda s, **by: publish(s, make_crl(CA, 9, [2, 3]), **by),
    "trust": lambda s, **by: publish(s, OF_CA, issuer=[CA.der, OTHER_CA.der], **by),
    "set_scope": lambda s, **by: override_scope(
        s, first_scope(s), covers_no_distribution_point=True, **by
    ),
    "remove_scope": lambda s, **by: remove_scope(s, first_scope(s), now=NOW, **by),
    "reset_scope": lambda s, **by: reset_scope(s, first_scope(s), now=NOW, **by),
    "deny": lambda s, **by: deny_certificate(s, NAME, 5, now=NOW, **by),
    "allow": deny_and_lift,
    "grant_grace": lambda s, **by: grant_grace(s, until=NOW + DAY, now=NOW, **by),
    "advance": lambda s, **by: advance_generation(s, above=40, **by),
    "remove_issuer": lambda s, **by: remove_issuer(s, first_issuer(s), now=NOW, **by),
    "readmit_issuer": remove_and_readmit,
    "set_issuer": lambda s, **by: set_issuer(s, first_issuer(s), is_anchor=True, **by),
    "dismiss_refusal": refuse_and_dismiss,
    "clean_up": lambda s, **by: clean_up(s, now=NOW, **by),
}


def published_store() -> MemoryStore:
    """A store with a CRL, and with an image that nobody published."""
    store = MemoryStore()
    publish(store, OF_CA, source_name="a")
    store.write("images/abandoned.crlx", b"")
    return store
