"""Make checkers that hold the whole published set, to compare those with that read parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from crlcheck.catalog import published_set, tree
from crlcheck.checker import sections, store_set
from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.snapshot import Snapshot
from crlcheck.checker.views import View, Views
from crlcheck.types import CertificateFacts


class WholeViews(Views):
    """Answers every question by the whole set."""

    def of_certificate(self, certificate: CertificateFacts) -> View:
        """Return the view of the whole set."""
        del certificate
        self.everything()
        return self._views["everything"]

    def of_path(self, path: Sequence[CertificateFacts]) -> Snapshot:
        """Return the whole set."""
        del path
        return self.everything()

    def of_serials(self, certificates: Sequence[CertificateFacts], *, any_points: bool) -> Snapshot:
        """Return the whole set."""
        del certificates, any_points
        return self.everything()


def whole_checker(source: Any, **options: Any) -> RevocationChecker:
    """Return a checker that has read the whole set, and is not to be refreshed."""
    checker = RevocationChecker(source, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_set, "Views", WholeViews)
        checker.refresh()
    return checker


@contextmanager
def tiny_leaves() -> Iterator[None]:
    """Let each entry have a leaf of its own, so that every issuer is one with many scopes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "MAX_LEAF", tree._OVERHEAD + 2)
        patch.setattr(tree, "MAX_INNER", tree._OVERHEAD + 700)
        patch.setattr(published_set, "_FEW_LEAVES", 0)
        patch.setattr(sections, "_SMALL_SET", 0)
        patch.setattr(sections, "_SCOPES", 1)
        patch.setattr(sections, "_MOST_SCOPES", 2)
        yield
