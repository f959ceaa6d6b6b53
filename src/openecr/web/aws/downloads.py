"""The door behind download URLs: `GET` and `HEAD` of `/layers/<token>`.

The URL is no capability. Its seal says who asked for which layer of which repository, and every fetch decides again:
the key still works, the caller may still download, and that very repository still holds the layer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from openecr.application.authentication import Authenticator
from openecr.application.authorization import Authorizer, denial
from openecr.application.blobs import Blobs, DownloadLink
from openecr.domain.audit import explanation_of
from openecr.domain.blobs import StoredBlob
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import AuditedCall, AuditRecord, Decision, Grant, Outcome, Requirement
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    AccessDenied,
    DomainError,
    LayerNotFound,
    LinkExpired,
    RepositoryNotFound,
    Unavailable,
)
from openecr.ports.clock import Clock
from openecr.web.audit_records import close_record
from openecr.web.aws.call import context_of
from openecr.web.aws.ecr.layers import DOWNLOADS_PATH
from openecr.web.messages import FileBody, Headers, Request, Response, StreamBody, redirect_to
from openecr.web.ranges import ByteRange, Unsatisfiable, parse_ranges

DOOR = f"GET {DOWNLOADS_PATH}<token>"
ACTION = "ecr:GetDownloadUrlForLayer"

_AUDITED = AuditedCall(
    source="ecr.amazonaws.com", name="GetDownloadUrlForLayer", is_read_only=True, reference="layerDigest"
)
_METHODS = ("GET", "HEAD")
_STATUSES: dict[type[Exception], int] = {
    LinkExpired: 403,
    AccessDenied: 403,
    RepositoryNotFound: 404,
    LayerNotFound: 404,
    Unavailable: 503,
}
# A layer is whatever somebody pushed: no browser may run it under our name.
_CONTENT_HEADERS: Headers = (
    ("accept-ranges", "bytes"),
    ("content-type", "application/octet-stream"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "sandbox; default-src 'none'"),
)
# A request names no credentials that a cache could see: what it kept would outlive a refusal.
_FOR_NOBODY_ELSE = ("cache-control", "private, no-store")


def requirement_of(link: DownloadLink) -> Requirement:
    """Return what the row requires: the action that gave the URL, on the repository that it names."""
    return Requirement(actions=(ACTION,), registry=link.registry, repository_name=link.repository_name)


@dataclass(slots=True, kw_only=True)
class _Progress:
    context: RequestContext
    caller: Caller | None = None
    requirement: Requirement | None = None
    decision: Decision | None = None
    digest: str = ""
    error: DomainError | Unavailable | None = None
    error_code: str | None = None


class Downloads:
    """Answers download URLs."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        authenticator: Authenticator,
        authorizer: Authorizer,
        clock: Clock,
        record: Callable[[Outcome], None],
    ) -> None:
        """`record` takes the one outcome of each request."""
        self._blobs = blobs
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._clock = clock
        self._record = record

    async def handle(self, request: Request) -> Response:
        """Answer the layer or a range of it; an error is a line of text."""
        started = time.monotonic_ns()
        progress = _Progress(context=context_of(request, requested_at=self._clock.now()))
        status = 500
        try:
            response = await self._answer(request, progress)
            status = response.status
        finally:
            self._finish(progress, status, time.monotonic_ns() - started)
        return response.with_headers((("x-amzn-requestid", request.request_id),))

    async def _answer(self, request: Request, progress: _Progress) -> Response:
        if request.method not in _METHODS:
            return _text(405, "Only GET and HEAD are possible here", ("allow", ", ".join(_METHODS)))
        try:
            grant, digest = await self._open(request, progress)
            blob = await self._blobs.get(grant, digest)
            url = await self._blobs.redirect(grant, blob) if request.method == "GET" else None
            if url is not None:
                return redirect_to(url, _CONTENT_HEADERS)
            return await self._content(request, grant, blob)
        except (DomainError, Unavailable) as error:
            progress.error_code, progress.error = type(error).__name__, error
            return _refusal(error)

    async def _open(self, request: Request, progress: _Progress) -> tuple[Grant, Digest]:
        """Follow the seal to a grant on the repository that it names. Raises DomainError."""
        link = self._blobs.open_link(request.path.removeprefix(DOWNLOADS_PATH))
        digest = Digest.parse(link.digest)
        progress.digest = link.digest
        progress.context = replace(progress.context, region=link.region)
        bearer = await self._authenticator.by_bearer(link.bearer)
        if bearer is None:
            raise LinkExpired(message="The credentials that made this URL are no longer valid")
        progress.caller = bearer.caller
        progress.requirement = requirement_of(link)
        grant = await self._authorizer.decide(bearer.caller, progress.context, progress.requirement)
        progress.decision = grant.decision
        if grant.decision is not Decision.ALLOW:
            raise AccessDenied(message=denial(grant), explanation=explanation_of(grant))
        if grant.require_repository().id != link.repository_id:
            raise LayerNotFound(
                digest=link.digest, repository_name=link.repository_name, registry_id=link.account_id
            )
        return grant, digest

    async def _content(self, request: Request, grant: Grant, blob: StoredBlob) -> Response:
        digest = str(blob.digest)
        headers = (*_CONTENT_HEADERS, _FOR_NOBODY_ELSE, ("etag", f'"{digest}"'))
        part, is_whole = ByteRange(start=0, stop=blob.size_bytes), True
        wanted = request.header("range")
        condition = request.header("if-range")
        if wanted is not None and (condition is None or condition.strip('"') == digest):
            try:
                ranges = parse_ranges(wanted, blob.size_bytes)
            except Unsatisfiable:
                limit = ("content-range", f"bytes */{blob.size_bytes}")
                return _text(416, "No byte of that range is in the layer", limit)
            if len(ranges) == 1:  # several are answered by the whole, which RFC 9110 allows
                part, is_whole = ranges[0], False
        if not is_whole:
            headers = (*headers, ("content-range", part.content_range(blob.size_bytes)))
        status = 200 if is_whole else 206
        if request.method == "HEAD" or part.size_bytes == 0:
            return Response(status=status, headers=(*headers, ("content-length", str(part.size_bytes))))
        return Response(status=status, headers=headers, body=await self._body(grant, blob, part))

    async def _body(self, grant: Grant, blob: StoredBlob, part: ByteRange) -> FileBody | StreamBody:
        file = self._blobs.file(blob)
        if file is None:
            chunks = await self._blobs.begin(grant, blob, part.start, part.stop)
            return StreamBody(chunks=chunks, size_bytes=part.size_bytes)

        async def failed() -> Response:
            return _refusal(await self._blobs.failure(grant, blob, part.start, part.stop))

        return FileBody(path=file.path, start=part.start, stop=part.stop, sealed=file.sealed, failed=failed)

    def _finish(self, progress: _Progress, status: int, elapsed_nanoseconds: int) -> None:
        requirements = () if progress.requirement is None else (progress.requirement,)
        record = None
        if progress.caller is not None:
            record = AuditRecord(
                call=_AUDITED,
                context=progress.context,
                caller=progress.caller,
                requirements=requirements,
                parameters={},
                reference=progress.digest,
            )
            close_record(record, status, progress.error, progress.error_code)
        self._record(
            Outcome(
                door=DOOR,
                context=progress.context,
                caller=progress.caller,
                requirements=requirements,
                decision=progress.decision,
                status=status,
                error_code=progress.error_code,
                duration_microseconds=elapsed_nanoseconds // 1000,
                record=record,
            )
        )


def _status_of(error: DomainError | Unavailable) -> int:
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 403)


def _refusal(error: DomainError | Unavailable) -> Response:
    return _text(_status_of(error), error.message)


def _text(status: int, message: str, *headers: tuple[str, str]) -> Response:
    return Response(
        status=status,
        headers=(("content-type", "text/plain; charset=utf-8"), *headers),
        body=f"{message}\n".encode(),
    )
