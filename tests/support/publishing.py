"""What tests of the publisher share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.history import chain
from crlcheck.catalog.published_set import read_set
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore
from crlcheck.types import PublishReport
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority

CA = make_authority()
OTHER_CA = make_authority("Other CA")


def publish(
    store: Any, crl: Any, issuer: Any = CA.pem, now: datetime = NOW, **options: Any
) -> PublishReport:
    """Publish at NOW."""
    return publish_crl(crl, store, issuer=issuer, now=now, **options)


def catalog_of(store: MemoryStore | LocalStore) -> Catalog:
    """Return what the store has published."""
    return read_set(store)[0].everything()


def given_up_of(store: MemoryStore | LocalStore) -> list[str]:
    """Return the objects that clean-up has still to delete, by the history, oldest first."""
    held, _ = read_set(store)
    cleaned = held.root.cleaned
    records = [record for _, record in chain(store, held.root, after=cleaned.generation)]
    names = [name for record in reversed(records) for name in record.given_up]
    return names[cleaned.position :]


def images_of(store: MemoryStore | LocalStore) -> list[str]:
    """Return the names of the images that the store has."""
    return list(store.names("images/"))
