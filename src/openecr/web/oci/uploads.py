"""Upload sessions: opened, fed, asked about, closed and cancelled; and mounts, which need none when they succeed.

A session's URL never changes and holds no state, so that a client may come back to any that it was told.
"""

import re
from contextlib import suppress

from openecr.application.uploads import FinishRules
from openecr.domain.blobs import Upload
from openecr.domain.decisions import Decision, Grant, Requirement
from openecr.domain.digests import Digest
from openecr.domain.errors import DomainError, UnsupportedDigest, UploadNotFound
from openecr.domain.names import is_repository_name
from openecr.web.messages import Headers, Response
from openecr.web.oci.actions import MOUNT_SOURCE
from openecr.web.oci.call import Call, Services
from openecr.web.oci.errors import ProtocolError
from openecr.web.oci.paths import blob_url, upload_url
from openecr.web.oci.replies import empty_reply, parse_digest
from openecr.web.ranges import parse_content_range

_UPLOAD_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def session_headers(name: str, upload_id: str, received_bytes: int) -> Headers:
    """Return what a client needs to go on. The form of Range cannot say "nothing yet": that is `0-0` too."""
    return (
        ("location", upload_url(name, upload_id)),
        ("range", f"0-{max(received_bytes - 1, 0)}"),
        ("docker-upload-uuid", upload_id),
    )


def _session(status: int, call: Call, upload: Upload) -> Response:
    return empty_reply(status, *session_headers(call.name, upload.id, upload.received_bytes))


def _created(call: Call, digest: Digest) -> Response:
    location = ("location", blob_url(call.name, digest))
    return empty_reply(201, location, ("docker-content-digest", str(digest)))


async def start_upload(services: Services, call: Call) -> Response:
    """Open a session. `digest-algorithm` is only a hint: every digest that is served can close any session."""
    hint = call.parameter("digest-algorithm")
    return _session(202, call, await services.uploads.start(call.grant, algorithm=hint))


async def upload_at_once(services: Services, call: Call) -> Response:
    """Take a whole blob in the request that would have opened a session."""
    digest = _digest_parameter(call)
    upload = await services.uploads.start(call.grant, algorithm=digest.algorithm)
    try:
        await services.uploads.finish(
            call.grant, upload.id, [digest], chunks=call.request.stream(), rules=FinishRules.REGISTRY
        )
    except DomainError:
        # The client never heard of this session, so nobody can come back to it.
        with suppress(UploadNotFound):
            await services.uploads.cancel(call.grant, upload.id)
        raise
    return _created(call, digest)


async def mount(services: Services, call: Call) -> Response:
    """Link a blob that the registry has already; a session where that cannot be, never an error."""
    call.grant.require_repository()
    digest = Digest.find(call.parameter("mount") or "")
    if digest is not None:
        sources = await _sources(services, call, digest)
        if sources and await services.blobs.mount(call.grant, sources, digest) is not None:
            return _created(call, digest)
    return await start_upload(services, call)


async def _sources(services: Services, call: Call, digest: Digest) -> list[Grant]:
    """Return the repositories to mount from, each decided; an unreadable one is as good as none."""
    named = call.parameter("from")
    names = [named] if named else await services.blobs.mount_candidates(call.grant, digest)
    grants: list[Grant] = []
    for name in names:
        if not is_repository_name(name):
            continue
        requirement = Requirement(actions=MOUNT_SOURCE, registry=call.registry, repository_name=name)
        grant = await services.authorizer.decide(call.caller, call.context, requirement)
        if grant.decision is Decision.ALLOW and grant.repository is not None:
            grants.append(grant)
    return grants


async def upload_status(services: Services, call: Call) -> Response:
    """Answer how much has arrived."""
    return _session(204, call, await services.uploads.get(call.grant, _upload_id(call)))


async def append_part(services: Services, call: Call) -> Response:
    """Take a part, or a whole stream. Without Content-Range it goes where the last one ended."""
    upload_id = _upload_id(call)
    first_byte, length_bytes = _part_range(call)
    upload = await services.uploads.append(
        call.grant, upload_id, call.request.stream(), first_byte=first_byte, length_bytes=length_bytes
    )
    return _session(202, call, upload)


async def finish_upload(services: Services, call: Call) -> Response:
    """Close a session, whose last part may come with the request."""
    upload_id = _upload_id(call)
    digest = _digest_parameter(call)
    is_empty = call.request.content_length == 0
    first_byte = None if is_empty else _part_range(call)[0]
    chunks = None if is_empty else call.request.stream()
    await services.uploads.finish(
        call.grant, upload_id, [digest], chunks=chunks, first_byte=first_byte, rules=FinishRules.REGISTRY
    )
    return _created(call, digest)


async def cancel_upload(services: Services, call: Call) -> Response:
    """Drop a session and what it holds."""
    await services.uploads.cancel(call.grant, _upload_id(call))
    return empty_reply(204)


def _upload_id(call: Call) -> str:
    """Read the session's id. Raises RepositoryNotFound, UploadNotFound."""
    repository = call.grant.require_repository()
    text = call.target.tail
    if _UPLOAD_ID.fullmatch(text) is None:
        raise UploadNotFound(
            upload_id=text[:64], repository_name=repository.name, registry_id=call.registry.account_id
        )
    return text


def _digest_parameter(call: Call) -> Digest:
    text = call.parameter("digest")
    if text is None:
        raise UnsupportedDigest(digest="")
    return parse_digest(text)


def _part_range(call: Call) -> tuple[int | None, int | None]:
    """Return where the part starts, by Content-Range, and how long it must be where no Content-Length vouches for it.

    None and None without a Content-Range. A part of declared length that breaks off stays, to be resumed.
    """
    header = call.request.header("content-range")
    if header is None:
        return None, None
    found = parse_content_range(header)
    if found is None:
        raise ProtocolError(
            code="BLOB_UPLOAD_INVALID", status=400, message="The Content-Range is not of the form '0-99'"
        )
    first_byte, last_byte = found
    length_bytes = last_byte - first_byte + 1
    declared = call.request.content_length
    if length_bytes < 1:
        raise ProtocolError(
            code="BLOB_UPLOAD_INVALID", status=416, message="The Content-Range ends before it starts"
        )
    if declared is not None and declared != length_bytes:
        raise ProtocolError(
            code="SIZE_INVALID",
            status=400,
            message=f"The layer part has {declared} bytes instead of {length_bytes}",
        )
    return first_byte, None if declared is not None else length_bytes
