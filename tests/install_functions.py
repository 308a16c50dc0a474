"""
Let this interpreter, and every process that it starts, import the Lambda functions.

They are no part of the wheel: in use they lie in a bundle beside it. Here they are
imported from the checkout, by a path file in the interpreter's site-packages. It leads
to a directory of links, so that nothing else of the checkout can be imported.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = ("lambda_authorizer", "preprocessor")


def main() -> None:
    """Make the links, and the path file that leads to them."""
    directory = ROOT / "build" / "functions"
    directory.mkdir(parents=True, exist_ok=True)
    for name in FUNCTIONS:
        link, target = directory / name, Path("..", "..", name)
        # One that is right stays: tests that run beside this may import through it.
        if not (link.is_symlink() and link.readlink() == target):
            link.unlink(missing_ok=True)
            link.symlink_to(target, target_is_directory=True)
    path_file = Path(sysconfig.get_path("purelib"), "crlcheck_functions.pth")
    path_file.write_text(f"{directory}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
