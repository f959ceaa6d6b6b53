"""Manifests: pulled, pushed and deleted by tag or by digest."""

from openecr.application.images import PutRules
from openecr.domain.digests import Digest
from openecr.domain.errors import BodyTooLarge, ManifestNotFound, ManifestTooLarge
from openecr.domain.images import StoredManifest
from openecr.domain.names import is_tag
from openecr.web.messages import Response
from openecr.web.oci.call import Call, Services
from openecr.web.oci.errors import API_VERSION, ProtocolError
from openecr.web.oci.paths import manifest_url
from openecr.web.oci.replies import content_type, empty_reply, is_unchanged, not_modified, parse_digest

MAX_TAGS = 32
"""Tags that one push by digest may set; the draft asks for ten at least, and for 414 above the limit."""


def _reference(call: Call) -> Digest | str:
    """Read a reference: what holds a colon is never a tag. Raises UnsupportedDigest, ManifestNotFound."""
    text = call.target.tail
    if ":" in text:
        return parse_digest(text)
    if not is_tag(text):
        raise ManifestNotFound  # no image can have that tag
    return text


def _reply(call: Call, manifest: StoredManifest) -> Response:
    """Return what is stored, whatever Accept says: ECR converts nothing, and no client asks in vain."""
    digest = str(manifest.digest)
    if is_unchanged(call.request, digest):
        return not_modified(digest)
    headers = (
        API_VERSION,
        ("content-type", content_type(manifest.media_type)),
        ("docker-content-digest", digest),
        ("etag", f'"{digest}"'),
    )
    return Response(status=200, headers=headers, body=manifest.content)


async def get_manifest(services: Services, call: Call) -> Response:
    """Answer a manifest's exact bytes; this is what counts as a pull."""
    return _reply(call, await services.images.get_manifest(call.grant, _reference(call)))


async def head_manifest(services: Services, call: Call) -> Response:
    """Answer a manifest's headers; the driver leaves the body out."""
    call.grant.require_repository()
    manifest = await services.images.find_manifest(call.grant, _reference(call))
    if manifest is None:
        raise ManifestNotFound
    return _reply(call, manifest)


async def put_manifest(services: Services, call: Call) -> Response:
    """Store a manifest under a tag, or under its digest with any number of `tag` parameters."""
    call.grant.require_repository()
    digest, tags = _destination(call)
    limit = services.limits.manifest_max_bytes
    try:
        content = await call.request.read(limit)
    except BodyTooLarge as error:
        raise ManifestTooLarge(limit_bytes=limit) from error
    put = await services.images.put(
        call.grant, content, media_type=_media_type(call), tags=tags, digest=digest, rules=PutRules.REGISTRY
    )
    stored = str(put.manifest.digest)
    headers = [("location", manifest_url(call.name, stored)), ("docker-content-digest", stored)]
    if put.image.subject is not None:
        headers.append(("oci-subject", str(put.image.subject)))
    if digest is not None:
        headers += [("oci-tag", tag) for tag in tags]
    return empty_reply(201, *headers)


def _destination(call: Call) -> tuple[str | None, list[str]]:
    """Return the digest that the path names, if it does, and the tags to set."""
    text = call.target.tail
    if ":" in text:
        tags = list(dict.fromkeys(call.query.get("tag", ())))
        if len(tags) > MAX_TAGS:
            raise ProtocolError(
                code="TAG_INVALID", status=414, message=f"More than {MAX_TAGS} tags in one push"
            )
        digest = str(parse_digest(text))
    else:
        tags, digest = [text], None
    for tag in tags:
        if not is_tag(tag):
            raise ProtocolError(
                code="TAG_INVALID", status=400, message=f"The image tag '{tag[:200]}' is malformed"
            )
    return digest, tags


def _media_type(call: Call) -> str | None:
    """Return the media type without its parameters."""
    header = call.request.header("content-type")
    return (header.partition(";")[0].strip() or None) if header else None


async def delete_manifest(services: Services, call: Call) -> Response:
    """Delete a tag, or a manifest with all its tags."""
    call.grant.require_repository()
    reference = _reference(call)
    if isinstance(reference, Digest):
        await services.images.delete_manifest(call.grant, reference)
    else:
        await services.images.delete_tag(call.grant, reference)
    return empty_reply(202)
