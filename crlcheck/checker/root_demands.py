"""Say what the root of a published set must satisfy before anything in it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crlcheck.catalog.published_set import PublishedSet, set_of
from crlcheck.errors import CatalogRollbackError
from crlcheck.stores import ObjectStore

if TYPE_CHECKING:
    from crlcheck.signing.root_key import RootKey


class RootDemands:
    """
    The demands of a checker on the roots that it reads.

    ``root_keys`` are the public keys of which one must have signed it; without any, signatures
    do not matter. ``minimum_generation`` is the earliest generation.
    """

    __slots__ = ("minimum_generation", "root_keys")  # no dataclass, for the sake of a cold start

    def __init__(self, root_keys: tuple[RootKey, ...] = (), minimum_generation: int = 0) -> None:
        self.root_keys = root_keys
        self.minimum_generation = minimum_generation

    def __bool__(self) -> bool:
        return bool(self.root_keys or self.minimum_generation)

    def read(
        self, body: bytes, store: ObjectStore, now: datetime, *, held: str = ""
    ) -> tuple[PublishedSet, datetime | None]:
        """
        Return the published set of a root's bytes, and when its signature expires.

        *held* is the id of the store whose set is in use, none before there is one.

        Raises:
            RootSignatureError: it is not signed as it must be, or the signature has expired.
            StoreError: it is not a root, or one of a later format.
        """
        expires: datetime | None = None

        def verify(members: Mapping[str, Any]) -> None:
            nonlocal expires
            if self.root_keys:
                # Only here, because it imports `cryptography`.
                from crlcheck.signing.statement import check_same_store, verify_root

                statement = verify_root(members, self.root_keys, now=now)[0].statement
                check_same_store(statement, held)
                expires = statement.expires

        return set_of(body, store, verify=verify), expires

    def check_generation(self, published: PublishedSet) -> None:
        """
        Refuse a generation that is too early.

        Raises:
            CatalogRollbackError: it is.
        """
        if published.generation < self.minimum_generation:
            raise CatalogRollbackError(
                f"{published.nodes.store.url} has generation {published.generation}, and the "
                f"minimum generation is {self.minimum_generation}: an old catalog was restored",
                generation=published.generation,
                held=self.minimum_generation,
            )
