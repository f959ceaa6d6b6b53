"""The ping and the catalog (Docker Registry V2 API; dropped from the OCI specification, served by ECR)."""

from openecr.domain.pages import Page
from openecr.domain.repositories import Repository
from openecr.web.messages import Response
from openecr.web.oci.call import Call, Services
from openecr.web.oci.errors import API_VERSION
from openecr.web.oci.replies import json_reply, link, page_of

_PONG = Response(status=200, headers=(API_VERSION, ("content-type", "application/json")), body=b"{}")


async def ping(services: Services, call: Call) -> Response:
    """Tell an authenticated caller that this is a registry."""
    del services, call
    return _PONG


async def list_repositories(services: Services, call: Call) -> Response:
    """List names in byte order."""
    page = page_of(call)
    found: Page[Repository] = Page(items=())
    if page.limit:
        found = await services.repositories.list(call.grant, page)
    names = [repository.name for repository in found.items]
    return json_reply({"repositories": names}, link("/v2/_catalog", page, found.after))
