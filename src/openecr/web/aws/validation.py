"""Compares decoded input with the constraints of the model, and words what it finds as the service does.

ECR and ECR Public name the first fault (`Invalid parameter at ...`); the other services list all of them
(`2 validation errors detected: ...`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import cast

from openecr.web.aws.constraints import left_to_items
from openecr.web.aws.model import OperationModel
from openecr.web.aws.patterns import matches
from openecr.web.aws.protocol_errors import (
    InvalidParameter,
    ProtocolError,
    QueryValidationFailed,
    ValidationFailed,
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

Path = tuple[str | int, ...]

_PARAMETER_SERVICES = frozenset({"ecr", "ecr-public"})
# Three free-text documents are capitalised in ECR's messages; all other names are the request's own.
_PARAMETER_NAMES = {
    "imageManifest": "ImageManifest",
    "lifecyclePolicyText": "LifecyclePolicyText",
    "policyText": "PolicyText",
}
_CHECKED_LATER = frozenset({"tags", "Tags"})
"""Whose texts have an error of their own."""

_MAX_LISTED = 50
_MAX_SHOWN_CHARS = 512


class Fault(Enum):
    """Which constraint a value breaks."""

    NULL = "null"
    SHORT = "short"
    LONG = "long"
    SMALL = "small"
    LARGE = "large"
    PATTERN = "pattern"
    NUL = "nul"
    ENUM = "enum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken constraint: where, which, and the value. A list position in `path` counts from 0."""

    path: Path
    fault: Fault
    shape: Shape
    value: object


def validate(
    operation: OperationModel,
    value: Mapping[str, object],
    *,
    only: Collection[str] | None = None,
) -> None:
    """Check decoded input against the model; `only` limits the check to these top-level members.

    Raises `InvalidParameter` (ECR, ECR Public), `ValidationFailed` or `QueryValidationFailed`.
    """
    exempt = left_to_items(operation.service.name, operation.name)
    found: list[Violation] = []
    for violation in _structure_violations(operation.input, value, (), only):
        if not (exempt and violation.fault is not Fault.NULL and _pattern_of(violation.path) in exempt):
            found.append(violation)
            if len(found) == _MAX_LISTED or operation.service.name in _PARAMETER_SERVICES:
                break
    if found:
        raise _error(operation, found)


def violations(shape: Shape, value: object, path: Path = ()) -> Iterator[Violation]:
    """Yield the constraints that `value`, decoded by `shape`, breaks, in the model's order."""
    match shape:
        case StructureShape():
            yield from _structure_violations(shape, cast("Mapping[str, object]", value), path, None)
        case ListShape():
            yield from _list_violations(shape, cast("Sequence[object]", value), path)
        case MapShape():
            entries = cast("Mapping[str, object]", value)
            yield from _length(shape, entries, path)
            for key, item in entries.items():
                yield from violations(shape.key, key, (*path, key))
                yield from violations(shape.value, item, (*path, key))
        case StringShape():
            yield from _text_violations(shape, cast("str", value), path)
        case BlobShape():
            yield from _length(shape, cast("bytes", value), path)
        case NumberShape():
            yield from _number_violations(shape, cast("float", value), path)
        case BooleanShape() | TimestampShape():
            return


def _structure_violations(
    shape: StructureShape,
    value: Mapping[str, object],
    path: Path,
    only: Collection[str] | None,
) -> Iterator[Violation]:
    for name, member in shape.members.items():
        if only is not None and name not in only:
            continue
        item = value.get(name)
        if item is not None:
            yield from violations(member, item, (*path, name))
        elif name in shape.required:
            yield Violation(path=(*path, name), fault=Fault.NULL, shape=member, value=None)


def _list_violations(shape: ListShape, items: Sequence[object], path: Path) -> Iterator[Violation]:
    yield from _length(shape, items, path)
    if shape.maximum is not None and len(items) > shape.maximum:
        return
    for index, item in enumerate(items):
        if item is None:
            yield Violation(path=(*path, index), fault=Fault.NULL, shape=shape.member, value=None)
        else:
            yield from violations(shape.member, item, (*path, index))


def _number_violations(shape: NumberShape, number: float, path: Path) -> Iterator[Violation]:
    if shape.minimum is not None and number < shape.minimum:
        yield Violation(path=path, fault=Fault.SMALL, shape=shape, value=number)
    if shape.maximum is not None and number > shape.maximum:
        yield Violation(path=path, fault=Fault.LARGE, shape=shape, value=number)


def _length(
    shape: StringShape | BlobShape | ListShape | MapShape,
    value: str | bytes | Sequence[object] | Mapping[str, object],
    path: Path,
) -> Iterator[Violation]:
    if shape.maximum is not None and len(value) > shape.maximum:
        yield Violation(path=path, fault=Fault.LONG, shape=shape, value=value)
    if shape.minimum is not None and len(value) < shape.minimum:
        yield Violation(path=path, fault=Fault.SHORT, shape=shape, value=value)


def _text_violations(shape: StringShape, value: str, path: Path) -> Iterator[Violation]:
    yield from _length(shape, value, path)
    if shape.pattern is not None and not matches(shape.pattern, value):
        yield Violation(path=path, fault=Fault.PATTERN, shape=shape, value=value)
    elif (
        "\0" in value and path[0] not in _CHECKED_LATER
    ):  # no database can be trusted to keep it, no XML to tell it
        yield Violation(path=path, fault=Fault.NUL, shape=shape, value=value)
    if shape.enum and value not in shape.enum:
        yield Violation(path=path, fault=Fault.ENUM, shape=shape, value=value)


