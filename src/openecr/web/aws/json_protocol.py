"""The AWS JSON 1.1 protocol: bytes to values of the model's types and back. No HTTP, no dispatch.

Unknown members are ignored and an explicit null is an absent member, as AWS does. A body is bounded in depth
and in its number of values, so that reading it costs no more than its length suggests.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import cast

import msgspec

from openecr.web.aws.instants import instant_from_text
from openecr.web.aws.model import OperationModel
from openecr.web.aws.protocol_errors import Serialization, UnknownOperation
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

CONTENT_TYPE = "application/x-amz-json-1.1"
MAX_DEPTH = 64
MAX_VALUES = 100_000

# Brackets and commas a body may have, those inside of strings included. It bounds what the decoder builds
# before its values can be counted: without it, 28 MiB of empty lists would become most of a gibibyte.
_MAX_PUNCTUATION = 500_000
_MICROSECONDS = 1_000_000
_LATEST_SECONDS = 253_402_300_799  # the last second of the year 9999
_TARGET = re.compile(r"([0-9A-Za-z_.]{1,128})\.([0-9A-Za-z_]{1,128})")
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(object)


def operation_name(target: str) -> tuple[str, str]:
    """Split the header `X-Amz-Target` into (target prefix, operation). Raises `UnknownOperation`."""
    match = _TARGET.fullmatch(target)
    if match is None:
        raise UnknownOperation(message="The header X-Amz-Target does not name an operation.")
    return match[1], match[2]


def decode_body(body: bytes) -> dict[str, object]:
    """Read a request body as a JSON object; an empty body is an empty object.

    Raises `Serialization` for anything else: other JSON, a name given twice, not UTF-8, nested too deep.
    """
    if not body:
        return {}
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MAX_PUNCTUATION:
        raise Serialization(message=f"The request body holds more than {MAX_VALUES} values.")
    try:
        value: object = _DECODER.decode(body)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        ValueError,
    ) as error:
        raise Serialization(message="The request body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise Serialization(message="Expected the start of a structure in the request body.")
    members = cast("dict[str, object]", value)
    if _count_strings(members) != _count_string_tokens(body):
        raise Serialization(message="The request body gives a member more than once.")
    return members


def decode_input(operation: OperationModel, body: bytes) -> dict[str, object]:
    """Decode a request body by the operation's input shape, types only (`validation.validate` comes after).

    Raises `Serialization`.
    """
    return _structure_in(operation.input, decode_body(body))


def encode_output(operation: OperationModel, output: Mapping[str, object]) -> bytes:
    """Encode a handler's output. Members that are None are left out.

    Raises `KeyError` for a member that the model lacks, which is a bug of the handler.
    """
    return _ENCODER.encode(_structure_out(operation.output, output))


def encode_error(code: str, message: str, members: Mapping[str, object] | None = None) -> bytes:
    """Return the body of an error: `members` are those that the exception has besides its message."""
    extra = {name: value for name, value in (members or {}).items() if value is not None}
    return _ENCODER.encode({"__type": code, "message": message, **extra})


def _count_strings(value: object) -> int:
    """Count member names and strings in a decoded body; bounds depth and size on the way."""
    strings = values = 0
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                members = cast("dict[str, object]", each)
                strings += len(members)
                inner += members.values()
            elif isinstance(each, list):
                inner += cast("list[object]", each)
            elif isinstance(each, str):
                strings += 1
        values += len(inner)
        if values > MAX_VALUES:
            raise Serialization(message=f"The request body holds more than {MAX_VALUES} values.")
        if not inner:
            return strings
        level = inner
    raise Serialization(message=f"The request body is nested deeper than {MAX_DEPTH}.")


def _count_string_tokens(body: bytes) -> int:
    """Count the strings of a valid JSON text: unescaped quotes, two for each.

    The decoder keeps the last of two members with one name, so a name given twice shows as a difference.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return body.count(b'"') // 2


