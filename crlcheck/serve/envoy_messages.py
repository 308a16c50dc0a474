"""
The messages of Envoy's external authorization (``envoy.service.auth.v3``) that are used here.

These are the fields that a decision reads and writes, with the numbers and types of Envoy's
own definitions. What else Envoy sends is not looked at. Text that a client chose is declared
as bytes, because it need not be UTF-8.

The package ``xds-protos`` has all messages, but it installs 800 modules, some of them over
those of other packages (``google.rpc``, ``opentelemetry``, ``envoy``). Code that ``protoc``
generates runs with two major versions of ``protobuf`` only. What is made here runs with each.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_TEXT, _BYTES = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES
_INT32, _ENUM_VALUE = _FIELD.TYPE_INT32, _FIELD.TYPE_INT32

OVERWRITE = 2
"""``append_action`` of a header that takes the place of those of its name."""

_PACKAGE = "crlcheck.envoy"
# Number, name and type of each field, the type of a message by its name. A field whose name
# ends in [] is repeated; a map is a repeated message of key and value (protobuf, Maps).
_MESSAGES: dict[str, tuple[tuple[int, str, int | str], ...]] = {
    "CheckRequest": ((1, "attributes", "AttributeContext"),),
    "AttributeContext": ((1, "source", "Peer"), (4, "request", "Request")),
    "Peer": ((4, "principal", _BYTES), (5, "certificate", _BYTES)),
    "Request": ((2, "http", "HttpRequest"),),
    "HttpRequest": ((2, "method", _BYTES), (3, "headers[]", "Header"), (4, "path", _BYTES)),
    "Header": ((1, "key", _BYTES), (2, "value", _BYTES)),
    "CheckResponse": (
        (1, "status", "Status"),
        (2, "denied_response", "DeniedHttpResponse"),
        (3, "ok_response", "OkHttpResponse"),
    ),
    "Status": ((1, "code", _INT32),),
    "DeniedHttpResponse": (
        (1, "status", "HttpStatus"),
        (2, "headers[]", "HeaderValueOption"),
        (3, "body", _TEXT),
    ),
    "HttpStatus": ((1, "code", _ENUM_VALUE),),
    "OkHttpResponse": ((2, "headers[]", "HeaderValueOption"), (5, "headers_to_remove[]", _TEXT)),
    "HeaderValueOption": ((1, "header", "HeaderValue"), (3, "append_action", _ENUM_VALUE)),
    "HeaderValue": ((1, "key", _TEXT), (2, "value", _TEXT)),
}


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="crlcheck/envoy.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, name, kind in fields:
            field = described.field.add(name=name.removesuffix("[]"), number=number)
            is_repeated = name.endswith("[]")
            field.label = _FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    return file


# A pool of its own: whoever imports Envoy's own definitions in the same process may.
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


CheckRequest = _class("CheckRequest")
CheckResponse = _class("CheckResponse")
