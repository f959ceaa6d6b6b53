"""Which parameters of a call the audit trail keeps: bounded ones, on a list, and never what is secret."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.web.aws.audit import audited_call, kept_parameters
from openecr.web.aws.model import load_service, read_published_model
from openecr.web.aws.operations import ROWS
from openecr.web.aws.rows import Row
from openecr.web.aws.shapes import BlobShape, ListShape, MapShape, Shape, StructureShape

BODIES = {
    "policyDocument",
    "policyText",
    "assumeRolePolicyDocument",
}
"""Policies are kept whole, up to a bound: what was allowed is what an audit is about."""

SECRET = "6b1f-secret"


def sensitive_members(service: str) -> Iterator[str]:
    """Members of inputs whose shapes the model calls sensitive, or whose names speak of secrets and bodies."""
    model: dict[str, Any] = msgspec.json.decode(read_published_model(service))
    shapes = model["shapes"]
    for operation in model["operations"].values():
        if "input" not in operation:
            continue
        for name, use in shapes[operation["input"]["shape"]]["members"].items():
            is_sensitive = shapes[use["shape"]].get("sensitive", False)
            words = ("secret", "password", "token", "assertion", "manifest", "document", "blob", "code")
            if is_sensitive or any(word in name.lower() for word in words):
                yield name


@pytest.mark.parametrize("service", ["ecr", "iam", "sts", "cloudtrail"])
def test_what_the_model_calls_sensitive_is_never_kept(service: str) -> None:
    names = set(sensitive_members(service))
    kept = kept_parameters(dict.fromkeys(names, SECRET))

    assert names or service == "cloudtrail"
    assert kept.keys() <= BODIES | {"imageManifestMediaType"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.service}:{row.name}")
def test_no_bytes_of_any_operation_are_kept(row: Any) -> None:
    blobs = [name for name, shape in row.model.input.members.items() if isinstance(shape, BlobShape)]

    assert kept_parameters(dict.fromkeys(blobs, SECRET.encode())) == {}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2_000) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=20), inner, max_size=30),
    max_leaves=60,
)


@given(value=values)
def test_whatever_is_given_what_is_kept_is_bounded(value: object) -> None:
    kept = kept_parameters({"repositoryName": value, "imageIds": value, "ImageTag": value, "tags": value})

    assert kept.keys() <= {"repositoryName", "imageIds", "imageTag"}
    assert longest(kept) <= 512
    assert b"\\u0000" not in msgspec.json.encode(kept)


def longest(value: object) -> int:
    """The most characters of a text, having looked that no list or map is long."""
    match value:
        case str():
            return len(value)
        case list():
            return longest_of(cast("list[object]", value))
        case dict():
            return longest_of(list(cast("dict[str, object]", value).values()))
        case _:
            return 0


def longest_of(values: list[object]) -> int:
    assert len(values) <= 10
    return max(map(longest, values), default=0)


def test_names_are_cloudtrails_and_a_policy_that_is_too_long_is_left_out() -> None:
    document = '{"Statement": []}'
    given = {"UserName": "ann", "PolicyDocument": document, "PolicyArn": "arn:aws:iam::aws:policy/P"}

    assert kept_parameters(given) == {
        "userName": "ann",
        "policyDocument": document,
        "policyArn": "arn:aws:iam::aws:policy/P",
    }
    assert kept_parameters({"PolicyDocument": "x" * 6_145}) == {}


def test_keys_that_the_caller_has_chosen_keep_their_first_letter() -> None:
    """An encryption context means what its letters say; only the names of members are CloudTrail's."""
    context = {"Team": "Build", "stage": "Prod"}
    kept = kept_parameters(
        {
            "EncryptionContext": context,
            "SourceEncryptionContext": context,
            "DestinationEncryptionContext": context,
            "Constraints": {"EncryptionContextSubset": context, "EncryptionContextEquals": context},
        }
    )

    assert kept == {
        "encryptionContext": context,
        "sourceEncryptionContext": context,
        "destinationEncryptionContext": context,
        "constraints": {"encryptionContextSubset": context, "encryptionContextEquals": context},
    }


def maps_in(shape: Shape, value: str = SECRET) -> tuple[Any, Any]:
    """A value of a shape whose maps have keys with capitals, and what of it is kept."""
    match shape:
        case MapShape():
            return {"Capital": value}, {"Capital": value}
        case ListShape():
            given, kept = maps_in(shape.member)
            return [given], [kept]
        case StructureShape():
            members = {name: maps_in(each) for name, each in shape.members.items()}
            return (
                {name: given for name, (given, _) in members.items()},
                {name[:1].lower() + name[1:]: kept for name, (_, kept) in members.items()},
            )
        case _:
            return value, value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.door)
def test_in_no_operation_is_the_key_of_a_map_taken_for_the_name_of_a_member(row: Row) -> None:
    for name, shape in row.model.input.members.items():
        given, expected = maps_in(shape)
        kept = kept_parameters({name: given})
        assert kept in ({}, {name[:1].lower() + name[1:]: expected})


@pytest.mark.parametrize(
    ("service", "name", "is_read_only", "commits"),
    [
        ("ecr", "BatchGetImage", True, False),
        ("ecr", "GetAuthorizationToken", True, False),
        ("ecr", "PutImage", False, True),
        ("ecr", "UploadLayerPart", False, False),
        ("iam", "CreateUser", False, True),
        ("iam", "SimulatePrincipalPolicy", True, False),
        ("sts", "AssumeRole", True, False),
        ("cloudtrail", "LookupEvents", True, False),
    ],
)
def test_operations_are_told_as_reading_or_changing(
    service: str, name: str, *, is_read_only: bool, commits: bool
) -> None:
    call = audited_call(service, name)

    assert (call.source, call.name) == (f"{service}.amazonaws.com", name)
    assert (call.is_read_only, call.commits) == (is_read_only, commits)


def test_every_service_that_is_served_has_a_source() -> None:
    assert {row.service for row in ROWS} == {"ecr", "iam", "sts", "cloudtrail", "kms"}
    assert load_service("cloudtrail").signing_name == "cloudtrail"
