"""Each recipe of docs/guides/engines.md, as it stands there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from support.blocks import Block, blocks
from support.inventory import Inventory

RECIPES = blocks("engines.md", language="python")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.heading.removeprefix("## "))
def test_the_recipe_runs(
    recipe: Block, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With a directory in the place of the bucket, and a file of Parquet beside it.
    """
    pq.write_table(inventory.table, tmp_path / "inventory.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    assert os.environ["PYSPARK_PYTHON"] == sys.executable
    assert '"s3://bucket/published"' in recipe.text
    text = recipe.text.replace('"s3://bucket/published"', repr(inventory.store.url))
    names: dict[str, Any] = {"__name__": "recipe"}
    try:
        exec(compile(text, f"{recipe.path.name}:{recipe.line}", "exec"), names)
    finally:  # a cluster that it has started
        if "spark" in names:
            names["spark"].stop()
        if "ray" in names:
            names["ray"].shutdown()
    assert {"verdicts", "revoked", "batch"} & names.keys()
