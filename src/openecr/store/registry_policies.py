"""Policies of registries. What decisions read of them is in `principals`."""

import json
from collections.abc import Mapping

from sqlalchemy import bindparam, delete

from openecr.domain.registries import RegistryId
from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_replace
from openecr.store.iam_tables import REGISTRY_POLICIES
from openecr.store.statements import Statement

PUT = insert_or_replace(
    REGISTRY_POLICIES,
    conflict=("registry_id",),
    columns=("registry_id", "document", "principals"),
    replace=("document", "principals"),
)
REMOVE = Statement(delete(REGISTRY_POLICIES).where(REGISTRY_POLICIES.c.registry_id == bindparam("the_id")))


def put(
    connection: Connection, registry: RegistryId, document: str, principals: Mapping[str, str | None]
) -> None:
    """Store a policy, with the unique ids that ARNs in it have now."""
    connection.execute(
        PUT, registry_id=str(registry), document=document, principals=json.dumps(dict(principals))
    )


def remove(connection: Connection, registry: RegistryId) -> None:
    """Remove a policy, if there is one."""
    connection.execute(REMOVE, the_id=str(registry))
