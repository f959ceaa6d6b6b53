"""STS: temporary credentials."""

from openecr.application.session_parameters import SessionParameters
from openecr.application.sts import IssuedSession
from openecr.domain.callers import Caller, RequestContext, WebIdentity
from openecr.domain.errors import AccessDenied
from openecr.web.aws.call import Call, Output, Parameters, Services
from openecr.web.aws.sts.callers import user_id_of
from openecr.web.aws.sts.requirements import role_account, source_identity_of


async def assume_role(services: Services, call: Call) -> Output:
    """Return credentials of a session of a role."""
    _refuse_second_factor(call.parameters)
    issued = await services.sts.assume_role(
        call.grant,
        session_name=call.parameters["RoleSessionName"],
        duration_seconds=call.parameters.get("DurationSeconds"),
        source_identity=source_identity_of(call.caller, call.parameters),
        asked=_asked(call.parameters),
    )
    return _of_role(issued)


async def identify(services: Services, context: RequestContext, parameters: Parameters) -> Caller:
    """Return whom the identity provider vouches for: nobody signs this request."""
    return await services.web_identities.identify(
        role_account(parameters["RoleArn"]), parameters["WebIdentityToken"], now_at=context.requested_at
    )


async def assume_role_with_web_identity(services: Services, call: Call) -> Output:
    """Return credentials of a session of a role, for a token of an identity provider."""
    issued = await services.sts.assume_role_with_web_identity(
        call.grant,
        session_name=call.parameters["RoleSessionName"],
        duration_seconds=call.parameters.get("DurationSeconds"),
        asked=_asked(call.parameters),
    )
    caller = call.caller
    assert isinstance(caller, WebIdentity), "the row identifies its callers"
    return _of_role(issued) | {
        "SubjectFromWebIdentityToken": caller.subject,
        "Provider": f"https://{caller.provider}",
        "Audience": caller.audience,
    }


async def get_session_token(services: Services, call: Call) -> Output:
    """Return temporary credentials of the caller."""
    _refuse_second_factor(call.parameters)
    issued = services.sts.get_session_token(
        call.caller, duration_seconds=call.parameters.get("DurationSeconds")
    )
    return {"Credentials": _credentials(issued)}


async def get_federation_token(services: Services, call: Call) -> Output:
    """Return temporary credentials for somebody whom the caller stands for."""
    issued = services.sts.get_federation_token(
        call.grant,
        name=call.parameters["Name"],
        duration_seconds=call.parameters.get("DurationSeconds"),
        asked=_asked(call.parameters),
    )
    return {
        "Credentials": _credentials(issued),
        "FederatedUser": {"FederatedUserId": issued.caller.unique_id, "Arn": issued.caller.arn},
        "PackedPolicySize": issued.packed_percent,
    }


def _asked(parameters: Parameters) -> SessionParameters:
    return SessionParameters(
        policy=parameters.get("Policy"),
        policy_arns=tuple(each.get("arn", "") for each in parameters.get("PolicyArns") or ()),
        tags=tuple((each["Key"], each["Value"]) for each in parameters.get("Tags") or ()),
        transitive_tag_keys=tuple(parameters.get("TransitiveTagKeys") or ()),
    )


def _refuse_second_factor(parameters: Parameters) -> None:
    """There are no MFA devices, so no code of one is right. Raises AccessDenied."""
    if parameters.get("TokenCode") is not None or parameters.get("SerialNumber") is not None:
        raise AccessDenied(message="MultiFactorAuthentication failed with invalid MFA one time pass code.")


def _of_role(issued: IssuedSession) -> Output:
    return {
        "Credentials": _credentials(issued),
        "AssumedRoleUser": {"AssumedRoleId": user_id_of(issued.caller), "Arn": issued.caller.arn},
        "PackedPolicySize": issued.packed_percent,
        "SourceIdentity": issued.session.source_identity,
    }


def _credentials(issued: IssuedSession) -> Output:
    return {
        "AccessKeyId": issued.caller.access_key_id,
        "SecretAccessKey": issued.secret,
        "SessionToken": issued.session_token,
        "Expiration": issued.session.expires_at,
    }
