"""Permissions boundaries: which managed policies may be one."""

from openecr.application.iam import aws_policies
from openecr.domain.iam import policy_arn as arn_of
from openecr.domain.iam_errors import NoSuchEntity
from openecr.store import principals
from openecr.store.connections import Connection


def check_boundary(connection: Connection, account_id: str, policy_arn: str) -> None:
    """Raise NoSuchEntity unless an ARN names a managed policy of the account or one of AWS's."""
    if aws_policies.find_document(policy_arn) is not None:
        return
    is_own = policy_arn.startswith(arn_of(account_id, ""))
    is_text = policy_arn.isascii() and policy_arn.isprintable()  # PostgreSQL's text takes no NUL
    if not is_own or not is_text or not principals.managed_documents(connection, [policy_arn]):
        raise NoSuchEntity(message=f"Scope ARN: {policy_arn} does not exist or is not attachable.")
