"""Locations whose rows are gone and whose bytes must go, and those whose bytes are written before a row names them.

`not_before` is the proof of a hold: whoever takes bytes away changes it first, in a transaction of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, insert, select, update

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_each, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import BIG, DOOMED

_D = DOOMED.c
ADD = insert_each(DOOMED, columns=("location", "not_before"), update="not_before = doomed.not_before + 1")
"""Of a location that is doomed already the row changes, so that who is removing its bytes does not forget it: a slow
request may have written them only now."""

LIST = Statement(
    select(_D.location, _D.not_before)
    .where(_D.not_before <= bindparam("now"))
    .order_by(_D.not_before)
    .limit(bindparam("limit"))
)
CLAIM = Statement(
    update(DOOMED)
    .where(is_one_of(_D.location, "locations"), _D.not_before <= bindparam("now", type_=BIG))
    .values(not_before=_D.not_before + 1)
    .returning(_D.location, _D.not_before)
)
HOLD = Statement(insert(DOOMED), columns=("location", "not_before"))
RENEW = Statement(
    update(DOOMED)
    .where(_D.location == bindparam("the_location"), _D.not_before == bindparam("seen"))
    .values(not_before=bindparam("new_not_before"))
)
REMOVE = Statement(
    delete(DOOMED).where(is_one_of(_D.location, "locations"), _D.not_before == bindparam("seen"))
)


def add(connection: Connection, locations: Iterable[str], *, not_before: int) -> None:
    """Doom locations in the transaction that removes the rows which named them."""
    chosen = sorted(set(locations))
    if chosen:
        connection.execute(ADD, location=as_list(chosen), not_before=not_before)


def list_due(connection: Connection, *, now: int, limit: int) -> list[str]:
    """Return locations whose bytes may go now."""
    return [row[0] for row in connection.fetch_all(LIST, now=now, limit=limit)]


def claim(connection: Connection, locations: Iterable[str], *, now: int) -> dict[str, int]:
    """Take those of these locations that are due still, before their bytes are removed; return what `remove` needs.

    Whoever held one until now can keep it no more.
    """
    rows = connection.fetch_all(CLAIM, locations=as_list(locations), now=now)
    return {row[0]: row[1] for row in rows}


def remove(connection: Connection, claimed: Mapping[str, int]) -> None:
    """Forget locations whose bytes are gone, but for those that were doomed again since they were claimed."""
    by_instant: defaultdict[int, list[str]] = defaultdict(list)
    for location, not_before in claimed.items():
        by_instant[not_before].append(location)
    for seen, locations in by_instant.items():
        connection.execute(REMOVE, locations=as_list(locations), seen=seen)


def put_off(connection: Connection, claimed: Mapping[str, int], *, not_before: int) -> None:
    """Leave locations whose bytes would not go for later, as `remove` forgets those that went."""
    for location, seen in claimed.items():
        connection.execute(RENEW, the_location=location, seen=seen, new_not_before=not_before)


# --- bytes that no row names yet ---


def hold(connection: Connection, location: str, *, until: int) -> None:
    """Name a location that was never used, before a byte is written there; nobody removes its bytes until then."""
    connection.execute(HOLD, location=location, not_before=until)


def renew(connection: Connection, location: str, *, held_until: int, until: int) -> bool:
    """Hold a location for longer; False where it was claimed."""
    renewed = connection.execute(RENEW, the_location=location, seen=held_until, new_not_before=until)
    return renewed > 0


def keep(connection: Connection, location: str, *, held_until: int) -> bool:
    """End a hold in the transaction in which a row comes to name the location; False where it was claimed."""
    return connection.execute(REMOVE, locations=as_list([location]), seen=held_until) > 0
