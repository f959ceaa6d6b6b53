"""botocore as the oracle: its parsers read what we write, its serializers write what we read.

Values follow our conventions (instants are microseconds); `as_botocore` and `from_botocore` translate.
"""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
from hypothesis import strategies as st

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

SERVED = ("ecr", "ecr-public", "iam", "kms", "sts")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
}
SCALARS: dict[type, st.SearchStrategy[Any]] = {
    StringShape: st.text(st.characters(codec="utf-8"), max_size=12),
    BooleanShape: st.booleans(),
    TimestampShape: st.integers(0, 4_000_000_000_000_000),
    BlobShape: st.binary(max_size=20),
}


@functools.cache
def botocore_service(name: str) -> botocore.model.ServiceModel:
    """Botocore's own reading of a service's newest model."""
    loader = botocore.loaders.Loader()
    return botocore.model.ServiceModel(loader.load_service_model(name, "service-2"), name)


def parse_response(service: str, operation: str, body: bytes, status: int = 200) -> dict[str, Any]:
    """What a boto3 client would hand to its caller."""
    model = botocore_service(service)
    parser = botocore.parsers.create_parser(model.metadata["protocol"])
    shape: Any = model.operation_model(operation).output_shape
    response = {"status_code": status, "headers": {}, "body": body, "context": {"operation_name": operation}}
    parsed: dict[str, Any] = parser.parse(response, shape)
    return parsed


def serialize_request(service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a boto3 client would send, without checking the parameters first."""
    model = botocore_service(service)
    serializer = botocore.serialize.create_serializer(model.metadata["protocol"], include_validation=False)
    request: dict[str, Any] = serializer.serialize_to_request(
        dict(parameters), model.operation_model(operation)
    )
    return request


def values(shape: Shape, *, complete: bool = False) -> st.SearchStrategy[Any]:
    """Values of `shape`'s types, not minding its constraints; `complete` structures have every member."""
    match shape:
        case ListShape(member=member):
            return st.lists(values(member, complete=complete), max_size=3)
        case MapShape(key=key, value=value):
            entries = values(value, complete=complete)
            return st.dictionaries(values(key), entries, min_size=1 if complete else 0, max_size=3)
        case StructureShape(members=members):
            strategies = {name: values(member, complete=complete) for name, member in members.items()}
            if complete:
                return st.fixed_dictionaries(strategies)
            return st.fixed_dictionaries({}, optional=strategies)
        case NumberShape(kind=kind):
            return NUMBERS[kind]
        case _:
            return SCALARS[type(shape)]


def as_botocore(shape: Shape, value: Any) -> Any:
    """Translate one of our values for botocore's serializers."""
    match shape:
        case TimestampShape():
            return EPOCH + timedelta(microseconds=value)
        case ListShape(member=member):
            return [as_botocore(member, item) for item in value]
        case MapShape(value=member):
            return {key: as_botocore(member, item) for key, item in value.items()}
        case StructureShape(members=members):
            return {name: as_botocore(members[name], item) for name, item in value.items()}
        case _:
            return value


def from_botocore(value: Any) -> Any:
    """Translate what botocore's parsers give into our values; a float instant may be a microsecond off."""
    match value:
        case datetime():
            return (value - EPOCH) // timedelta(microseconds=1)
        case list():
            return [from_botocore(item) for item in value]
        case dict():
            return {key: from_botocore(item) for key, item in value.items() if key != "ResponseMetadata"}
        case _:
            return value


def round_instants(shape: Shape, value: Any, unit: int) -> Any:
    """Cut the instants of one of our values to whole multiples of `unit` microseconds."""
    match shape:
        case TimestampShape():
            return value // unit * unit
        case ListShape(member=member):
            return [round_instants(member, item, unit) for item in value]
        case MapShape(value=member):
            return {key: round_instants(member, item, unit) for key, item in value.items()}
        case StructureShape(members=members):
            return {name: round_instants(members[name], item, unit) for name, item in value.items()}
        case _:
            return value
