"""
Print, as JSON, the CloudFormation template that AWS makes of a SAM template.

Run by the interpreter that has the translator, which AWS runs too:
``python translate.py template.yaml``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class _NoManagedPolicies:
    """Stands for a look-up in IAM, which the template does not need."""

    @staticmethod
    def load() -> dict[str, str]:
        return {}


def main() -> None:
    """Translate the template that the command line names."""
    template = yaml_parse(Path(sys.argv[1]).read_text("utf-8"))
    for one in template["Resources"].values():
        # `sam package` uploads the folder, and puts its place here.
        if "CodeUri" in one.get("Properties", {}):
            one["Properties"]["CodeUri"] = "s3://bucket/key"
    print(json.dumps(transform(template, {}, _NoManagedPolicies())))


if __name__ == "__main__":
    main()
