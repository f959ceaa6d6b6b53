"""Aliases."""

from openecr.application.key_names import read_key
from openecr.domain.kms import KmsAlias
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.kms.pages import page_request, paged


async def create_alias(services: Services, call: Call) -> Output:
    """Give a key another name."""
    await services.kms.aliases.create(call.grants[0], call.grants[1], call.parameters["AliasName"])
    return {}


async def update_alias(services: Services, call: Call) -> Output:
    """Let an alias name another key."""
    await services.kms.aliases.point(call.grants[0], call.grants[1], call.parameters["AliasName"])
    return {}


async def delete_alias(services: Services, call: Call) -> Output:
    """Remove an alias."""
    await services.kms.aliases.delete(call.grants[0], call.parameters["AliasName"])
    return {}


async def list_aliases(services: Services, call: Call) -> Output:
    """List the account's aliases, or those of one key."""
    named = call.parameters.get("KeyId")
    key = None if named is None else read_key(named, call.registry, takes_alias=False)
    page = await services.kms.aliases.list(call.grant, page_request(call, usual=50, most=100), key=key)
    return paged("Aliases", page, _told)


def _told(alias: KmsAlias) -> Output:
    return {
        "AliasName": alias.name,
        "AliasArn": alias.arn,
        "TargetKeyId": alias.key_id,
        "CreationDate": alias.created_at,
        "LastUpdatedDate": alias.updated_at,
    }
