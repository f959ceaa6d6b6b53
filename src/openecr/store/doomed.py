"""Locations whose rows are gone and whose bytes must go."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_each, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import DOOMED

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
REMOVE = Statement(
    delete(DOOMED).where(is_one_of(_D.location, "locations"), _D.not_before == bindparam("seen"))
)


def add(connection: Connection, locations: Iterable[str], *, not_before: int) -> None:
    """Doom locations in the transaction that removes the rows which named them."""
    chosen = sorted(set(locations))
    if chosen:
        connection.execute(ADD, location=as_list(chosen), not_before=not_before)


def list_due(connection: Connection, *, now: int, limit: int) -> dict[str, int]:
    """Return locations whose bytes may go now, and since when."""
    return {row[0]: row[1] for row in connection.fetch_all(LIST, now=now, limit=limit)}


def remove(connection: Connection, listed: Mapping[str, int]) -> None:
    """Forget locations whose bytes are gone, but for those that were doomed again since they were listed."""
    by_instant: defaultdict[int, list[str]] = defaultdict(list)
    for location, not_before in listed.items():
        by_instant[not_before].append(location)
    for seen, locations in by_instant.items():
        connection.execute(REMOVE, locations=as_list(locations), seen=seen)
