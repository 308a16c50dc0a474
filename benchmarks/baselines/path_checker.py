"""
The interface of peers that check a certificate and the one above it against CRLs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

from benchmarks.baselines.interface import Peer
from benchmarks.clients import Certificates, Site

Prepare = Callable[[Certificates], Callable[[], int]]
"""Takes certificates as DER and returns a call that tells how many of them are revoked."""


class PathChecker(Peer):
    """A way to ask whether a certificate, or the intermediate one above it, is revoked."""

    max_entries: ClassVar[int] = 1_000_000

    @abstractmethod
    def open(self, site: Site) -> AbstractContextManager[Prepare]:
        """Load certificates and CRLs of *site*, and be ready to check."""
