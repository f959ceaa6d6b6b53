"""Key policies."""

from openecr.domain.kms import POLICY_NAME
from openecr.domain.kms_errors import KmsNotFound, KmsValidationFailed
from openecr.web.aws.call import Call, Output, Services


async def get_key_policy(services: Services, call: Call) -> Output:
    """Return the policy."""
    if call.parameters.get("PolicyName", POLICY_NAME) != POLICY_NAME:
        raise KmsNotFound(message="No such policy exists")
    return {"Policy": await services.kms.key_policies.get(call.grant), "PolicyName": POLICY_NAME}


async def put_key_policy(services: Services, call: Call) -> Output:
    """Replace the policy."""
    given = call.parameters
    if given.get("PolicyName", POLICY_NAME) != POLICY_NAME:
        raise KmsValidationFailed(message=f"The only valid policy name is {POLICY_NAME}")
    await services.kms.key_policies.put(
        call.grant, given["Policy"], may_lock_out=given.get("BypassPolicyLockoutSafetyCheck", False)
    )
    return {}


async def list_key_policies(services: Services, call: Call) -> Output:
    """Return the one name."""
    await services.kms.keys.describe(call.grant)
    return {"PolicyNames": [POLICY_NAME], "Truncated": False}
