"""IAM: what users of this server never have. Clients that delete a user ask for it, and go on when it is not there."""

from openecr.domain.iam_errors import NoSuchEntity
from openecr.web.aws.call import Call, Handler, Output, Services
from openecr.web.aws.iam.pages import empty, page_request


async def login_profile(services: Services, call: Call) -> Output:
    """Tell that a user has no password: GetLoginProfile and DeleteLoginProfile."""
    name = await _user_name(services, call)
    raise NoSuchEntity(message=f"Login Profile for User {name} cannot be found.")


def list_of_nothing(member: str) -> Handler:
    """Return the handler of a list that is empty for every user."""

    async def handler(services: Services, call: Call) -> Output:
        page_request(call)
        await _user_name(services, call)
        return empty(member)

    return handler


async def _user_name(services: Services, call: Call) -> str:
    """Return the name of the user that is asked about; the root has none. Raises NoSuchEntity."""
    if call.grant.requirement.entity is None:
        return ""
    return (await services.iam.users.get(call.grant)).user.name
