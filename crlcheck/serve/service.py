"""What the endpoints of one worker share."""

from __future__ import annotations

from dataclasses import dataclass

from crlcheck.access import Access
from crlcheck.checker.checker import RevocationChecker
from crlcheck.serve.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Service:
    """``number`` tells this worker from the others: 1, 2, ..."""

    settings: ServeSettings
    checker: RevocationChecker
    access: Access
    number: int = 1
