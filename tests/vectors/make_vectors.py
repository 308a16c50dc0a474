"""
Makes the vectors: small CRLs and certificates that were, or could be, answered
wrongly somewhere.

``PYTHONPATH=tests .venv/bin/python -m vectors.make_vectors`` writes them anew,
and the list of them in README.md. What is made is the same every time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from support.vectors import Vector
from vectors import refusals, verdicts

DIRECTORY = Path(__file__).parent
README = DIRECTORY / "README.md"


def all_vectors() -> list[Vector]:
    """Every vector, in the order of the README."""
    kinds = (
        verdicts.general_names, verdicts.scopes, verdicts.entries, verdicts.deltas,
        verdicts.indirect, verdicts.leniencies,
        refusals.refused_entries, refusals.refused_crls, refusals.certificates,
    )  # fmt: skip
    return [vector for kind in kinds for vector in kind()]


def listed_in(readme: str, vectors: Sequence[Vector]) -> str:
    """Return *readme* with its list of vectors brought up to date."""
    lines = [f"- `{v.name}.pem` ({v.source}): {v.about}" for v in vectors]
    begin, end = "<!-- vectors -->\n", "<!-- end of vectors -->"
    text = f"{begin}\n" + "\n".join(lines) + f"\n\n{end}"
    return re.sub(f"{begin}.*?{end}", lambda _: text, readme, flags=re.DOTALL)


def main() -> None:
    """Write everything, and remove what is no vector any more."""
    vectors = all_vectors()
    for path in DIRECTORY.glob("*.pem"):
        path.unlink()
    for vector in vectors:
        (DIRECTORY / f"{vector.name}.pem").write_bytes(vector.to_pem())
    README.write_text(listed_in(README.read_text(encoding="utf-8"), vectors), encoding="utf-8")


if __name__ == "__main__":
    main()
