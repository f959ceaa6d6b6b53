"""Keys: made, described, enabled, disabled and let go."""

from openecr.application.kms.keys import NewKey
from openecr.domain.kms import KEY_ORIGIN, KEY_SPEC, KEY_USAGE, KeyState, KmsKey, key_arn
from openecr.domain.kms_errors import InvalidKeyTag, KmsValidationFailed, UnsupportedKey
from openecr.web.aws.call import Call, Output, Parameters, Services
from openecr.web.aws.kms.pages import page_request, paged
from openecr.web.aws.kms.tokens import check_grant_tokens


async def create_key(services: Services, call: Call) -> Output:
    """Make a key of the one kind that there is."""
    given = call.parameters
    _check_kind(given)
    wanted = NewKey(
        description=given.get("Description") or "",
        policy=given.get("Policy"),
        may_lock_out=given.get("BypassPolicyLockoutSafetyCheck", False),
        tags=read_tags(given),
    )
    return {"KeyMetadata": told(await services.kms.keys.create(call.grant, wanted))}


async def describe_key(services: Services, call: Call) -> Output:
    """Describe a key."""
    check_grant_tokens(call.parameters)
    return {"KeyMetadata": told(await services.kms.keys.describe(call.grant))}


async def list_keys(services: Services, call: Call) -> Output:
    """List the account's keys in this region."""
    page = await services.kms.keys.list(call.grant, page_request(call))
    return paged("Keys", page, lambda key_id: {"KeyId": key_id, "KeyArn": key_arn(call.registry, key_id)})


async def enable_key(services: Services, call: Call) -> Output:
    """Enable a key."""
    await services.kms.keys.set_enabled(call.grant, is_enabled=True)
    return {}


async def disable_key(services: Services, call: Call) -> Output:
    """Disable a key: what is encrypted under it cannot be read until it is enabled again."""
    await services.kms.keys.set_enabled(call.grant, is_enabled=False)
    return {}


async def update_key_description(services: Services, call: Call) -> Output:
    """Replace the description."""
    await services.kms.keys.describe_anew(call.grant, call.parameters["Description"])
    return {}


async def schedule_key_deletion(services: Services, call: Call) -> Output:
    """Let a key wait for its end."""
    window_days = call.parameters.get("PendingWindowInDays")
    key = await services.kms.keys.schedule_deletion(call.grant, window_days)
    return {
        "KeyId": key.arn,
        "DeletionDate": key.deletion_at,
        "KeyState": key.state.value,
        "PendingWindowInDays": 30 if window_days is None else window_days,
    }


async def cancel_key_deletion(services: Services, call: Call) -> Output:
    """Keep a key that waited for its end."""
    return {"KeyId": (await services.kms.keys.cancel_deletion(call.grant)).arn}


def told(key: KmsKey) -> Output:
    """Return KeyMetadata."""
    return {
        "AWSAccountId": key.registry.account_id,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": key.created_at,
        "Enabled": key.state is KeyState.ENABLED,
        "Description": key.description,
        "KeyUsage": KEY_USAGE,
        "KeyState": key.state.value,
        "DeletionDate": key.deletion_at,
        "Origin": KEY_ORIGIN,
        "KeyManager": key.manager.value,
        "CustomerMasterKeySpec": KEY_SPEC,
        "KeySpec": KEY_SPEC,
        "EncryptionAlgorithms": [KEY_SPEC],
        "MultiRegion": False,
        "CurrentKeyMaterialId": key.material_id,
    }


def read_tags(parameters: Parameters) -> dict[str, str]:
    """Read tags. Raises InvalidKeyTag where a key is given twice."""
    given = parameters.get("Tags") or ()
    tags = {tag["TagKey"]: tag["TagValue"] for tag in given}
    if len(tags) != len(given):
        raise InvalidKeyTag(message="Duplicate tag keys")
    return tags


def _check_kind(given: Parameters) -> None:
    """Refuse every other kind of key. Raises UnsupportedKey, KmsValidationFailed."""
    if "KeySpec" in given and "CustomerMasterKeySpec" in given:
        raise KmsValidationFailed(
            message="You cannot specify KeySpec and CustomerMasterKeySpec in the same request"
        )
    spec = given.get("KeySpec") or given.get("CustomerMasterKeySpec") or KEY_SPEC
    usage, origin = given.get("KeyUsage") or KEY_USAGE, given.get("Origin") or KEY_ORIGIN
    if (spec, usage, origin) != (KEY_SPEC, KEY_USAGE, KEY_ORIGIN):
        raise UnsupportedKey(
            message=f"This server has keys of KeySpec {KEY_SPEC}, KeyUsage {KEY_USAGE} and Origin {KEY_ORIGIN} only"
        )
    if given.get("MultiRegion") or "CustomKeyStoreId" in given or "XksKeyId" in given:
        raise UnsupportedKey(message="This server has no multi-Region keys and no custom key stores")
