"""Sign the root of a store again, so that it expires later and nothing else changes."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime

from crlcheck.catalog.compare_and_swap import (
    MAX_SWAPS,
    back_off,
    check_not_set_back,
    lost_generation,
)
from crlcheck.catalog.published_set import set_of
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.signing_store import check_may_change, signing, unsigned_store
from crlcheck.encoding.strict_json import canonical_json
from crlcheck.errors import PreconditionFailedError, RootSignatureError, StoreUnavailableError
from crlcheck.signing.root_signer import RootSigner, signer_of
from crlcheck.signing.signing_key import SigningKeySource
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.times import given_time, time_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignReport:
    """Reports which generation of which store is signed by which keys, and until when."""

    store_id: str
    generation: int
    expires: datetime
    key_ids: tuple[str, ...]


def sign_root(
    store: str | os.PathLike[str] | ObjectStore,
    sign_with: RootSigner | SigningKeySource,
    *,
    adopt: bool = False,
    now: datetime | None = None,
) -> SignReport:
    """
    Sign the root of a store again; the set and its generation stay as they are.

    Args:
        store: as for ``publish_crl``; something must be published in it.
        sign_with: a RootSigner, or one key as for ``load_signing_key``. Its signatures
            replace all others.
        adopt: sign a root that none of these keys has signed, such as the first one. To
            sign it is to vouch for all that the set has, whoever wrote it.
        now: the time, UTC; by default the clock's.

    Raises:
        FileNotFoundError: the store has nothing published.
        RootSignatureError: the root is signed by none of these keys, or somebody put an old
            root back; *adopt* signs it all the same.
        SigningKeyError: a key does not sign.
        StoreUnavailableError: the store does not answer, or too many changes came first.
        StoreError: the root cannot be read.
    """
    target, moment = unsigned_store(open_for_writing(store)), given_time(now)
    signer = signer_of(sign_with)
    assert signer is not None, "sign_with is no longer optional here"
    by_signer = signing(target, signer)
    for num_lost in range(MAX_SWAPS):
        if num_lost:
            back_off(num_lost)
        stored = target.read(CATALOG_NAME)
        published = set_of(
            stored.body,
            target,
            verify=lambda members: None if adopt else check_may_change(by_signer, members),
        )
        members = published.members
        if members is None or published.format1 is not None:
            raise RootSignatureError(
                f"{target.url}: {CATALOG_NAME} has format 1, which has no signatures: the next "
                "change writes format 2, such as crlcheck clean",
                reason="unsigned",
            )
        if not adopt:
            known = lost_generation(target, published.generation)
            if known and target.read(CATALOG_NAME).etag != stored.etag:
                continue
            check_not_set_back(target, published.generation, known)
        signed = signer.signed(members, now=moment)
        try:
            target.write(CATALOG_NAME, canonical_json(signed), if_match=stored.etag)
        except PreconditionFailedError:
            continue
        root = published.root.with_signatures(signed)
        report = SignReport(
            root.store,
            root.generation,
            signer.expires_at(moment),
            tuple(key.key_id for key in signer.accepted),
        )
        _log.info(
            "%s: generation %d is signed by %s until %s",
            target.url,
            report.generation,
            ", ".join(report.key_ids),
            time_text(report.expires),
        )
        return report
    raise StoreUnavailableError(
        f"{target.url}: the root was not signed: changes came first {MAX_SWAPS} times"
    )
