"""
Measure calls, and keep the results.

pytest-benchmark times the subject of a test; what it is compared with is timed
in the same rounds, turn and turn about, so that a machine whose speed drifts
slows both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[], object]
Maker = Callable[[], Call]
"""Makes ready, untimed, and returns the call that is timed."""

MIN_ROUNDS = 5
_BUDGET_SECONDS = 12.0


def measure(
    benchmark: Any,
    row: Mapping[str, Any],
    make_call: Maker,
    *,
    beside: Mapping[str, Maker] | None = None,
    rounds: int = MIN_ROUNDS,
    warmup_rounds: int = 1,
) -> Any:
    """
    Time what *make_call* makes, and what each of *beside* makes, in alternating rounds.

    *row* says what is measured, in the words of ``results.Row``: ``measure``,
    ``contender``, ``kind``, ``num_entries`` and what else identifies it, the
    ``operations`` of one call where they are many, and ``figures``. What each
    of *beside* takes is kept as rows of their own that differ in ``contender``.

    Returns what the last call returned.
    """
    samples: dict[str, list[float]] = {name: [] for name in beside or {}}

    def prepare() -> tuple[tuple[Call], dict[str, Any]]:
        for name, make_other in (beside or {}).items():
            other = make_other()
            start = time.perf_counter()
            other()
            samples[name].append(time.perf_counter() - start)
        return (make_call(),), {}

    result = benchmark.pedantic(_call, setup=prepare, rounds=rounds, warmup_rounds=warmup_rounds)
    keep(benchmark, row)
    benchmark.extra_info["beside"] = {
        name: seconds[warmup_rounds:] for name, seconds in samples.items()
    }
    return result


def _call(call: Call) -> object:
    return call()


def keep(benchmark: Any, row: Mapping[str, Any]) -> None:
    """Keep *row* beside what pytest-benchmark keeps."""
    benchmark.extra_info.update(row)


def affordable_rounds(estimate: float) -> int:
    """Return the rounds to give to a call of *estimate* seconds: fewer where it is slow."""
    return max(1, min(MIN_ROUNDS, int(_BUDGET_SECONDS / max(estimate, 1e-9))))


def timed(call: Call) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
