"""The published models are read as they are, and what this compiler does not know shows."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from openecr.web.aws.model import load_service, read_published_model
from openecr.web.aws.patterns import compiled
from openecr.web.aws.shapes import (
    RawReference,
    RawShape,
    ShapeCompiler,
    StringShape,
    StructureShape,
    UnsupportedModelError,
)
from tests.unit.web.aws.oracle import SERVED, botocore_service

GOLDEN = Path(__file__).parents[3] / "golden" / "ecr_operations.txt"
OPERATIONS = [(service, operation) for service in SERVED for operation in load_service(service).operations]

# What a model may say about a shape or a use of it. The first row is compiled; the second changes nothing on
# the wire or in what is accepted. Anything else must be understood before it is added here.
COMPILED = {"type", "members", "required", "member", "key", "value", "min", "max", "pattern", "enum"}
WITHOUT_EFFECT = {"documentation", "deprecated", "deprecatedMessage", "deprecatedSince", "box", "exception"}
READ_ELSEWHERE = {"sensitive", "error", "fault", "union"}


def test_the_operations_of_ecr_are_those_on_record() -> None:
    recorded = GOLDEN.read_text().splitlines()

    assert sorted(load_service("ecr").operations) == recorded
    assert len(recorded) == 62


@pytest.mark.parametrize(
    ("service", "protocol", "signing_name", "target_prefix"),
    [
        ("ecr", "json", "ecr", "AmazonEC2ContainerRegistry_V20150921"),
        ("ecr-public", "json", "ecr-public", "SpencerFrontendService"),
        ("kms", "json", "kms", "TrentService"),
        ("sts", "query", "sts", None),
        ("iam", "query", "iam", None),
    ],
)
def test_a_service_tells_how_it_is_addressed(
    service: str, protocol: str, signing_name: str, target_prefix: str | None
) -> None:
    model = load_service(service)

    assert model.protocol == protocol
    assert model.signing_name == signing_name
    assert model.target_prefix == target_prefix
    assert model.api_version == botocore_service(service).metadata["apiVersion"]
    assert model.xml_namespace == botocore_service(service).metadata.get("xmlNamespace")


def test_an_unknown_service_is_not_found() -> None:
    with pytest.raises(LookupError):
        load_service("no-such-service")


@pytest.mark.parametrize("service", SERVED)
def test_the_models_say_nothing_that_is_not_understood(service: str) -> None:
    raw = msgspec.json.decode(read_published_model(service))
    shapes = raw["shapes"].values()

    assert {trait for shape in shapes for trait in shape} <= COMPILED | WITHOUT_EFFECT | READ_ELSEWHERE
    uses = [use for shape in shapes for use in shape.get("members", {}).values()]
    uses += [shape[part] for shape in shapes for part in ("member", "key", "value") if part in shape]
    assert {trait for use in uses for trait in use} <= {"shape"} | WITHOUT_EFFECT
    operations = raw["operations"].values()
    assert all(operation["http"] == {"method": "POST", "requestUri": "/"} for operation in operations)


@pytest.mark.parametrize("service", SERVED)
def test_every_pattern_compiles(service: str) -> None:
    raw = msgspec.json.decode(read_published_model(service))
    patterns = {shape["pattern"] for shape in raw["shapes"].values() if "pattern" in shape}

    assert patterns
    for pattern in patterns:
        assert compiled(pattern).flags & re.ASCII


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_every_operation_compiles_to_botocores_members(service: str, name: str) -> None:
    operation = load_service(service).operations[name]
    expected = botocore_service(service).operation_model(name)

    for ours, theirs in ((operation.input, expected.input_shape), (operation.output, expected.output_shape)):
        assert list(ours.members) == (list(theirs.members) if theirs else [])
        assert ours.required == frozenset(theirs.required_members if theirs else ())
    assert set(operation.errors) == {shape.name for shape in expected.error_shapes}


def test_every_error_of_ecr_is_the_senders_but_the_servers_own() -> None:
    errors = load_service("ecr").error_codes("UploadLayerPart")

    assert {name: error.status for name, error in errors.items()} == {
        "ServerException": 500,
        "InvalidParameterException": 400,
        "InvalidLayerPartException": 400,
        "RepositoryNotFoundException": 400,
        "UploadNotFoundException": 400,
        "LimitExceededException": 400,
        "KmsException": 400,
    }
    assert not errors["ServerException"].sender
    assert set(errors["InvalidLayerPartException"].shape.members) == {
        "registryId",
        "repositoryName",
        "uploadId",
        "lastValidByteReceived",
        "message",
    }


def test_an_error_of_a_query_service_has_its_own_code_and_status() -> None:
    error = load_service("iam").error_codes("DeleteUser")["NoSuchEntityException"]

    assert (error.code, error.status, error.sender) == ("NoSuchEntity", 404, True)


def test_operations_that_are_proven_otherwise_are_not_signed() -> None:
    unsigned = {name for name, operation in load_service("sts").operations.items() if not operation.signed}

    assert unsigned == {"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}


def test_ecr_checks_tags_and_digests_though_its_model_has_no_patterns() -> None:
    members = load_service("ecr").input("PutImage").members

    tag, digest = members["imageTag"], members["imageDigest"]
    assert isinstance(tag, StringShape)
    assert isinstance(digest, StringShape)
    assert (tag.pattern, digest.pattern) == ("[a-zA-Z0-9-_.]+", "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+")
    assert tag.maximum == 300


def test_a_service_that_nobody_asks_for_is_not_read() -> None:
    program = (
        "from openecr.web.aws.model import load_service\n"
        "service = load_service('ecr')\n"
        "assert load_service.cache_info().currsize == 1\n"
        "assert 'input' not in vars(service.operations['PutImage'])\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "shapes",
    [
        {"A": RawShape(type="structure", members={"a": RawReference(shape="A")})},
        {
            "A": RawShape(type="structure", members={"a": RawReference(shape="B")}),
            "B": RawShape(type="colour"),
        },
        {"A": RawShape(type="list")},
        {"A": RawShape(type="string")},
    ],
)
def test_a_model_beyond_the_compiler_is_refused(shapes: dict[str, RawShape]) -> None:
    with pytest.raises(UnsupportedModelError):
        ShapeCompiler(shapes).structure("A")


def test_a_shape_is_compiled_once() -> None:
    compiler = ShapeCompiler({"A": RawShape(type="structure")})

    assert compiler.structure("A") is compiler.structure("A")
    assert compiler.structure("A").members == StructureShape(name="A").members
