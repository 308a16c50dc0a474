"""Read a CloudFormation template, and what it makes of given parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REGION, ACCOUNT, PARTITION = "eu-central-1", "111122223333", "aws"

_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": PARTITION,
    "AWS::Region": REGION,
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()


class _Loader(yaml.SafeLoader):
    """Reads the short forms of intrinsic functions as their long forms."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


def read_template(path: Path) -> dict[str, Any]:
    """Return a template with the long forms of its intrinsic functions."""
    found: dict[str, Any] = yaml.load(path.read_text("utf-8"), _Loader)
    return found


@dataclass(frozen=True)
class Stack:
    """What a template makes: its resources, with every intrinsic function resolved."""

    resources: dict[str, dict[str, Any]]
    outputs: dict[str, Any]

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of some types, by logical name."""
        return {
            name: one.get("Properties", {})
            for name, one in self.resources.items()
            if one["Type"] in types
        }

    def __getitem__(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.resources[name].get("Properties", {})
        return properties


class RefusedParametersError(ValueError):
    """A value that the template does not allow, or that one of its rules refuses."""


def resolve(template: Mapping[str, Any], **given: str) -> Stack:
    """
    Return what *template* makes of parameters. Lists are texts with commas, as on the
    command line.

    Raises:
        RefusedParametersError: CloudFormation would refuse the parameters.
        KeyError, NotImplementedError: the template refers to something that is not there.
    """
    parameters = _parameters(template, given)
    resolver = _Resolver(template, parameters)
    resolver.apply_rules()
    resources = {
        name: {**one, **resolver.resolved({"Properties": one.get("Properties", {})})}
        for name, one in template["Resources"].items()
        if resolver.exists(name)
    }
    outputs = {
        name: resolver.resolved(one["Value"])
        for name, one in template.get("Outputs", {}).items()
        if "Condition" not in one or resolver.condition(one["Condition"])
    }
    return Stack(resources, outputs)


def _parameters(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    declared = template["Parameters"]
    unknown = given.keys() - declared.keys()
    if unknown:
        raise RefusedParametersError(f"no such parameters: {sorted(unknown)}")
    values: dict[str, Any] = {}
    for name, one in declared.items():
        if name not in given and "Default" not in one:
            raise RefusedParametersError(f"{name} has no default and is not given")
        text = str(given.get(name, one.get("Default")))
        allowed = [str(value) for value in one.get("AllowedValues", [text])]
        pattern = one.get("AllowedPattern", ".*")
        # Of a list each member must match.
        members = text.split(",") if one["Type"] == "CommaDelimitedList" else [text]
        matches = all(re.fullmatch(pattern, member) for member in members)
        if text not in allowed or not matches:
            raise RefusedParametersError(f"{name} is {text!r}")
        if one["Type"] == "Number" and not (
            one.get("MinValue", 0) <= float(text) <= one.get("MaxValue", float("inf"))
        ):
            raise RefusedParametersError(f"{name} is {text!r}")
        values[name] = text.split(",") if one["Type"] == "CommaDelimitedList" else text
    return values


class _Resolver:
    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._template, self._parameters = template, parameters

    def apply_rules(self) -> None:
        for name, rule in self._template.get("Rules", {}).items():
            if not self._true(rule.get("RuleCondition", True)):
                continue
            for one in rule["Assertions"]:
                if not self._true(one["Assert"]):
                    raise RefusedParametersError(f"{name}: {one['AssertDescription']}")

    def exists(self, name: str) -> bool:
        condition = self._template["Resources"][name].get("Condition")
        return condition is None or self.condition(condition)

    def condition(self, name: str) -> bool:
        return self._true(self._template["Conditions"][name])

    def _true(self, node: Any) -> bool:
        if isinstance(node, bool):
            return node
        ((function, value),) = node.items()
        if function == "Condition":
            return self.condition(value)
        if function == "Fn::Equals":
            one, other = (self.resolved(each) for each in value)
            return str(one) == str(other)
        if function == "Fn::Not":
            return not self._true(value[0])
        if function == "Fn::Or":
            return any(self._true(one) for one in value)
        if function == "Fn::And":
            return all(self._true(one) for one in value)
        raise NotImplementedError(function)

    def resolved(self, node: Any) -> Any:
        found = self._resolved(node)
        return None if found is _NOTHING else found

    def _resolved(self, node: Any) -> Any:
        if isinstance(node, list):
            items = (self._resolved(one) for one in node)
            return [one for one in items if one is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, value),) = node.items()
            if name == "Ref":
                return self._ref(value)
            if name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), value)
        members = {name: self._resolved(value) for name, value in node.items()}
        return {name: value for name, value in members.items() if value is not _NOTHING}

    def _call(self, function: str, value: Any) -> Any:
        if function == "If":
            name, one, other = value
            return self._resolved(one if self.condition(name) else other)
        if function == "GetAtt":
            return self._attribute(*value)
        if function == "Join":
            separator, parts = value
            return separator.join(self._resolved(parts))
        if function == "Split":
            separator, text = value
            return self._resolved(text).split(separator)
        if function == "Sub":
            text, names = (value, {}) if isinstance(value, str) else value
            return self._substituted(text, names)
        raise NotImplementedError(function)

    def _substituted(self, text: str, names: Mapping[str, Any]) -> str:
        def value_of(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in names:
                return str(self._resolved(names[name]))
            if "." in name:
                return str(self._attribute(*name.split(".", 1)))
            return str(self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value_of, text)

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self._parameters:
            return self._parameters[name]
        properties = self._properties(name)
        own = _NAMES.get(self._template["Resources"][name]["Type"])
        if own == "QueueName":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self._resolved(properties[own])}"
        return name if own is None else self._resolved(properties[own])

    def _properties(self, name: str) -> dict[str, Any]:
        if not self.exists(name):
            raise KeyError(f"{name} is not made with these parameters")
        found: dict[str, Any] = self._template["Resources"][name]["Properties"]
        return found

    def _attribute(self, name: str, attribute: str) -> str:
        kind, properties = self._template["Resources"][name]["Type"], self._properties(name)
        if attribute == "Arn":
            own = _NAMES.get(kind)
            text = name if own is None else self._resolved(properties[own])
            return _ARNS[kind].format(text, region=REGION, account=ACCOUNT, partition=PARTITION)
        if attribute == "QueueName":
            return str(self._resolved(properties["QueueName"]))
        if attribute in ("RegionalDomainName", "RootResourceId"):
            return f"{name}.{attribute}"
        raise NotImplementedError(f"{kind} {attribute}")


_NAMES = {
    "AWS::ApiGateway::DomainName": "DomainName",
    "AWS::ApiGateway::Stage": "StageName",
    "AWS::ApiGatewayV2::DomainName": "DomainName",
    "AWS::ApiGatewayV2::Stage": "StageName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Events::Rule": "Name",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Serverless::Function": "FunctionName",
}
"""Which property the reference to a resource is; of others it is their logical name."""

_FUNCTION_ARN = "arn:{partition}:lambda:{region}:{account}:function:{}"
_ARNS = {
    "AWS::Events::Rule": "arn:{partition}:events:{region}:{account}:rule/{}",
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{}",
    "AWS::Lambda::Function": _FUNCTION_ARN,
    "AWS::Logs::LogGroup": "arn:{partition}:logs:{region}:{account}:log-group:{}:*",
    "AWS::SQS::Queue": "arn:{partition}:sqs:{region}:{account}:{}",
    "AWS::Serverless::Function": _FUNCTION_ARN,
}
