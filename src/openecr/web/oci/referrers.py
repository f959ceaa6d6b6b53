"""The referrers of a manifest (OCI distribution-spec 1.1, "Listing referrers")."""

import json
from typing import Any

from openecr.domain.images import Referrer
from openecr.domain.pages import Page
from openecr.web.messages import Headers, Response
from openecr.web.oci.call import Call, Services
from openecr.web.oci.errors import API_VERSION
from openecr.web.oci.replies import link, page_of, parse_digest

_IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
_HEADERS: Headers = (API_VERSION, ("content-type", _IMAGE_INDEX))
_FILTERED = ("oci-filters-applied", "artifactType")


async def list_referrers(services: Services, call: Call) -> Response:
    """Answer an image index of descriptors, empty where the subject is unknown."""
    subject = parse_digest(call.target.tail)
    page = page_of(call)
    # A `+` that a client forgot to escape arrives as a space, which no media type holds.
    types = [value.replace(" ", "+") for value in call.query.get("artifactType", ()) if value]
    call.grant.require_repository()
    found: Page[Referrer] = Page(items=())
    if page.limit:
        found = await services.images.list_referrers(call.grant, subject, artifact_types=types, page=page)
    extra = [("artifactType", value) for value in types]
    headers = link(f"/v2/{call.name}/referrers/{subject}", page, found.after, extra)
    index = {
        "schemaVersion": 2,
        "mediaType": _IMAGE_INDEX,
        "manifests": [_descriptor(referrer) for referrer in found.items],
    }
    return Response(
        status=200,
        headers=(*_HEADERS, *((_FILTERED,) if types else ()), *headers),
        body=json.dumps(index).encode(),  # annotations may hold what no UTF-8 can say
    )


def _descriptor(referrer: Referrer) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "mediaType": referrer.media_type,
        "digest": str(referrer.digest),
        "size": referrer.size_bytes,
    }
    if referrer.artifact_type is not None:
        descriptor["artifactType"] = referrer.artifact_type
    if referrer.annotations:
        descriptor["annotations"] = referrer.annotations
    return descriptor
