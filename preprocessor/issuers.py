"""
Read the trusted issuer certificates from a prefix, a bundle or AWS Private CA.

They are kept between invocations. An object is read again only when its ETag has
changed. AWS Private CA is asked again after an hour, or when no known key verifies
the signature of a CRL.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from crlcheck import CertificateError, CertificateFacts, ObjectStore, load_certificates
from preprocessor.outcomes import describe

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient

PRIVATE_CA_SECONDS = 3600.0
"""How long the certificate of an AWS Private CA is used before it is asked for again."""


class TrustedIssuers:
    """
    The certificates that may sign CRLs.

    *bundle* is the path of a PEM file, *prefix* a store of certificates in PEM
    or DER, *private_cas* ARNs of certificate authorities. *clock* counts seconds.
    """

    def __init__(
        self,
        *,
        bundle: str | None,
        prefix: ObjectStore | None,
        private_cas: tuple[str, ...],
        log: logging.Logger,
        private_ca_client: Callable[[str], ACMPCAClient],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bundle = bundle
        self._prefix = prefix
        self._private_cas = private_cas
        self._log = log
        self._new_client = private_ca_client
        self._clock = clock
        self._clients: dict[str, ACMPCAClient] = {}
        self._objects: dict[str, tuple[str, tuple[CertificateFacts, ...]]] = {}
        self._unreadable = 0
        self._certificates: tuple[CertificateFacts, ...] | None = None
        self._authorities: dict[str, tuple[float, tuple[CertificateFacts, ...]]] = {}

    def certificates(self) -> list[CertificateFacts]:
        """
        Return all issuer certificates that can be read.

        Raises:
            FileNotFoundError: there is none at all.
            StoreError, BotoCoreError, ClientError: they cannot be read.
        """
        found: list[CertificateFacts] = []
        self._certificates = None
        self._unreadable = 0
        if self._bundle is not None:
            found += load_certificates(self._bundle)
        if self._prefix is not None:
            found += self._from_prefix(self._prefix)
        for arn in self._private_cas:
            found += self._from_private_ca(arn)
        if not found:
            raise FileNotFoundError(f"no issuer certificate in {self.places}")
        if not self._unreadable:
            self._certificates = tuple(found)
        return found

    @property
    def places(self) -> str:
        """The places that the certificates come from, as text for the catalog."""
        places = [self._bundle, self._prefix and self._prefix.url, *self._private_cas]
        return ", ".join(place for place in places if place)

    @property
    def all_read(self) -> tuple[CertificateFacts, ...] | None:
        """
        All of them as they were last read; None if any could not be read.

        A certificate that is missing from them was taken away. While an object cannot be
        read, no certificate is known to be missing, because the object may hold it.
        """
        return self._certificates

    @property
    def can_ask_again(self) -> bool:
        """Whether AWS Private CA has given certificates, which may have changed since."""
        return bool(self._authorities)

    def ask_again(self) -> None:
        """Forget the certificates that AWS Private CA gave."""
        self._authorities.clear()

    def _from_prefix(self, prefix: ObjectStore) -> list[CertificateFacts]:
        found: list[CertificateFacts] = []
        kept: dict[str, tuple[str, tuple[CertificateFacts, ...]]] = {}
        for name in prefix.names(""):
            etag, certificates = self._objects.get(name, (None, ()))
            try:
                stored = prefix.read_if_changed(name, etag)
            except FileNotFoundError:
                continue  # taken away since it was listed
            if stored is not None:
                certificates = self._load(f"{prefix.url}/{name}", stored.body)
                etag = stored.etag
            assert etag is not None, "what is unchanged was read before"
            kept[name] = etag, certificates
            found += certificates
        self._objects = kept
        return found

    def _from_private_ca(self, arn: str) -> tuple[CertificateFacts, ...]:
        asked_at, certificates = self._authorities.get(arn, (None, ()))
        if asked_at is not None and self._clock() - asked_at < PRIVATE_CA_SECONDS:
            return certificates
        region = arn.split(":")[3]
        client = self._clients.get(region)
        if client is None:
            client = self._clients[region] = self._new_client(region)
        answer = client.get_certificate_authority_certificate(CertificateAuthorityArn=arn)
        # Only its own certificate: the CAs above it were not configured as trusted.
        certificates = self._load(arn, answer["Certificate"].encode())
        self._authorities[arn] = self._clock(), certificates
        return certificates

    def _load(self, where: str, body: bytes) -> tuple[CertificateFacts, ...]:
        try:
            return load_certificates(body)
        except CertificateError as error:
            # Trusting fewer issuers is safe, and the others' CRLs must not wait.
            self._unreadable += 1
            self._log.warning(json.dumps({"issuer": where, **describe(error)}))
            return ()
