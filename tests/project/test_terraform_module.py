"""The Terraform module, read as files: its variables, its examples and its guide."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import hcl2
import pytest

from support.documents import document
from support.sam import sam_template
from support.terraform import EXAMPLES, MODULE, snake_case

ROOT = MODULE.parents[1]
FOLDERS = [MODULE, *sorted(EXAMPLES.iterdir())]
EACH_FOLDER = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)

MODULE_NAME = "module.crlcheck"

FIRST = {
    ".": {
        "aws_lambda_event_source_mapping.events": {"aws_iam_role_policy.preprocessor"},
        "aws_lambda_function.authorizer": {"aws_iam_role_policy.authorizer"},
        "aws_lambda_function.preprocessor": {"aws_iam_role_policy.preprocessor"},
        "aws_s3_bucket_lifecycle_configuration.this": {"aws_s3_bucket_versioning.this"},
        "aws_s3_bucket_notification.this": {"aws_lambda_permission.bucket"},
        "aws_s3_bucket_policy.this": {"aws_s3_bucket_public_access_block.this"},
    },
    "alb": {
        "aws_ecs_service.this": {
            "aws_iam_role_policy.task",
            "aws_iam_role_policy_attachment.execution",
            "aws_lb_listener.https",
            "aws_vpc_security_group_egress_rule.load_balancer",
            "aws_vpc_security_group_egress_rule.tasks",
            "aws_vpc_security_group_ingress_rule.tasks",
        },
        "aws_s3_object.issuers": {MODULE_NAME},
        "aws_s3_object.truststore": {MODULE_NAME},
    },
    "http-api": {
        "aws_apigatewayv2_stage.default": {"aws_apigatewayv2_route.default"},
        "aws_s3_object.issuers": {MODULE_NAME},
        "aws_s3_object.truststore": {MODULE_NAME},
    },
    "private-ca-partitioned": {},
    "rest-api": {
        "aws_s3_object.issuers": {MODULE_NAME},
        "aws_s3_object.truststore": {MODULE_NAME},
    },
}
"""What must be there before a resource although that does not refer to it, by folder."""

OF_EXAMPLES = {"ApiKind", "DomainName", "CertificateArn", "TruststoreVersion"}
"""Parameters of the demo API, which is in the examples."""


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/make_terraform.py, imported."""
    spec = spec_from_file_location("make_terraform", ROOT / "docs" / "make_terraform.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guide_has_each_variable_and_output(reference: ModuleType) -> None:
    """
    `make terraform-reference` wrote its tables, and nothing has changed since.
    """
    text = document("terraform.md").read_text("utf-8")
    assert reference.written(text) == text
    assert text.count("| `") > 25


def test_the_variables_are_the_parameters_of_the_sam_template(reference: ModuleType) -> None:
    """
    With the same defaults, and the bundles besides.
    """
    variables = reference.read(MODULE, "variable")
    parameters = sam_template()["Parameters"]
    expected = {
        snake_case(name): one for name, one in parameters.items() if name not in OF_EXAMPLES
    }
    assert list(variables) == [
        "name_prefix",
        "preprocessor_bundle",
        "authorizer_bundle",
        *list(expected)[1:],
    ]
    for name, one in expected.items():
        assert text_of(variables[name]["default"]) == str(one["Default"]), name


def resources(folder: Path) -> dict[str, dict[str, Any]]:
    """The resources of a module, by their addresses."""
    found = {}
    for path in sorted(folder.glob("*.tf")):
        with path.open(encoding="utf-8") as opened:
            for block in hcl2.load(opened).get("resource", []):
                ((kind, named),) = block.items()
                ((name, body),) = named.items()
                found[f"{kind}.{name}".replace('"', "")] = body
    return found


def text_of(default: Any) -> str:
    """A default as SAM writes it."""
    if default in (None, []):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


@EACH_FOLDER
def test_everything_is_described(reference: ModuleType, folder: Path) -> None:
    """
    Each variable has a type and a description, each output a description.
    """
    for variable in reference.read(folder, "variable").values():
        assert variable["type"]
        assert variable["description"]
    for output in reference.read(folder, "output").values():
        assert output["description"]


@EACH_FOLDER
def test_every_variable_is_used(reference: ModuleType, folder: Path) -> None:
    """
    And each that is used is declared.
    """
    text = "\n".join(
        path.read_text("utf-8") for path in folder.glob("*.tf") if path.name != "variables.tf"
    )
    used = set(re.findall(r"\bvar\.(\w+)", text))
    assert used == reference.read(folder, "variable").keys()


@pytest.mark.parametrize("folder", FOLDERS[1:], ids=lambda folder: folder.name)
def test_each_example_calls_the_module_as_it_is(reference: ModuleType, folder: Path) -> None:
    """
    It gives all that is required, and nothing that the module does not take.
    """
    call = reference.read(folder, "module")["crlcheck"]
    variables = reference.read(MODULE, "variable")
    given = {name for name in call if not name.startswith("__")} - {"source"}
    assert call["source"] == "../.."
    assert given <= variables.keys()
    assert given >= {name for name, one in variables.items() if "default" not in one}
    text = "\n".join(path.read_text("utf-8") for path in folder.glob("*.tf"))
    outputs = set(re.findall(r"\bmodule\.crlcheck\.(\w+)", text))
    assert outputs <= reference.read(MODULE, "output").keys()


@EACH_FOLDER
def test_versions_are_the_same_everywhere(folder: Path) -> None:
    """
    Of Terraform and of its provider.
    """
    assert (folder / "versions.tf").read_text() == (MODULE / "versions.tf").read_text()


def test_the_guide_names_each_example() -> None:
    """
    And no other.
    """
    guide = document("terraform.md").read_text("utf-8")
    named = re.findall(r"(?m)^\| `examples/([\w-]+)` \|", guide)
    assert sorted(named) == [folder.name for folder in FOLDERS[1:]]


def test_no_right_is_for_every_action() -> None:
    """
    A wildcard stands in denials only, and after a prefix or a log group's name.
    """
    for path in MODULE.rglob("*.tf"):
        for statement in re.findall(r'Effect += "Allow".*?\n +\}', path.read_text(), re.DOTALL):
            actions = values_of("Action", statement)
            assert actions, path
            assert not any("*" in action for action in actions), path
            assert "*" not in values_of("Resource", statement), path


def values_of(name: str, statement: str) -> list[str]:
    """The texts that a member of a policy's statement has, on however many lines."""
    return [
        text
        for found in re.findall(rf"\b{name} += (\[.*?\]|\S+)", statement, re.DOTALL)
        for text in re.findall('"(.*?)"', found)
    ]


def test_what_protects_the_bucket_is_never_destroyed() -> None:
    """
    Its versions, its policy and all else but its notification, which goes with the functions.
    """
    addresses = {
        address: resource
        for address, resource in resources(MODULE).items()
        if address.startswith("aws_s3_bucket")
    }
    kept = {
        address
        for address, resource in addresses.items()
        for lifecycle in resource.get("lifecycle", [])
        if lifecycle["prevent_destroy"]
    }
    assert kept == addresses.keys() - {"aws_s3_bucket_notification.this"}


@EACH_FOLDER
def test_each_waits_for_what_must_be_there_first(folder: Path) -> None:
    """
    And, where all is destroyed, is destroyed before it.
    """
    waiting = {
        address: {reference.removeprefix("${").removesuffix("}") for reference in references}
        for address, resource in resources(folder).items()
        for references in [resource.get("depends_on", [])]
        if references
    }
    assert waiting == FIRST["." if folder == MODULE else folder.name]


def test_no_partition_is_written_out() -> None:
    """
    ARNs begin otherwise in China and in GovCloud.
    """
    for path in MODULE.rglob("*.tf"):
        assert "arn:aws" not in path.read_text("utf-8"), path


def test_a_new_picture_of_the_api_is_made_for_each_change_of_it() -> None:
    """
    Each of its methods, paths and integrations and its authorizer triggers a deployment.
    """
    found = resources(EXAMPLES / "rest-api")
    parts = {
        address
        for address in found
        if re.match("aws_api_gateway_(authorizer|integration|method|resource)[.]", address)
    }
    triggers = found["aws_api_gateway_deployment.this"]["triggers"]
    assert set(re.findall(r"aws_api_gateway_\w+\.\w+", str(triggers))) == parts
