"""Grants."""

from openecr.application.kms.grants import NewGrant
from openecr.domain.kms import GrantConstraints, KmsGrant, key_arn
from openecr.domain.kms_errors import KmsValidationFailed
from openecr.engines.kms import grant_token
from openecr.web.aws.call import Call, Output, Parameters, Services
from openecr.web.aws.kms.pages import page_request, paged
from openecr.web.aws.kms.requirements import retired
from openecr.web.aws.kms.tokens import check_grant_tokens

_SUBSET, _EQUALS, _SOURCE = "EncryptionContextSubset", "EncryptionContextEquals", "SourceArn"


async def create_grant(services: Services, call: Call) -> Output:
    """Make a grant."""
    given = call.parameters
    check_grant_tokens(given)
    if "GranteeServicePrincipal" in given or "RetiringServicePrincipal" in given:
        raise KmsValidationFailed(message="Grants to services are made by the services of this server alone")
    if "GranteePrincipal" not in given:
        raise KmsValidationFailed(message="A GranteePrincipal is needed")
    wanted = NewGrant(
        name=given.get("Name"),
        grantee=given["GranteePrincipal"],
        retiring=given.get("RetiringPrincipal"),
        operations=tuple(given["Operations"]),
        constraints=_constraints(given.get("Constraints") or {}),
    )
    made = await services.kms.grants.create(call.grant, wanted, is_dry_run=given.get("DryRun", False))
    return {"GrantId": made.grant_id, "GrantToken": grant_token(made.registry, made.key_id, made.grant_id)}


async def list_grants(services: Services, call: Call) -> Output:
    """List a key's grants."""
    given = call.parameters
    page = await services.kms.grants.list(
        call.grant,
        page_request(call, usual=50, most=100),
        grant_id=given.get("GrantId"),
        grantee=given.get("GranteePrincipal") or given.get("GranteeServicePrincipal"),
    )
    return paged("Grants", page, _told)


async def list_retirable_grants(services: Services, call: Call) -> Output:
    """List what a principal may retire."""
    retiring = call.parameters.get("RetiringPrincipal")
    if retiring is None:
        raise KmsValidationFailed(message="A RetiringPrincipal is needed")
    page = await services.kms.grants.list_retirable(
        call.grant, page_request(call, usual=50, most=100), retiring
    )
    return paged("Grants", page, _told)


async def retire_grant(services: Services, call: Call) -> Output:
    """End a grant: whoever it says may do so."""
    _, grant_id = retired(call.caller, call.context, call.parameters)
    await services.kms.grants.end(call.grant, grant_id, is_dry_run=call.parameters.get("DryRun", False))
    return {}


async def revoke_grant(services: Services, call: Call) -> Output:
    """End a grant: whoever the key's policy says may do so."""
    given = call.parameters
    await services.kms.grants.end(call.grant, given["GrantId"], is_dry_run=given.get("DryRun", False))
    return {}


def _constraints(given: Parameters) -> GrantConstraints:
    return GrantConstraints(
        subset=given.get(_SUBSET), equals=given.get(_EQUALS), source_arn=given.get(_SOURCE)
    )


def _told(grant: KmsGrant) -> Output:
    constraints = {
        _SUBSET: grant.constraints.subset,
        _EQUALS: grant.constraints.equals,
        _SOURCE: grant.constraints.source_arn,
    }
    return {
        "KeyId": key_arn(grant.registry, grant.key_id),
        "GrantId": grant.grant_id,
        "Name": grant.name,
        "CreationDate": grant.created_at,
        "GranteePrincipal": grant.grantee,
        "RetiringPrincipal": grant.retiring,
        "IssuingAccount": f"arn:aws:iam::{grant.issuing_account}:root",
        "Operations": list(grant.operations),
        "Constraints": constraints if any(value is not None for value in constraints.values()) else None,
    }
