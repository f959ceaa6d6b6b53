"""Account settings."""

from openecr.web.aws.call import Call, Output, Services


async def get_account_setting(services: Services, call: Call) -> Output:
    """Return a setting's value, its default where it was never put."""
    name, value = await services.account_settings.get(call.grant, call.parameters["name"])
    return {"name": name, "value": value}


async def put_account_setting(services: Services, call: Call) -> Output:
    """Store a setting's value."""
    name, value = await services.account_settings.put(
        call.grant, call.parameters["name"], call.parameters["value"]
    )
    return {"name": name, "value": value}
