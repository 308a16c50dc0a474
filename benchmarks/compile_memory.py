"""
Measure the memory of a process that compiles one CRL and does nothing else.

``python -m benchmarks.compile_memory CRL ISSUER`` compiles as a stream, without
attributes, and prints the peak. Only crlcheck is imported: what measures the peers
takes 20 MiB by itself.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import crlcheck


def resident(process_id: int | str = "self", field: str = "VmRSS") -> int:
    """
    Return the bytes resident of a process, or with VmHWM the most there ever were.

    Not getrusage: its peak is also that of the process that started this one.
    """
    status = Path(f"/proc/{process_id}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, f"no {field} in {status}"
    return int(found[1]) << 10


def compile_streamed(crl: Path, issuer: Path) -> dict[str, int]:
    """Compile from a file object, without attributes, and return the peak of the process."""
    image = crl.with_suffix(".memory.crlx")
    image.unlink(missing_ok=True)
    with crl.open("rb", buffering=0) as stream:
        report = crlcheck.compile_crl(
            stream, image, issuer=issuer, attributes=False, fsync=False, max_source_size=0
        )
    image.unlink()
    return {"peak": resident(field="VmHWM"), "image_size": report.image_size}


if __name__ == "__main__":
    print(json.dumps(compile_streamed(*map(Path, sys.argv[1:3]))))
