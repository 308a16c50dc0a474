"""
Turn the names of distribution points into keys that are equal if the names match.

So a certificate's partition is found by a dictionary lookup.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

from crlcheck._binding import parse_issuing_distribution_point
from crlcheck.encoding.names import (
    directory_name,
    extended_names,
    name_key,
    uniform_resource_identifier,
)
from crlcheck.errors import MalformedCrlError
from crlcheck.types import DistributionPoint, IssuingDistributionPoint

ALL_REASONS = 0b1_1111_1110
"""ReasonFlags 1 to 8 (RFC 5280 4.2.1.13); bit 0 is unused."""

PointKey: TypeAlias = tuple[bool, bytes]
"""A name of a distribution point: whether it is a directory name, and its bytes to compare."""


def point_of_name(name: bytes) -> PointKey:
    """Return the key of the distribution point that a Name is."""
    return True, name_key(name)


def is_named(point: DistributionPoint) -> bool:
    """Whether *point* has the field distributionPoint."""
    return bool(point.full_names) or point.relative_name is not None


def point_keys(point: DistributionPoint, crl_issuer: bytes) -> Iterator[PointKey]:
    """
    Yield the keys of the names of *point*; none where it has no distributionPoint.

    A nameRelativeToCRLIssuer is relative to *crl_issuer*.
    """
    return (key for key, _ in keyed_points([point], crl_issuer))


def keyed_points(
    points: Iterable[DistributionPoint], crl_issuer: bytes
) -> Iterator[tuple[PointKey, int]]:
    """Yield the key of each name of *points*, all of one CRL issuer, with the point's reasons."""
    relative: list[tuple[bytes, int]] = []
    for point in points:
        for general_name in point.full_names:
            yield _key(general_name), reasons_of(point)
        if point.relative_name is not None:
            relative.append((point.relative_name, reasons_of(point)))
    if not relative:
        return
    # A relative name that is not an RDN ends this: neither it nor a later one matches.
    with contextlib.suppress(ValueError):
        names = extended_names(crl_issuer, [name for name, _ in relative])
        for name, (_, reasons) in zip(names, relative, strict=True):
            yield (True, name), reasons


def reasons_of(point: DistributionPoint) -> int:
    """Return the reasons that *point* is for, as a mask."""
    return ALL_REASONS if point.reasons is None else point.reasons & ALL_REASONS


@lru_cache(maxsize=8192)
def read_issuing_distribution_point(der: bytes) -> IssuingDistributionPoint | None:
    """Parse the extension, None if it is malformed; cached, as most of a catalog stays."""
    try:
        return parse_issuing_distribution_point(der)
    except MalformedCrlError:
        return None


# Scheme, then userinfo, then host and port (RFC 3986 3.1, 3.2). A URI without authority
# has a scheme only. Text without a scheme is not a URI, and is compared unchanged.
_URI = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*:)(?://((?:[^/?#]*@)?)([^/?#@]*))?")


def comparable_uri(uri: bytes) -> bytes:
    """
    Return a URI with scheme and host in lower case, which RFC 5280 7.4 compares
    without regard to case. Userinfo, path and query keep their case.

    Nothing else is normalised, neither percent-encoding nor a default port. So two
    spellings of one URI are two distribution points, and the CRL of one clears no
    certificate of the other.
    """
    match = _URI.match(uri)
    if match is None:
        return uri
    scheme, userinfo, host = match.groups()
    authority = b"" if host is None else b"//" + userinfo + host.lower()
    return scheme.lower() + authority + uri[match.end() :]


def _key(general_name: bytes) -> PointKey:
    name = directory_name(general_name)
    if name is not None:
        return True, name_key(name)
    uri = uniform_resource_identifier(general_name)
    if uri is not None:
        return False, b"uri:" + comparable_uri(uri)
    # Names of other kinds must be equal byte for byte. Their first byte is the tag, which
    # is never "u".
    return False, general_name
