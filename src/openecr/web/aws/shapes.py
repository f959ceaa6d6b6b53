"""The shapes of a service's model: types and constraints, compiled once from the raw JSON.

A value in Python is a `dict` for a structure or map, `list`, `str`, `int`, `float`, `bool`, `bytes` for a
blob, and `int` microseconds since the epoch for a timestamp. The codecs translate wire to value and back;
validation compares values with the constraints kept here.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

_INTEGER_BITS = {"integer": 31, "long": 63}
_LARGEST = sys.float_info.max


class RawReference(msgspec.Struct, frozen=True):
    """A use of a shape by another one."""

    shape: str


class RawError(msgspec.Struct, frozen=True, rename="camel"):
    """How the query protocol writes a modelled exception."""

    code: str = ""
    http_status_code: int = 400
    sender_fault: bool = True


class RawShape(msgspec.Struct, frozen=True):
    """One entry of a model's `shapes`, as published."""

    type: str
    members: dict[str, RawReference] = {}
    required: tuple[str, ...] = ()
    member: RawReference | None = None
    key: RawReference | None = None
    value: RawReference | None = None
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    sensitive: bool = False
    fault: bool = False
    error: RawError | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StringShape:
    """Text. `minimum` and `maximum` count characters; `pattern` is the model's own spelling."""

    name: str
    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberShape:
    """A number; `kind` decides range and whether fractions are allowed."""

    name: str
    kind: Literal["integer", "long", "float", "double"]
    minimum: float | None = None
    maximum: float | None = None

    def fits(self, number: float) -> bool:
        """Whether the wire type can hold `number`: whole and within its bits, or finite."""
        bits = _INTEGER_BITS.get(self.kind)
        if bits is None:
            return -_LARGEST <= number <= _LARGEST
        return number == number // 1 and -(2**bits) <= number < 2**bits

    @property
    def wanted(self) -> str:
        """The type as error messages name it: `an Integer`, `a Long`."""
        return f"a{'n' if self.kind == 'integer' else ''} {self.kind.capitalize()}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BooleanShape:
    """True or false."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimestampShape:
    """An instant: microseconds since the epoch inside, epoch seconds or ISO 8601 on the wire."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlobShape:
    """Bytes, base64 on the wire. `minimum` and `maximum` count decoded bytes."""

    name: str
    minimum: int | None = None
    maximum: int | None = None
    sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListShape:
    """A list. `minimum` and `maximum` count items."""

    name: str
    member: "Shape"
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapShape:
    """A map from text to values. `minimum` and `maximum` count entries."""

    name: str
    key: "Shape"
    value: "Shape"
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StructureShape:
    """Named members in the model's order, some of them required."""

    name: str
    members: Mapping[str, "Shape"] = field(default_factory=dict[str, "Shape"])
    required: frozenset[str] = frozenset()


ScalarShape = StringShape | NumberShape | BooleanShape | TimestampShape | BlobShape
Shape = ScalarShape | ListShape | MapShape | StructureShape


class UnsupportedModelError(Exception):
    """The installed service model uses something that this compiler does not know."""

    def __init__(self, *, shape: str, reason: str) -> None:
        self.shape = shape
        super().__init__(f"{shape}: {reason}")


class ShapeCompiler:
    """Compiles shapes of one model by name, each once, when first asked for."""

    def __init__(self, shapes: Mapping[str, RawShape]) -> None:
        self._raw = shapes
        self._compiled: dict[str, Shape] = {}

    def structure(self, name: str) -> StructureShape:
        """Return the structure `name`. Raises `UnsupportedModelError` when it is something else."""
        shape = self._compile(name, ())
        if not isinstance(shape, StructureShape):
            raise UnsupportedModelError(shape=name, reason="is not a structure")
        return shape

    def raw(self, name: str) -> RawShape:
        """Return the published entry of `name`."""
        return self._raw[name]

    def _compile(self, name: str, parents: tuple[str, ...]) -> Shape:
        shape = self._compiled.get(name)
        if shape is None:
            if name in parents:
                raise UnsupportedModelError(shape=name, reason="holds itself")
            shape = self._build(name, self._raw[name], (*parents, name))
            self._compiled[name] = shape
        return shape

    def _build(self, name: str, raw: RawShape, parents: tuple[str, ...]) -> Shape:
        minimum, maximum = _count(raw.min), _count(raw.max)
        match raw:
            case RawShape(type="structure"):
                members = {key: self._compile(use.shape, parents) for key, use in raw.members.items()}
                return StructureShape(name=name, members=members, required=frozenset(raw.required))
            case RawShape(type="list", member=RawReference(shape=member)):
                item = self._compile(member, parents)
                return ListShape(name=name, member=item, minimum=minimum, maximum=maximum)
            case RawShape(type="map", key=RawReference(shape=key), value=RawReference(shape=value)):
                return MapShape(
                    name=name,
                    key=self._compile(key, parents),
                    value=self._compile(value, parents),
                    minimum=minimum,
                    maximum=maximum,
                )
            case _:
                return _scalar(name, raw)


def _scalar(name: str, raw: RawShape) -> ScalarShape:
    minimum, maximum = _count(raw.min), _count(raw.max)
    match raw.type:
        case "string":
            return StringShape(
                name=name,
                minimum=minimum,
                maximum=maximum,
                pattern=raw.pattern,
                enum=raw.enum,
                sensitive=raw.sensitive,
            )
        case "blob":
            return BlobShape(name=name, minimum=minimum, maximum=maximum, sensitive=raw.sensitive)
        case "integer" | "long" | "float" | "double" as kind:
            return NumberShape(name=name, kind=kind, minimum=raw.min, maximum=raw.max)
        case "boolean":
            return BooleanShape(name=name)
        case "timestamp":
            return TimestampShape(name=name)
        case other:
            raise UnsupportedModelError(shape=name, reason=f"has the unknown type {other}")


def _count(bound: float | None) -> int | None:
    return None if bound is None else int(bound)
