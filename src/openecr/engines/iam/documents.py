"""Policy documents: what may be stored, in the words with which IAM refuses the rest (facts of IAM's own parser)."""

import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from openecr.engines.iam.conditions import is_operator, texts_of

CURRENT_VERSION = "2012-10-17"
OLD_VERSION = "2008-10-17"
"""Also what a document without a version has: variables are plain text in it."""

_SYNTAX = "Syntax errors in policy."
_EFFECTS = ("Allow", "Deny")  # tuples: what is looked for in them may be any JSON
_VERSIONS = (None, CURRENT_VERSION, OLD_VERSION)
_TOP = frozenset({"Version", "Id", "Statement"})
_STATEMENT = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_CHARACTERS = re.compile("[\t\n\r\x20-\xff]*")
_SID = re.compile(r"[A-Za-z0-9]*", re.ASCII)
_VENDOR = re.compile(r"[a-z0-9-]+", re.ASCII | re.IGNORECASE)
_PARTITIONS = frozenset({"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "*"})
_PRINCIPAL_TYPES = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})
_DEPTH_MAX = 8
_ARN_HEAD = 3

Statement = Mapping[str, Any]


class MalformedPolicy(Exception):
    """A document is no policy of its kind. `message` is IAM's sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class DocumentKind(enum.Enum):
    """What a document is stored as; each kind has elements that it must, and must not, have."""

    IDENTITY = "identity"
    TRUST = "trust"
    REPOSITORY = "repository"
    REGISTRY = "registry"
    SESSION = "session"
    KEY = "key"


def validate(text: str, kind: DocumentKind) -> None:
    """Check a document. Raises MalformedPolicy. Bounds on its length are the caller's."""
    invalid = "This policy contains invalid Json" if kind is DocumentKind.TRUST else _SYNTAX
    document = read(text, invalid=invalid)
    if not _is_unicode(document):
        raise MalformedPolicy(invalid)
    _check_version(document.get("Version"), kind)
    statements = statements_of(document)
    if not statements:
        raise MalformedPolicy(_SYNTAX)
    for statement in statements:
        _check_statement(statement, kind)
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(sids) != len(set(sids)) and kind is not DocumentKind.REPOSITORY:  # ECR takes what IAM does not
        raise MalformedPolicy("Statement IDs (SID) in a single policy must be unique.")


def read(text: str, *, invalid: str = _SYNTAX) -> Mapping[str, Any]:
    """Parse a document as far as its shape. Raises MalformedPolicy."""
    if _CHARACTERS.fullmatch(text) is None:
        raise MalformedPolicy(invalid)
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicy(invalid) from error
    if not isinstance(document, dict) or not _is_shallow(cast("object", document), _DEPTH_MAX):
        raise MalformedPolicy(_SYNTAX)
    return cast("Mapping[str, Any]", document)


def statements_of(document: Mapping[str, Any]) -> list[Statement]:
    """Return the statements, one or many. Raises MalformedPolicy."""
    if not document.keys() <= _TOP or not isinstance(document.get("Id", ""), str):
        raise MalformedPolicy(_SYNTAX)
    found = document.get("Statement")
    many = cast("list[object]", found) if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in many):
        raise MalformedPolicy(_SYNTAX)
    return cast("list[Statement]", many)


def principals_of(text: str) -> tuple[str, ...]:
    """Return whom a document names as Principal or NotPrincipal, as written. Raises MalformedPolicy."""
    found: dict[str, None] = {}
    for statement in statements_of(read(text)):
        for name in ("Principal", "NotPrincipal"):
            for _, principal in named_principals(statement.get(name)):
                found[principal] = None
    return tuple(found)


def actions_of(text: str) -> tuple[str, ...]:
    """Return the values of every Action and NotAction of a document, as written. Raises MalformedPolicy."""
    return tuple(
        action
        for statement in statements_of(read(text))
        for name in ("Action", "NotAction")
        if name in statement
        for action in texts_of(statement[name])
    )


def named_principals(element: object) -> list[tuple[str, str]]:
    """Return (type, name) of each principal of an element; `*` is of type AWS. Raises MalformedPolicy."""
    if element is None:
        return []
    if isinstance(element, str):
        return [("AWS", element)]
    if not isinstance(element, dict):
        raise MalformedPolicy(_SYNTAX)
    members = cast("Mapping[str, object]", element)
    return [(kind, name) for kind, names in members.items() for name in texts_of(names)]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a key is given twice"
        raise ValueError(message)
    return found


def _refuse(text: str) -> None:
    message = f"not JSON: {text}"
    raise ValueError(message)