def _structure_in(shape: StructureShape, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _unexpected(value, "a structure")
    members = shape.members
    decoded: dict[str, object] = {}
    for name, item in cast("dict[str, object]", value).items():
        member = members.get(name)
        if member is not None and item is not None:
            decoded[name] = _value_in(member, item)
    return decoded


def _value_in(shape: Shape, value: object) -> object:
    match shape:
        case StringShape():
            if not isinstance(value, str):
                raise _unexpected(value, "a String")
            return value
        case StructureShape():
            return _structure_in(shape, value)
        case ListShape(member=member):
            if not isinstance(value, list):
                raise _unexpected(value, "a list")
            items = cast("list[object]", value)
            return [None if item is None else _value_in(member, item) for item in items]
        case MapShape(value=member):
            if not isinstance(value, dict):
                raise _unexpected(value, "a map")
            entries = cast("dict[str, object]", value)
            return {key: _value_in(member, item) for key, item in entries.items() if item is not None}
        case _:
            return _scalar_in(shape, value)


def _scalar_in(shape: NumberShape | BooleanShape | BlobShape | TimestampShape, value: object) -> object:
    match shape:
        case NumberShape():
            return _number_in(shape, value)
        case BooleanShape():
            if not isinstance(value, bool):
                raise _unexpected(value, "a Boolean")
            return value
        case BlobShape():
            if not isinstance(value, str):
                raise _unexpected(value, "a Blob")
            return blob_from_text(value)
        case TimestampShape():
            return _timestamp_in(value)


def _number_in(shape: NumberShape, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not shape.fits(value):
        raise _unexpected(value, shape.wanted)
    return int(value) if shape.kind in {"integer", "long"} else float(value)


def _timestamp_in(value: object) -> int:
    if isinstance(value, str):
        instant_at = instant_from_text(value)
        if instant_at is None:
            raise _unexpected(value, "a Timestamp")
        return instant_at
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LATEST_SECONDS:
        raise _unexpected(value, "a Timestamp")
    return round(value * _MICROSECONDS)


def blob_from_text(text: str) -> bytes:
    """Decode strict, padded, standard base64. Raises `Serialization`."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise Serialization(message="The value of a Blob is not valid base64.") from error


def _unexpected(value: object, wanted: str) -> Serialization:
    match value:
        case bool():
            kind = "BOOLEAN_VALUE"
        case str():
            kind = "STRING_VALUE"
        case int() | float():
            kind = "NUMBER_VALUE"
        case list():
            return Serialization(message=f"Start of list found where not expected: {wanted} is needed.")
        case dict():
            return Serialization(
                message=f"Start of structure or map found where not expected: {wanted} is needed."
            )
        case _:
            kind = "NULL_VALUE"
    return Serialization(message=f"{kind} can not be converted to {wanted}")


def _structure_out(shape: StructureShape, value: Mapping[str, object]) -> dict[str, object]:
    members = shape.members
    return {name: _value_out(members[name], item) for name, item in value.items() if item is not None}


def _value_out(shape: Shape, value: object) -> object:
    match shape:
        case StructureShape():
            return _structure_out(shape, cast("Mapping[str, object]", value))
        case ListShape(member=member):
            return [_value_out(member, item) for item in cast("list[object]", value)]
        case MapShape(value=member):
            entries = cast("Mapping[str, object]", value)
            return {key: _value_out(member, item) for key, item in entries.items()}
        case TimestampShape():
            return seconds(cast("int", value))
        case BlobShape():
            return b64encode(cast("bytes", value)).decode("ascii")
        case _:
            return value


def seconds(instant_at: int) -> int | float:
    """Epoch seconds for the wire: whole when the instant is, else with the fraction."""
    whole, rest = divmod(instant_at, _MICROSECONDS)
    return whole if rest == 0 else instant_at / _MICROSECONDS
