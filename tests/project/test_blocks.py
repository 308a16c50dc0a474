"""Each fenced block of the documents is one that a test runs, parses or compares."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.blocks import all_blocks, blocks, claimed_blocks
from support.documents import documents

PAGE = """# Page

```console
# no heading
```

## Steps

1. First:

   ```json
   {
     "a": 1
   }
   ```

````markdown
```python
```
````
"""


def test_blocks_of_a_page(tmp_path: Path) -> None:
    """
    Each with the heading above it, and without the indentation of a list.
    """
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    assert [(one.line, one.heading, one.language, one.text) for one in all_blocks(path)] == [
        (3, "# Page", "console", "# no heading\n"),
        (11, "## Steps", "json", '{\n  "a": 1\n}\n'),
        (17, "## Steps", "markdown", "```python\n```\n"),
    ]
    path.write_text(PAGE + "```text\n")
    with pytest.raises(AssertionError, match="a block without an end"):
        all_blocks(path)


def test_blocks_that_are_not_there() -> None:
    """
    A test that takes one fails when the document changes.
    """
    page, heading = "serve.md", "## No such heading"
    take = blocks
    with pytest.raises(AssertionError, match="has no such block"):
        take(page, heading)


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_each_block_is_claimed(path: Path) -> None:
    """
    A new block needs a test that takes it by ``support.blocks.blocks``.
    """
    claimed = claimed_blocks()
    assert [str(one) for one in all_blocks(path) if one not in claimed] == []
