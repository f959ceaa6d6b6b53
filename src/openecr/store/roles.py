"""What only roles have: their trust policy, description and the longest session."""

from sqlalchemy import bindparam, update

from openecr.store.connections import Connection
from openecr.store.iam_tables import PRINCIPALS
from openecr.store.statements import Statement

_IS_THIS = PRINCIPALS.c.id == bindparam("the_id")
SET_TRUST = Statement(
    update(PRINCIPALS)
    .where(_IS_THIS)
    .values(trust_policy=bindparam("new_policy"), trust_principals=bindparam("new_principals"))
)
CHANGE = Statement(
    update(PRINCIPALS)
    .where(_IS_THIS)
    .values(description=bindparam("new_description"), max_session_seconds=bindparam("new_seconds"))
)


def set_trust(connection: Connection, role_id: str, policy: str, principals: str) -> None:
    """Replace who may assume a role; `principals` is JSON of the ids that ARNs in it have now."""
    connection.execute(SET_TRUST, the_id=role_id, new_policy=policy, new_principals=principals)


def change(
    connection: Connection, role_id: str, *, description: str | None, max_session_seconds: int
) -> None:
    """Replace description and longest session."""
    connection.execute(CHANGE, the_id=role_id, new_description=description, new_seconds=max_session_seconds)
