"""Each fenced block of the documents is one that a test runs, parses or compares."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.blocks import all_blocks, claimed_blocks
from support.documents import documents


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_each_block_is_claimed(path: Path) -> None:
    """
    A new block needs a test that takes it by ``support.blocks.blocks``.
    """
    claimed = claimed_blocks()
    assert [str(one) for one in all_blocks(path) if one not in claimed] == []
