"""Run one check of a store, and say what it found and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from crlcheck.errors import CrlCheckError, LockFileError, UnsafeStoreError
from crlcheck.remedies import remedy_of

OK, WARNING, FAILED = "ok", "warning", "failed"


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """
    One thing that was tried: ``outcome`` is ``"ok"``, ``"warning"`` or ``"failed"``.

    ``found`` says what was seen, and ``remedy`` what to do, "" if nothing.
    """

    name: str
    outcome: str
    found: str
    remedy: str = ""


Result = str | StoreCheck
"""What a check returns: a text if all is well, else a ``warning`` or a ``failure``."""


def attempt(name: str, remedy: str, check: Callable[[], Result]) -> StoreCheck:
    """Run one check; *remedy* is for a failure that does not have its own."""
    remedy = remedy or "do what the error says, and run this again"
    try:
        result = check()
    except UnsafeStoreError as error:
        return StoreCheck(name, FAILED, error.found, remedy)
    except LockFileError as error:
        return StoreCheck(name, FAILED, str(error), remedy_of(error) or remedy)
    except (CrlCheckError, OSError) as error:
        return StoreCheck(name, FAILED, str(error), remedy)
    except Exception as error:  # noqa: BLE001 - an answer may break a client in any way
        return StoreCheck(name, FAILED, f"{type(error).__name__}: {error}", remedy)
    if isinstance(result, str):
        return StoreCheck(name, OK, result)
    return replace(result, name=name, remedy=result.remedy or remedy)


def warning(found: str, remedy: str) -> StoreCheck:
    """Make the result of a check that found something worth knowing."""
    return StoreCheck("", WARNING, found, remedy)


def failure(found: str, remedy: str = "") -> StoreCheck:
    """Make the result of a check that found something wrong."""
    return StoreCheck("", FAILED, found, remedy)


NOT_SAFE = "use a store that compares and swaps (docs/guides/stores.md); publish nothing here"


def clock_check(skew: float, whose: str) -> Result:
    """Return whether a clock that is *skew* seconds ahead of this machine's is good enough."""
    if abs(skew) <= 60:
        return f"the clock of {whose} and this machine's agree within a minute"
    found = (
        f"the clock of {whose} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this "
        "machine's"
    )
    remedy = (
        "set the clocks by NTP: the times of a CRL are compared with this machine's, and S3 "
        "refuses requests that are a quarter of an hour off"
    )
    return warning(found, remedy) if abs(skew) <= 300 else failure(found, remedy)
