"""Define the preprocessor's settings: each field is a ``CRLCHECK_*`` environment variable."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from datetime import timedelta

from crlcheck import check_url
from crlcheck.cloudwatch import read_namespace
from crlcheck.settings import (
    LogLevel,
    S3Location,
    is_http_url,
    is_s3_url,
    read_duration,
    read_store_name,
)


def _key_prefix(text: str) -> str:
    if text.startswith("/") or not text.endswith("/"):
        raise ValueError("expected a key prefix that ends with '/' and does not begin with one")
    return text


_ARN = re.compile(
    r"arn:aws[a-z-]*:acm-pca:[a-z0-9-]+:[0-9]{12}:certificate-authority/[0-9a-fA-F-]{36}"
)


def _arns(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    for arn in found:
        if not _ARN.fullmatch(arn):
            raise ValueError(f"expected ARNs of certificate authorities with ',', found {arn!r}")
    return found


def _urls(text: str) -> tuple[str, ...]:
    return tuple(check_url(url) for url in text.split(","))


DIMENSIONS = ("store", "issuer")
"""What may tell the series of metrics apart."""


def _dimensions(text: str) -> tuple[str, ...]:
    found = tuple(text.split(",")) if text else ()
    for one in found:
        if one not in DIMENSIONS or found.count(one) > 1:
            raise ValueError(
                f"expected each of {', '.join(DIMENSIONS)} at most once, found {one!r}"
            )
    return found


def _keys(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if not all(found) or any(one != one.strip() for one in found):
        raise ValueError("expected keys with ',' between them and nothing else")
    return found


@dataclass(frozen=True, slots=True)
class Settings:
    """
    store: where images are published, such as ``s3://bucket/published``.
    issuers: the trusted issuer certificates: a prefix, such as
        ``s3://bucket/issuers``, or the path of a PEM bundle. May be left out
        where ``private_cas`` is set.
    private_cas: ARNs of AWS Private CAs, separated by commas, whose current
        certificates are trusted too.
    crl_prefix: only objects whose key begins with it are CRLs.
    max_crl_size: in bytes; a larger CRL is refused; 0 accepts any size.
    max_crls: how many CRLs of a PEM file are published; the rest is refused; 0
        accepts any number.
    jobs: how many objects or URLs are read and compiled at once. Of those larger than
        16 MiB one is, so that the memory for the largest one is enough.
    clock_skew: how far in the future a CRL's thisUpdate may lie.
    attributes, allow_sha1, allow_small_rsa, allow_v1, strict, require_next_update:
        as for ``crlcheck.compile_crl``.
    fetch_urls: http:// and https:// URLs of CRLs, separated by commas, which the
        event ``{"fetch": true}`` fetches.
    fetch_private: whether they may lead to private addresses.
    grace: how long superseded images are kept; it must be longer than readers wait
        before they ask for a newer catalog.
    keep: how long they are kept besides, to restore and compare what was published; the
        store remembers it from the next clean-up on. 0s ends that.
    compare_up_to: newly revoked and lifted certificates are counted for CRLs of at
        most this many entries; 0 never counts.
    sign_with: what signs the root: the ARN, id or alias of a key in AWS KMS, or the path of
        a private key's file; several with commas.
    root_expiry: how long the signature holds. The event ``{"sign": true}`` renews it.
    metrics_namespace: the CloudWatch namespace of the metrics.
    metrics_dimensions: what tells the series of metrics apart beside the service:
        ``store``, ``issuer`` or both, separated by commas. With ``issuer`` there is a series
        for each issuer, which CloudWatch charges for.
    log_level: ``info`` logs the outcome of every object.
    """

    store: str = field(metadata={"read": read_store_name})
    issuers: str | None = field(default=None, metadata={"read": read_store_name})
    private_cas: tuple[str, ...] = field(default=(), metadata={"read": _arns})
    crl_prefix: str = field(default="crl/", metadata={"read": _key_prefix})
    max_crl_size: int = 1 << 30
    max_crls: int = 100
    jobs: int = 4
    clock_skew: timedelta = timedelta(minutes=5)
    attributes: bool = True
    allow_sha1: bool = False
    allow_small_rsa: bool = False
    allow_v1: bool = False
    strict: bool = False
    require_next_update: bool = True
    fetch_urls: tuple[str, ...] = field(default=(), metadata={"read": _urls})
    fetch_private: bool = False
    grace: timedelta = timedelta(hours=1)
    keep: timedelta | None = field(default=None, metadata={"read": read_duration})
    compare_up_to: int = 1_000_000
    sign_with: tuple[str, ...] = field(default=(), metadata={"read": _keys})
    root_expiry: timedelta = timedelta(days=7)
    metrics_namespace: str = field(default="crlcheck", metadata={"read": read_namespace})
    metrics_dimensions: tuple[str, ...] = field(default=("store",), metadata={"read": _dimensions})
    log_level: LogLevel = LogLevel.INFO

    def __post_init__(self) -> None:
        if self.issuers is None and not self.private_cas:
            raise ValueError(
                "neither CRLCHECK_ISSUERS nor CRLCHECK_PRIVATE_CAS is set: nobody would be trusted"
            )
        for name, url in (("CRLCHECK_STORE", self.store), ("CRLCHECK_ISSUERS", self.issuers)):
            if url and is_http_url(url):
                raise ValueError(
                    f"{name} is {url!r}: expected s3://bucket/prefix or a path, because a store "
                    "at a URL can only be read, and its objects cannot be listed"
                )
        if self.root_expiry < timedelta(seconds=1):
            raise ValueError(
                f"CRLCHECK_ROOT_EXPIRY is {self.root_expiry}: expected a positive time"
            )
        # The right to publish must not include the right to choose issuers, nor the reverse.
        for one, other in itertools.permutations(self.own_locations, 2):
            if one.holds(other.bucket, other.prefix):
                raise ValueError(
                    f"CRLCHECK_STORE is {self.store!r} and CRLCHECK_ISSUERS is "
                    f"{self.issuers!r}: expected neither to lie within the other"
                )

    @property
    def own_locations(self) -> tuple[S3Location, ...]:
        """The places of images and issuers, where no CRL is looked for."""
        return tuple(
            S3Location.parse(url) for url in (self.store, self.issuers) if url and is_s3_url(url)
        )
