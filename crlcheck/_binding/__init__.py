"""
Call the compiled module ``crlcheck._native``, which no other package imports.

All functions take and return Python values. Every error status of the native core becomes
an exception of ``crlcheck.errors``.
"""

from __future__ import annotations

from crlcheck._binding.certificate import parse_certificate, parse_issuing_distribution_point
from crlcheck._binding.crl import CrlFields, CrlParser, ImageWriter, ParsedCrl, SortedEntries
from crlcheck._binding.image import (
    DIGEST_SIZE,
    DIGESTS_PER_BLOCK,
    MAX_SERIAL,
    PAGE_SIZE,
    FoundEntry,
    ImageLayout,
    NativeImage,
)
from crlcheck._binding.paged import NativePagedImage, PageSource
from crlcheck._native import Lookup, certificate_kind

__all__ = [
    "DIGESTS_PER_BLOCK",
    "DIGEST_SIZE",
    "MAX_SERIAL",
    "PAGE_SIZE",
    "CrlFields",
    "CrlParser",
    "FoundEntry",
    "ImageLayout",
    "ImageWriter",
    "Lookup",
    "NativeImage",
    "NativePagedImage",
    "PageSource",
    "ParsedCrl",
    "SortedEntries",
    "certificate_kind",
    "parse_certificate",
    "parse_issuing_distribution_point",
]
