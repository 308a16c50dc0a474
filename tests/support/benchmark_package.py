"""
The benchmarks package, which is not installed.

It is found by its file, so that the source tree stays off sys.path and the
crlcheck that is tested stays the installed one.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_INIT = Path(__file__).parents[2] / "benchmarks" / "__init__.py"

if "benchmarks" not in sys.modules:
    _spec = spec_from_file_location("benchmarks", _INIT)
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["benchmarks"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["benchmarks"])

from benchmarks import (  # noqa: E402
    bounds,
    clients,
    columns,
    first_answer,
    generate,
    plots,
    report,
    results,
    serials,
    slow_s3,
    tables,
    targets,
)
from benchmarks.baselines import openssl_verify  # noqa: E402

__all__ = [
    "bounds",
    "clients",
    "columns",
    "first_answer",
    "generate",
    "openssl_verify",
    "plots",
    "report",
    "results",
    "serials",
    "slow_s3",
    "tables",
    "targets",
]
