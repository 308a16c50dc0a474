"""Each recipe of docs/guides/engines.md, as it stands there."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from support.blocks import Block, blocks
from support.inventory import Inventory
from support.pki import DAY, make_authority, make_crl

PUBLISHING = "## Publish tens of thousands of CRLs"
RECIPES = [one for one in blocks("engines.md", language="python") if one.heading != PUBLISHING]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.heading.removeprefix("## "))
def test_the_recipe_runs(
    recipe: Block, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With a directory in the place of the bucket, and a file of Parquet beside it.
    """
    pq.write_table(inventory.table, tmp_path / "inventory.parquet")
    names = run(recipe, tmp_path, inventory.store.url, monkeypatch)
    assert {"verdicts", "revoked", "batch"} & names.keys()


def test_crls_of_a_lake_are_published_by_one_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However many there are: read by executors, verified by the driver.
    """
    (tmp_path / "crls").mkdir()
    authorities = [make_authority(f"CA {number}") for number in range(100)]
    for number, authority in enumerate(authorities):
        (tmp_path / "crls" / f"{number}.crl").write_bytes(
            make_crl(authority, 1, [number + 1], next_update=datetime.now(UTC) + DAY)
        )
    pem = b"".join(authority.pem for authority in authorities)
    (tmp_path / "issuers.pem").write_bytes(pem)
    (recipe,) = (one for one in blocks("engines.md") if one.heading == PUBLISHING)
    names = run(recipe, tmp_path, str(tmp_path / "published"), monkeypatch)
    summary = names["summary"]
    assert (summary.num_published, summary.refused, summary.failed) == (100, {}, {})
    assert summary.generation == 1


def run(
    recipe: Block, directory: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Run a recipe in a directory, with a store in the place of the bucket."""
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    assert '"s3://bucket/published"' in recipe.text
    text = recipe.text.replace('"s3://bucket/published"', repr(store))
    # A JVM stays in the directory in which it was started.
    text = text.replace('"crls/', f'"{directory}/crls/')
    names: dict[str, Any] = {"__name__": "recipe"}
    try:
        exec(compile(text, f"{recipe.path.name}:{recipe.line}", "exec"), names)
    finally:  # a cluster that it has started
        if "spark" in names:
            names["spark"].stop()
        if "ray" in names:
            names["ray"].shutdown()
    return names
