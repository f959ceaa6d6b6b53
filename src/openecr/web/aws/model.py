"""AWS's published service models, read from the installed botocore package.

The raw JSON is the contract; nothing of it is retyped here. A service is read when first asked for, and the
shapes of an operation are compiled when first used, so a server that never hears of IAM never reads it.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import msgspec

from openecr.web.aws.constraints import corrections
from openecr.web.aws.shapes import RawShape, ShapeCompiler, StructureShape

Protocol = Literal["json", "query"]


class _RawMetadata(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    protocol: Protocol
    endpoint_prefix: str
    signing_name: str | None = None
    target_prefix: str | None = None
    json_version: str | None = None
    xml_namespace: str | None = None


class _RawOutput(msgspec.Struct, frozen=True, rename="camel"):
    shape: str
    result_wrapper: str | None = None


class _RawUse(msgspec.Struct, frozen=True):
    shape: str


class _RawOperation(msgspec.Struct, frozen=True):
    name: str
    input: _RawUse | None = None
    output: _RawOutput | None = None
    errors: tuple[_RawUse, ...] = ()
    authtype: str | None = None


class _RawModel(msgspec.Struct, frozen=True):
    metadata: _RawMetadata
    operations: dict[str, _RawOperation]
    shapes: dict[str, RawShape]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorModel:
    """A modelled exception: its shape's name, the code and status on the wire, and its members."""

    name: str
    code: str
    status: int
    sender: bool
    shape: StructureShape


class OperationModel:
    """One operation of a service. Its shapes are compiled when first used."""

    def __init__(self, service: "ServiceModel", raw: _RawOperation, compiler: ShapeCompiler) -> None:
        self.service = service
        self.name = raw.name
        self.result_wrapper = raw.output.result_wrapper if raw.output else None
        self.has_output = raw.output is not None
        # AssumeRoleWithWebIdentity and the like are proven by what they carry, not by a signature.
        self.signed = raw.authtype != "none"
        self._raw = raw
        self._compiler = compiler

    @cached_property
    def input(self) -> StructureShape:
        """The shape of the request; without members when the operation takes none."""
        if self._raw.input is None:
            return StructureShape(name=f"{self.name}Request")
        return self._compiler.structure(self._raw.input.shape)

    @cached_property
    def output(self) -> StructureShape:
        """The shape of the response; without members when the operation gives none."""
        if self._raw.output is None:
            return StructureShape(name=f"{self.name}Response")
        return self._compiler.structure(self._raw.output.shape)

    @cached_property
    def errors(self) -> Mapping[str, ErrorModel]:
        """The exceptions that the model allows this operation, by shape name."""
        return MappingProxyType({use.shape: _error(use.shape, self._compiler) for use in self._raw.errors})


class ServiceModel:
    """One service in its newest published API version."""

    def __init__(self, name: str, raw: _RawModel) -> None:
        metadata = raw.metadata
        self.name = name
        self.protocol: Protocol = metadata.protocol
        self.api_version = metadata.api_version
        self.signing_name = metadata.signing_name or metadata.endpoint_prefix
        self.target_prefix = metadata.target_prefix
        self.json_version = metadata.json_version
        self.xml_namespace = metadata.xml_namespace
        compiler = ShapeCompiler({**raw.shapes, **corrections(name, raw.shapes)})
        self.operations: Mapping[str, OperationModel] = MappingProxyType(
            {key: OperationModel(self, operation, compiler) for key, operation in raw.operations.items()}
        )

    def input(self, operation: str) -> StructureShape:
        """Return the request shape of `operation`. Raises `KeyError` for one that the model lacks."""
        return self.operations[operation].input

    def output(self, operation: str) -> StructureShape:
        """Return the response shape of `operation`. Raises `KeyError` for one that the model lacks."""
        return self.operations[operation].output

    def error_codes(self, operation: str) -> Mapping[str, ErrorModel]:
        """Return the exceptions that the model allows `operation`, by shape name."""
        return self.operations[operation].errors


@cache
def load_service(name: str) -> ServiceModel:
    """Read the model of a service by botocore's name for it (`ecr`, `ecr-public`, `sts`, `iam`, `kms`).

    Raises `LookupError` when the installed botocore has no such service.
    """
    return ServiceModel(name, msgspec.json.decode(read_published_model(name), type=_RawModel))


def read_published_model(name: str) -> bytes:
    """Return the JSON of a service's newest API version, as botocore ships it. Raises `LookupError`."""
    folder = files("botocore") / "data" / name
    if not folder.is_dir():
        raise LookupError(name)
    newest = max((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.name)
    return gzip.decompress((newest / "service-2.json.gz").read_bytes())


def _error(name: str, compiler: ShapeCompiler) -> ErrorModel:
    raw = compiler.raw(name)
    shape = compiler.structure(name)
    if raw.error is not None:
        return ErrorModel(
            name=name,
            code=raw.error.code or name,
            status=raw.error.http_status_code,
            sender=raw.error.sender_fault,
            shape=shape,
        )
    return ErrorModel(
        name=name,
        code=name,
        status=500 if raw.fault else 400,
        sender=not raw.fault,
        shape=shape,
    )
