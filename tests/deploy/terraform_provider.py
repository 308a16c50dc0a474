"""
A provider for Terraform that knows the resources of AWS and makes none.

Terraform asks it what resources and arguments there are, and lets it plan. Where Terraform
applies a plan, it answers as if all had been made, at once. The schemas are
those of hashicorp/aws, as cdktf generated them into its package for that provider, so
Terraform refuses an argument, a block or a type that is none. What a service would choose,
such as an ARN, is planned as the service makes it from the resource's name.

    python terraform_provider.py WHEEL SOCKET aws_s3_bucket data.aws_region ...

serves at a Unix socket, and prints one line when Terraform may call.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import msgpack
from tf.gen import grpc_controller_pb2 as controller
from tf.gen import grpc_controller_pb2_grpc as controller_services
from tf.gen import tfplugin_pb2 as protocol
from tf.gen import tfplugin_pb2_grpc as services

REGION, ACCOUNT, PARTITION = "eu-central-1", "111122223333", "aws"

# ---- schemas -----------------------------------------------------------------

_SCALARS = {"string": "string", "number": "number", "boolean": "bool"}
_COLLECTIONS = re.compile("(string|number|boolean|any)(List|Map|MapList)")
_MEMBER = re.compile(
    r"(\w+): \{\n\s+value: (.*),\n\s+isBlock: (?:true|false),\n"
    r'\s+type: "(\w+)",\n\s+storageClassType: "(\w+)",'
)
_FUNCTION = re.compile(r"(?ms)^function (\w+)ToHclTerraform\(struct\) \{(.*?)^\}")
_CONFIG = re.compile(r"(?m)^export interface (\w+Config) extends cdktf\.TerraformMetaArguments")
_CLASS = re.compile(r"(?ms)^class (\w+)OutputReference (.*?)^\}")
_INTERFACE = re.compile(r"(?ms)^export interface (\w+)[^{]*\{(.*?)^\}")
_COMPUTED = re.compile(
    r"// (\w+) - computed: true, optional: false, required: false\n"
    r"(?:\s+this\._\w+ = new cdktf\.(\w+)\(|"
    r"\s+get \w+\(\) \{\n\s+return (?:cdktf\.Fn\.tolist\()?this\.get(\w+)Attribute\()"
)
_DECLARED = re.compile(r"#(\w+) \w+#\w+\}(?:(?!readonly).)*readonly \w+(\??):", re.DOTALL)
_GETTERS = {
    "String": "string", "Number": "number", "Boolean": "bool", "List": ["list", "string"],
    "StringMap": ["map", "string"],
}  # fmt: skip


class Source:
    """The generated JavaScript and TypeScript of one resource or data source."""

    def __init__(self, script: str, types: str) -> None:
        script = script.partition("//# sourceMappingURL")[0]
        self._functions = {name.lower(): text for name, text in _FUNCTION.findall(script)}
        self._interfaces = {name.lower(): text for name, text in _INTERFACE.findall(types)}
        marker = "synthesizeHclAttributes() {"
        self._top = script[script.rindex(marker) :]
        self._classes = {name.lower(): text for name, text in _CLASS.findall(script)}
        own = script[script.rindex("\nclass ") :]
        (config,) = _CONFIG.findall(types)
        self._config, self._classes[config.lower()] = config, own

    def schema(self) -> protocol.Schema:
        return protocol.Schema(version=0, block=self._block(self._top, self._config))

    def _block(self, text: str, interface: str) -> protocol.Schema.Block:
        declared = self._interfaces[interface.lower()]
        optional = {name: mark == "?" for name, mark in _DECLARED.findall(declared)}
        blocks = set(re.findall(r"^\s+\* (\w+) block$", declared, re.MULTILINE))
        made = protocol.Schema.Block(version=0)
        for name, value, kind, storage in _MEMBER.findall(text):
            if name in blocks:
                made.block_types.append(self._nested(name, value, kind, optional[name]))
                continue
            made.attributes.append(
                protocol.Schema.Attribute(
                    name=name,
                    type=json.dumps(_type(kind, storage)).encode(),
                    required=not optional[name],
                    # Which of them the service fills in is not written there.
                    optional=optional[name],
                    computed=optional[name],
                )
            )
        known = {one.name for one in made.attributes}
        for name, map_class, kind in _COMPUTED.findall(self._classes.get(interface.lower(), "")):
            getter = map_class or kind
            if name not in known and getter in _GETTERS:
                made.attributes.append(
                    protocol.Schema.Attribute(
                        name=name, type=json.dumps(_GETTERS[getter]).encode(), computed=True
                    )
                )
        return made

    def _nested(
        self, name: str, value: str, kind: str, optional: bool
    ) -> protocol.Schema.NestedBlock:
        several = value.startswith("cdktf.listMapperHcl(")
        found = re.search(r"(\w+)ToHclTerraform", value)
        assert found is not None, value
        modes = protocol.Schema.NestedBlock.NestingMode
        mode = {"list": modes.LIST, "set": modes.SET, "struct": modes.SINGLE}[kind]
        single = mode == modes.SINGLE
        return protocol.Schema.NestedBlock(
            type_name=name,
            block=self._block(self._functions[found[1].lower()], found[1]),
            nesting=mode,
            min_items=0 if optional or single else 1,
            max_items=0 if several or single else 1,
        )


def _type(kind: str, storage: str) -> Any:
    if kind == "simple":
        return _SCALARS[storage]
    found = _COLLECTIONS.fullmatch(storage)
    element = _SCALARS.get(found[1], "dynamic") if found else "dynamic"
    if found and found[2] == "MapList":
        element = ["map", element]  # type: ignore[assignment]
    return [kind, element]


def read_schemas(wheel: str, names: list[str]) -> dict[str, protocol.Schema]:
    """Return the schemas of `aws_x` and `data.aws_x` from cdktf's package."""
    folders = {
        re.sub("^(data.)?aws_", lambda found: "data-aws-" if found[1] else "", name).replace(
            "_", "-"
        ): name
        for name in names
    }
    texts: dict[str, dict[str, str]] = {name: {} for name in names}
    with zipfile.ZipFile(wheel) as opened:
        (member,) = (name for name in opened.namelist() if name.endswith(".jsii.tgz"))
        with opened.open(member) as packed, tarfile.open(fileobj=packed, mode="r|gz") as unpacked:
            for one in unpacked:
                parts = one.name.split("/")
                if len(parts) == 4 and parts[2] in folders and parts[3].startswith("index."):
                    read = unpacked.extractfile(one)
                    assert read is not None
                    texts[folders[parts[2]]][parts[3]] = read.read().decode()
    unknown = [name for name, found in texts.items() if len(found) != 2]
    if unknown:
        sys.exit(f"the provider for AWS has no {', '.join(unknown)}")
    return {
        name: Source(found["index.js"], found["index.d.ts"]).schema()
        for name, found in texts.items()
    }


