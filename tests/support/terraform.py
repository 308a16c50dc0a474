"""The Terraform module of deploy/terraform, and what it would make, in CloudFormation's words."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULE = Path(__file__).parents[2] / "deploy" / "terraform"
EXAMPLES = MODULE / "examples"


class RefusedVariablesError(ValueError):
    """Terraform refuses a value, or the module."""


@dataclass(frozen=True)
class Terraform:
    """Terraform, with a provider that knows AWS's resources and makes none."""

    program: str
    socket: Path
    process: int
    copy: Path
    """A copy of deploy/, in which Terraform may write."""

    def run(self, *command: str, module: str = ".") -> str:
        """Run a command in deploy/terraform or a module below it; return what it prints."""
        return self._printed([self.program, *command], module)

    def shell(self, line: str, module: str = ".") -> str:
        """Run a line of a shell there, in which Terraform may be one of the programs."""
        return self._printed(["sh", "-e", "-c", line], module)

    def _printed(self, command: list[str], module: str) -> str:
        provider = {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": self.process,
            "Test": True,
            "Addr": {"Network": "unix", "String": str(self.socket)},
        }
        done = subprocess.run(
            command,
            cwd=self.copy / "terraform" / module,
            env={
                "CHECKPOINT_DISABLE": "1",
                "HOME": str(self.copy),
                "PATH": f"{Path(self.program).parent}:{os.environ['PATH']}",
                "TF_IN_AUTOMATION": "1",
                "TF_REATTACH_PROVIDERS": json.dumps(
                    {"registry.terraform.io/hashicorp/aws": provider}
                ),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RefusedVariablesError(done.stdout)
        return done.stdout

    def initialized(self, module: str = ".") -> None:
        """Look up the modules that it calls."""
        self.run("init", "-no-color", "-input=false", "-backend=false", module=module)

    def plan(self, variables: Mapping[str, Any], module: str = ".") -> dict[str, Any]:
        """Return the plan with those variables, as Terraform writes it in JSON."""
        folder = self.copy / "terraform" / module
        (folder / "test.auto.tfvars.json").write_text(json.dumps(variables))
        self.run("plan", "-no-color", "-input=false", "-out=plan", module=module)
        found: dict[str, Any] = json.loads(self.run("show", "-json", "plan", module=module))
        return found


def variables_of(parameters: Mapping[str, str], template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the module's variables that mean the same as parameters of the SAM template."""
    declared = template["Parameters"]
    found: dict[str, Any] = {}
    for name, text in parameters.items():
        value: Any = text or None
        if declared[name]["Type"] == "CommaDelimitedList":
            value = text.split(",") if text else []
        elif declared[name]["Type"] == "Number":
            value = int(text)
        elif text in ("false", "true"):
            value = text == "true"
        found[snake_case(name)] = value
    return found


def snake_case(name: str) -> str:
    """``NamePrefix`` as ``name_prefix``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in re.split("[-_]", name))


# ---- a plan in CloudFormation's words ----------------------------------------


def as_cloudformation(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of what a plan makes, by the logical names of the SAM template."""
    root = plan["planned_values"]["root_module"]
    planned = [*root.get("resources", [])]
    for child in root.get("child_modules", []):
        planned += child["resources"]
    made: dict[str, dict[str, Any]] = {}
    for one in planned:
        if one["mode"] != "managed" or one["type"] in _NOT_COMPARED:
            continue
        name = _logical_name(one)
        values = {k: v for k, v in one["values"].items() if v not in (None, [], {}, "")}
        properties = _CONVERSIONS[one["type"]](values)
        mine = made.setdefault(name, {})
        for key, value in properties.items():
            if value is None:
                continue
            if key in mine:  # each target and each policy is a resource of its own
                raise AssertionError(f"{name}.{key} is said twice")
            mine[key] = value
    return made


def _logical_name(one: Mapping[str, Any]) -> str:
    kind, name = one["type"], one["name"]
    if kind == "aws_cloudwatch_metric_alarm":
        return f"{_camel_case(one['index'])}Alarm"
    if kind == "aws_lambda_permission":
        if name == "schedules":
            return f"PreprocessorPermissionFor{_camel_case(one['index'])}Rule"
        return _PERMISSIONS[name]
    if kind in ("aws_cloudwatch_event_rule", "aws_cloudwatch_event_target"):
        return "UploadRule" if name == "uploads" else f"{_camel_case(one['index'])}Rule"
    if kind.startswith("aws_s3_bucket") and kind != "aws_s3_bucket_policy":
        return "Bucket"
    ending = _ENDINGS[kind]
    if kind in ("aws_api_gateway_method", "aws_api_gateway_resource"):
        return f"{ending}{_camel_case(name)}"
    if name in ("this", "default", "live", "crlcheck", "every_method"):
        return ending
    return f"{_QUEUES.get(name, _camel_case(name))}{ending}"


_QUEUES = {"failures": "Failure", "events": "Event"}
_PERMISSIONS = {
    "authorizer": "AuthorizerPermission",
    "bucket": "PreprocessorPermissionForBucket",
    "uploads": "PreprocessorPermissionForUploadRule",
}
_ENDINGS = {
    "aws_api_gateway_authorizer": "RestAuthorizer",
    "aws_api_gateway_domain_name": "RestDomain",
    "aws_api_gateway_method": "RestMethodOf",
    "aws_api_gateway_method_settings": "RestStage",
    "aws_api_gateway_resource": "Rest",
    "aws_api_gateway_rest_api": "RestApi",
    "aws_api_gateway_stage": "RestStage",
    "aws_apigatewayv2_api": "HttpApi",
    "aws_apigatewayv2_authorizer": "HttpAuthorizer",
    "aws_apigatewayv2_domain_name": "HttpDomain",
    "aws_apigatewayv2_route": "HttpRoute",
    "aws_apigatewayv2_stage": "HttpStage",
    "aws_cloudwatch_dashboard": "Dashboard",
    "aws_cloudwatch_log_group": "LogGroup",
    "aws_iam_role": "Role",
    "aws_iam_role_policy": "Role",
    "aws_lambda_event_source_mapping": "QueueReader",
    "aws_lambda_function": "Function",
    "aws_lambda_function_event_invoke_config": "InvokeConfig",
    "aws_s3_bucket_policy": "BucketPolicy",
    "aws_sqs_queue": "Queue",
    "aws_sqs_queue_policy": "QueuePolicy",
}
_NOT_COMPARED = {
    # What an example protects, and how Terraform joins the parts of an API.
    "aws_api_gateway_base_path_mapping",
    "aws_api_gateway_deployment",
    "aws_api_gateway_integration",
    "aws_apigatewayv2_api_mapping",
    "aws_apigatewayv2_integration",
    "aws_s3_object",
}

Values = Mapping[str, Any]


def _renamed(**names: str) -> Callable[[Values], dict[str, Any]]:
    """A conversion that gives each value CloudFormation's name for it."""
    return lambda values: {theirs: values.get(ours) for theirs, ours in names.items()}


def _bucket(values: Values) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in values.get("tags", {}).items()]
    return {"BucketName": values["bucket"], "Tags": tags}


def _encryption(values: Values) -> dict[str, Any]:
    (rule,) = values["rule"]
    (default,) = rule["apply_server_side_encryption_by_default"]
    return {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "BucketKeyEnabled": rule["bucket_key_enabled"],
                    "ServerSideEncryptionByDefault": {
                        "SSEAlgorithm": default["sse_algorithm"],
                        "KMSMasterKeyID": default["kms_master_key_id"],
                    },
                }
            ]
        }
    }


