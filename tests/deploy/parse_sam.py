"""
Print, as JSON, how SAM CLI itself reads a command: its name and its options, those of
samconfig.toml in the working directory included. Nothing is run.

Run by SAM CLI's interpreter: ``python parse_sam.py deploy --config-env staging``.
"""

from __future__ import annotations

import json
import sys

from samcli.cli.main import cli


def main() -> None:
    """Read the command that the command line has after this file's name."""
    group = cli.make_context("sam", sys.argv[1:])
    name, command, arguments = cli.resolve_command(group, [*group.protected_args, *group.args])
    read = command.make_context(name, arguments, parent=group)
    print(json.dumps({"command": name, **read.params}, default=str))


if __name__ == "__main__":
    main()
