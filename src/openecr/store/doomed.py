"""Locations whose rows are gone and whose bytes must go."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_ignore, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import DOOMED

_D = DOOMED.c
ADD = insert_or_ignore(DOOMED, conflict=("location",), columns=("location", "not_before"))
LIST = Statement(
    select(_D.location)
    .where(_D.not_before <= bindparam("now"))
    .order_by(_D.not_before)
    .limit(bindparam("limit"))
)
REMOVE = Statement(delete(DOOMED).where(is_one_of(_D.location, "locations")))


def add(connection: Connection, locations: Iterable[str], *, not_before: int) -> None:
    """Doom locations in the transaction that removes the rows which named them."""
    for location in locations:
        connection.execute(ADD, location=location, not_before=not_before)


def list_due(connection: Connection, *, now: int, limit: int) -> list[str]:
    """Return locations whose bytes may go now."""
    return [row[0] for row in connection.fetch_all(LIST, now=now, limit=limit)]


def remove(connection: Connection, locations: Iterable[str]) -> None:
    """Forget locations whose bytes are gone."""
    connection.execute(REMOVE, locations=as_list(locations))