def _lifecycle(values: Values) -> dict[str, Any]:
    rules = []
    for rule in values["rule"]:
        made = {"Id": rule["id"], "Status": rule["status"]}
        for one in rule["noncurrent_version_expiration"]:
            made["NoncurrentVersionExpiration"] = {"NoncurrentDays": one["noncurrent_days"]}
        for one in rule["abort_incomplete_multipart_upload"]:
            made["AbortIncompleteMultipartUpload"] = {
                "DaysAfterInitiation": one["days_after_initiation"]
            }
        rules.append(made)
    return {"LifecycleConfiguration": {"Rules": rules}}


def _notification(values: Values) -> dict[str, Any]:
    functions = [
        {
            "Event": event,
            "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": one["filter_prefix"]}]}},
            "Function": one["lambda_function_arn"],
        }
        for one in values.get("lambda_function", [])
        for event in one["events"]
    ]
    return {
        "NotificationConfiguration": {
            "EventBridgeConfiguration": {"EventBridgeEnabled": values["eventbridge"]},
            "LambdaConfigurations": functions,
        }
    }


def _role(values: Values) -> dict[str, Any]:
    return {
        "Description": values["description"],
        "PermissionsBoundary": values.get("permissions_boundary"),
        "AssumeRolePolicyDocument": json.loads(values["assume_role_policy"]),
    }


