"""The AWS query protocol (STS, IAM): form parameters in, XML out. No HTTP, no dispatch.

`Action` and `Version` name the operation; lists are `Name.member.N`, maps `Name.entry.N.key` and `.value`,
structures `Name.Member`. Parameters that the model does not know are ignored, those of a presigned URL among
them.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from html import escape
from typing import cast
from urllib.parse import unquote_plus

from openecr.web.aws.instants import instant_from_text, instant_to_text
from openecr.web.aws.model import OperationModel
from openecr.web.aws.protocol_errors import (
    InvalidAction,
    MalformedInput,
    MalformedQueryString,
    MissingAction,
)
from openecr.web.aws.shapes import (
    BlobShape,
    BooleanShape,
    ListShape,
    MapShape,
    NumberShape,
    Shape,
    StringShape,
    StructureShape,
    TimestampShape,
)

CONTENT_TYPE = "text/xml"
MAX_PARAMETERS = 4_096
# What AWS answers under when no service can be told from the request.
FAULT_NAMESPACE = "http://webservices.amazon.com/AWSFault/2005-15-09"

_MAX_NAME_CHARS = 512
_MAX_DEPTH = 16
_INDEX = re.compile(r"[1-9][0-9]{0,4}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_REAL = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
# Everything outside the production Char of XML 1.0, section 2.2.
_NOT_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")

_Node = str | dict[str, "_Node"]


def decode_parameters(*encoded: bytes) -> dict[str, str]:
    """Decode the form body or raw query string of a request, or both (`application/x-www-form-urlencoded`).

    Raises `MalformedQueryString` for a name given twice, text that is not UTF-8, or too many parameters.
    """
    parameters: dict[str, str] = {}
    for pair in (pair for part in encoded if part for pair in _pairs(part)):
        raw_name, _, raw_value = pair.partition("=")
        try:
            name, value = (
                unquote_plus(raw_name, errors="strict"),
                unquote_plus(raw_value, errors="strict"),
            )
        except UnicodeDecodeError as error:
            raise MalformedQueryString(message="The parameters are not valid UTF-8.") from error
        if name in parameters:
            raise MalformedQueryString(message="A parameter is given more than once.")
        if len(name) > _MAX_NAME_CHARS or len(parameters) == MAX_PARAMETERS:
            raise MalformedQueryString(message="The parameters are too many, or the name of one is too long.")
        parameters[name] = value
    return parameters


def _pairs(encoded: bytes) -> list[str]:
    if encoded.count(b"&") > 2 * MAX_PARAMETERS:
        raise MalformedQueryString(message="The parameters are too many, or the name of one is too long.")
    try:
        text = encoded.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedQueryString(message="The parameters are not form-encoded.") from error
    return [pair for pair in text.strip().split("&") if pair]


def action_and_version(parameters: Mapping[str, str]) -> tuple[str, str]:
    """Return the operation's name and its API version (empty when absent). Raises `MissingAction`."""
    action = parameters.get("Action", "")
    if not action:
        raise MissingAction(message="The request must contain the parameter Action.")
    return action, parameters.get("Version", "")


def unknown_action(action: str, version: str) -> InvalidAction:
    """Return the error for an action that no served service has in this version."""
    return InvalidAction(
        message=f"Could not find operation {action[:128]} for version {version[:32] or 'null'}"
    )


def decode_input(operation: OperationModel, parameters: Mapping[str, str]) -> dict[str, object]:
    """Decode parameters by the operation's input shape, types only (`validation.validate` comes after).

    Raises `MalformedInput`.
    """
    return _structure_in(operation.input, _tree(operation.input, parameters))


def _tree(shape: StructureShape, parameters: Mapping[str, str]) -> dict[str, _Node]:
    root: dict[str, _Node] = {}
    for name, value in parameters.items():
        steps = name.split(".", maxsplit=_MAX_DEPTH)
        if steps[0] not in shape.members:
            continue
        if len(steps) > _MAX_DEPTH:
            raise MalformedInput(message="A parameter is nested too deep.")
        node = root
        for step in steps[:-1]:
            inner = node.setdefault(step, {})
            if isinstance(inner, str):
                raise _conflict(steps[0])
            node = inner
        if steps[-1] in node:
            raise _conflict(steps[0])
        node[steps[-1]] = value
    return root


def _conflict(name: str) -> MalformedInput:
    return MalformedInput(message=f"The parameter {name} is given both as a value and as a structure.")


def _structure_in(shape: StructureShape, node: _Node) -> dict[str, object]:
    if isinstance(node, str):
        raise MalformedInput(message="STRING_VALUE found where a structure is expected.")
    return {name: _value_in(member, node[name]) for name, member in shape.members.items() if name in node}


def _value_in(shape: Shape, node: _Node) -> object:
    match shape:
        case StructureShape():
            return _structure_in(shape, node)
        case ListShape(member=member):
            return [_value_in(member, item) for item in _indexed(node, "member")]
        case MapShape():
            return dict(_entry_in(shape, item) for item in _indexed(node, "entry"))
        case _:
            if not isinstance(node, str):
                raise MalformedInput(message="Start of structure or map found where not expected.")
            return _scalar_in(shape, node)


