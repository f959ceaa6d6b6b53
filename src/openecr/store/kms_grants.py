"""Grants on keys."""

import json
from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
)

from openecr.domain.kms import GrantConstraints, KmsGrant
from openecr.domain.registries import RegistryId
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, is_one_of
from openecr.store.kms_tables import KMS_GRANTS
from openecr.store.statements import Statement
from openecr.store.tables import TEXT

_G = KMS_GRANTS.c
_COLUMNS = (
    _G.grant_id,
    _G.key_id,
    _G.registry_id,
    _G.name,
    _G.grantee,
    _G.retiring,
    _G.principal_ids,
    _G.operations,
    _G.constraints,
    _G.issuing_account,
    _G.created_at,
)
_OF_KEY = _G.key_id == bindparam("the_key")
_REGION = func.substr(
    _G.registry_id, literal_column("14"), type_=TEXT
)  # behind the account's twelve digits and `/`


def _is_asked(column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    """Compare with a parameter, whose empty text means: any."""
    value = bindparam(parameter, type_=Text())
    return or_(value == "", column == value)


ADD = Statement(
    insert(KMS_GRANTS),
    columns=(
        "grant_id",
        "key_id",
        "registry_id",
        "name",
        "grantee",
        "retiring",
        "principal_ids",
        "operations",
        "constraints",
        "issuing_account",
        "created_at",
    ),
)
FIND = Statement(
    select(*_COLUMNS).where(_OF_KEY, _G.grant_id == bindparam("the_id")),
    is_shared=True,
)
LIST = Statement(
    select(*_COLUMNS)
    .where(
        _OF_KEY,
        _G.grant_id > bindparam("after"),
        _is_asked(_G.grant_id, "only_id"),
        _is_asked(_G.grantee, "only_grantee"),
    )
    .order_by(_G.grant_id)
    .limit(bindparam("count"))
)
LIST_OF_GRANTEES = Statement(
    select(*_COLUMNS)
    .where(_OF_KEY, is_one_of(_G.grantee, "grantees"), _G.grant_id > bindparam("after"))
    .order_by(_G.grant_id)
    .limit(bindparam("count"))
)
LIST_NAMED = Statement(
    select(*_COLUMNS)
    .where(_OF_KEY, _G.grantee == bindparam("the_grantee"), _G.name == bindparam("the_name"))
    .order_by(_G.grant_id)
    .limit(bindparam("count"))
)
LIST_RETIRABLE = Statement(
    select(*_COLUMNS)
    .where(
        _G.retiring == bindparam("the_retiring"),
        _G.grant_id > bindparam("after"),
        bindparam("the_region", type_=TEXT) == _REGION,
    )
    .order_by(_G.grant_id)
    .limit(bindparam("count"))
)
COUNT = Statement(select(func.count()).select_from(KMS_GRANTS).where(_OF_KEY))
COUNT_OF_GRANTEE = Statement(
    select(func.count()).select_from(KMS_GRANTS).where(and_(_OF_KEY, _G.grantee == bindparam("the_grantee")))
)
REMOVE = Statement(delete(KMS_GRANTS).where(_OF_KEY, _G.grant_id == bindparam("the_id")))
REMOVE_SOME = Statement(
    delete(KMS_GRANTS).where(
        _G.grant_id.in_(select(_G.grant_id).where(_OF_KEY).limit(bindparam("count", type_=Integer())))
    )
)
REMOVE_NAMED = Statement(
    delete(KMS_GRANTS).where(
        _G.grant_id.in_(
            select(_G.grant_id)
            .where(_OF_KEY, _G.grantee == bindparam("the_grantee"), _G.name == bindparam("the_name"))
            .limit(bindparam("count", type_=Integer()))
        )
    )
)


def add(connection: Connection, grant: KmsGrant) -> None:
    """Add a grant."""
    connection.execute(
        ADD,
        grant_id=grant.grant_id,
        key_id=grant.key_id,
        registry_id=str(grant.registry),
        name=grant.name,
        grantee=grant.grantee,
        retiring=grant.retiring,
        principal_ids=json.dumps(dict(grant.principal_ids)),
        operations=json.dumps(list(grant.operations)),
        constraints=_constraints_text(grant.constraints),
        issuing_account=grant.issuing_account,
        created_at=grant.created_at,
    )


def find(connection: Connection, key_id: str, grant_id: str) -> KmsGrant | None:
    """Return a key's grant, or None."""
    row = connection.fetch_one(FIND, the_key=key_id, the_id=grant_id)
    return None if row is None else _grant(row)


def list_after(
    connection: Connection, key_id: str, *, grant_id: str, grantee: str, after: str, limit: int
) -> list[KmsGrant]:
    """Return a key's grants by id, those that sort after `after`; with that id and grantee, where not empty."""
    rows = connection.fetch_all(
        LIST, the_key=key_id, only_id=grant_id, only_grantee=grantee, after=after, count=limit
    )
    return [_grant(row) for row in rows]


def list_of_grantees(
    connection: Connection, key_id: str, grantees: Sequence[str], *, after: str, limit: int
) -> list[KmsGrant]:
    """Return what a key's grants let any of some principals do, by id, those that sort after `after`."""
    rows = connection.fetch_all(
        LIST_OF_GRANTEES, the_key=key_id, grantees=as_list(grantees), after=after, count=limit
    )
    return [_grant(row) for row in rows]


def list_named(connection: Connection, key_id: str, grantee: str, name: str, *, limit: int) -> list[KmsGrant]:
    """Return a principal's grants of one name on a key."""
    rows = connection.fetch_all(LIST_NAMED, the_key=key_id, the_grantee=grantee, the_name=name, count=limit)
    return [_grant(row) for row in rows]


def list_retirable(
    connection: Connection, retiring: str, *, region: str, after: str, limit: int
) -> list[KmsGrant]:
    """Return grants on keys of a region that a principal may retire, by id, those that sort after `after`."""
    rows = connection.fetch_all(
        LIST_RETIRABLE, the_retiring=retiring, the_region=region, after=after, count=limit
    )
    return [_grant(row) for row in rows]


def count(connection: Connection, key_id: str) -> int:
    """Return how many grants a key has."""
    row = connection.fetch_one(COUNT, the_key=key_id)
    return 0 if row is None else int(row[0])


def count_of_grantee(connection: Connection, key_id: str, grantee: str) -> int:
    """Return how many of a key's grants are for one principal."""
    row = connection.fetch_one(COUNT_OF_GRANTEE, the_key=key_id, the_grantee=grantee)
    return 0 if row is None else int(row[0])


def remove(connection: Connection, key_id: str, grant_id: str) -> bool:
    """End a grant; tell whether it was there."""
    return connection.execute(REMOVE, the_key=key_id, the_id=grant_id) == 1


def remove_some(connection: Connection, key_id: str, *, limit: int) -> int:
    """End some of a key's grants; return how many."""
    return connection.execute(REMOVE_SOME, the_key=key_id, count=limit)


def remove_named(connection: Connection, key_id: str, grantee: str, name: str, *, limit: int) -> int:
    """End some of a principal's grants of one name on a key; return how many."""
    return connection.execute(REMOVE_NAMED, the_key=key_id, the_grantee=grantee, the_name=name, count=limit)


def _constraints_text(constraints: GrantConstraints) -> str:
    """Keep what is there: an empty context is not the same as none."""
    members = {
        "subset": None if constraints.subset is None else dict(constraints.subset),
        "equals": None if constraints.equals is None else dict(constraints.equals),
        "source_arn": constraints.source_arn,
    }
    return json.dumps({name: value for name, value in members.items() if value is not None}, sort_keys=True)


def _grant(row: Row) -> KmsGrant:
    return KmsGrant(
        grant_id=row[0],
        key_id=row[1],
        registry=RegistryId.parse(row[2]),
        name=row[3],
        grantee=row[4],
        retiring=row[5],
        principal_ids=json.loads(row[6]),
        operations=tuple(json.loads(row[7])),
        constraints=GrantConstraints(**json.loads(row[8])),
        issuing_account=row[9],
        created_at=row[10],
    )
