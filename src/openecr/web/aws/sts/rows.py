"""Every operation of STS, one row each."""

from openecr.web.aws.rows import Row, requires_nothing
from openecr.web.aws.sts import callers, requirements, sessions

ROWS: tuple[Row, ...] = (
    Row(
        service="sts",
        name="AssumeRole",
        requires=requirements.on_role,
        needs=frozenset(
            {"ExternalId", "RoleArn", "RoleSessionName", "SourceIdentity", "Tags", "TransitiveTagKeys"}
        ),
        handler=sessions.assume_role,
    ),
    Row(
        service="sts",
        name="AssumeRoleWithWebIdentity",
        requires=requirements.on_role_with_web_identity,
        needs=frozenset({"RoleArn", "RoleSessionName"}),
        handler=sessions.assume_role_with_web_identity,
        identify=sessions.identify,
    ),
    Row(
        service="sts",
        name="GetAccessKeyInfo",
        requires=requirements.on_key_info,
        handler=callers.get_access_key_info,
    ),
    Row(
        service="sts",
        name="GetCallerIdentity",
        requires=requires_nothing,
        handler=callers.get_caller_identity,
    ),
    Row(
        service="sts",
        name="GetFederationToken",
        requires=requirements.on_federated_user,
        needs=frozenset({"Name", "Tags"}),
        handler=sessions.get_federation_token,
    ),
    Row(
        service="sts",
        name="GetSessionToken",
        requires=requires_nothing,
        handler=sessions.get_session_token,
    ),
)
