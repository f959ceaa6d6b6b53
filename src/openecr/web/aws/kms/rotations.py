"""Rotation of keys."""

from openecr.application.kms.rotations import Rotations
from openecr.domain.kms import KeyMaterial
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.kms.pages import page_request, paged

_WITH_FIRST = "ALL_KEY_MATERIAL"


async def enable_key_rotation(services: Services, call: Call) -> Output:
    """Rotate from now on by itself."""
    await services.kms.rotations.enable(call.grant, call.parameters.get("RotationPeriodInDays"))
    return {}


async def disable_key_rotation(services: Services, call: Call) -> Output:
    """Rotate no more by itself."""
    await services.kms.rotations.disable(call.grant)
    return {}


async def get_key_rotation_status(services: Services, call: Call) -> Output:
    """Tell whether and when the key is rotated by itself: not while it waits for its end, whatever comes after."""
    key = await services.kms.keys.describe(call.grant)
    if key.deletion_at is not None:
        return {"KeyRotationEnabled": False, "KeyId": key.arn}
    return {
        "KeyRotationEnabled": key.rotation_period_days is not None,
        "KeyId": key.arn,
        "RotationPeriodInDays": key.rotation_period_days,
        "NextRotationDate": key.next_rotation_at,
    }


async def rotate_key_on_demand(services: Services, call: Call) -> Output:
    """Rotate now."""
    return {"KeyId": (await services.kms.rotations.rotate(call.grant)).arn}


async def list_key_rotations(services: Services, call: Call) -> Output:
    """List the rotations so far."""
    with_first = call.parameters.get("IncludeKeyMaterial") == _WITH_FIRST
    found = await services.kms.rotations.list(call.grant, page_request(call), with_first=with_first)
    return paged("Rotations", found.page, lambda each: _told(found, each, with_state=with_first))


def _told(found: Rotations, material: KeyMaterial, *, with_state: bool) -> Output:
    is_current = material.material_id == found.key.material_id
    return {
        "KeyId": found.key.arn,
        "KeyMaterialId": material.material_id,
        "KeyMaterialState": ("CURRENT" if is_current else "NON_CURRENT") if with_state else None,
        "RotationDate": None if material.rotation is None else material.created_at,
        "RotationType": None if material.rotation is None else material.rotation.value,
    }
