"""What the database holds under the server's key ring, column by column, to be sealed anew when a master key changes.

Columns that the keys of repositories seal are not here: no master key stands behind them but by those keys' materials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, FromClause, Table, and_, bindparam, or_, select, update

from openecr.store.connections import Connection
from openecr.store.iam_tables import LARGE_SESSIONS
from openecr.store.kms_tables import KMS_KEYS, KMS_MATERIALS
from openecr.store.statements import Statement
from openecr.store.tables import ACCESS_KEYS, BLOBS, LINKS, MANIFESTS, REPOSITORIES, UPLOADS

Place = tuple[str | int, ...]
"""A row's primary key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRow:
    """A row: its primary key, what its associated data are made of, and the sealed bytes."""

    place: Place
    facts: tuple[Any, ...]
    sealed: bytes


class SealedColumn:
    """A column that the key ring seals, in the rows for which the conditions hold."""

    def __init__(
        self,
        column: Column[bytes],
        *,
        facts: Sequence[ColumnElement[Any]] = (),
        joined: FromClause | None = None,
        conditions: Sequence[ColumnElement[bool]] = (),
    ) -> None:
        table = column.table
        assert isinstance(table, Table)
        self.column = column
        self.name = f"{table.name}.{column.name}"
        keys: list[Column[Any]] = list(table.primary_key.columns)
        self._key_count = len(keys)
        self.first: Place = tuple(0 if key.type.python_type is int else "" for key in keys)
        """Before every row."""
        self._list = Statement(
            select(*keys, *facts, column)
            .select_from(table if joined is None else joined)
            .where(column.is_not(None), _is_after(keys), *conditions)
            .order_by(*keys)
            .limit(bindparam("count"))
        )
        self._replace = Statement(
            update(table)
            .where(
                *(key == bindparam(f"key_{number}", type_=key.type) for number, key in enumerate(keys)),
                column == bindparam("seen", type_=column.type),
            )
            .values({column.name: bindparam("fresh", type_=column.type)})
        )

    def list_after(self, connection: Connection, place: Place, *, limit: int) -> list[SealedRow]:
        """Return rows by their primary keys, from the first after `place`."""
        rows = connection.fetch_all(self._list, count=limit, **_named("after", place))
        count = self._key_count
        return [
            SealedRow(place=tuple(row[:count]), facts=tuple(row[count:-1]), sealed=bytes(row[-1]))
            for row in rows
        ]

    def replace(self, connection: Connection, row: SealedRow, fresh: bytes) -> bool:
        """Store other sealed bytes where those of `row` are still there; tell whether they were."""
        changed = connection.execute(self._replace, seen=row.sealed, fresh=fresh, **_named("key", row.place))
        return changed > 0


def _is_after(keys: Sequence[Column[Any]]) -> ColumnElement[bool]:
    """Compare a primary key with a place, its columns from left to right."""
    bounds = [bindparam(f"after_{number}", type_=key.type) for number, key in enumerate(keys)]
    pairs = list(zip(keys, bounds, strict=True))
    return or_(
        *(
            and_(*(each == bound for each, bound in pairs[:position]), key > bounds[position])
            for position, key in enumerate(keys)
        )
    )


def _named(prefix: str, place: Place) -> dict[str, str | int]:
    return {f"{prefix}_{number}": value for number, value in enumerate(place)}


ACCESS_KEY_SECRETS = SealedColumn(ACCESS_KEYS.c.sealed_secret, facts=(ACCESS_KEYS.c.account_id,))
KMS_KEY_MATERIALS = SealedColumn(
    KMS_MATERIALS.c.sealed,
    facts=(KMS_KEYS.c.registry_id,),
    joined=KMS_MATERIALS.join(KMS_KEYS, KMS_KEYS.c.key_id == KMS_MATERIALS.c.key_id),
)
SESSIONS = SealedColumn(LARGE_SESSIONS.c.sealed)
BLOB_KEYS = SealedColumn(
    BLOBS.c.sealed_key, facts=(BLOBS.c.digest, BLOBS.c.header), conditions=(BLOBS.c.key_id == "",)
)
UPLOAD_KEYS = SealedColumn(
    UPLOADS.c.sealed_key,
    joined=UPLOADS.join(REPOSITORIES, REPOSITORIES.c.id == UPLOADS.c.repository_id),
    conditions=(REPOSITORIES.c.kms_key.is_(None),),
)
COLUMNS = (ACCESS_KEY_SECRETS, KMS_KEY_MATERIALS, SESSIONS, BLOB_KEYS, UPLOAD_KEYS)

UNDER_REPOSITORY_KEYS: tuple[Column[bytes], ...] = (
    REPOSITORIES.c.sealed_key,
    LINKS.c.sealed_key,
    MANIFESTS.c.sealed_key,
)
"""Sealed by a key of KMS, or by a key that one sealed: none of a master key's business."""
