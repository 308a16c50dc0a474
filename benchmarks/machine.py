"""
Describe the machine, and the versions of the software on it.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines.interface import Peer, installed
from benchmarks.contenders import ALL_CONTENDERS, PATH_CHECKERS

_TOOLS = ("cffi", "cryptography", "pyroaring", "numpy", "pytest-benchmark", "matplotlib")
_CPUINFO = Path("/proc/cpuinfo")
# Of x86, and of ARM.
_MODEL_FIELDS = ("cpu family", "model", "CPU implementer", "CPU part")
_DEFAULT_CACHE_SIZE = 32 << 20


def describe(sizes: Sequence[int]) -> dict[str, Any]:
    """Return what the report says of a run of *sizes*; all of it fits JSON."""
    everyone: tuple[Peer, ...] = (*ALL_CONTENDERS, *PATH_CHECKERS)
    return {
        "processor": _first_match(_CPUINFO, r"model name\s*: (.*)")
        or platform.processor()
        or platform.machine(),
        "model": _model(),
        "cores": len(os.sched_getaffinity(0)),
        "last_level_cache": last_level_cache_size(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sizes": list(sizes),
        "tools": [installed(tool) for tool in _TOOLS],
        "contenders": [
            {"name": each.name, "title": each.title, "how": each.how, "version": each.version()}
            for each in everyone
            if not each.absent()
        ],
        "absent": {each.title: each.absent() for each in everyone if each.absent()},
    }


def _model() -> str:
    """
    Return what tells processors of one name apart: clouds often give no more than the brand.
    """
    found = [_first_match(_CPUINFO, rf"{name}\s*: (\S+)") for name in _MODEL_FIELDS]
    return " ".join(
        f"{name.lower()} {value}"
        for name, value in zip(_MODEL_FIELDS, found, strict=True)
        if value is not None
    )


def last_level_cache_size() -> int:
    """Return the bytes of the last cache before memory, as the system tells them."""
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    text = caches[-1].read_text().strip() if caches else ""
    found = re.fullmatch(r"(\d+)([KM])", text)
    if found is None:
        return _DEFAULT_CACHE_SIZE
    return int(found[1]) << {"K": 10, "M": 20}[found[2]]


def _first_match(path: Path, pattern: str) -> str | None:
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found[1] if found else None
