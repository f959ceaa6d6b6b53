"""Roles as tests make them, through the use cases."""

import json
from dataclasses import replace
from typing import Any

from openecr.application.iam.roles import DescribedRole, NewRole
from tests.contract.iam_houses import ACCOUNT, IamHouse


def trust(principal: object, action: str = "sts:AssumeRole", **more: Any) -> str:
    """A trust policy of one statement."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


OWN = trust({"AWS": ACCOUNT})


async def make(house: IamHouse, name: str = "ci", document: str = OWN, **changes: Any) -> DescribedRole:
    """A new role."""
    wanted = NewRole(
        name=name,
        path="/jobs/",
        trust_policy=document,
        description="builds",
        max_session_seconds=3_600,
        boundary_arn=None,
        tags={"Team": "a"},
    )
    return await house.iam.roles.create(await house.grant(), replace(wanted, **changes))


async def principal_of(house: IamHouse, name: str = "ci") -> Any:
    """Whom the role's trust policy names, as it is shown."""
    found = await house.iam.roles.get(await house.on_role(name))
    return json.loads(found.trust_policy)["Statement"][0]["Principal"]
