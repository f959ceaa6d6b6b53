"""All that hangs on some users, groups, roles or managed policies, for those who look at a whole account."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import BindParameter, bindparam, func, select

from openecr.domain.iam_details import Attachables, PolicyDetails, VersionDetails
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, is_one_of
from openecr.store.iam_tables import (
    ATTACHMENTS,
    GROUP_MEMBERS,
    IAM_TAGS,
    INLINE_POLICIES,
    MANAGED_POLICIES,
    POLICY_VERSIONS,
    PRINCIPALS,
)
from openecr.store.statements import Statement

_P, _M, _V = PRINCIPALS.c, MANAGED_POLICIES.c, POLICY_VERSIONS.c
_ACCOUNT: BindParameter[str] = bindparam("the_account")
INLINE = Statement(
    select(INLINE_POLICIES.c.principal_id, INLINE_POLICIES.c.name, INLINE_POLICIES.c.document)
    .where(is_one_of(INLINE_POLICIES.c.principal_id, "ids"))
    .order_by(INLINE_POLICIES.c.name)
)
ATTACHED = Statement(
    select(ATTACHMENTS.c.principal_id, ATTACHMENTS.c.policy_arn)
    .where(is_one_of(ATTACHMENTS.c.principal_id, "ids"))
    .order_by(ATTACHMENTS.c.policy_arn)
)
GROUPS = Statement(
    select(GROUP_MEMBERS.c.user_id, _P.name)
    .join_from(GROUP_MEMBERS, PRINCIPALS, _P.id == GROUP_MEMBERS.c.group_id)
    .where(is_one_of(GROUP_MEMBERS.c.user_id, "ids"))
    .order_by(_P.name_key)
)
TAGS = Statement(
    select(IAM_TAGS.c.entity_id, IAM_TAGS.c.key, IAM_TAGS.c.value)
    .where(is_one_of(IAM_TAGS.c.entity_id, "ids"))
    .order_by(IAM_TAGS.c.key_key)
)
POLICIES = Statement(
    select(
        _M.id,
        _M.name,
        _M.path,
        _M.arn,
        _M.description,
        _M.created_at,
        _M.updated_at,
        _M.default_version,
        _M.name_key,
    )
    .where(_M.account_id == _ACCOUNT, _M.name_key > bindparam("after"))
    .order_by(_M.name_key)
    .limit(bindparam("count"))
)
VERSIONS = Statement(
    select(_V.policy_id, _V.version, _V.document, _V.created_at)
    .where(is_one_of(_V.policy_id, "ids"))
    .order_by(_V.version.desc())
)
ATTACHED_ARNS = Statement(
    select(ATTACHMENTS.c.policy_arn, func.count())
    .join_from(ATTACHMENTS, PRINCIPALS, _P.id == ATTACHMENTS.c.principal_id)
    .where(_P.account_id == _ACCOUNT)
    .group_by(ATTACHMENTS.c.policy_arn)
    .order_by(ATTACHMENTS.c.policy_arn)
)
BOUNDARY_ARNS = Statement(
    select(_P.boundary_arn, func.count())
    .where(_P.account_id == _ACCOUNT, _P.boundary_arn.is_not(None))
    .group_by(_P.boundary_arn)
)


def attachables(connection: Connection, entity_ids: Sequence[str]) -> Attachables:
    """Return all that hangs on some entities."""
    ids = as_list(entity_ids)
    inline: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for owner, name, document in connection.fetch_all(INLINE, ids=ids):
        inline[owner].append((name, document))
    tags: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for owner, key, value in connection.fetch_all(TAGS, ids=ids):
        tags[owner][key] = value
    return Attachables(
        inline=inline,
        attached_arns=_by_owner(connection.fetch_all(ATTACHED, ids=ids)),
        group_names=_by_owner(connection.fetch_all(GROUPS, ids=ids)),
        tags=tags,
    )


def policies(connection: Connection, account_id: str, *, after: str, limit: int) -> list[PolicyDetails]:
    """Return managed policies of an account by name without letter case, those that sort after `after`."""
    rows = connection.fetch_all(POLICIES, the_account=account_id, after=after, count=limit)
    versions: defaultdict[str, list[VersionDetails]] = defaultdict(list)
    ids = as_list(str(row[0]) for row in rows)
    for policy_id, number, document, created_at in connection.fetch_all(VERSIONS, ids=ids):
        versions[policy_id].append(VersionDetails(number=number, document=document, created_at=created_at))
    return [
        PolicyDetails(
            unique_id=row[0],
            name=row[1],
            path=row[2],
            arn=row[3],
            description=row[4],
            created_at=row[5],
            updated_at=row[6],
            default_version=row[7],
            versions=tuple(versions[row[0]]),
        )
        for row in rows
    ]


def attachment_counts(connection: Connection, account_id: str) -> dict[str, int]:
    """Return how many entities of an account each managed policy is attached to, by ARN."""
    rows = connection.fetch_all(ATTACHED_ARNS, the_account=account_id)
    return {str(arn): int(number) for arn, number in rows}


def boundary_counts(connection: Connection, account_id: str) -> dict[str, int]:
    """Return of how many entities of an account each managed policy is the boundary, by ARN."""
    rows = connection.fetch_all(BOUNDARY_ARNS, the_account=account_id)
    return {str(arn): int(number) for arn, number in rows}


def _by_owner(rows: Sequence[Row]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for owner, text in rows:
        found[owner].append(text)
    return found
