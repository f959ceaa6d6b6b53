"""Policies of repositories. What decisions read of them is in `principals`."""

import json
from collections.abc import Mapping

from sqlalchemy import bindparam, delete

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_replace
from openecr.store.iam_tables import REPOSITORY_POLICIES
from openecr.store.statements import Statement

PUT = insert_or_replace(
    REPOSITORY_POLICIES,
    conflict=("repository_id",),
    columns=("repository_id", "document", "principals"),
    replace=("document", "principals"),
)
REMOVE = Statement(
    delete(REPOSITORY_POLICIES).where(REPOSITORY_POLICIES.c.repository_id == bindparam("the_id"))
)


def put(
    connection: Connection, repository_id: int, document: str, principals: Mapping[str, str | None]
) -> None:
    """Store a policy, with the unique ids that ARNs in it have now."""
    connection.execute(
        PUT, repository_id=repository_id, document=document, principals=json.dumps(dict(principals))
    )


def remove(connection: Connection, repository_id: int) -> None:
    """Remove a policy, if there is one."""
    connection.execute(REMOVE, the_id=repository_id)
