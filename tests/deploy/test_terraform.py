"""
The Terraform module: Terraform itself reads and plans it, against the schemas of the provider
for AWS, and what it would make is what the SAM template makes, field by field.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crlcheck import RevocationStatus
from support.blocks import as_page, blocks
from support.cloudformation import ACCOUNT, REGION, RefusedParametersError, read_template, resolve
from support.console import commands_of
from support.sam import (
    EVENT_SOURCES,
    EVERYTHING,
    OF_API,
    SECURITY,
    TOOLS,
    parameters_of,
    sam_template,
)
from support.terraform import (
    EXAMPLES,
    MODULE,
    RefusedVariablesError,
    Terraform,
    as_cloudformation,
    program,
    snake_case,
    variables_of,
)

ROOT = MODULE.parents[1]


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform, with the provider that knows AWS's resources and makes none."""
    found = program()
    assert found is not None, "terraform is not on PATH; DEPLOY_TESTS leaves this file out then"
    directory = tmp_path_factory.mktemp("tf")
    copy = directory / "deploy"
    shutil.copytree(MODULE, copy / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    shutil.copytree(ROOT / "deploy" / "ecs", copy / "ecs")
    text = "".join(path.read_text("utf-8") for path in MODULE.rglob("*.tf"))
    names = sorted(
        {("data." if kind == "data" else "") + name
         for kind, name in re.findall(r'^(resource|data) "(aws_\w+)"', text, re.MULTILINE)}
    )  # fmt: skip
    (wheel,) = (TOOLS / "terraform").glob("*.whl")
    with subprocess.Popen(
        [
            TOOLS / "terraform" / "bin" / "python",
            Path(__file__).with_name("terraform_provider.py"),
            *(wheel, directory / "socket", *names),
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as provider:
        assert provider.stdout is not None
        assert provider.stdout.readline() == f"{len(names)} resources\n"
        try:
            yield Terraform(found, directory / "socket", provider.pid, copy)
        finally:
            provider.kill()


@pytest.fixture(scope="session")
def module(terraform: Terraform) -> Terraform:
    """The same, with the module looked up and two files that stand for its bundles."""
    for name in ("authorizer", "preprocessor"):
        (terraform.copy / f"{name}-arm64.zip").write_bytes(name.encode())
    terraform.initialized()
    return terraform


def plan(module: Terraform, **variables: Any) -> dict[str, Any]:
    """The plan of the module with some variables."""
    bundles = {
        f"{name}_bundle": str(module.copy / f"{name}-arm64.zip")
        for name in ("authorizer", "preprocessor")
    }
    return module.plan({**bundles, **variables})


# ---- what Terraform says -----------------------------------------------------


def test_every_file_is_formatted(terraform: Terraform) -> None:
    """
    As `terraform fmt` writes it.
    """
    assert terraform.run("fmt", "-check", "-recursive") == ""


@pytest.mark.parametrize("name", [".", *(f"examples/{one.name}" for one in EXAMPLES.iterdir())])
def test_terraform_validates_it(terraform: Terraform, name: str) -> None:
    """
    Each resource, block and argument is one that the provider for AWS has, of that type, and
    none that is required is missing.
    """
    terraform.initialized(name)
    assert "The configuration is valid" in terraform.run("validate", "-no-color", module=name)
    assert "Warning" not in terraform.run("validate", "-no-color", module=name)


@pytest.mark.parametrize(
    "change",
    [
        ("authorizer.tf", "memory_size ", "memory_sizes "),
        ("authorizer.tf", "timeout          = 10", "timeout          = [10]"),
        ("bucket.tf", "  restrict_public_buckets = true\n", "  restrict = true\n"),
        ("events.tf", "  function_name           = aws_lambda_function.preprocessor", "  x = 1#"),
        ("preprocessor.tf", "  on_failure {", "  on_failures {"),
        ("preprocessor.tf", '"aws_sqs_queue" "failures"', '"aws_sqs_queues" "failures"'),
        ("outputs.tf", "aws_sqs_queue.failures.url", "aws_sqs_queue.failures.uri"),
    ],
    ids=lambda change: change[2].strip(),
)
def test_terraform_would_find_a_fault(
    terraform: Terraform, change: tuple[str, str, str], tmp_path: Path
) -> None:
    """
    An argument, a block, a type, a resource or an attribute that is none, and what is missing.
    """
    file, old, new = change
    folder = terraform.copy / "terraform" / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in MODULE.glob("*.tf"):
        text = path.read_text("utf-8")
        assert path.name != file or old in text
        (folder / path.name).write_text(text.replace(old, new) if path.name == file else text)
    terraform.initialized("broken")
    with pytest.raises(RefusedVariablesError):
        terraform.run("validate", "-no-color", module="broken")


# ---- what it would make ------------------------------------------------------

BUNDLES = {"CodeUri", "InlineCode"}
"""What is said of a function's code."""

OF_APIS = re.compile("Api|Http|Rest|Demo")
"""Resources of the demo API, which examples have here."""


def plain(value: Any) -> Any:
    """
    A value without what makes no difference: a number or its text, one text or a list of it,
    the order of a policy's actions, resources and principals, what is empty, and how JSON is
    written.
    """
    if isinstance(value, dict):
        members = {
            name: listed(one) if name in LISTS or is_condition(name) else plain(one)
            for name, one in value.items()
        }
        return {name: one for name, one in members.items() if one not in ({}, [], None)}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, str) and value.startswith('{"'):
        return plain(json.loads(value))
    return value


LISTS = {"Action", "AWS", "Resource", "Service"}


def is_condition(name: str) -> bool:
    """Whether it is a key of an IAM condition, which has one value or a list."""
    return name.startswith(("aws:", "kms:"))


def listed(value: Any) -> Any:
    """One or several texts, sorted."""
    if isinstance(value, dict):
        return plain(value)
    return sorted(plain([value] if isinstance(value, str) else value))


def of_sam(**parameters: str) -> dict[str, Any]:
    """What the SAM template makes, with the names that the module gives."""
    made = resolve(sam_template(), **parameters)
    prefix = parameters.get("NamePrefix", "crlcheck")
    found = {}
    for name, one in made.resources.items():
        text = json.dumps({k: v for k, v in one["Properties"].items() if k not in BUNDLES})
        for role in ("Preprocessor", "Authorizer"):  # CloudFormation chooses their names
            text = text.replace(f"role/{role}Role", f"role/{prefix}-{role.lower()}")
        # CloudFormation's ARN of a log group is that of its streams, which API Gateway takes too.
        text = re.sub(r'("DestinationArn": "[^"]*):\*"', r'\1"', text)
        found[name] = json.loads(text)
        for described in found[name].keys() & {"AlarmDescription", "Description"}:
            for parameter in sam_template()["Parameters"]:
                found[name][described] = re.sub(
                    rf"\b{parameter}\b", snake_case(parameter), found[name][described]
                )
    tags = found["Bucket"]["Tags"]  # the second is there for CloudFormation's order only
    found["Bucket"]["Tags"] = [one for one in tags if one["Key"] == "crlcheck:store"]
    found["Dashboard"]["DashboardBody"] = json.loads(found["Dashboard"]["DashboardBody"])
    return {name: plain(one) for name, one in found.items()}


def of_module(module: Terraform, **parameters: str) -> dict[str, Any]:
    """What the module makes of the variables that mean the same."""
    made = as_cloudformation(plan(module, **variables_of(parameters, sam_template())))
    return {name: plain(one) for name, one in made.items()}


CHANGED = {
    "NamePrefix": "other",
    "Architecture": "x86_64",
    "LogRetentionDays": "30",
    "FetchUrls": "https://ca.example.com/a.crl",
    "FetchSchedule": "rate(5 minutes)",
    "FetchPrivate": "true",
    "ReservedConcurrency": "0",
    "Mode": "enforce",
    "RefreshSeconds": "30",
    "MaxCatalogAgeHours": "6",
    "ExpiryAlarmHours": "48",
    "PublicationAlarmHours": "12",
}
"""A value for each parameter that is never empty, other than its default."""


@pytest.mark.parametrize("changed", [False, True], ids=["defaults", "changed"])
@pytest.mark.parametrize("everything", [False, True], ids=["least", "everything"])
@pytest.mark.parametrize("event_source", EVENT_SOURCES)
def test_it_makes_what_the_sam_template_makes(
    module: Terraform, event_source: str, everything: bool, changed: bool
) -> None:
    """
    The same resources, and each of their properties: roles, policies, settings, alarms.
    """
    parameters = parameters_of(event_source, "none", everything=everything)
    parameters = {**parameters, **(CHANGED if changed else {})}
    theirs = of_sam(**parameters)
    ours = of_module(module, **parameters)
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        assert ours[name] == one, name


@pytest.mark.parametrize("parameter", sorted(EVERYTHING.keys() | CHANGED.keys()))
def test_each_variable_does_what_the_parameter_does(module: Terraform, parameter: str) -> None:
    """
    Alone, without the others: what one of them changes is not hidden by another.
    """
    value = {**EVERYTHING, **CHANGED}[parameter]
    theirs, ours = of_sam(**{parameter: value}), of_module(module, **{parameter: value})
    assert ours == theirs
    if parameter != "FetchSchedule":  # says nothing without URLs
        assert theirs != of_sam()


TRUSTED = {f"ca.{ending}": f"a CA in {ending}" for ending in ("cer", "crt", "der", "pem")}
ISSUERS, TRUSTSTORE = {**TRUSTED, "README.md": "no CA"}, "another"
"""What the files of trust have, which the examples upload."""

OF_EXAMPLES: dict[str, dict[str, Any]] = {
    "http-api": {"backend_url": "https://orders.example.com"},
    "rest-api": {"backend_url": "https://orders.example.com"},
    "alb": {
        "certificate_arn": OF_API["CertificateArn"],
        "images": {name: f"{name}:1" for name in ("crlcheck", "nginx", "orders")},
        "cluster_arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/services",
        "vpc_id": "vpc-1",
        "public_subnet_ids": ["subnet-1", "subnet-2"],
        "private_subnet_ids": ["subnet-3", "subnet-4"],
    },
    "private-ca-partitioned": {},
}
"""What each example asks for, beside what those that are alike ask for."""


def plan_of_example(terraform: Terraform, name: str, **variables: Any) -> dict[str, Any]:
    """The plan of an example with all that it asks for."""
    terraform.initialized(f"examples/{name}")
    for one in ("authorizer", "preprocessor"):
        (terraform.copy / f"{one}-arm64.zip").write_bytes(one.encode())
    given = {"bundles": str(terraform.copy), **OF_EXAMPLES[name]}
    if name != "private-ca-partitioned":
        (terraform.copy / "issuers").mkdir(exist_ok=True)
        for file, text in ISSUERS.items():
            (terraform.copy / "issuers" / file).write_text(text)
        (terraform.copy / "truststore.pem").write_text(TRUSTSTORE)
        given |= {
            "deployer_arn": SECURITY,
            "issuers_directory": str(terraform.copy / "issuers"),
            "truststore_file": str(terraform.copy / "truststore.pem"),
        }
    if name.endswith("-api"):
        given |= {
            "domain_name": OF_API["DomainName"],
            "certificate_arn": OF_API["CertificateArn"],
        }
    return terraform.plan({**given, **variables}, f"examples/{name}")


def planned_resources(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of each resource of a plan that are known, by its address."""
    return {
        one["address"]: one["change"]["after"]
        for one in plan["resource_changes"]
        if one["mode"] == "managed"
    }


def expressions(plan: dict[str, Any], address: str) -> dict[str, Any]:
    """The arguments of a resource as they are written in the files of the example."""
    (found,) = (
        one["expressions"]
        for one in plan["configuration"]["root_module"]["resources"]
        if one["address"] == address
    )
    return dict(found)


def references(plan: dict[str, Any], address: str, argument: str) -> list[str]:
    """What an argument of a resource refers to."""
    return list(expressions(plan, address).get(argument, {}).get("references", []))


@pytest.mark.parametrize("kind", ["http", "rest"])
def test_the_examples_make_the_demo_api_before_a_backend(terraform: Terraform, kind: str) -> None:
    """
    The authorizer, every method and path behind it, the domain and the log are the same. What
    the API protects is not, nor the version of the trust store, which is uploaded in one step.
    """
    planned = plan_of_example(terraform, f"{kind}-api")
    ours = {key: plain(one) for key, one in as_cloudformation(planned).items()}
    ours[f"{kind.capitalize()}Api"].pop("Name", None)
    theirs = of_sam(**parameters_of("eventbridge", kind, everything=False),
                    IssuersWriterArns=SECURITY)  # fmt: skip
    theirs = {
        key.replace(f"PermissionFor{kind.capitalize()}Api", "Permission"): one
        for key, one in theirs.items()
        if not re.search("Demo|Integration|Mapping|Deployment", key)
    }
    theirs[f"{kind.capitalize()}Api"].pop("Name")  # the examples' APIs are no demos
    for one in theirs.values():
        one.pop("Integration", None)
        one.get("MutualTlsAuthentication", {}).pop("TruststoreVersion", None)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key] == value, key


@pytest.mark.parametrize("kind", ["http", "rest"])
def test_whatever_the_authorizer_lets_pass_reaches_the_backend(
    terraform: Terraform, kind: str
) -> None:
    """
    With its path and method. No request lacks what the authorizer must have to be asked.
    """
    made = planned_resources(plan_of_example(terraform, f"{kind}-api"))
    if kind == "http":
        integrations = [made["aws_apigatewayv2_integration.backend"]]
        assert integrations[0]["integration_uri"] == "https://orders.example.com"
        assert integrations[0]["request_parameters"] == {"overwrite:path": "$request.path"}
        assert made["aws_apigatewayv2_authorizer.crlcheck"]["identity_sources"] is None
    else:
        root, below = (
            made[f"aws_api_gateway_integration.{name}"] for name in ("root", "every_path")
        )
        assert root["uri"] == "https://orders.example.com"
        assert below["uri"] == "https://orders.example.com/{proxy}"
        path = "method.request.path.proxy"
        assert below["request_parameters"] == {"integration.request.path.proxy": path}
        assert made["aws_api_gateway_method.every_path"]["request_parameters"] == {path: True}
        integrations = [root, below]
        # Without this empty text the provider asks for the header Authorization.
        assert made["aws_api_gateway_authorizer.crlcheck"]["identity_source"] == ""
    arguments = {
        "http": ("integration_type", "integration_method"),
        "rest": ("type", "integration_http_method"),
    }
    for one in integrations:
        assert [one[argument] for argument in arguments[kind]] == ["HTTP_PROXY", "ANY"]


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("http", "https://orders.example.com/"),
        ("http", "https://orders.example.com/v1"),  # it would be lost
        ("http", "orders.example.com"),
        ("rest", "https://orders.example.com/"),
        ("rest", "https://orders.example.com/v1/"),  # two slashes would follow each other
        ("rest", "https://orders.example.com?all"),
    ],
)
def test_a_backend_to_which_no_path_can_be_added_is_refused(
    terraform: Terraform, kind: str, url: str
) -> None:
    """
    And the variable is named.
    """
    with pytest.raises(RefusedVariablesError, match="backend_url must"):
        plan_of_example(terraform, f"{kind}-api", backend_url=url)


def test_a_rest_api_may_lead_below_a_path(terraform: Terraform) -> None:
    """
    Of the backend's.
    """
    plan = plan_of_example(terraform, "rest-api", backend_url="https://orders.example.com/v1")
    below = planned_resources(plan)["aws_api_gateway_integration.every_path"]
    assert below["uri"] == "https://orders.example.com/v1/{proxy}"


@pytest.mark.parametrize("name", ["alb", "http-api", "rest-api"])
def test_whom_to_trust_is_uploaded_again_when_it_changes(terraform: Terraform, name: str) -> None:
    """
    Certificates and nothing else from the directory; and what trusts the file of CAs has the
    version of it that was uploaded.
    """
    plan = plan_of_example(terraform, name)
    made = planned_resources(plan)
    objects = {
        one["key"]: one["source_hash"]
        for address, one in made.items()
        if address.startswith("aws_s3_object.")
    }
    expected = {f"issuers/{file}": text for file, text in TRUSTED.items()}
    expected["truststore/truststore.pem"] = TRUSTSTORE
    assert objects == {
        key: hashlib.sha256(text.encode()).hexdigest() for key, text in expected.items()
    }
    uploaded = "aws_s3_object.truststore.version_id"
    if name == "alb":
        assert uploaded in references(
            plan, "aws_lb_trust_store.clients", "ca_certificates_bundle_s3_object_version"
        )
    else:
        kind = "apigatewayv2" if name == "http-api" else "api_gateway"
        (tls,) = expressions(plan, f"aws_{kind}_domain_name.this")["mutual_tls_authentication"]
        assert uploaded in tls["truststore_version"]["references"]


def test_a_function_is_replaced_when_its_bundle_changes(module: Terraform) -> None:
    """
    Each by its own.
    """
    made = planned_resources(plan(module))
    for name in ("authorizer", "preprocessor"):
        function = made[f"aws_lambda_function.{name}"]
        assert Path(function["filename"]).name == f"{name}-arm64.zip"
        digest = hashlib.sha256(name.encode()).digest()
        assert function["source_code_hash"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize("protected", [True, False])
def test_the_load_balancer_can_be_deleted_when_one_says_so(
    terraform: Terraform, protected: bool
) -> None:
    """
    Not before: AWS refuses, and `terraform destroy` stops in the middle.
    """
    given = {} if protected else {"deletion_protection": False}
    made = planned_resources(plan_of_example(terraform, "alb", **given))
    assert made["aws_lb.this"]["enable_deletion_protection"] is protected


def test_only_the_load_balancer_reaches_the_tasks(terraform: Terraform) -> None:
    """
    The one listener that forwards verifies certificates, and the tasks' port is open to the
    load balancer alone: whoever else reached nginx could write the header himself.
    """
    plan = plan_of_example(terraform, "alb")
    made = planned_resources(plan)
    forwarding = {
        address: listener
        for address, listener in made.items()
        if address.startswith("aws_lb_listener.")
        and listener["default_action"][0]["type"] != "redirect"
    }
    assert list(forwarding) == ["aws_lb_listener.https"]
    (mutual,) = forwarding["aws_lb_listener.https"]["mutual_authentication"]
    assert mutual["mode"] == "verify"
    opened = [
        address
        for address in made
        if address.startswith("aws_vpc_security_group_ingress_rule.")
        and "aws_security_group.tasks.id"
        in references(plan, address.partition("[")[0], "security_group_id")
    ]
    assert opened == ["aws_vpc_security_group_ingress_rule.tasks"]
    (rule,) = opened
    assert not {"cidr_ipv4", "cidr_ipv6", "prefix_list_id"} & {
        name for name, value in made[rule].items() if value is not None
    }
    assert "aws_security_group.load_balancer.id" in references(
        plan, rule, "referenced_security_group_id"
    )


@pytest.mark.parametrize("observe", [True, False])
def test_the_tasks_are_those_of_the_guide(terraform: Terraform, observe: bool) -> None:
    """
    With this store, these images and this log. They read what is published and write nothing,
    and a task that cannot decide is not ended for that.
    """
    made = planned_resources(plan_of_example(terraform, "alb", observe=observe))
    guide = json.loads((ROOT / "deploy" / "ecs" / "task-definition.json").read_text("utf-8"))
    task = made["aws_ecs_task_definition.this"]
    assert (task["cpu"], task["memory"]) == (guide["cpu"], guide["memory"])
    bucket = f"orders-{ACCOUNT}-{REGION}"
    given = {
        "CRLCHECK_STORE": f"s3://{bucket}/published",
        "CRLCHECK_OBSERVE": str(observe).lower(),
        "CRLCHECK_WAIT_FOR_SET": "true",
    }
    for ours, theirs in zip(
        json.loads(task["container_definitions"]), guide["containerDefinitions"], strict=True
    ):
        environment = {one["name"]: one["value"] for one in theirs.get("environment", [])}
        if theirs["name"] == "crlcheck":
            environment |= given
        assert {one["name"]: one["value"] for one in ours.pop("environment")} == environment
        assert ours.pop("image") == f"{theirs['name']}:1"
        options = ours.pop("logConfiguration")["options"]
        assert options["awslogs-group"] == made["aws_cloudwatch_log_group.tasks"]["name"]
        for other in ("environment", "image", "logConfiguration"):
            theirs.pop(other, None)
        assert ours == theirs
    rights = json.loads(made["aws_iam_role_policy.task"]["policy"])["Statement"]
    assert {(one["Action"], one["Resource"]) for one in rights} == {
        ("s3:GetObject", f"arn:aws:s3:::{bucket}/published/*"),
        ("s3:ListBucket", f"arn:aws:s3:::{bucket}"),
    }
    service = made["aws_ecs_service.this"]
    assert service["health_check_grace_period_seconds"] == 2**31 - 1
    (balanced,) = service["load_balancer"]
    (port,) = next(
        one["portMappings"] for one in guide["containerDefinitions"]
        if one["name"] == balanced["container_name"]
    )  # fmt: skip
    assert balanced["container_port"] == port["containerPort"]


def test_the_tasks_raise_an_alarm_as_the_authorizer_does(terraform: Terraform) -> None:
    """
    On a verdict in the access log that says nothing of a client; otherwise as the module's.
    """
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
    made = planned_resources(plan_of_example(terraform, "alb", alarm_topic_arn=topic))
    lines = made["aws_cloudwatch_log_metric_filter.undetermined"]
    assert lines["log_group_name"] == made["aws_cloudwatch_log_group.tasks"]["name"]
    (documented,) = blocks("log-lines.md", "## The access log of crlcheck serve", language="json")
    found = re.fullmatch(r'\{ \$\.(\w+) = "(\w+)" \}', lines["pattern"])
    assert found is not None
    assert found[1] in json.loads(documented.text)
    assert found[2] == RevocationStatus.UNDETERMINED.value
    (metric,) = lines["metric_transformation"]
    assert metric["value"] == "1"
    alarm = made["aws_cloudwatch_metric_alarm.undetermined"]
    assert (alarm["namespace"], alarm["metric_name"]) == (metric["namespace"], metric["name"])
    theirs = made['module.crlcheck.aws_cloudwatch_metric_alarm.of_metric["undetermined"]']
    own = {"alarm_name", "dimensions", "metric_name"}
    assert {name: value for name, value in alarm.items() if name not in own} == {
        name: value for name, value in theirs.items() if name not in own
    }
    assert alarm["alarm_actions"] == [topic]


@pytest.mark.parametrize("publishes", [False, True])
def test_the_private_ca_writes_its_parts_where_they_are_looked_for(
    terraform: Terraform, publishes: bool
) -> None:
    """
    To the bucket that the module makes, whose policy names the CA, which is made first; and it
    stays when all else is destroyed.
    """
    variables = {"publish_crls": True} if publishes else {}
    plan = plan_of_example(terraform, "private-ca-partitioned", **variables)
    made = planned_resources(plan)
    stack = made["aws_cloudformation_stack.ca"]
    bucket = made["module.crlcheck.aws_s3_bucket.this"]["bucket"]
    assert stack["parameters"]["BucketName"] == bucket
    assert stack["parameters"]["PublishCrls"] == str(publishes).lower()
    (call,) = plan["configuration"]["root_module"]["module_calls"].values()
    trusted = call["expressions"]["private_ca_arns"]["references"]
    assert "aws_cloudformation_stack.ca.outputs" in trusted
    template = read_template(EXAMPLES / "private-ca-partitioned" / "ca.yaml")
    authority = template["Resources"]["Authority"]
    assert authority["DeletionPolicy"] == authority["UpdateReplacePolicy"] == "Retain"
    _, configured, otherwise = authority["Properties"]["RevocationConfiguration"]["Fn::If"]
    assert configured["CrlConfiguration"]["CrlType"] == "PARTITIONED"
    assert "CustomPath" not in configured["CrlConfiguration"]  # its CRLs are below crl/ then
    assert otherwise == {"Ref": "AWS::NoValue"}


@pytest.mark.parametrize("name", sorted(OF_EXAMPLES))
def test_a_new_account_has_room_for_each_example(terraform: Terraform, name: str) -> None:
    """
    Where it has so few instances that none can be reserved.
    """
    made = planned_resources(plan_of_example(terraform, name, reserved_concurrency=0))
    function = made["module.crlcheck.aws_lambda_function.preprocessor"]
    assert function["reserved_concurrent_executions"] == -1


@pytest.mark.parametrize("name", sorted(OF_EXAMPLES))
def test_each_example_is_removed_as_the_guide_says(terraform: Terraform, name: str) -> None:
    """
    It is refused as a whole at first. When Terraform has forgotten the bucket and what protects
    it, everything else goes.
    """
    place = f"examples/{name}"
    plan_of_example(terraform, name)
    given = ("-input=false", "-auto-approve", "-no-color")
    forget, destroy = commands_of(as_page(blocks("terraform.md", "## Upgrade and removal")))
    assert destroy.text == "terraform destroy"
    try:
        terraform.run("apply", *given, "plan", module=place)
        made = set(terraform.run("state", "list", module=place).splitlines())
        with pytest.raises(RefusedVariablesError, match="Instance cannot be destroyed") as refused:
            terraform.run("destroy", *given, module=place)
        assert "Destruction complete" not in str(refused.value)
        terraform.shell(forget.text, module=place)
        left = set(terraform.run("state", "list", module=place).splitlines())
        assert {address.partition(".aws_")[2].partition(".")[0] for address in made - left} == {
            "s3_bucket",
            "s3_bucket_lifecycle_configuration",
            "s3_bucket_ownership_controls",
            "s3_bucket_policy",
            "s3_bucket_public_access_block",
            "s3_bucket_server_side_encryption_configuration",
            "s3_bucket_versioning",
        }
        said = terraform.run("destroy", *given, module=place)
        destroyed = set(re.findall(r"(?m)^(\S+): Destruction complete", said))
        assert destroyed == {address for address in left if "data.aws_" not in address}
        assert terraform.run("state", "list", module=place) == ""
    finally:
        for state in (terraform.copy / "terraform" / place).glob("terraform.tfstate*"):
            state.unlink()


def test_what_others_make_may_be_made_at_the_same_time(terraform: Terraform) -> None:
    """
    A key, a topic, a role, a CA or a policy whose ARN is not known before it is made.
    """
    folder = terraform.copy / "together"
    folder.mkdir()
    lines = ['resource "terraform_data" "later" {}', 'module "crlcheck" {']
    lines.append('  source = "../terraform"')
    for name in ("authorizer", "preprocessor"):
        (terraform.copy / f"{name}-arm64.zip").write_bytes(name.encode())
        lines.append(f'  {name}_bundle = "../{name}-arm64.zip"')
    variables = (MODULE / "variables.tf").read_text("utf-8")
    arns = re.findall(r'variable "(\w+_arns?)"', variables)
    assert len(arns) > 5
    for name in arns:
        later = "terraform_data.later.id"
        lines.append(f"  {name} = {f'[{later}]' if name.endswith('s') else later}")
    (folder / "main.tf").write_text("\n".join([*lines, "}\n"]), encoding="utf-8")
    shutil.copy(MODULE / "versions.tf", folder)
    terraform.initialized("../together")
    made = planned_resources(terraform.plan({}, "../together"))
    assert made["module.crlcheck.aws_s3_bucket.this"]["bucket"] == f"crlcheck-{ACCOUNT}-{REGION}"
    assert "policy" not in made["module.crlcheck.aws_s3_bucket_policy.this"]


@pytest.mark.parametrize("variable", ["issuers_writer_arns", "break_glass_role_arns"])
def test_a_session_of_a_role_is_no_writer(module: Terraform, variable: str) -> None:
    """
    The policy compares the ARN of the role, so whoever is named by a session could not write.
    """
    plan(module, **{variable: [SECURITY]})
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/somebody"
    with pytest.raises(RefusedVariablesError, match=variable):
        plan(module, **{variable: [SECURITY, session]})


NAMED_IN_THE_ACCOUNT = {
    "aws_apigatewayv2_api": "name",
    "aws_api_gateway_rest_api": "name",
    "aws_cloudformation_stack": "name",
    "aws_cloudwatch_dashboard": "dashboard_name",
    "aws_cloudwatch_event_rule": "name",
    "aws_cloudwatch_log_group": "name",
    "aws_cloudwatch_log_metric_filter": "name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
    "aws_ecs_service": "name",
    "aws_ecs_task_definition": "family",
    "aws_iam_role": "name",
    "aws_lambda_function": "function_name",
    "aws_lb": "name",
    "aws_lb_target_group": "name",
    "aws_lb_trust_store": "name",
    "aws_s3_bucket": "bucket",
    "aws_security_group": "name",
    "aws_sqs_queue": "name",
}
"""The argument with the name of each resource of which an account has but one of that name."""


@pytest.mark.parametrize("name", sorted(OF_EXAMPLES))
def test_two_deployments_share_no_name(terraform: Terraform, name: str) -> None:
    """
    Each name has the prefix that was given, so one account has room for another of them.
    """
    one = planned_resources(plan_of_example(terraform, name, name_prefix="other"))
    named = {
        address: (kind, values[NAMED_IN_THE_ACCOUNT[kind]])
        for address, values in one.items()
        for kind in [re.sub(r"^module\.\w+\.", "", address).partition(".")[0]]
        if kind in NAMED_IN_THE_ACCOUNT
    }
    assert len(named) > 30
    assert len(set(named.values())) == len(named)
    for address, (_, value) in named.items():
        assert re.match("(/[a-z/]+/)?other(-|$)", value), address


@pytest.mark.parametrize(
    "parameters",
    [
        {"NamePrefix": "Upper"},
        {"NamePrefix": "a"},
        {"NamePrefix": "x" * 21},
        {"Architecture": "arm"},
        {"LogRetentionDays": "31"},
        {"EventSource": "sns"},
        {"EventSource": "sqs", "ReservedConcurrency": "1"},
        {"ReservedConcurrency": "-1"},
        {"Mode": "off"},
        {"StaleGrace": "1 day"},
        {"RefreshSeconds": "-1"},
        {"MaxCatalogAgeHours": "0"},
        {"ExpiryAlarmHours": "0"},
        {"PublicationAlarmHours": "1"},
    ],
    ids=str,
)
def test_it_refuses_what_the_sam_template_refuses(
    module: Terraform, parameters: dict[str, str]
) -> None:
    """
    And names the variable.
    """
    with pytest.raises(RefusedParametersError):
        resolve(sam_template(), **parameters)
    with pytest.raises(RefusedVariablesError) as refused:
        plan(module, **variables_of(parameters, sam_template()))
    assert snake_case(list(parameters)[-1]) in str(refused.value)
