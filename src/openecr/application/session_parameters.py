"""What a caller asks of a session: its policies and tags, checked, and how much of the room they take.

Limits: IAM user guide, "IAM and AWS STS quotas". How AWS packs policies and tags is not published: here it is what
zlib makes of them, and the room is chosen so that session tokens stay far below what a header may hold.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from openecr.application.iam.documents import check_document
from openecr.domain.callers import Session
from openecr.domain.iam_errors import IamValidationError
from openecr.domain.registries import PARTITION
from openecr.domain.sts_errors import InvalidSessionParameter, PackedPolicyTooLarge
from openecr.engines.iam import DocumentKind

PACKED_MAX_BYTES = 4_096
PLAIN_POLICY_MAX_CHARACTERS = 2_048
POLICY_ARNS_MAX = 10
TAGS_MAX = 50

_TAG_KEY_MAX_CHARACTERS = 128
_TAG_VALUE_MAX_CHARACTERS = 256
_RESERVED = "aws:"

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParameters:
    """What a session is asked to have. `transitive_tag_keys` are passed on when it takes another role."""

    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    tags: Tags = ()
    transitive_tag_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedParameters:
    """What a session will have, inherited tags included. `packed_percent` None: there is nothing to pack."""

    policy: str | None
    policy_arns: tuple[str, ...]
    tags: Tags
    transitive_tag_keys: tuple[str, ...]
    packed_percent: int | None


def inherited_tags(session: Session | None) -> Tags:
    """Return the tags that a session passes on."""
    if session is None:
        return ()
    passed_on = {key.lower() for key in session.transitive_tag_keys}
    return tuple((key, value) for key, value in session.tags if key.lower() in passed_on)


def check(asked: SessionParameters, *, account_id: str, calling: Session | None) -> CheckedParameters:
    """Check what is asked against the rules and the calling session.

    Raises MalformedPolicyDocument, PackedPolicyTooLarge, InvalidSessionParameter, IamValidationError.
    """
    _check_policies(asked, account_id)
    inherited = inherited_tags(calling)
    _check_tags(asked, inherited)
    tags = (*inherited, *asked.tags)
    transitive = (*(key for key, _ in inherited), *asked.transitive_tag_keys)
    return CheckedParameters(
        policy=asked.policy,
        policy_arns=asked.policy_arns,
        tags=tags,
        transitive_tag_keys=tuple(dict.fromkeys(transitive)),
        packed_percent=_packed_percent(asked.policy, asked.policy_arns, tags),
    )


def _check_policies(asked: SessionParameters, account_id: str) -> None:
    if len(asked.policy_arns) > POLICY_ARNS_MAX:
        raise IamValidationError(
            message=f"1 validation error detected: Value at 'policyArns' failed to satisfy constraint: "
            f"Member must have length less than or equal to {POLICY_ARNS_MAX}"
        )
    known = re.compile(rf"arn:{PARTITION}:iam::(aws|{account_id}):policy/[!-~]{{1,512}}", re.ASCII)
    for arn in asked.policy_arns:
        if known.fullmatch(arn) is None:
            raise IamValidationError(message=f"{arn[:256]} is invalid")
    plain = len(asked.policy or "") + sum(map(len, asked.policy_arns))
    if plain > PLAIN_POLICY_MAX_CHARACTERS:
        raise PackedPolicyTooLarge(
            message=f"The session policies have {plain} characters; at most {PLAIN_POLICY_MAX_CHARACTERS} are possible"
        )
    if asked.policy is not None:
        check_document(asked.policy, DocumentKind.SESSION)


def _check_tags(asked: SessionParameters, inherited: Tags) -> None:
    keys = [key.lower() for key, _ in asked.tags]
    if len(set(keys)) != len(keys):
        raise InvalidSessionParameter(
            message="Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    for key, value in asked.tags:
        _check_tag(key, value)
    if not {key.lower() for key in asked.transitive_tag_keys} <= set(keys):
        raise InvalidSessionParameter(
            message="The specified transitive tag key must be included in the requested tags."
        )
    if not {key.lower() for key, _ in inherited}.isdisjoint(keys):
        raise InvalidSessionParameter(
            message="One of the specified transitive tag keys can't be set because it conflicts with a transitive "
            "tag key from the calling session."
        )
    if len(keys) + len(inherited) > TAGS_MAX:
        raise InvalidSessionParameter(message=f"A session has at most {TAGS_MAX} tags.")


def _check_tag(key: str, value: str) -> None:
    if key.lower().startswith(_RESERVED):
        raise InvalidSessionParameter(message=f"Tag keys beginning with {_RESERVED} are reserved.")
    if not key or len(key) > _TAG_KEY_MAX_CHARACTERS or len(value) > _TAG_VALUE_MAX_CHARACTERS:
        raise InvalidSessionParameter(
            message=f"A tag key has 1 to {_TAG_KEY_MAX_CHARACTERS} characters, a value at most "
            f"{_TAG_VALUE_MAX_CHARACTERS}."
        )


def _packed_percent(policy: str | None, policy_arns: Sequence[str], tags: Tags) -> int | None:
    """Raises PackedPolicyTooLarge."""
    if policy is None and not policy_arns and not tags:
        return None
    size_bytes = len(zlib.compress(msgspec.msgpack.encode((policy, policy_arns, tags))))
    percent = -(-100 * size_bytes // PACKED_MAX_BYTES)
    if size_bytes > PACKED_MAX_BYTES:
        raise PackedPolicyTooLarge(
            message=f"Packed policy and session tags consume {percent}% of allotted space, please use smaller "
            "policy or tags."
        )
    return percent