def _pattern_of(path: Path) -> tuple[str, ...]:
    return tuple("*" if isinstance(part, int) else part for part in path)


def _error(operation: OperationModel, found: Sequence[Violation]) -> ProtocolError:
    if operation.service.name in _PARAMETER_SERVICES:
        return InvalidParameter(message=_parameter_sentence(found[0]))
    sentences = list(dict.fromkeys(_sentence(violation) for violation in found))
    plural = "" if len(sentences) == 1 else "s"
    message = f"{len(sentences)} validation error{plural} detected: {'; '.join(sentences)}"
    if operation.service.protocol == "query":
        return QueryValidationFailed(message=message)
    return ValidationFailed(message=message)


def _parameter_sentence(violation: Violation) -> str:
    """ECR's wording: the request's member, and a reason that leads to what is inside it."""
    name, *inner = violation.path
    parameter = _PARAMETER_NAMES.get(str(name), str(name))
    inside = ".".join(part for part in inner if isinstance(part, str))
    if inside:
        reason = f"Member '{inside}' {_phrase(violation)}"
    elif inner:
        reason = f"Member {_phrase(violation)}"
    else:
        reason = _scalar_reason(violation)
    if any(isinstance(part, int) for part in inner):
        constraint = f"Member must satisfy constraint: [{reason}]"
    else:
        constraint = reason
    return f"Invalid parameter at '{parameter}' failed to satisfy constraint: '{constraint}'"


def _scalar_reason(violation: Violation) -> str:
    match violation.fault, violation.shape:
        case Fault.NULL, _:
            return "Cannot be null"
        case Fault.PATTERN, StringShape(pattern=pattern):
            return f"must satisfy regular expression '{pattern}'"
        case ((Fault.SHORT | Fault.LONG | Fault.NUL), StringShape()):
            return _phrase(violation)
        case _:
            return f"Member {_phrase(violation)}"


def _phrase(violation: Violation) -> str:
    return phrase(violation.fault, violation.shape)


def phrase(fault: Fault, shape: Shape) -> str:
    """Say what a value of `shape` must do not to commit `fault`, without its subject."""
    sentence = "must not be null"
    match fault, shape:
        case Fault.SHORT, StringShape() | BlobShape() | ListShape() | MapShape():
            sentence = f"must have length greater than or equal to {shape.minimum}"
        case Fault.LONG, StringShape() | BlobShape() | ListShape() | MapShape():
            sentence = f"must have length less than or equal to {shape.maximum}"
        case Fault.SMALL, NumberShape():
            sentence = f"must have value greater than or equal to {_plain(shape.minimum)}"
        case Fault.LARGE, NumberShape():
            sentence = f"must have value less than or equal to {_plain(shape.maximum)}"
        case Fault.PATTERN, StringShape():
            sentence = f"must satisfy regular expression pattern: {shape.pattern}"
        case Fault.NUL, _:
            sentence = "must not contain the character NUL"
        case Fault.ENUM, StringShape():
            sentence = f"must satisfy enum value set: [{', '.join(sorted(shape.enum))}]"
        case _:
            pass
    return sentence


def _plain(bound: float | None) -> str:
    return str(int(bound)) if bound is not None and bound == int(bound) else str(bound)


def _sentence(violation: Violation) -> str:
    """Use the generic wording. A fault of a plain item is told of its list, with all that items must do."""
    path, shape, shown = violation.path, violation.shape, _shown(violation)
    if isinstance(path[-1], int) and isinstance(shape, StringShape) and violation.fault is not Fault.NULL:
        path = path[:-1]
        shown = shown if shown == "Value" else f"Value '[{shown[7:-1]}]'"
        constraint = f"Member must satisfy constraint: [{', '.join(_all_of(shape))}]"
    else:
        constraint = f"Member {_phrase(violation)}"
    return f"{shown} at '{_dotted(path)}' failed to satisfy constraint: {constraint}"


def _all_of(shape: StringShape) -> Iterator[str]:
    if shape.maximum is not None:
        yield f"Member {phrase(Fault.LONG, shape)}"
    if shape.minimum is not None:
        yield f"Member {phrase(Fault.SHORT, shape)}"
    if shape.pattern is not None:
        yield f"Member {phrase(Fault.PATTERN, shape)}"
    if shape.enum:
        yield f"Member {phrase(Fault.ENUM, shape)}"


def _shown(violation: Violation) -> str:
    """Write the value as the message shows it; secrets, bytes and structures are left out."""
    value, shape = violation.value, violation.shape
    if value is None:
        return "Value null"
    if isinstance(shape, StringShape | NumberShape) and not (
        isinstance(shape, StringShape) and shape.sensitive
    ):
        text = str(value)
        return f"Value '{text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + '...'}'"
    return "Value"


def _dotted(path: Path) -> str:
    """`('PolicyArns', 0, 'arn')` is `policyArns.1.member.arn`."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts += [str(part + 1), "member"]
        else:
            parts.append(part[:1].lower() + part[1:])
    return ".".join(parts)
