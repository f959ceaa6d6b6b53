"""The audit trail, in the activity database: added at its end, removed from its beginning, read by account or whole."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, or_, select

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_ignore, insert_rows
from openecr.store.statements import Statement
from openecr.store.tables import AUDIT, AUDIT_EXPLANATIONS

_A = AUDIT.c
_E = AUDIT_EXPLANATIONS.c
_COLUMNS = ("id", "account_id", "region", "event")
ADD = insert_rows(AUDIT, conflict=("id", "account_id"), columns=_COLUMNS)
PUT = insert_rows(AUDIT, conflict=("id", "account_id"), columns=_COLUMNS, replace=("region", "event"))
LIST_BEFORE = Statement(
    select(_A.id, _A.account_id, _A.event)
    .where(
        _A.account_id == bindparam("account_id"),
        _A.region == bindparam("region"),
        _A.id >= bindparam("since"),
        _A.id < bindparam("before"),
    )
    .order_by(_A.account_id.desc(), _A.region.desc(), _A.id.desc())
    .limit(bindparam("limit"))
)
LIST_AFTER = Statement(
    select(_A.id, _A.account_id, _A.event)
    .where(
        _A.id >= bindparam("after_id"),
        or_(
            _A.id > bindparam("after_id"),
            and_(_A.id == bindparam("after_id"), _A.account_id > bindparam("after_account_id")),
        ),
        _A.id < bindparam("until"),
    )
    .order_by(_A.id, _A.account_id)
    .limit(bindparam("limit"))
)
_OLDEST = select(_A.id).where(_A.id < bindparam("before")).order_by(_A.id).limit(bindparam("limit"))
REMOVE_OLDEST = Statement(delete(AUDIT).where(_A.id.in_(_OLDEST)))
ADD_EXPLANATION = insert_or_ignore(
    AUDIT_EXPLANATIONS, conflict=("request_id",), columns=("request_id", "requested_at", "explanation")
)
FIND_EXPLANATION = Statement(select(_E.explanation).where(_E.request_id == bindparam("request_id")))
_OLDEST_EXPLANATIONS = (
    select(_E.request_id)
    .where(_E.requested_at < bindparam("before"))
    .order_by(_E.requested_at)
    .limit(bindparam("limit"))
)
REMOVE_OLDEST_EXPLANATIONS = Statement(
    delete(AUDIT_EXPLANATIONS).where(_E.request_id.in_(_OLDEST_EXPLANATIONS))
)


@dataclass(frozen=True, slots=True)
class Stored:
    """An account's event, encoded."""

    id: str
    account_id: str
    event: str


def add(connection: Connection, rows: str) -> None:
    """Store events, but those that are there. `rows`: a JSON array of [key, account, region, event]."""
    connection.execute(ADD, rows=rows)


def put(connection: Connection, rows: str) -> None:
    """Store events that committed with their effect, in place of what was noted beside."""
    connection.execute(PUT, rows=rows)


def list_before(
    connection: Connection, account_id: str, region: str, *, since: str, before: str, limit: int
) -> list[Stored]:
    """Return an account's events with keys from `since` to before `before`, the newest first."""
    rows = connection.fetch_all(
        LIST_BEFORE, account_id=account_id, region=region, since=since, before=before, limit=limit
    )
    return [Stored(*map(str, row)) for row in rows]


def list_after(connection: Connection, *, after: tuple[str, str], until: str, limit: int) -> list[Stored]:
    """Return the events of all accounts after a (key, account) and before the key `until`, the oldest first."""
    after_id, after_account_id = after
    rows = connection.fetch_all(
        LIST_AFTER, after_id=after_id, after_account_id=after_account_id, until=until, limit=limit
    )
    return [Stored(*map(str, row)) for row in rows]


def remove_oldest(connection: Connection, *, before: str, limit: int) -> int:
    """Remove events with keys before `before`, and return how many were removed."""
    return connection.execute(REMOVE_OLDEST, before=before, limit=limit)


def add_explanation(connection: Connection, request_id: str, *, requested_at: int, explanation: str) -> None:
    """Store why a request was denied."""
    connection.execute(
        ADD_EXPLANATION, request_id=request_id, requested_at=requested_at, explanation=explanation
    )


def find_explanation(connection: Connection, request_id: str) -> str | None:
    """Return why a request was denied, if that is known."""
    row = connection.fetch_one(FIND_EXPLANATION, request_id=request_id)
    return None if row is None else str(row[0])


def remove_oldest_explanations(connection: Connection, *, before: int, limit: int) -> int:
    """Remove explanations of requests before an instant, and return how many were removed."""
    return connection.execute(REMOVE_OLDEST_EXPLANATIONS, before=before, limit=limit)