def _role_policy(values: Values) -> dict[str, Any]:
    document = json.loads(values["policy"])
    return {"Policies": [{"PolicyName": values["name"], "PolicyDocument": document}]}


def _function(values: Values) -> dict[str, Any]:
    (logging,), (environment,) = values["logging_config"], values["environment"]
    assert logging["log_format"] == "Text"
    storage = values.get("ephemeral_storage", [None])[0]
    reserved = values.get("reserved_concurrent_executions", -1)
    return {
        "FunctionName": values["function_name"],
        "Description": values["description"],
        "Handler": values["handler"],
        "Runtime": values["runtime"],
        "Architectures": values["architectures"],
        "MemorySize": values["memory_size"],
        "Timeout": values["timeout"],
        "EphemeralStorage": storage and {"Size": storage["size"]},
        "ReservedConcurrentExecutions": None if reserved == -1 else reserved,
        "Role": values["role"],
        "LoggingConfig": {"LogGroup": logging["log_group"]},
        "Environment": {"Variables": environment["variables"]},
    }


def _invoke_config(values: Values) -> dict[str, Any]:
    ((failure,),) = (one["on_failure"] for one in values["destination_config"])
    return {
        "FunctionName": values["function_name"],
        "Qualifier": values["qualifier"],
        "MaximumRetryAttempts": values["maximum_retry_attempts"],
        "MaximumEventAgeInSeconds": values["maximum_event_age_in_seconds"],
        "DestinationConfig": {"OnFailure": {"Destination": failure["destination"]}},
    }


def _queue(values: Values) -> dict[str, Any]:
    redrive = values.get("redrive_policy")
    return {
        "QueueName": values["name"],
        "VisibilityTimeout": values.get("visibility_timeout_seconds"),
        "MessageRetentionPeriod": values["message_retention_seconds"],
        "SqsManagedSseEnabled": values["sqs_managed_sse_enabled"],
        "RedrivePolicy": redrive and json.loads(redrive),
    }


def _rule(values: Values) -> dict[str, Any]:
    pattern = values.get("event_pattern")
    return {
        "Name": values["name"],
        "Description": values["description"],
        "EventPattern": pattern and json.loads(pattern),
        "ScheduleExpression": values.get("schedule_expression"),
    }


def _target(values: Values) -> dict[str, Any]:
    target = {"Id": values["target_id"], "Arn": values["arn"]}
    if "input" in values:
        target["Input"] = values["input"]
    for one in values.get("dead_letter_config", []):
        target["DeadLetterConfig"] = {"Arn": one["arn"]}
    return {"Targets": [target]}


def _mapping(values: Values) -> dict[str, Any]:
    (scaling,) = values["scaling_config"]
    return {
        "EventSourceArn": values["event_source_arn"],
        "FunctionName": values["function_name"],
        "BatchSize": values["batch_size"],
        "FunctionResponseTypes": values["function_response_types"],
        "ScalingConfig": {"MaximumConcurrency": scaling["maximum_concurrency"]},
    }