def _indexed(node: _Node, name: str) -> list[_Node]:
    """Return the items below `Name.<name>.N`, in the order of N; an empty value is an empty list."""
    if node == "":
        return []
    inner = node.get(name) if isinstance(node, dict) and len(node) == 1 else None
    if not isinstance(inner, dict) or not all(_INDEX.fullmatch(index) for index in inner):
        raise MalformedInput(message=f"Expected a list, written with .{name}.1 and so on.")
    return [inner[index] for index in sorted(inner, key=int)]


def _entry_in(shape: MapShape, node: _Node) -> tuple[str, object]:
    if isinstance(node, dict):
        key, value = node.get("key"), node.get("value")
        if isinstance(key, str) and value is not None:
            return key, _value_in(shape.value, value)
    raise MalformedInput(message="Each entry of a map needs a key and a value.")


def _scalar_in(
    shape: StringShape | NumberShape | BooleanShape | BlobShape | TimestampShape,
    text: str,
) -> object:
    match shape:
        case StringShape():
            return text
        case NumberShape():
            return _number_in(shape, text)
        case BooleanShape():
            if text not in {"true", "false"}:
                raise _unreadable("a Boolean")
            return text == "true"
        case BlobShape():
            try:
                return binascii.a2b_base64(text, strict_mode=True)
            except ValueError as error:
                raise _unreadable("a Blob") from error
        case TimestampShape():
            instant_at = instant_from_text(text)
            if instant_at is None:
                raise _unreadable("a Timestamp")
            return instant_at


def _number_in(shape: NumberShape, text: str) -> int | float:
    whole = shape.kind in {"integer", "long"}
    if not (_INTEGER if whole else _REAL).fullmatch(text):
        raise _unreadable(shape.wanted)
    number = int(text) if whole else float(text)
    if not shape.fits(number):
        raise _unreadable(shape.wanted)
    return number


def _unreadable(wanted: str) -> MalformedInput:
    return MalformedInput(message=f"STRING_VALUE can not be converted to {wanted}")


def encode_output(operation: OperationModel, output: Mapping[str, object], *, request_id: str) -> bytes:
    """Encode a handler's output in the operation's envelope. Members that are None are left out.

    Raises `KeyError` for a member that the model lacks, which is a bug of the handler.
    """
    content = "".join(_structure_out(operation.output, output))
    if operation.has_output:
        wrapper = operation.result_wrapper or f"{operation.name}Result"
        content = f"<{wrapper}>{content}</{wrapper}>"
    name, namespace = (
        f"{operation.name}Response",
        operation.service.xml_namespace or FAULT_NAMESPACE,
    )
    metadata = f"<ResponseMetadata><RequestId>{_text(request_id)}</RequestId></ResponseMetadata>"
    return f'<{name} xmlns="{escape(namespace)}">{content}{metadata}</{name}>'.encode()


def encode_error(
    code: str,
    message: str,
    *,
    request_id: str,
    sender: bool = True,
    namespace: str | None = None,
) -> bytes:
    """Return the body of an error; `sender` tells whether the caller or the server is at fault."""
    kind = "Sender" if sender else "Receiver"
    return (
        f'<ErrorResponse xmlns="{escape(namespace or FAULT_NAMESPACE)}">'
        f"<Error><Type>{kind}</Type><Code>{_text(code)}</Code><Message>{_text(message)}</Message></Error>"
        f"<RequestId>{_text(request_id)}</RequestId></ErrorResponse>"
    ).encode()


def _structure_out(shape: StructureShape, value: Mapping[str, object]) -> Iterator[str]:
    for name in value:
        if name not in shape.members:
            raise KeyError(name)
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            yield f"<{name}>"
            yield from _value_out(member, item)
            yield f"</{name}>"


def _value_out(shape: Shape, value: object) -> Iterator[str]:
    match shape:
        case StructureShape():
            yield from _structure_out(shape, cast("Mapping[str, object]", value))
        case ListShape(member=member):
            for item in cast("list[object]", value):
                yield "<member>"
                yield from _value_out(member, item)
                yield "</member>"
        case MapShape():
            for key, item in cast("Mapping[str, object]", value).items():
                yield f"<entry><key>{_text(key)}</key><value>"
                yield from _value_out(shape.value, item)
                yield "</value></entry>"
        case TimestampShape():
            yield instant_to_text(cast("int", value))
        case BlobShape():
            yield b64encode(cast("bytes", value)).decode("ascii")
        case BooleanShape():
            yield "true" if value else "false"
        case StringShape() | NumberShape():
            yield _text(str(value))


def _text(value: str) -> str:
    # A carriage return written as itself would reach the reader as a line feed (XML 1.0, section 2.11).
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value), quote=False).replace("\r", "&#13;")
