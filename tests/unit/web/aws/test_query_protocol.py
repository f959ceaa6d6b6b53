"""The query protocol, with botocore's parsers and serializers as the oracle."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openecr.web.aws.model import load_service
from openecr.web.aws.protocol_errors import (
    MalformedInput,
    MalformedQueryString,
    MissingAction,
    ProtocolError,
)
from openecr.web.aws.query_protocol import (
    MAX_PARAMETERS,
    action_and_version,
    decode_input,
    decode_parameters,
    encode_error,
    encode_output,
    unknown_action,
)
from openecr.web.aws.shapes import ListShape, MapShape, Shape, StringShape, StructureShape
from tests.unit.web.aws.oracle import (
    as_botocore,
    from_botocore,
    parse_response,
    round_instants,
    serialize_request,
    values,
)

OPERATIONS = [
    (service, operation) for service in ("sts", "iam") for operation in load_service(service).operations
]
STS = load_service("sts").operations
IAM = load_service("iam").operations
REQUEST_ID = "01234567-89ab-cdef-0123-456789abcdef"
SECOND = 1_000_000


# Each operation is a test of its own, so a few examples of each make thousands.
FEW = settings(max_examples=10)


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@FEW
@given(data=st.data())
def test_botocore_reads_every_output_as_it_was(service: str, name: str, data: st.DataObject) -> None:
    operation = load_service(service).operations[name]
    output = round_instants(operation.output, data.draw(values(operation.output)), SECOND)

    body = encode_output(operation, output, request_id=REQUEST_ID)

    parsed = parse_response(service, name, body)
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID
    assert from_botocore(parsed) == as_xml_holds_it(operation.output, output)


def as_xml_holds_it(shape: Shape, value: Any) -> Any:
    """What is left of a value after XML 1.0, which has no control characters."""
    match shape:
        case StringShape():
            legal = [
                letter if letter in "\t\n\r" or (letter >= " " and letter not in "\ufffe\uffff") else "\ufffd"
                for letter in value
            ]
            return "".join(legal)
        case ListShape(member=member):
            return [as_xml_holds_it(member, item) for item in value]
        case MapShape(value=member):
            return {
                as_xml_holds_it(shape.key, key): as_xml_holds_it(member, each) for key, each in value.items()
            }
        case StructureShape(members=members):
            return {name: as_xml_holds_it(members[name], item) for name, item in value.items()}
        case _:
            return value


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@FEW
@given(data=st.data())
def test_every_input_that_botocore_writes_is_read_as_it_was(
    service: str, name: str, data: st.DataObject
) -> None:
    operation = load_service(service).operations[name]
    # Botocore writes nothing for an empty map, so every structure here is complete.
    given_input = round_instants(operation.input, data.draw(values(operation.input, complete=True)), SECOND)

    request = serialize_request(service, name, as_botocore(operation.input, given_input))

    parameters = decode_parameters(urlencode(request["body"]).encode())
    assert action_and_version(parameters) == (name, operation.service.api_version)
    assert decode_input(operation, parameters) == given_input


def test_get_caller_identity_looks_as_it_does_at_aws() -> None:
    output = {"Arn": "arn:aws:iam::000000000000:root", "UserId": "000000000000", "Account": "000000000000"}

    assert encode_output(STS["GetCallerIdentity"], output, request_id=REQUEST_ID).decode() == (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<GetCallerIdentityResult>"
        "<UserId>000000000000</UserId><Account>000000000000</Account>"
        "<Arn>arn:aws:iam::000000000000:root</Arn>"
        "</GetCallerIdentityResult>"
        f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def test_an_operation_without_output_still_sends_its_envelope() -> None:
    body = encode_output(IAM["DeleteUser"], {}, request_id=REQUEST_ID).decode()

    assert "Result" not in body
    assert body.startswith('<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseM')


def test_an_instant_is_written_in_whole_seconds() -> None:
    credentials = {"Expiration": 1_767_323_045_999_999}

    body = encode_output(STS["GetSessionToken"], {"Credentials": credentials}, request_id=REQUEST_ID)

    assert b"<Expiration>2026-01-02T03:04:05Z</Expiration>" in body


def test_a_member_that_the_model_lacks_is_a_bug() -> None:
    with pytest.raises(KeyError):
        encode_output(STS["GetCallerIdentity"], {"Name": "x"}, request_id=REQUEST_ID)


@pytest.mark.parametrize("sender", [True, False])
def test_an_error_is_read_by_botocore(sender: bool) -> None:
    namespace = load_service("sts").xml_namespace
    body = encode_error(
        "AccessDenied",
        "User: <x> & 'y' \x00",
        request_id=REQUEST_ID,
        sender=sender,
        namespace=namespace,
    )

    parsed = parse_response("sts", "AssumeRole", body, status=403)
    assert parsed["Error"] == {
        "Type": "Sender" if sender else "Receiver",
        "Code": "AccessDenied",
        "Message": "User: <x> & 'y' \ufffd",
    }
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


def test_parameters_may_come_in_the_query_string_and_the_body() -> None:
    parameters = decode_parameters(b"Action=GetCallerIdentity&Version=2011-06-15", b"A=b+c%20d&Empty=&Bare")

    assert parameters == {
        "Action": "GetCallerIdentity",
        "Version": "2011-06-15",
        "A": "b c d",
        "Empty": "",
        "Bare": "",
    }


@pytest.mark.parametrize(
    "encoded",
    [
        (b"A=1&A=1",),
        (b"A=1", b"A=1"),
        (b"A=1&%41=1",),
        (b"A=%ff",),
        (b"%ff=1",),
        (b"A=\xff",),
        ("&".join(f"A{n}=1" for n in range(MAX_PARAMETERS + 1)).encode(),),
        (b"&" * (3 * MAX_PARAMETERS),),
        (b"A" * 600 + b"=1",),
    ],
)
def test_malformed_parameters_are_refused(encoded: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedQueryString):
        decode_parameters(*encoded)


@pytest.mark.parametrize("parameters", [{}, {"Action": ""}, {"action": "GetCallerIdentity"}])
def test_a_request_without_an_action_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(MissingAction):
        action_and_version(parameters)


def test_an_unknown_action_is_named_with_its_version() -> None:
    error = unknown_action("Dance", "2011-06-15")

    assert (error.code, error.status) == ("InvalidAction", 400)
    assert error.message == "Could not find operation Dance for version 2011-06-15"
    assert unknown_action("Dance", "").message == "Could not find operation Dance for version null"
    assert len(unknown_action("D" * 9_999, "").message) < 300


def test_lists_are_in_the_order_of_their_numbers() -> None:
    parameters = {
        "RoleArn": "r",
        "Tags.member.10.Key": "c",
        "Tags.member.2.Key": "b",
        "Tags.member.1.Key": "a",
        "Tags.member.1.Value": "",
    }

    assert decode_input(STS["AssumeRole"], parameters) == {
        "RoleArn": "r",
        "Tags": [{"Key": "a", "Value": ""}, {"Key": "b"}, {"Key": "c"}],
    }


def test_an_empty_value_is_an_empty_list() -> None:
    assert decode_input(STS["AssumeRole"], {"Tags": ""}) == {"Tags": []}


def test_unknown_parameters_are_ignored() -> None:
    parameters = {
        "Action": "GetCallerIdentity",
        "X-Amz-Signature": "0",
        "A.b.c": "d",
        "A": "x",
        ".": "",
        "": "",
        "Tags.member.1.Key": "k",
    }

    assert decode_input(STS["GetCallerIdentity"], parameters) == {}


@pytest.mark.parametrize(
    "parameters",
    [
        {"DurationSeconds": "x"},
        {"DurationSeconds": ""},
        {"DurationSeconds": "1.5"},
        {"DurationSeconds": "2147483648"},
        {"DurationSeconds": "\u0663"},
        {"DurationSeconds": " 1"},
        {"DurationSeconds.member.1": "1"},
        {"Tags": "x"},
        {"Tags.1.Key": "a"},
        {"Tags.member.Key": "a"},
        {"Tags.member.0.Key": "a"},
        {"Tags.member.01.Key": "a"},
        {"Tags.member.-1.Key": "a"},
        {"Tags.member.999999.Key": "a"},
        {"Tags.member.\u0661.Key": "a"},
        {"Tags.member.1": "a"},
        {"Tags.member": "a"},
        {"Tags.entry.1.key": "a"},
        {"Tags.member.1.Key": "a", "Tags.other": "b"},
        {"Tags": "", "Tags.member.1.Key": "a"},
        {"Tags.member.1.Key": "a", "Tags": ""},
        {"Tags.member.1.Key": "a", "Tags.member.1.Key.x": "a"},
        {"Tags.member.1.Key.x": "a", "Tags.member.1.Key": "a"},
        {"Tags" + ".member.1" * 20: "a"},
        {"Tags.": "a"},
    ],
)
def test_a_value_of_another_type_is_malformed_input(parameters: dict[str, str]) -> None:
    with pytest.raises(MalformedInput) as caught:
        decode_input(STS["AssumeRole"], parameters)

    assert (caught.value.code, caught.value.status) == ("MalformedInput", 400)


@pytest.mark.parametrize("text", ["True", "1", "", "yes"])
def test_a_boolean_is_true_or_false(text: str) -> None:
    assert decode_input(IAM["GetAccountAuthorizationDetails"], {}) == {}
    with pytest.raises(MalformedInput):
        decode_input(IAM["CreateLoginProfile"], {"PasswordResetRequired": text})


names = st.lists(
    st.sampled_from(
        ["Tags", "PolicyArns", "DurationSeconds", "member", "entry", "key", "1", "2", "Key", "", "Context"]
    )
    | st.text(max_size=4),
    max_size=6,
).map(".".join)


@given(parameters=st.dictionaries(names, st.text(max_size=6) | st.just(""), max_size=6))
def test_no_parameters_make_decoding_fail_otherwise(parameters: dict[str, str]) -> None:
    try:
        decode_input(STS["AssumeRole"], parameters)
    except ProtocolError as error:
        code = error.code
        assert code == "MalformedInput"


@given(st.binary(max_size=60), st.text("A=&%+f0.", max_size=40).map(str.encode))
def test_no_bytes_make_decoding_fail_otherwise(body: bytes, query: bytes) -> None:
    try:
        decode_parameters(body, query)
    except ProtocolError as error:
        code = error.code
        assert code == "MalformedQueryString"
