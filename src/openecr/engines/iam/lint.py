"""What a valid policy says that its author can hardly have meant."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from openecr.engines.iam.conditions import texts_of
from openecr.engines.iam.documents import Statement, read, statements_of
from openecr.engines.iam.patterns import Template, split_arn

_ARN_PARTS = 6
_ECR = frozenset({"ecr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownActions:
    """What actions there are.

    `names` are all of them, such as `ecr:PutImage`; `without_resource` those that are asked on `*` alone.
    """

    names: Collection[str]
    without_resource: Collection[str]

    @property
    def services(self) -> frozenset[str]:
        """Return the services that the server has."""
        return frozenset(name.partition(":")[0] for name in self.names)


def lint(text: str, known: KnownActions) -> list[str]:
    """Return warnings, a line each, in the order of the statements. Raises MalformedPolicy."""
    found: list[str] = []
    for number, statement in enumerate(statements_of(read(text)), start=1):
        name = statement.get("Sid") or f"number {number}"
        found += [f"statement {name}: {warning}" for warning in _warnings(statement, known)]
    return found


def _warnings(statement: Statement, known: KnownActions) -> Iterator[str]:
    actions = texts_of(statement.get("Action", []))
    yield from _unknown(actions, known)
    yield from _resources(statement, actions, known)
    if statement.get("Effect") == "Allow":
        if "NotPrincipal" in statement:
            yield "Allow with NotPrincipal lets in everybody else there is: name who may"
        if "NotAction" in statement:
            yield "Allow with NotAction allows what is yet to come as well: name the actions"
        if "*" in actions and "*" in texts_of(statement.get("Resource", [])):
            yield "everything is allowed on everything"
    yield from _conditions(statement.get("Condition", {}))


def _unknown(actions: Collection[str], known: KnownActions) -> Iterator[str]:
    lowered = [name.lower() for name in known.names]
    for action in actions:
        service = action.partition(":")[0].lower()
        if action == "*" or "*" in service or "?" in service:
            continue
        if service not in known.services:
            yield f"{action}: this server has no service {service}, so it never matters here"
            continue
        glob = Template(action.lower(), has_variables=False, has_wildcards=True).fixed
        assert glob is not None, "there are no variables in actions"
        if not any(glob.matches(name) for name in lowered):
            yield f"{action}: there is no such action"


def _resources(statement: Statement, actions: Collection[str], known: KnownActions) -> Iterator[str]:
    resources = texts_of(statement.get("Resource", []))
    for resource in resources:
        parts = split_arn(resource)
        if len(parts) == _ARN_PARTS and parts[2] in _ECR:
            if not parts[3]:
                yield f"{resource} names no region, and matches nothing"
            if not parts[4]:
                yield f"{resource} names no account, and matches nothing"
    if not resources or "*" in resources:
        return
    without = {name.lower() for name in known.without_resource}
    for action in actions:
        if action.lower() in without:
            yield f"{action} knows no resource: it is asked on * alone, and never matches here"


def _conditions(block: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Tell of keys that have to be absent and to have a value."""
    absent = {
        key.lower()
        for operator, keys in block.items()
        if operator.lower() == "null"
        for key, values in keys.items()
        if texts_of(values) == ["true"]
    }
    for operator, keys in block.items():
        base = operator.lower().removeprefix("foranyvalue:")
        if base == "null" or base.endswith("ifexists") or ":" in base or "not" in base:
            continue
        for key in keys:
            if key.lower() in absent:
                yield f"{key} has to be absent and to have a value: the statement never matches"