def _is_unicode(document: Mapping[str, Any]) -> bool:
    """Tell whether no escape is half of a character: nobody could be sent that."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_shallow(value: object, depth: int) -> bool:
    members: Iterable[object]
    if isinstance(value, dict):
        members = cast("Mapping[str, object]", value).values()
    elif isinstance(value, list):
        members = cast("list[object]", value)
    else:
        return True
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in members)


def _check_version(version: object, kind: DocumentKind) -> None:
    if version not in _VERSIONS:
        raise MalformedPolicy(_SYNTAX)
    if kind in {DocumentKind.IDENTITY, DocumentKind.SESSION} and version != CURRENT_VERSION:
        raise MalformedPolicy("Policy document must be version 2012-10-17 or greater.")


def _check_statement(statement: Statement, kind: DocumentKind) -> None:
    if not statement.keys() <= _STATEMENT:
        raise MalformedPolicy(_SYNTAX)
    _check_effect(statement.get("Effect"))
    _check_sid(statement.get("Sid"), kind)
    _check_actions(statement)
    _check_resources(statement, kind)
    _check_principals(statement, kind)
    _check_conditions(statement.get("Condition", {}))


def _check_effect(effect: object) -> None:
    if isinstance(effect, str) and effect.lower() in {"allow", "deny"} and effect not in _EFFECTS:
        raise MalformedPolicy("The policy failed legacy parsing")
    if effect not in _EFFECTS:
        raise MalformedPolicy(_SYNTAX)


def _check_sid(sid: object, kind: DocumentKind) -> None:
    if sid is None:
        return
    is_loose = kind in {DocumentKind.REPOSITORY, DocumentKind.REGISTRY, DocumentKind.KEY}
    if not isinstance(sid, str) or not (is_loose or _SID.fullmatch(sid)):
        raise MalformedPolicy(_SYNTAX)


def _check_actions(statement: Statement) -> None:
    for action in _one_of(statement, "Action", "NotAction", "Policy statement must contain actions."):
        if action == "*":
            continue
        vendor, colon, name = action.partition(":")
        if not colon:
            raise MalformedPolicy(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
            )
        if ":" in name:
            raise MalformedPolicy("Actions/Condition can contain only one colon.")
        if _VENDOR.fullmatch(vendor) is None:
            raise MalformedPolicy(f"Vendor {vendor[:64]} is not valid")


def _check_resources(statement: Statement, kind: DocumentKind) -> None:
    if kind is DocumentKind.REPOSITORY and not {"Resource", "NotResource"} & statement.keys():
        return  # it is about its repository
    if kind is DocumentKind.TRUST:
        for name in ("Resource", "NotResource"):
            if name in statement:
                raise MalformedPolicy(f"Has prohibited field {name}.")
        return
    for resource in _one_of(statement, "Resource", "NotResource", "Policy statement must contain resources."):
        if resource != "*":
            _check_arn(resource)


def _check_arn(resource: str) -> None:
    parts = resource.split(":", _ARN_HEAD)
    if len(parts) < _ARN_HEAD or parts[0] != "arn":
        raise MalformedPolicy(f'Resource {resource[:256]} must be in ARN format or "*".')
    if parts[1] not in _PARTITIONS:
        raise MalformedPolicy(f'Partition "{parts[1][:64]}" is not valid for resource "{resource[:256]}".')
    if "?" in parts[2] or "*" in parts[2]:
        raise MalformedPolicy("Resource vendor must be fully qualified and cannot contain regexes.")


def _check_principals(statement: Statement, kind: DocumentKind) -> None:
    elements = [statement[name] for name in ("Principal", "NotPrincipal") if name in statement]
    if kind in {DocumentKind.IDENTITY, DocumentKind.SESSION}:
        if elements:
            raise MalformedPolicy("Policy document should not specify a principal.")
        return
    if not elements:
        raise MalformedPolicy("Missing required field Principal")
    if len(elements) > 1 or not _is_principal(elements[0]):
        raise MalformedPolicy(_SYNTAX)


def _is_principal(element: object) -> bool:
    if isinstance(element, str):
        return element == "*"
    if not isinstance(element, dict):
        return False
    members = cast("Mapping[str, object]", element)
    return bool(members) and members.keys() <= _PRINCIPAL_TYPES and all(map(_are_texts, members.values()))


def _check_conditions(block: object) -> None:
    if not isinstance(block, dict):
        raise MalformedPolicy(_SYNTAX)
    for operator, keys in cast("Mapping[str, object]", block).items():
        if not is_operator(operator) or not isinstance(keys, dict):
            raise MalformedPolicy(_SYNTAX)
        for key, values in cast("Mapping[str, object]", keys).items():
            if ":" not in key:
                raise MalformedPolicy(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
                )
            if not _are_values(values):
                raise MalformedPolicy(_SYNTAX)


def _one_of(statement: Statement, name: str, negative: str, missing: str) -> list[str]:
    """Return the values of exactly one of two elements. Raises MalformedPolicy."""
    if name in statement and negative in statement:
        raise MalformedPolicy(_SYNTAX)
    values = statement.get(name, statement.get(negative))
    if values is None or values == []:
        raise MalformedPolicy(missing)
    if not _are_texts(values):
        raise MalformedPolicy(_SYNTAX)
    return texts_of(values)


def _are_texts(values: object) -> bool:
    return _are(values, lambda each: isinstance(each, str))


def _are_values(values: object) -> bool:
    return _are(values, lambda each: isinstance(each, str | int | float))


def _are(values: object, test: Callable[[object], bool]) -> bool:
    many = cast("list[object]", values) if isinstance(values, list) else [values]
    return bool(many) and all(test(each) for each in many)
