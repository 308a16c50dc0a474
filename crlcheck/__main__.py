"""Run ``crlcheck`` as ``python -m crlcheck``, where the script is not on the path."""

from __future__ import annotations

import sys

from crlcheck.cli import main

if __name__ == "__main__":
    sys.exit(main())