# ---- what the services would choose ------------------------------------------

_ARNS = {
    "aws_cloudwatch_event_rule": "arn:{partition}:events:{region}:{account}:rule/{name}",
    "aws_cloudwatch_log_group": "arn:{partition}:logs:{region}:{account}:log-group:{name}",
    "aws_iam_role": "arn:{partition}:iam::{account}:role/{name}",
    "aws_lambda_function": "arn:{partition}:lambda:{region}:{account}:function:{function_name}",
    "aws_s3_bucket": "arn:{partition}:s3:::{bucket}",
    "aws_sns_topic": "arn:{partition}:sns:{region}:{account}:{name}",
    "aws_sqs_queue": "arn:{partition}:sqs:{region}:{account}:{name}",
}
_INVOKE = (
    "arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/"
    + _ARNS["aws_lambda_function"]
    + "/invocations"
)
_OTHERS = {
    "aws_api_gateway_authorizer": {"id": "RestAuthorizer"},
    "aws_api_gateway_deployment": {"id": "RestDeployment1"},
    "aws_api_gateway_resource": {"id": "RestEveryPath"},
    "aws_api_gateway_rest_api": {
        "id": "RestApi",
        "root_resource_id": "RestApi.RootResourceId",
        "execution_arn": "arn:{partition}:execute-api:{region}:{account}:RestApi",
    },
    "aws_apigatewayv2_api": {
        "id": "HttpApi",
        "execution_arn": "arn:{partition}:execute-api:{region}:{account}:HttpApi",
    },
    "aws_apigatewayv2_authorizer": {"id": "HttpAuthorizer"},
    "aws_apigatewayv2_integration": {"id": "HttpIntegration"},
    "aws_lambda_function": {"invoke_arn": _INVOKE},
    "aws_s3_bucket": {"id": "{bucket}"},
    "aws_sqs_queue": {
        "id": "https://sqs.{region}.amazonaws.com/{account}/{name}",
        "url": "https://sqs.{region}.amazonaws.com/{account}/{name}",
    },
}
_FOUND = {
    "aws_caller_identity": {"account_id": ACCOUNT, "id": ACCOUNT},
    "aws_partition": {"partition": PARTITION, "dns_suffix": "amazonaws.com"},
    "aws_region": {"region": REGION, "id": REGION},
}
_ONCE_MADE = {"aws_cloudformation_stack": {"outputs": {"Arn": f"arn:aws:acm-pca:{REGION}::ca"}}}
_UNKNOWN = msgpack.ExtType(0, b"\x00")


