"""What the tools of others say of the SAM template, and that it is built."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from support.cloudformation import Stack, resolve
from support.sam import FORMS, ROOT, SAM, TEMPLATE, TOOLS, sam_template
from support.terraform import MODULE


def run(*command: object, check: bool = True, cwd: Path = ROOT, **variables: str) -> str:
    """Run a tool, which must end with 0 unless told otherwise; return all that it prints."""
    environ = {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "HOME": os.environ.get("HOME", "/"),
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "ignore",
        "SAM_CLI_TELEMETRY": "0",
        **variables,
    }
    done = subprocess.run(
        [str(one) for one in command],
        env=environ,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def test_cfn_lint_finds_nothing() -> None:
    """
    Neither in the template nor in its rules and conditions.
    """
    assert run(TOOLS / "sam/bin/cfn-lint", TEMPLATE) == ""


def test_sam_validates_it() -> None:
    """
    With its own linter too.
    """
    output = run(TOOLS / "sam/bin/sam", "validate", "--lint", "--template", TEMPLATE)
    assert "is a valid SAM Template" in output


def test_cfn_lint_finds_nothing_in_the_translation(
    translated: dict[str, Any], tmp_path: Path
) -> None:
    """
    Which is what CloudFormation gets.
    """
    path = tmp_path / "translated.json"
    path.write_text(json.dumps(translated))
    assert run(TOOLS / "sam/bin/cfn-lint", path) == ""


def test_sam_reads_the_stages_as_they_are_meant() -> None:
    """
    With what `sam deploy --config-env STAGE` gives to the template, each makes a stack.
    """
    for stage in ("staging", "production"):
        text = run(
            *(TOOLS / "sam/bin/python", ROOT / "tests/deploy/parse_sam.py", "deploy"),
            *("--config-env", stage),
            cwd=SAM,
        )
        read = json.loads(text)
        assert (
            read["parameter_overrides"]["NamePrefix"] == read["stack_name"] == f"crlcheck-{stage}"
        )
        assert read["capabilities"] == ["CAPABILITY_IAM"]
        assert read["resolve_s3"] is True
        resolve(sam_template(), **read["parameter_overrides"])


def test_sam_builds_both_functions(tmp_path: Path) -> None:
    """
    By the makefile, for the architecture that is asked for.
    """
    build = tmp_path / "build"
    run(
        *(TOOLS / "sam/bin/sam", "build", "--template", TEMPLATE, "--build-dir", build),
        ARCHITECTURE="x86_64",
        TMPDIR=str(tmp_path),
    )
    for function, package in (
        ("AuthorizerFunction", "lambda_authorizer"),
        ("PreprocessorFunction", "preprocessor"),
    ):
        folder = build / function
        assert (folder / package / "handler.py").exists()
        native = (folder / "crlcheck" / "_native.abi3.so").read_bytes()
        assert native[:4] == b"\x7fELF"
        assert int.from_bytes(native[18:20], "little") == 62  # x86-64
    built = run(TOOLS / "sam/bin/sam", "validate", "--template", build / "template.yaml")
    assert "is a valid SAM Template" in built


def scanned(stack: Stack, path: Path) -> Path:
    """Write one form of the stack as a template, for tools that know no conditions."""
    path.write_text(json.dumps({"Resources": stack.resources}))
    return path


def test_checkov_finds_nothing_that_has_no_reason(
    translated: dict[str, Any], tmp_path: Path
) -> None:
    """
    Each finding that is left out has its reason in the template.
    """
    for name, given in FORMS:
        scanned(resolve(translated, **given), tmp_path / f"{name}.json")
    output = run(
        *(TOOLS / "scan/bin/checkov", "--directory", tmp_path, "--framework", "cloudformation"),
        *("--output", "json", "--skip-download"),
        check=False,
    )
    report = json.loads(output[output.index("{") :])
    failed = {
        (one["check_id"], one["check_name"], one["resource"])
        for one in report["results"]["failed_checks"]
    }
    assert failed == set()
    # And each reason is still one for a finding.
    skipped = {(one["check_id"], one["resource"]) for one in report["results"]["skipped_checks"]}
    assert skipped == {
        (skip["id"], f"{one['Type']}.{name}")
        for name, one in translated["Resources"].items()
        for skip in one.get("Metadata", {}).get("checkov", {}).get("skip", ())
    }
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100


def policies(stack: Stack) -> dict[str, Any]:
    """Every policy of a stack, by a name."""
    found = {
        f"{name}: {policy['PolicyName']}": policy["PolicyDocument"]
        for name, role in stack.of_type("AWS::IAM::Role").items()
        for policy in role["Policies"]
    }
    for name, one in stack.of_type("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy").items():
        found[name] = one["PolicyDocument"]
    return found


def test_parliament_finds_nothing(translated: dict[str, Any]) -> None:
    """
    In no policy of any form: each action exists, and fits its resource and its conditions.
    """
    unique = {
        json.dumps(policy): name
        for _, given in FORMS
        for name, policy in policies(resolve(translated, **given)).items()
    }
    assert len(unique) > 10
    wrong = json.dumps(next(iter(policies(resolve(translated)).values()))).replace(
        "s3:GetObject", "s3:GetObjects"
    )
    found = run(TOOLS / "scan/bin/parliament", "--string", wrong, check=False)
    assert "s3:GetObjects" in found
    for text, name in unique.items():
        output = run(TOOLS / "scan/bin/parliament", "--string", text, check=False)
        assert output.strip() == "", name


def test_checkov_finds_nothing_in_the_terraform_module() -> None:
    """
    Nor in its examples; each reason to leave a finding out is still one for a finding.
    """
    output = run(
        *(TOOLS / "scan/bin/checkov", "--directory", MODULE, "--framework", "terraform"),
        *("--output", "json", "--skip-download"),
        check=False,
    )
    report = json.loads(output[output.index("{") :])
    failed = {(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]}
    assert failed == set()
    used = {
        (Path(one["file_path"]).name, one["check_id"])
        for one in report["results"]["skipped_checks"]
    }
    assert used == {
        (path.name, check)
        for path in MODULE.rglob("*.tf")
        for check in re.findall(r"#checkov:skip=(\w+):\S", path.read_text("utf-8"))
    }
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100


def test_cfn_lint_finds_nothing_in_the_stack_of_an_example() -> None:
    """
    The private CA, which Terraform makes through CloudFormation.
    """
    template = MODULE / "examples" / "private-ca-partitioned" / "ca.yaml"
    assert run(TOOLS / "sam/bin/cfn-lint", template) == ""
