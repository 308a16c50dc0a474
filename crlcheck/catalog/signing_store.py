"""
Let a store's root be signed by whoever changes it.

A signature is a matter of the store and not of one change: whoever holds the key gives a
``SigningStore`` in the place of the store, and every change through it is signed. A store
whose root is signed cannot be changed without it.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crlcheck.catalog.root import Root
from crlcheck.errors import RootSignatureError
from crlcheck.signing.root_signer import RootSigner, SignWith, signer_of
from crlcheck.signing.statement import signers_of, verify_root
from crlcheck.stores import ObjectStore, StoredObject, open_for_writing
from crlcheck.times import time_text

_log = logging.getLogger(__name__)

# By this time no signature has expired.
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class SigningStore:
    """
    A store whose root is signed by *sign_with* whenever it is changed through this object.

    It is that store in all else. A root that is there must be signed by one of the signer's
    keys, because to sign what follows is to vouch for all that the root has.

    Args:
        store: as for ``open_store``.
        sign_with: a RootSigner, or a key as for ``load_signing_key``.
    """

    def __init__(self, store: str | ObjectStore, sign_with: RootSigner | SignWith) -> None:
        opened = open_for_writing(store)
        self.store: ObjectStore = opened.store if isinstance(opened, SigningStore) else opened
        signer = signer_of(sign_with)
        if signer is None:
            raise ValueError("sign_with: expected a key, found none")
        self.signer = signer

    def __repr__(self) -> str:
        return f"SigningStore({self.store!r})"

    @property
    def is_known_to_swap(self) -> bool:
        """As the store's own."""
        return bool(getattr(self.store, "is_known_to_swap", False))

    @property
    def url(self) -> str:
        """As ObjectStore.url."""
        return self.store.url

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        return self.store.read(name)

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        return self.store.read_if_changed(name, etag)

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """As ObjectStore.load."""
        return self.store.load(name)

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write."""
        return self.store.write(name, body, if_match=if_match, if_absent=if_absent)

    def delete(self, name: str) -> None:
        """As ObjectStore.delete."""
        self.store.delete(name)

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names."""
        return self.store.names(prefix)


def signing(store: ObjectStore, sign_with: SignWith) -> ObjectStore:
    """Return *store* itself, or where *sign_with* is given the store that signs by it."""
    return store if sign_with is None else SigningStore(store, sign_with)


def unsigned_store(store: ObjectStore) -> ObjectStore:
    """Return the store behind one that signs."""
    return store.store if isinstance(store, SigningStore) else store


def check_may_change(store: ObjectStore, members: Mapping[str, Any] | None) -> None:
    """
    Refuse to change a root that would lose its signature, or that the signer must not sign.

    *members* are those of the root in JSON, None where there is no root. It is called before
    anything is written. An expired signature by a key of the signer's own is enough: else a
    publisher that paused could never go on.

    Raises:
        RootSignatureError: it is refused. The reason is ``"no_signing_key"`` where the root
            is signed and the store does not sign, else it is that of ``verify_root``.
    """
    if members is None:
        return
    if isinstance(store, SigningStore):
        try:
            verify_root(members, store.signer.accepted, now=_BEFORE_ALL)
        except RootSignatureError as error:
            raise RootSignatureError(
                f"{store.url}: {error}; nothing is changed, because to sign what follows "
                "would vouch for this root",
                reason=error.reason,
                key_id=error.key_id,
            ) from error
        return
    signers = signers_of(members)
    if signers:
        raise RootSignatureError(
            f"{store.url}: the root is signed by the key {', '.join(signers)} and would lose its "
            "signature: expected that key (--sign-with, CRLCHECK_SIGN_WITH, sign_with), "
            "found none; nothing is changed",
            reason="no_signing_key",
            key_id=signers[0],
        )


def warn_of_expiry(store: ObjectStore, members: Mapping[str, Any] | None, now: datetime) -> None:
    """Log that a root had expired before it was signed anew, because somebody may have kept it."""
    if members is None or not isinstance(store, SigningStore):
        return
    (last, *_) = verify_root(members, store.signer.accepted, now=_BEFORE_ALL)
    if last.statement.expires <= now:
        _log.warning(
            "%s: the signature of generation %d had expired at %s; what is published goes on "
            "from that generation, and if a later one was published, it is lost",
            store.url,
            last.statement.generation,
            time_text(last.statement.expires),
        )


def signed_root(store: ObjectStore, root: Root, *, now: datetime) -> Root:
    """
    Return *root* with the signatures that it gets in this store.

    Raises:
        SigningKeyError: a key does not sign.
    """
    if not isinstance(store, SigningStore):
        return root
    return root.with_signatures(store.signer.signed(root.members(), now=now))
