"""What the endpoints of one worker share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crlcheck.access import Access
from crlcheck.checker.checker import RevocationChecker
from crlcheck.serve.recorder import Recorder
from crlcheck.serve.settings import ServeSettings

if TYPE_CHECKING:
    from crlcheck.ocsp import OcspResponder


@dataclass(frozen=True, slots=True)
class Service:
    """
    ``number`` tells this worker from the others: 1, 2, ... ``ocsp`` is None where no OCSP
    requests are answered. ``recorder`` takes note of the decisions, None where nobody asks for
    them.
    """

    settings: ServeSettings
    checker: RevocationChecker
    access: Access
    number: int = 1
    ocsp: OcspResponder | None = None
    recorder: Recorder | None = None
