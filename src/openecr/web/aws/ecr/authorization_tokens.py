"""GetAuthorizationToken."""

import base64

from openecr.domain.registries import RegistryId
from openecr.web.aws.call import Call, Output, Services

USER_NAME = "AWS"


async def get_authorization_token(services: Services, call: Call) -> Output:
    """Return a token, once for each registry asked for: the token is the same, the endpoint is the registry's."""
    region = call.context.region
    session = await services.sessions.carry(call.caller)
    token = services.authorization_tokens.issue(call.caller, region, session)
    text = base64.b64encode(f"{USER_NAME}:{token.token_text}".encode()).decode()
    accounts = call.parameters.get("registryIds") or [call.caller.account_id]
    return {
        "authorizationData": [
            {
                "authorizationToken": text,
                "expiresAt": token.expires_at,
                "proxyEndpoint": services.hosts.endpoint(RegistryId(account_id=account_id, region=region)),
            }
            for account_id in dict.fromkeys(accounts)
        ]
    }
