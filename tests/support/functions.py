"""Lambda functions imported anew, as a new execution environment would."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import pytest


def import_function(monkeypatch: pytest.MonkeyPatch, name: str, **settings: str) -> Any:
    """
    Return the module ``<name>.handler``, imported with exactly these settings.

    ``store="x"`` stands for ``CRLCHECK_STORE=x``.
    """
    for variable in [name for name in os.environ if name.startswith("CRLCHECK_")]:
        monkeypatch.delenv(variable)
    for setting, value in settings.items():
        monkeypatch.setenv(f"CRLCHECK_{setting.upper()}", value)
    # The others keep nothing between invocations.
    for module in ("handler", "protection", "environment"):
        sys.modules.pop(f"{name}.{module}", None)
    return importlib.import_module(f"{name}.handler")


def lines_of(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, Any]]:
    """What a function has logged, each line read as JSON, with its level."""
    return [
        {"level": record.levelname, **json.loads(record.getMessage())}
        for record in caplog.records
        if record.name == logger
    ]
