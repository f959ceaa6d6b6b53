"""STS: who am I, and whose is a key."""

from openecr.domain.callers import Caller, RoleSession
from openecr.domain.iam import account_of_access_key
from openecr.domain.iam_errors import IamValidationError
from openecr.web.aws.call import Call, Output, Services


async def get_caller_identity(services: Services, call: Call) -> Output:
    """Return the caller of a valid signature. No permission is needed, and none can take it away."""
    del services
    return {"UserId": user_id_of(call.caller), "Account": call.caller.account_id, "Arn": call.caller.arn}


async def get_access_key_info(services: Services, call: Call) -> Output:
    """Return the account that a key's id tells, whether there is such a key or not."""
    del services
    key_id = call.parameters["AccessKeyId"]
    account_id = account_of_access_key(key_id)
    if account_id is None:
        raise IamValidationError(message=f"{key_id} is invalid")
    return {"Account": account_id}


def user_id_of(caller: Caller) -> str:
    """Return what STS calls a caller's user id: of a session of a role it has the session's name."""
    if isinstance(caller, RoleSession):
        return f"{caller.unique_id}:{caller.session.name}"
    return caller.unique_id