def _alarm(values: Values) -> dict[str, Any]:
    metrics = []
    for one in values.get("metric_query", []):
        made = {"Id": one["id"], "ReturnData": one["return_data"]}
        made |= {"Expression": one["expression"], "Label": one["label"]}
        for metric in one["metric"]:
            made["MetricStat"] = {
                "Stat": metric["stat"],
                "Period": metric["period"],
                "Metric": {
                    "Namespace": metric["namespace"],
                    "MetricName": metric["metric_name"],
                    "Dimensions": _dimensions(metric["dimensions"]),
                },
            }
        metrics.append(made)
    return {
        **_ALARM(values),
        "Dimensions": _dimensions(values.get("dimensions", {})),
        "Metrics": metrics,
    }


_ALARM = _renamed(
    AlarmName="alarm_name",
    AlarmDescription="alarm_description",
    Namespace="namespace",
    MetricName="metric_name",
    Statistic="statistic",
    ExtendedStatistic="extended_statistic",
    Period="period",
    EvaluationPeriods="evaluation_periods",
    ComparisonOperator="comparison_operator",
    Threshold="threshold",
    TreatMissingData="treat_missing_data",
    AlarmActions="alarm_actions",
    OKActions="ok_actions",
)


def _dimensions(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def _http_stage(values: Values) -> dict[str, Any]:
    (route,), (log,) = values["default_route_settings"], values["access_log_settings"]
    return {
        "ApiId": values["api_id"],
        "StageName": values["name"],
        "AutoDeploy": values["auto_deploy"],
        "DefaultRouteSettings": {
            "ThrottlingBurstLimit": route["throttling_burst_limit"],
            "ThrottlingRateLimit": route["throttling_rate_limit"],
        },
        "AccessLogSettings": {"DestinationArn": log["destination_arn"], "Format": log["format"]},
    }


def _http_domain(values: Values) -> dict[str, Any]:
    (domain,), (tls,) = values["domain_name_configuration"], values["mutual_tls_authentication"]
    return {
        "DomainName": values["domain_name"],
        "DomainNameConfigurations": [
            {
                "CertificateArn": domain["certificate_arn"],
                "EndpointType": domain["endpoint_type"],
                "SecurityPolicy": domain["security_policy"],
            }
        ],
        "MutualTlsAuthentication": {"TruststoreUri": tls["truststore_uri"]},
    }


def _rest_stage(values: Values) -> dict[str, Any]:
    (log,) = values["access_log_settings"]
    return {
        "RestApiId": values["rest_api_id"],
        "DeploymentId": values["deployment_id"],
        "StageName": values["stage_name"],
        "AccessLogSetting": {"DestinationArn": log["destination_arn"], "Format": log["format"]},
    }


def _rest_settings(values: Values) -> dict[str, Any]:
    (settings,) = values["settings"]
    path, method = values["method_path"].split("/")
    return {
        "MethodSettings": [
            {
                "HttpMethod": method,
                "ResourcePath": f"/{path}",
                "ThrottlingBurstLimit": settings["throttling_burst_limit"],
                "ThrottlingRateLimit": settings["throttling_rate_limit"],
                "DataTraceEnabled": settings["data_trace_enabled"],
            }
        ]
    }


def _rest_domain(values: Values) -> dict[str, Any]:
    (endpoint,), (tls,) = values["endpoint_configuration"], values["mutual_tls_authentication"]
    return {
        "DomainName": values["domain_name"],
        "RegionalCertificateArn": values["regional_certificate_arn"],
        "EndpointConfiguration": {"Types": endpoint["types"]},
        "SecurityPolicy": values["security_policy"],
        "MutualTlsAuthentication": {"TruststoreUri": tls["truststore_uri"]},
    }


_CONVERSIONS: dict[str, Callable[[Values], dict[str, Any]]] = {
    "aws_api_gateway_authorizer": _renamed(
        Name="name",
        RestApiId="rest_api_id",
        Type="type",
        AuthorizerUri="authorizer_uri",
        AuthorizerResultTtlInSeconds="authorizer_result_ttl_in_seconds",
        IdentitySource="identity_source",
    ),
    "aws_api_gateway_domain_name": _rest_domain,
    "aws_api_gateway_method": _renamed(
        RestApiId="rest_api_id",
        ResourceId="resource_id",
        HttpMethod="http_method",
        AuthorizationType="authorization",
        AuthorizerId="authorizer_id",
    ),
    "aws_api_gateway_method_settings": _rest_settings,
    "aws_api_gateway_resource": _renamed(
        RestApiId="rest_api_id", ParentId="parent_id", PathPart="path_part"
    ),
    "aws_api_gateway_rest_api": lambda values: {
        "DisableExecuteApiEndpoint": values["disable_execute_api_endpoint"],
        "EndpointConfiguration": {"Types": values["endpoint_configuration"][0]["types"]},
    },
    "aws_api_gateway_stage": _rest_stage,
    "aws_apigatewayv2_api": _renamed(
        ProtocolType="protocol_type", DisableExecuteApiEndpoint="disable_execute_api_endpoint"
    ),
    "aws_apigatewayv2_authorizer": _renamed(
        Name="name",
        ApiId="api_id",
        AuthorizerType="authorizer_type",
        AuthorizerPayloadFormatVersion="authorizer_payload_format_version",
        AuthorizerUri="authorizer_uri",
        AuthorizerResultTtlInSeconds="authorizer_result_ttl_in_seconds",
        EnableSimpleResponses="enable_simple_responses",
        IdentitySource="identity_sources",
    ),
    "aws_apigatewayv2_domain_name": _http_domain,
    "aws_apigatewayv2_route": _renamed(
        ApiId="api_id",
        RouteKey="route_key",
        AuthorizationType="authorization_type",
        AuthorizerId="authorizer_id",
        Target="target",
    ),
    "aws_apigatewayv2_stage": _http_stage,
    "aws_cloudwatch_dashboard": lambda values: {
        "DashboardName": values["dashboard_name"],
        "DashboardBody": json.loads(values["dashboard_body"]),
    },
    "aws_cloudwatch_event_rule": _rule,
    "aws_cloudwatch_event_target": _target,
    "aws_cloudwatch_log_group": _renamed(LogGroupName="name", RetentionInDays="retention_in_days"),
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_iam_role": _role,
    "aws_iam_role_policy": _role_policy,
    "aws_lambda_event_source_mapping": _mapping,
    "aws_lambda_function": _function,
    "aws_lambda_function_event_invoke_config": _invoke_config,
    "aws_lambda_permission": _renamed(
        Action="action",
        FunctionName="function_name",
        Principal="principal",
        SourceAccount="source_account",
        SourceArn="source_arn",
    ),
    "aws_s3_bucket": _bucket,
    "aws_s3_bucket_lifecycle_configuration": _lifecycle,
    "aws_s3_bucket_notification": _notification,
    "aws_s3_bucket_ownership_controls": lambda values: {
        "OwnershipControls": {
            "Rules": [{"ObjectOwnership": one["object_ownership"]} for one in values["rule"]]
        }
    },
    "aws_s3_bucket_policy": lambda values: {
        "Bucket": values["bucket"],
        "PolicyDocument": json.loads(values["policy"]),
    },
    "aws_s3_bucket_public_access_block": lambda values: {
        "PublicAccessBlockConfiguration": {
            _camel_case(name): values[name]
            for name in (
                *("block_public_acls", "block_public_policy"),
                *("ignore_public_acls", "restrict_public_buckets"),
            )
        }
    },
    "aws_s3_bucket_server_side_encryption_configuration": _encryption,
    "aws_s3_bucket_versioning": lambda values: {
        "VersioningConfiguration": {"Status": values["versioning_configuration"][0]["status"]}
    },
    "aws_sqs_queue": _queue,
    "aws_sqs_queue_policy": lambda values: {
        "Queues": [values["queue_url"]],
        "PolicyDocument": json.loads(values["policy"]),
    },
}


def program() -> str | None:
    """Where Terraform is, or None."""
    return shutil.which("terraform")
