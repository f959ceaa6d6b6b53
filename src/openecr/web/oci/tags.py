"""The list of tags."""

from openecr.domain.pages import Page
from openecr.web.messages import Response
from openecr.web.oci.call import Call, Services
from openecr.web.oci.replies import json_reply, link, page_of


async def list_tags(services: Services, call: Call) -> Response:
    """List tags in byte order. Unlike ECR, pages are 1,000 long by default: not every client follows a Link."""
    page = page_of(call)
    call.grant.require_repository()
    found: Page[str] = Page(items=())
    if page.limit:
        found = await services.images.list_tags(call.grant, page)
    headers = link(f"/v2/{call.name}/tags/list", page, found.after)
    return json_reply({"name": call.name, "tags": found.items}, headers)
