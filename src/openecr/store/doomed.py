"""Locations whose rows are gone and whose bytes must go."""

from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, select, update

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_update
from openecr.store.statements import Statement
from openecr.store.tables import DOOMED

_D = DOOMED.c
ADD = insert_or_update(
    DOOMED,
    conflict=("location",),
    columns=("location", "not_before"),
    update={"not_before": _D.not_before + 1},
)
"""Of a location that is doomed already the row changes, so that who is removing its bytes does not forget it: a slow
request may have written them only now."""

LIST = Statement(
    select(_D.location, _D.not_before)
    .where(_D.not_before <= bindparam("now"))
    .order_by(_D.not_before)
    .limit(bindparam("limit"))
)
REMOVE = Statement(
    delete(DOOMED).where(_D.location == bindparam("the_location"), _D.not_before == bindparam("seen"))
)


PUT_OFF = Statement(
    update(DOOMED)
    .where(_D.location == bindparam("the_location"), _D.not_before == bindparam("seen"))
    .values(not_before=bindparam("new_not_before"))
)


def add(connection: Connection, locations: Iterable[str], *, not_before: int) -> None:
    """Doom locations in the transaction that removes the rows which named them."""
    for location in locations:
        connection.execute(ADD, location=location, not_before=not_before)


def list_due(connection: Connection, *, now: int, limit: int) -> dict[str, int]:
    """Return locations whose bytes may go now, and since when."""
    return {row[0]: row[1] for row in connection.fetch_all(LIST, now=now, limit=limit)}


def remove(connection: Connection, listed: Mapping[str, int]) -> None:
    """Forget locations whose bytes are gone, but for those that were doomed again since they were listed."""
    for location, not_before in listed.items():
        connection.execute(REMOVE, the_location=location, seen=not_before)


def put_off(connection: Connection, listed: Mapping[str, int], *, not_before: int) -> None:
    """Leave locations whose bytes would not go for later, as `remove` forgets those that went."""
    for location, seen in listed.items():
        connection.execute(PUT_OFF, the_location=location, seen=seen, new_not_before=not_before)
