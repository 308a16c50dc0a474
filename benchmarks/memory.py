"""
Measure the memory that loading one CRL takes, in a process of its own.

``python -m benchmarks.memory NAME CRL ISSUER SMALL_CRL`` has a contender load CRL and
look up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.baselines.interface import Contender
from benchmarks.baselines.process import Program
from benchmarks.compile_memory import resident
from benchmarks.contenders import CONTENDERS
from benchmarks.serials import make_serials
from benchmarks.workloads import SEED

_NUM_LOOKUPS = 20_000
_PACKAGE_PARENT = Path(__file__).parents[1]


def run(module: str, *words: str | Path) -> dict[str, int]:
    """Run a module of this package in a new process and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)],
        cwd=_PACKAGE_PARENT,
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


def load(contender: Contender, crl: Path, issuer: Path, small: Path) -> dict[str, int]:
    """
    Have *contender* load *crl* and answer, and return what that added to its process.

    The *small* one of the same issuer before it sees to what is imported and made
    only once. A program with a collector says itself what is alive; its peak is
    that of the process, which keeps what it has collected.
    """
    # Serials of the same habit, of which hardly any is listed.
    habit = make_serials(contender.kind, _NUM_LOOKUPS, SEED + 1)
    queries = habit.integers()[: contender.num_queries]
    contender.start()
    try:
        warm = contender.load(small, small.with_suffix(".pem"))
        warm.prepare(queries[:1])()
        warm.close()
        before = resident(contender.process_id)
        alive_before = _alive(contender)
        lookups = contender.load(crl, issuer)
        peak = resident(contender.process_id, "VmHWM")
        lookups.prepare(queries)()  # a mapped image is resident where it was touched
        after = resident(contender.process_id)
        alive = _alive(contender)
        lookups.close()
    finally:
        contender.stop()
    steady = after - before if alive is None or alive_before is None else alive - alive_before
    return {"peak": max(peak, after) - before, "steady": steady}


def _alive(contender: Contender) -> int | None:
    """Return what a program with a collector has after a collection."""
    return contender.ask("memory") if isinstance(contender, Program) else None


def main() -> None:
    """Print the figures of what the command line asks for, as JSON."""
    name, *paths = sys.argv[1:]
    crl, issuer, *others = map(Path, paths)
    contender = next(each for each in CONTENDERS if each.name == name)
    print(json.dumps(load(contender, crl, issuer, *others)))


if __name__ == "__main__":
    main()
