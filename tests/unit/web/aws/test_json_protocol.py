"""AWS JSON 1.1, with botocore's parsers and serializers as the oracle."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openecr.web.aws.json_protocol import (
    MAX_DEPTH,
    MAX_VALUES,
    decode_body,
    decode_input,
    encode_error,
    encode_output,
    operation_name,
)
from openecr.web.aws.model import load_service
from openecr.web.aws.protocol_errors import Serialization, UnknownOperation
from tests.unit.web.aws.oracle import (
    as_botocore,
    from_botocore,
    parse_response,
    round_instants,
    serialize_request,
    values,
)

OPERATIONS = [
    (service, operation)
    for service in ("ecr", "ecr-public", "kms")
    for operation in load_service(service).operations
]
ECR = load_service("ecr").operations
SECOND = 1_000_000


# Each operation is a test of its own, so a few examples of each make thousands.
FEW = settings(max_examples=10)


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@FEW
@given(data=st.data())
def test_botocore_reads_every_output_as_it_was(service: str, name: str, data: st.DataObject) -> None:
    operation = load_service(service).operations[name]
    # Epoch seconds as a double hold microseconds only nearly, so instants are compared in milliseconds.
    output = round_instants(operation.output, data.draw(values(operation.output)), 1_000)

    body = encode_output(operation, output)

    parsed = from_botocore(parse_response(service, name, body))
    assert round_instants(operation.output, _nudged(parsed, operation.output), 1_000) == output


def _nudged(value: Any, shape: Any) -> Any:
    """Half a millisecond more for each instant, so that a microsecond less does not cut it down."""
    match value:
        case dict():
            member = getattr(shape, "value", None)
            return {key: _nudged(item, member or shape.members[key]) for key, item in value.items()}
        case list():
            return [_nudged(item, shape.member) for item in value]
        case int() if type(shape).__name__ == "TimestampShape":
            return value + 500
        case _:
            return value


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@FEW
@given(data=st.data())
def test_every_input_that_botocore_writes_is_read_as_it_was(
    service: str, name: str, data: st.DataObject
) -> None:
    operation = load_service(service).operations[name]
    given_input = round_instants(operation.input, data.draw(values(operation.input)), SECOND)

    request = serialize_request(service, name, as_botocore(operation.input, given_input))

    assert decode_input(operation, request["body"]) == given_input
    prefix, target = operation_name(request["headers"]["X-Amz-Target"])
    assert (prefix, target) == (operation.service.target_prefix, name)


@pytest.mark.parametrize(
    "target", ["", "x", ".x", "x.", "a b.c", "a.b\n", "a" * 200 + ".b", "\u00e9.b", "a.b/c"]
)
def test_a_target_that_names_no_operation_is_unknown(target: str) -> None:
    with pytest.raises(UnknownOperation):
        operation_name(target)


def test_an_empty_body_is_an_empty_object() -> None:
    assert decode_body(b"") == {}


def test_an_explicit_null_is_an_absent_member() -> None:
    body = b'{"repositoryName":"ab","registryId":null,"tags":[{"Key":"k","Value":null}]}'

    assert decode_input(ECR["CreateRepository"], body) == {"repositoryName": "ab", "tags": [{"Key": "k"}]}


def test_unknown_members_are_ignored() -> None:
    body = b'{"repositoryName":"ab","new":{"deep":[1,{"a":"b"}]}}'

    assert decode_input(ECR["CreateRepository"], body) == {"repositoryName": "ab"}


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"{",
        b"[]",
        b'"text"',
        b"1",
        b"null",
        b"true",
        b" ",
        b"{}{}",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"1" * 5_000 + b"}",
        b'{"a":01}',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'{"a":"\\ud800"}',
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        "{}".encode("utf-16"),
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":"x","b":"x"}}',
        b'{"a":"\\"","a":"\\\\"}',
        b'{"a":[{"b":[]},{"b":[],"b":[]}]}',
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"a":[' + b"1," * MAX_VALUES + b"1]}",
        b'{"a":[' + b"[]," * 600_000 + b"1]}",
    ],
)
def test_a_malformed_body_is_a_serialization_error(body: bytes) -> None:
    with pytest.raises(Serialization) as caught:
        decode_body(body)

    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)


def test_a_body_of_too_many_values_is_refused_before_they_are_built() -> None:
    # Not even JSON, so only a check that comes before the decoder can tell.
    with pytest.raises(Serialization, match="more than"):
        decode_body(b"[]," * 300_000)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"b","c":["d",{"e":"\\"","f":"\\\\"}]}',
        '{"\\"":"\\\\\\"","\\\\":"\\\\\\\\","x":"\\/"}',
        '{"a":{"a":{"a":"a"}},"b":"\\u0061"}',
        '{"":"","a":""}',
    ],
)
def test_quotes_and_backslashes_do_not_look_like_repeated_members(text: str) -> None:
    assert decode_body(text.encode()) == json.loads(text)


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
    ),
    st.booleans(),
)
def test_every_json_object_is_read_as_the_standard_library_reads_it(
    value: Mapping[str, Any], escaped: bool
) -> None:
    assert decode_body(json.dumps(value, ensure_ascii=escaped).encode()) == value


def test_a_body_may_be_nested_up_to_the_bound() -> None:
    depth = MAX_DEPTH - 1

    assert decode_body(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("CreateRepository", {"repositoryName": 1}, "NUMBER_VALUE can not be converted to a String"),
        ("CreateRepository", {"repositoryName": True}, "BOOLEAN_VALUE can not be converted to a String"),
        (
            "CreateRepository",
            {"repositoryName": ["a"]},
            "Start of list found where not expected: a String is needed.",
        ),
        (
            "CreateRepository",
            {"repositoryName": {}},
            "Start of structure or map found where not expected: a String is needed.",
        ),
        ("CreateRepository", {"tags": "x"}, "STRING_VALUE can not be converted to a list"),
        ("CreateRepository", {"tags": ["x"]}, "STRING_VALUE can not be converted to a structure"),
        (
            "CreateRepository",
            {"encryptionConfiguration": "x"},
            "STRING_VALUE can not be converted to a structure",
        ),
        (
            "CreateRepository",
            {"imageScanningConfiguration": {"scanOnPush": "true"}},
            "STRING_VALUE can not be converted to a Boolean",
        ),
        ("DescribeImages", {"maxResults": "5"}, "STRING_VALUE can not be converted to an Integer"),
        ("DescribeImages", {"maxResults": True}, "BOOLEAN_VALUE can not be converted to an Integer"),
        ("DescribeImages", {"maxResults": 1.5}, "NUMBER_VALUE can not be converted to an Integer"),
        ("DescribeImages", {"maxResults": 2**31}, "NUMBER_VALUE can not be converted to an Integer"),
        ("UploadLayerPart", {"partFirstByte": 2**63}, "NUMBER_VALUE can not be converted to a Long"),
        ("UploadLayerPart", {"partFirstByte": -1e300}, "NUMBER_VALUE can not be converted to a Long"),
        ("UploadLayerPart", {"layerPartBlob": 1}, "NUMBER_VALUE can not be converted to a Blob"),
        ("UploadLayerPart", {"layerPartBlob": "YQ"}, "The value of a Blob is not valid base64."),
        ("UploadLayerPart", {"layerPartBlob": "Y Q=="}, "The value of a Blob is not valid base64."),
        ("UploadLayerPart", {"layerPartBlob": "YQ==YQ=="}, "The value of a Blob is not valid base64."),
        ("UploadLayerPart", {"layerPartBlob": "\u00e9"}, "The value of a Blob is not valid base64."),
    ],
)
def test_a_value_of_another_type_is_a_serialization_error(
    operation: str, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(Serialization) as caught:
        decode_input(ECR[operation], json.dumps(body).encode())

    assert caught.value.message == message


def test_a_whole_number_may_be_written_with_a_fraction() -> None:
    decoded = decode_input(ECR["DescribeImages"], b'{"maxResults":5.0}')

    assert decoded == {"maxResults": 5}
    assert isinstance(decoded["maxResults"], int)


@pytest.mark.parametrize(
    ("written", "instant_at"),
    [
        (b"1563223656", 1_563_223_656_000_000),
        (b"1.563223656E9", 1_563_223_656_000_000),
        (b"1563223656.5", 1_563_223_656_500_000),
        (b'"2019-07-15T20:47:36Z"', 1_563_223_656_000_000),
        (b'"2019-07-15T22:47:36.250+02:00"', 1_563_223_656_250_000),
    ],
)
def test_an_instant_is_read_in_its_forms(written: bytes, instant_at: int) -> None:
    operation = load_service("kms").operations["ImportKeyMaterial"]

    assert decode_input(operation, b'{"ValidTo":' + written + b"}") == {"ValidTo": instant_at}


@pytest.mark.parametrize("written", [b'"soon"', b"true", b"[]", b"1e12", b"-1e12", b'"2019-02-31T00:00:00Z"'])
def test_another_instant_is_a_serialization_error(written: bytes) -> None:
    operation = load_service("kms").operations["ImportKeyMaterial"]

    with pytest.raises(Serialization):
        decode_input(operation, b'{"ValidTo":' + written + b"}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data(), which=st.sampled_from(OPERATIONS))
def test_no_json_makes_decoding_fail_otherwise(data: st.DataObject, which: tuple[str, str]) -> None:
    operation = load_service(which[0]).operations[which[1]]
    members = dict.fromkeys(operation.input.members, json_values)
    value = data.draw(st.fixed_dictionaries({}, optional=members) | json_values)
    try:
        decoded = decode_input(operation, json.dumps(value).encode())
    except Serialization:
        return
    assert set(decoded) <= set(members)


@given(st.binary(max_size=60) | st.text('{}[]",:\\ua1e-.ntf ', max_size=40).map(str.encode))
def test_no_bytes_make_decoding_fail_otherwise(body: bytes) -> None:
    try:
        decoded = decode_body(body)
    except Serialization:
        return
    assert not body or decoded == json.loads(body)


def test_absent_members_are_left_out_and_empty_lists_stay() -> None:
    body = encode_output(ECR["BatchGetImage"], {"images": [{"registryId": None}], "failures": []})

    assert json.loads(body) == {"images": [{}], "failures": []}


def test_an_instant_is_written_as_epoch_seconds() -> None:
    repository = {"createdAt": 1_563_223_656_000_000}
    assert encode_output(ECR["CreateRepository"], {"repository": repository}) == (
        b'{"repository":{"createdAt":1563223656}}'
    )
    repository = {"createdAt": 1_563_223_656_250_000}
    assert encode_output(ECR["CreateRepository"], {"repository": repository}) == (
        b'{"repository":{"createdAt":1563223656.25}}'
    )


def test_a_member_that_the_model_lacks_is_a_bug() -> None:
    with pytest.raises(KeyError):
        encode_output(ECR["BatchGetImage"], {"pictures": []})


def test_an_error_is_read_by_botocore() -> None:
    body = encode_error(
        "InvalidLayerPartException",
        "The part is wrong",
        {"registryId": "000000000000", "uploadId": None, "lastValidByteReceived": 9},
    )

    parsed = parse_response("ecr", "UploadLayerPart", body, status=400)
    assert parsed["Error"] == {"Code": "InvalidLayerPartException", "Message": "The part is wrong"}
    assert json.loads(body) == {
        "__type": "InvalidLayerPartException",
        "message": "The part is wrong",
        "registryId": "000000000000",
        "lastValidByteReceived": 9,
    }
