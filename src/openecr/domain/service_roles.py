"""Service-linked roles: those of ECR's services (ECR user guide, "Using service-linked roles")."""

import re
from dataclasses import dataclass

from openecr.domain.iam import IamRole
from openecr.domain.registries import PARTITION

SERVICE_ROLE_PATH = "/aws-service-role/"

_TASK = re.compile(
    r"task(?P<path>/aws-service-role/[\w+=,.@-]{1,128}/)(?P<name>[\w+=,.@-]{1,64})/AROA[A-Z2-7]{17}"
)
_NAMES_AND_POLICIES = {
    "replication.ecr.amazonaws.com": ("AWSServiceRoleForECRReplication", "ECRReplicationServiceRolePolicy"),
    "pullthroughcache.ecr.amazonaws.com": (
        "AWSServiceRoleForECRPullThroughCache",
        "AWSECRPullThroughCache_ServiceRolePolicy",
    ),
    "ecr.amazonaws.com": ("AWSServiceRoleForECRTemplate", "ECRTemplateServiceRolePolicy"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRole:
    """What the role of a service is called, and which managed policy it comes with."""

    name: str
    path: str
    policy_arn: str


def service_role(service: str) -> ServiceRole | None:
    """Return the role of a service, or None for one that has none here."""
    found = _NAMES_AND_POLICIES.get(service)
    if found is None:
        return None
    name, policy = found
    return ServiceRole(
        name=name,
        path=f"{SERVICE_ROLE_PATH}{service}/",
        policy_arn=f"arn:{PARTITION}:iam::aws:policy{SERVICE_ROLE_PATH}{policy}",
    )


def deletion_task(role: IamRole) -> str:
    """Return the id of a deletion, which names the role and tells it from others of its name."""
    return f"task{role.path}{role.name}/{role.unique_id}"


def service_role_of(task: str) -> tuple[str, str] | None:
    """Return path and name of the role that a deletion was about, or None for what is no such id."""
    found = _TASK.fullmatch(task)
    return None if found is None else (found["path"], found["name"])