def planned(kind: str, schema: protocol.Schema, proposed: dict[str, Any]) -> dict[str, Any]:
    """Return a resource as it would become, with what is not known before marked so."""
    chosen = dict(_OTHERS.get(kind, {}))
    if kind in _ARNS:
        chosen["arn"] = _ARNS[kind]
    names = {"region": REGION, "account": ACCOUNT, "partition": PARTITION}
    names |= {name: value for name, value in proposed.items() if isinstance(value, str)}
    made = dict(proposed)
    for one in schema.block.attributes:
        if made.get(one.name) is not None:
            continue
        try:
            if one.name in chosen:
                made[one.name] = chosen[one.name].format(**names)
                continue
        except KeyError:  # named by something that is not known either
            pass
        if not one.optional or one.name == "id":
            made[one.name] = _UNKNOWN
    for nested in schema.block.block_types:
        inside = made.get(nested.type_name)
        if isinstance(inside, list):
            made[nested.type_name] = [_chosen_in(nested.block, one) for one in inside]
    return made


def _chosen_in(block: protocol.Schema.Block, proposed: dict[str, Any]) -> dict[str, Any]:
    chosen = {one.name for one in block.attributes if not one.optional and not one.required}
    return {
        name: _UNKNOWN if value is None and name in chosen else value
        for name, value in proposed.items()
    }


def applied(kind: str, block: protocol.Schema.Block, plan: dict[str, Any]) -> dict[str, Any]:
    """Return a resource as it is once it was made: what was not known has some value."""
    found = dict(plan)
    for one in block.attributes:
        if isinstance(found.get(one.name), msgpack.ExtType):
            some = {"string": f"{kind}.{one.name}", "number": 0, "bool": False}
            constraint = json.loads(one.type)
            found[one.name] = (
                some[constraint]
                if isinstance(constraint, str)
                else _ONCE_MADE.get(kind, {}).get(one.name, {} if constraint[0] == "map" else [])
            )
    for nested in block.block_types:
        inside = found.get(nested.type_name)
        if isinstance(inside, list):
            found[nested.type_name] = [applied(kind, nested.block, one) for one in inside]
    return found


# ---- the provider ------------------------------------------------------------


def _read(value: protocol.DynamicValue) -> Any:
    return json.loads(value.json) if value.json else msgpack.unpackb(value.msgpack)


def _written(value: Any) -> protocol.DynamicValue:
    return protocol.DynamicValue(msgpack=msgpack.packb(value))


class Provider(services.ProviderServicer):  # type: ignore[misc]
    """Answers Terraform's questions from the schemas."""

    def __init__(self, schemas: dict[str, protocol.Schema]) -> None:
        self._resources = {k: v for k, v in schemas.items() if not k.startswith("data.")}
        self._data = {
            k.removeprefix("data."): v for k, v in schemas.items() if k.startswith("data.")
        }

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:
        region = protocol.Schema.Attribute(name="region", type=b'"string"', optional=True)
        return protocol.GetProviderSchema.Response(
            provider=protocol.Schema(block=protocol.Schema.Block(attributes=[region])),
            resource_schemas=self._resources,
            data_source_schemas=self._data,
        )

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:
        return protocol.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, _request: Any, _context: Any) -> Any:
        return protocol.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:
        return protocol.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:
        return protocol.ConfigureProvider.Response()

    def PlanResourceChange(self, request: Any, _context: Any) -> Any:
        kind, proposed = request.type_name, _read(request.proposed_new_state)
        made = None if proposed is None else planned(kind, self._resources[kind], proposed)
        return protocol.PlanResourceChange.Response(planned_state=_written(made))

    def ApplyResourceChange(self, request: Any, _context: Any) -> Any:
        kind, plan = request.type_name, _read(request.planned_state)
        state = None if plan is None else applied(kind, self._resources[kind].block, plan)
        return protocol.ApplyResourceChange.Response(new_state=_written(state))

    def ReadResource(self, request: Any, _context: Any) -> Any:
        return protocol.ReadResource.Response(new_state=request.current_state)

    def UpgradeResourceState(self, request: Any, _context: Any) -> Any:
        state = protocol.DynamicValue(json=request.raw_state.json)
        return protocol.UpgradeResourceState.Response(upgraded_state=state)

    def ReadDataSource(self, request: Any, _context: Any) -> Any:
        asked = _read(request.config)
        return protocol.ReadDataSource.Response(
            state=_written({**asked, **_FOUND[request.type_name]})
        )

    def StopProvider(self, _request: Any, _context: Any) -> Any:
        return protocol.StopProvider.Response()


class Controller(controller_services.GRPCControllerServicer):  # type: ignore[misc]
    """Terraform does not end a provider that it has not started."""

    def Shutdown(self, _request: Any, _context: Any) -> Any:
        return controller.Empty()


def serve(wheel: str, socket: str, names: list[str]) -> Iterator[str]:
    """Serve until the process ends; yield when Terraform may call."""
    server = grpc.server(
        futures.ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)]
    )
    services.add_ProviderServicer_to_server(Provider(read_schemas(wheel, names)), server)
    controller_services.add_GRPCControllerServicer_to_server(Controller(), server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    yield f"{len(names)} resources"
    server.wait_for_termination()


if __name__ == "__main__":
    for line in serve(sys.argv[1], sys.argv[2], sys.argv[3:]):
        print(line, flush=True)
