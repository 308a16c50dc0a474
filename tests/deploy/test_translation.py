"""What AWS makes of the SAM template, resource by resource, in every form of the stack."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from support.cloudformation import ACCOUNT, REGION, Stack, resolve
from support.sam import EVERYTHING, FORMS, OF_API, parameters_of

API_FORMS = [
    (name, given) for name, given in FORMS if given["ApiKind"] != "none"
]  # of either kind, and by every way that events come


@pytest.fixture(params=[given for _, given in FORMS], ids=[name for name, _ in FORMS])
def parameters(request: pytest.FixtureRequest) -> dict[str, str]:
    """The parameters of one form."""
    found: dict[str, str] = request.param
    return found


@pytest.fixture
def made(translated: dict[str, Any], parameters: dict[str, str]) -> Stack:
    """One form of the stack, as AWS makes it."""
    return resolve(translated, **parameters)


def statements(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each statement of the roles' policies, with the role's logical name."""
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def listed(value: str | list[str]) -> list[str]:
    """One text or several, as a list."""
    return [value] if isinstance(value, str) else value


def allowed_sources(policy: dict[str, Any]) -> list[str]:
    """The resources of AWS for which a policy lets a service do something."""
    return [
        statement["Condition"]["ArnEquals"]["aws:SourceArn"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]


# ---- rights ------------------------------------------------------------------


def test_roles_have_no_wildcard_rights(made: Stack) -> None:
    """
    No action has a wildcard. A resource has one only for the objects of a prefix, and for the
    streams of a log group, whose names Lambda chooses.
    """
    bucket = made["Bucket"]["BucketName"]
    for name, statement in statements(made):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"])), name
        for resource in listed(statement["Resource"]):
            known = (
                re.fullmatch(rf"arn:aws:s3:::{bucket}/(crl|issuers|published)/\*", resource)
                or re.fullmatch(rf"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:[\w/-]+:\*", resource)
            )  # fmt: skip
            assert known or "*" not in resource, (name, resource)


def test_roles_are_those_of_one_function(made: Stack) -> None:
    """
    Lambda alone assumes them, none is shared, and no function has one that SAM made.
    """
    functions = made.of_type("AWS::Lambda::Function")
    roles = made.of_type("AWS::IAM::Role")
    assert len({one["Role"] for one in functions.values()}) == len(functions) == len(roles)
    for role in roles.values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        assert "ManagedPolicyArns" not in role


def test_a_boundary_bounds_every_role(translated: dict[str, Any]) -> None:
    """
    Also that of the demo.
    """
    bounded = resolve(translated, **parameters_of("sqs", "http", everything=True))
    for role in bounded.of_type("AWS::IAM::Role").values():
        assert role["PermissionsBoundary"] == EVERYTHING["PermissionsBoundaryArn"]


def test_only_what_is_named_may_invoke(made: Stack) -> None:
    """
    Each permission names one source; that of an API is its authorizers.
    """
    invokers: dict[str, list[str]] = {}
    for one in made.of_type("AWS::Lambda::Permission").values():
        assert one["Action"] == "lambda:InvokeFunction"
        invokers.setdefault(one["FunctionName"], []).append(one["SourceArn"])
        # A bucket's ARN has no account, and another account may have that name one day.
        assert one["Principal"] != "s3.amazonaws.com" or one["SourceAccount"] == ACCOUNT
    for source in invokers.get("crlcheck-authorizer", ()):
        assert re.fullmatch(r"arn:aws:execute-api:[\w-]+:\d+:\w+/authorizers/\*", source)
    assert all("*" not in source for source in invokers["crlcheck-preprocessor"])


# ---- the bucket --------------------------------------------------------------


def test_the_bucket_keeps_what_is_in_use(made: Stack) -> None:
    """
    It outlives the stack, keeps earlier versions, and nothing current goes by its age.
    """
    resource, bucket = made.resources["Bucket"], made["Bucket"]
    for one in (resource, made.resources["BucketPolicy"]):
        # Where the stack could not be made, it does not stand in the way of the next attempt.
        assert one["DeletionPolicy"] == "RetainExceptOnCreate"
        assert one["UpdateReplacePolicy"] == "Retain"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        kinds = rule.keys() - {"Id", "Status"}
        assert kinds <= {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"}


def test_the_bucket_is_private_and_encrypted(made: Stack, parameters: dict[str, str]) -> None:
    """
    No list of rights beside the policy counts, and requests without TLS are refused.
    """
    bucket = made["Bucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    default = rule["ServerSideEncryptionByDefault"]
    key = parameters.get("KmsKeyArn")
    assert default["SSEAlgorithm"] == ("aws:kms" if key else "AES256")
    assert default.get("KMSMasterKeyID") == key
    for policy in (made["BucketPolicy"], made["FailureQueuePolicy"]):
        first = policy["PolicyDocument"]["Statement"][0]
        assert first["Effect"] == "Deny"
        assert first["Principal"] == "*"
        assert first["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# ---- what starts the preprocessor --------------------------------------------


def test_an_upload_starts_the_preprocessor_in_one_way(
    made: Stack, parameters: dict[str, str]
) -> None:
    """
    The way of the parameter and no other, for objects below crl/ alone.
    """
    source = parameters["EventSource"]
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:crlcheck-preprocessor"
    notifications = made["Bucket"]["NotificationConfiguration"].get("LambdaConfigurations", [])
    rules = [one for one in made.of_type("AWS::Events::Rule").values() if "EventPattern" in one]
    mappings = made.of_type("AWS::Lambda::EventSourceMapping")
    assert (len(notifications), len(rules), len(mappings)) == {
        "s3": (1, 0, 0),
        "eventbridge": (0, 1, 0),
        "sqs": (0, 1, 1),
    }[source]
    permissions = made.of_type("AWS::Lambda::Permission")
    if source == "s3":
        (notification,) = notifications
        assert notification["Function"] == function
        assert notification["Event"] == "s3:ObjectCreated:*"
        assert notification["Filter"] == {"S3Key": {"Rules": [{"Name": "prefix", "Value": "crl/"}]}}
        # S3 refuses a notification that it may not send, so the permission is made before.
        permission = "PreprocessorPermissionForBucket"
        assert permission in permissions
        assert permission in [one["Value"] for one in made["Bucket"]["Tags"]]
    else:
        (rule,) = rules
        (target,) = rule["Targets"]
        assert rule["EventPattern"] == {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": {"name": [made["Bucket"]["BucketName"]]},
                "object": {"key": [{"prefix": "crl/"}]},
            },
        }
        # What the rule cannot deliver is kept, and the queue takes it from this rule alone.
        assert target["DeadLetterConfig"]["Arn"].endswith(":crlcheck-failures")
        assert allowed_sources(made["FailureQueuePolicy"]) == [
            f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule['Name']}"
        ]
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:crlcheck-events"
        assert target["Arn"] == (queue if source == "sqs" else function)
        assert ("PreprocessorPermissionForUploadRule" in permissions) == (source == "eventbridge")
        assert "Input" not in target
        assert "InputTransformer" not in target


def test_a_queue_gives_back_the_messages_that_failed(translated: dict[str, Any]) -> None:
    """
    And those alone, not while they are at work, and not for ever.
    """
    made = resolve(translated, EventSource="sqs")
    mapping, queue = made["EventQueueReader"], made["EventQueue"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    timeout = made["PreprocessorFunction"]["Timeout"]
    assert timeout < queue["VisibilityTimeout"] <= 1.5 * timeout
    assert queue["RedrivePolicy"]["deadLetterTargetArn"].endswith(":crlcheck-failures")
    reserved = made["PreprocessorFunction"]["ReservedConcurrentExecutions"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == reserved


def test_what_fails_is_tried_again_and_kept(made: Stack) -> None:
    """
    For two weeks, encrypted.
    """
    config = made["PreprocessorInvokeConfig"]
    assert config["MaximumRetryAttempts"] == 2
    assert config["MaximumEventAgeInSeconds"] == 6 * 3600
    destination = config["DestinationConfig"]["OnFailure"]["Destination"]
    assert destination == f"arn:aws:sqs:{REGION}:{ACCOUNT}:crlcheck-failures"
    for queue in made.of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
    assert made["FailureQueue"]["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_schedules_send_events_that_the_preprocessor_reads(
    made: Stack, parameters: dict[str, str]
) -> None:
    """
    Each with the permission to invoke it.
    """
    from preprocessor.events import parse_event

    permitted = {one["SourceArn"] for one in made.of_type("AWS::Lambda::Permission").values()}
    tasks = {}
    for rule in made.of_type("AWS::Events::Rule").values():
        (target,) = rule["Targets"]
        if "ScheduleExpression" in rule:
            event = json.loads(target["Input"])
            parse_event(event)
            tasks[next(iter(event))] = rule["ScheduleExpression"]
            assert event.get("rescan", "crl/") == "crl/"
            assert f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule['Name']}" in permitted
    expected = {"clean_up", "rescan", "status"} | (
        {"fetch"} if "FetchUrls" in parameters else set()
    )
    assert tasks.keys() == expected


# ---- functions and logs ------------------------------------------------------


def test_every_function_logs_to_a_group_that_forgets(made: Stack) -> None:
    """
    After as many days as the parameter says; so does the API.
    """
    groups = made.of_type("AWS::Logs::LogGroup")
    assert {str(one["RetentionInDays"]) for one in groups.values()} == {"90"}
    names = {one["LogGroupName"] for one in groups.values()}
    for function in made.of_type("AWS::Lambda::Function").values():
        group = function["LoggingConfig"]["LogGroup"]
        assert group in names
        assert group == f"/aws/lambda/{function['FunctionName']}"
        assert function["Architectures"] == ["arm64"]
        role = function["Role"].rpartition("/")[2]
        (log,) = (one for name, one in statements(made) if (name, one["Sid"]) == (role, "Log"))
        assert log["Resource"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"
        assert log["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]


# ---- outputs -----------------------------------------------------------------


def test_the_outputs_are_what_their_readers_need(made: Stack) -> None:
    """
    The store is the one that the functions have, and an API invokes the authorizer.
    """
    outputs, bucket = made.outputs, made["Bucket"]["BucketName"]
    functions = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
    assert outputs["BucketName"] == bucket
    for function in ("AuthorizerFunction", "PreprocessorFunction"):
        environment = made[function]["Environment"]["Variables"]
        assert outputs["StoreUrl"] == environment["CRLCHECK_STORE"]
    assert outputs["AuthorizerFunctionArn"] == f"{functions}:crlcheck-authorizer"
    assert outputs["PreprocessorFunctionArn"] == f"{functions}:crlcheck-preprocessor"
    assert outputs["AuthorizerInvokeUri"] == (
        f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
        f"{functions}:crlcheck-authorizer/invocations"
    )
    queue = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{made['FailureQueue']['QueueName']}"
    assert outputs["FailureQueueUrl"] == queue


# ---- APIs --------------------------------------------------------------------


def routes(stack: Stack) -> list[dict[str, Any]]:
    """Every route of an HTTP API, every method of a REST API."""
    kinds = ("AWS::ApiGatewayV2::Route", "AWS::ApiGateway::Method")
    return list(stack.of_type(*kinds).values())


@pytest.mark.parametrize("given", [one for _, one in API_FORMS], ids=[one for one, _ in API_FORMS])
def test_every_route_asks_the_authorizer_each_time(
    translated: dict[str, Any], given: dict[str, str]
) -> None:
    """
    Whatever the path and the method, OPTIONS too, and no answer is kept.
    """
    made = resolve(translated, **given)
    kinds = ("AWS::ApiGateway::Authorizer", "AWS::ApiGatewayV2::Authorizer")
    ((name, authorizer),) = made.of_type(*kinds).items()
    assert authorizer["AuthorizerResultTtlInSeconds"] == 0
    assert "IdentitySource" not in authorizer
    assert authorizer.get("Type", authorizer.get("AuthorizerType")) == "REQUEST"
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:crlcheck-authorizer"
    assert authorizer["AuthorizerUri"].endswith(f"/functions/{function}/invocations")
    for route in routes(made):
        assert (route["AuthorizationType"], route["AuthorizerId"]) == ("CUSTOM", name)
    if given["ApiKind"] == "http":
        assert [route["RouteKey"] for route in routes(made)] == ["$default"]
        assert authorizer["AuthorizerPayloadFormatVersion"] == "2.0"
        # The function answers with a policy, as its settings have it.
        assert authorizer["EnableSimpleResponses"] is False
        assert "CorsConfiguration" not in made["HttpApi"]  # its answers ask nobody
    else:
        assert {route["HttpMethod"] for route in routes(made)} == {"ANY"}
        paths = {str(route["ResourceId"]) for route in routes(made)}
        assert paths == {"RestApi.RootResourceId", "RestEveryPath"}
        assert made["RestEveryPath"]["PathPart"] == "{proxy+}"
        deployment = made.resources["RestDeployment1"]
        assert set(deployment["DependsOn"]) == set(made.of_type("AWS::ApiGateway::Method"))


DEPLOYED_REST_API = ("RestDeployment1", "a89e755f7612e3ab")


def test_a_changed_rest_api_is_deployed_again(translated: dict[str, Any]) -> None:
    """
    A deployment is a picture of the API. Where this fails, give it another logical name, and
    write that and the new digest here: otherwise stages go on with the old methods.
    """
    name, digest = DEPLOYED_REST_API
    assert name in translated["Resources"]
    pictured = {
        logical: one["Properties"]
        for logical, one in translated["Resources"].items()
        if one["Type"]
        in ("AWS::ApiGateway::Method", "AWS::ApiGateway::Resource", "AWS::ApiGateway::Authorizer")
    }
    text = json.dumps(pictured, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("given", [one for _, one in API_FORMS], ids=[one for one, _ in API_FORMS])
def test_an_api_is_reached_by_mutual_tls_only(
    translated: dict[str, Any], given: dict[str, str]
) -> None:
    """
    By its domain, with the trust store in the version that was looked at.
    """
    made = resolve(translated, **given)
    apis = made.of_type("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api")
    domains = made.of_type("AWS::ApiGateway::DomainName", "AWS::ApiGatewayV2::DomainName")
    assert [one["DisableExecuteApiEndpoint"] for one in apis.values()] == [True]
    (domain,) = domains.values()
    assert domain["MutualTlsAuthentication"] == {
        "TruststoreUri": f"s3://{made['Bucket']['BucketName']}/truststore/truststore.pem",
        "TruststoreVersion": OF_API["TruststoreVersion"],
    }
    security = (
        domain.get("SecurityPolicy") or domain["DomainNameConfigurations"][0]["SecurityPolicy"]
    )
    assert security == "TLS_1_2"


@pytest.mark.parametrize("given", [one for _, one in API_FORMS], ids=[one for one, _ in API_FORMS])
def test_a_request_to_the_domain_reaches_the_demo(
    translated: dict[str, Any], given: dict[str, str]
) -> None:
    """
    The domain leads to the stage that is deployed, the stage to the function, which the API may
    invoke for any request. The DNS record leads to the domain.
    """
    made = resolve(translated, **given)
    is_rest = given["ApiKind"] == "rest"
    kind = "Rest" if is_rest else "Http"
    mapping, stage = made[f"{kind}Mapping"], made[f"{kind}Stage"]
    assert mapping["DomainName"] == given["DomainName"]
    assert mapping["Stage"] == stage["StageName"]
    assert mapping.get("BasePath", mapping.get("ApiMappingKey")) is None
    api = "RestApiId" if is_rest else "ApiId"
    assert mapping[api] == stage[api] == f"{kind}Api"
    assert made.outputs["ApiDnsTarget"] == f"{kind}Domain.RegionalDomainName"
    demo = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:crlcheck-demo"
    if is_rest:
        # Lambda is invoked by POST, whatever the method of the request is.
        integrations = [one["Integration"] for one in routes(made)]
        assert {one["IntegrationHttpMethod"] for one in integrations} == {"POST"}
        assert {one["Uri"].partition("/functions/")[2] for one in integrations} == {
            f"{demo}/invocations"
        }
        source = f"RestApi/{stage['StageName']}/GET/path"
    else:
        assert made["HttpIntegration"]["IntegrationUri"] == demo
        assert [one["Target"] for one in routes(made)] == ["integrations/HttpIntegration"]
        source = "HttpApi/$default/$default"
    allowed = made[f"DemoPermissionFor{kind}Api"]
    assert allowed["FunctionName"] == "crlcheck-demo"
    assert fnmatchcase(f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{source}", allowed["SourceArn"])


@pytest.mark.parametrize("given", [one for _, one in API_FORMS], ids=[one for one, _ in API_FORMS])
def test_an_api_logs_decisions_and_is_throttled(
    translated: dict[str, Any], given: dict[str, str]
) -> None:
    """
    Its log has a line of JSON for each request, with what the authorizer's context has.
    """
    made = resolve(translated, **given)
    (stage,) = made.of_type("AWS::ApiGateway::Stage", "AWS::ApiGatewayV2::Stage").values()
    log = stage.get("AccessLogSetting") or stage["AccessLogSettings"]
    line = json.loads(log["Format"])
    for member in ("verdict", "cause", "observed", "crl_number", "serial_number"):
        assert line[member] == f"$context.authorizer.{member}"
    settings = (
        stage["MethodSettings"][0] if "MethodSettings" in stage else stage["DefaultRouteSettings"]
    )
    assert 0 < settings["ThrottlingRateLimit"] <= settings["ThrottlingBurstLimit"]
    assert settings.get("DataTraceEnabled", False) is False
