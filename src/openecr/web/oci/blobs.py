"""Blobs: looked for, downloaded whole or in ranges, and taken out of a repository."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from openecr.application.blobs import Blobs
from openecr.domain.blobs import StoredBlob
from openecr.domain.decisions import Grant
from openecr.domain.errors import LayerNotFound
from openecr.web.messages import FileBody, Headers, Request, Response, StreamBody, redirect_to
from openecr.web.oci.call import Call, Services
from openecr.web.oci.errors import API_VERSION, ProtocolError, refusal
from openecr.web.oci.replies import content_type, empty_reply, is_unchanged, not_modified, parse_digest
from openecr.web.ranges import ByteRange, Unsatisfiable, parse_ranges

# A blob is whatever somebody pushed, under the type that they chose: no browser may run it under our name.
_FIXED: Headers = (
    API_VERSION,
    ("accept-ranges", "bytes"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "sandbox; default-src 'none'"),
)


def _headers(blob: StoredBlob) -> Headers:
    digest = str(blob.digest)
    return (*_FIXED, ("docker-content-digest", digest), ("etag", f'"{digest}"'))


async def head_blob(services: Services, call: Call) -> Response:
    """Answer whether the repository holds a blob, and its length."""
    digest = parse_digest(call.target.tail)
    repository = call.grant.require_repository()
    blob = await services.blobs.find(call.grant, digest)
    if blob is None:
        raise LayerNotFound(
            digest=str(digest), repository_name=repository.name, registry_id=call.registry.account_id
        )
    length = ("content-length", str(blob.size_bytes))
    return Response(
        status=200, headers=(*_headers(blob), ("content-type", content_type(blob.media_type)), length)
    )


async def get_blob(services: Services, call: Call) -> Response:
    """Answer a blob or parts of it."""
    digest = parse_digest(call.target.tail)
    blob = await services.blobs.get(call.grant, digest)
    body = _Body(services.blobs, call.grant, blob)
    if is_unchanged(call.request, str(digest)):
        return not_modified(str(digest))
    url = await services.blobs.redirect(call.grant, blob)
    if url is not None:  # a range is asked of whoever answers there
        return redirect_to(url, _headers(blob))
    ranges = _wanted(call.request, blob)
    headers = _headers(blob)
    if len(ranges) > 1:
        return await _multipart(body, ranges, headers, call.request.request_id)
    typed = (*headers, ("content-type", content_type(blob.media_type)))
    if not ranges:
        whole = ByteRange(start=0, stop=blob.size_bytes)
        return Response(status=200, headers=typed, body=await body.part(whole))
    part = ranges[0]
    return Response(
        status=206,
        headers=(*typed, ("content-range", part.content_range(blob.size_bytes))),
        body=await body.part(part),
    )


def _wanted(request: Request, blob: StoredBlob) -> Sequence[ByteRange]:
    header = request.header("range")
    if header is None:
        return ()
    condition = request.header("if-range")
    if condition is not None and condition.strip('"') != str(blob.digest):
        return ()
    try:
        return parse_ranges(header, blob.size_bytes)
    except Unsatisfiable:
        raise ProtocolError(
            code="RANGE_INVALID",
            status=416,
            message=f"No byte of that range is in a blob of {blob.size_bytes} bytes",
            headers=(("content-range", f"bytes */{blob.size_bytes}"),),
        ) from None


class _Body:
    """A blob's bytes, for whoever may read it."""

    def __init__(self, blobs: Blobs, grant: Grant, blob: StoredBlob) -> None:
        self.blob = blob
        self._blobs = blobs
        self._grant = grant

    async def part(self, part: ByteRange) -> bytes | FileBody | StreamBody:
        """Return a part, the first bytes of which are there. Raises LayerNotFound, Unavailable."""
        if part.start >= part.stop:
            return b""
        file = self._blobs.file(self.blob)
        if file is None:
            return StreamBody(chunks=await self.chunks(part), size_bytes=part.size_bytes)
        return FileBody(
            path=file.path,
            start=part.start,
            stop=part.stop,
            sealed=file.sealed,
            failed=partial(self._failed, part),
        )

    async def chunks(self, part: ByteRange) -> AsyncIterator[bytes]:
        """Read a part, the first bytes of which are there. Raises LayerNotFound, Unavailable."""
        return await self._blobs.begin(self._grant, self.blob, part.start, part.stop)

    async def _failed(self, part: ByteRange) -> Response:
        return refusal(await self._blobs.failure(self._grant, self.blob, part.start, part.stop))


async def _multipart(body: _Body, ranges: Sequence[ByteRange], headers: Headers, request_id: str) -> Response:
    """Answer several ranges (RFC 9110, section 14.6). The request's id, which nobody can foresee, parts them."""
    boundary = f"openecr-{request_id}"
    media_type, size_bytes = content_type(body.blob.media_type), body.blob.size_bytes
    heads = [
        f"\r\n--{boundary}\r\ncontent-type: {media_type}\r\n"
        f"content-range: {part.content_range(size_bytes)}\r\n\r\n".encode()
        for part in ranges
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length_bytes = sum(map(len, heads)) + sum(part.size_bytes for part in ranges) + len(tail)
    first = await body.chunks(ranges[0])

    async def chunks() -> AsyncIterator[bytes]:
        for number, (head, part) in enumerate(zip(heads, ranges, strict=True)):
            yield head
            async for chunk in first if number == 0 else await body.chunks(part):
                yield chunk
        yield tail

    return Response(
        status=206,
        headers=(*headers, ("content-type", f"multipart/byteranges; boundary={boundary}")),
        body=StreamBody(chunks=chunks(), size_bytes=length_bytes),
    )


async def delete_blob(services: Services, call: Call) -> Response:
    """Take a blob out of the repository, unless an image of it still needs it. ECR has no such call."""
    digest = parse_digest(call.target.tail)
    call.grant.require_repository()
    await services.blobs.unlink(call.grant, digest)
    return empty_reply(202)
