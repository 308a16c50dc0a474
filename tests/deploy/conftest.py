"""Fixtures of the checks of deployments; `make deploy-check` installs their tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.sam import TEMPLATE, TOOLS


@pytest.fixture(scope="session")
def translated() -> dict[str, Any]:
    """The CloudFormation template that AWS makes of the SAM template."""
    run = subprocess.run(
        [TOOLS / "sam" / "bin" / "python", Path(__file__).with_name("translate.py"), TEMPLATE],
        env={"AWS_DEFAULT_REGION": "eu-central-1", "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found
