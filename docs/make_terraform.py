"""
Write the tables of the Terraform module's inputs and outputs into its guide, from its files:
``make terraform-reference``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "deploy" / "terraform"
GUIDE = ROOT / "docs" / "guides" / "terraform.md"


def read(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return the blocks of one kind, such as variables, of all files of a module, by name."""
    found = {}
    for path in sorted(folder.glob("*.tf")):
        with path.open(encoding="utf-8") as opened:
            for block in hcl2.load(opened).get(kind, []):
                ((name, body),) = block.items()
                found[name.strip('"')] = {key: _value(value) for key, value in body.items()}
    return found


def _value(value: Any) -> Any:
    """A literal as itself, and any other expression as its text."""
    if isinstance(value, str) and value.startswith('"'):
        return json.loads(value)
    if isinstance(value, str) and re.fullmatch(r"\$\{.*\}", value, re.DOTALL):
        return value[2:-1]
    return value


def tables(folder: Path = MODULE) -> dict[str, str]:
    """Return the tables of inputs and outputs, in Markdown, by their headings."""
    inputs = ["| variable | type | default | |", "|---|---|---|---|"]
    for name, body in read(folder, "variable").items():
        default = f"`{json.dumps(body['default'])}`" if "default" in body else "**required**"
        inputs.append(f"| `{name}` | `{body['type']}` | {default} | {body['description']} |")
    outputs = ["| output | |", "|---|---|"]
    for name, body in read(folder, "output").items():
        outputs.append(f"| `{name}` | {body['description']} |")
    return {"Variables": "\n".join(inputs), "Outputs": "\n".join(outputs)}


def written(text: str) -> str:
    """Return the guide with the tables as they are now."""
    for heading, table in tables().items():
        before, after = re.split(rf"(?m)^## {heading}\n", text)
        words = re.match(r"\n(?:[^|#].*\n\n)*", after)
        assert words is not None
        rest = re.sub(r"\A(?:\|.*\n)*\n*", "", after[words.end() :])
        text = f"{before}## {heading}\n{words[0]}{table}\n\n{rest}"
    return text


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text("utf-8")), "utf-8")
