"""STS: who am I."""

from openecr.web.aws.call import Call, Output, Services


async def get_caller_identity(services: Services, call: Call) -> Output:
    """Return the caller of a valid signature. No permission is needed, and none can take it away."""
    del services
    return {"UserId": call.caller.unique_id, "Account": call.caller.account_id, "Arn": call.caller.arn}
