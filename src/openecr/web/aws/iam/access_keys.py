"""IAM: access keys."""

from openecr.application.iam.access_keys import OwnedKey
from openecr.domain.accounts import KeyStatus
from openecr.domain.iam_errors import IamValidationError
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam.pages import page_request, paged

_NEVER = "N/A"
_STATUSES = {status.value: status for status in KeyStatus}


async def create_access_key(services: Services, call: Call) -> Output:
    """Make a key, and tell its secret this once."""
    made = await services.iam.access_keys.create(call.grant)
    return {"AccessKey": {**_told(made.owned), "SecretAccessKey": made.secret}}


async def list_access_keys(services: Services, call: Call) -> Output:
    """Return a page of a user's keys."""
    user_name, page = await services.iam.access_keys.list(call.grant, page_request(call))
    return paged("AccessKeyMetadata", page, lambda key: _told(OwnedKey(key=key, user_name=user_name)))


async def update_access_key(services: Services, call: Call) -> Output:
    """Make a key work or not."""
    status = _STATUSES.get(call.parameters["Status"])
    if status is None:
        raise IamValidationError(message="Status must be Active or Inactive")
    await services.iam.access_keys.set_status(call.grant, call.parameters["AccessKeyId"], status)
    return {}


async def delete_access_key(services: Services, call: Call) -> Output:
    """End a key."""
    await services.iam.access_keys.delete(call.grant, call.parameters["AccessKeyId"])
    return {}


async def get_access_key_last_used(services: Services, call: Call) -> Output:
    """Return when a key was last used, and for what."""
    user_name, use = await services.iam.access_keys.last_used(call.grant, call.parameters["AccessKeyId"])
    if use is None:
        return {"UserName": user_name, "AccessKeyLastUsed": {"ServiceName": _NEVER, "Region": _NEVER}}
    last_used = {"LastUsedDate": use.used_at, "ServiceName": use.service, "Region": use.region}
    return {"UserName": user_name, "AccessKeyLastUsed": last_used}


def _told(owned: OwnedKey) -> Output:
    key = owned.key
    return {
        "UserName": owned.user_name,
        "AccessKeyId": key.access_key_id,
        "Status": key.status.value,
        "CreateDate": key.created_at,
    }
