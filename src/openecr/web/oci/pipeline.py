"""The way of every request through the registry face, in one visible list.

Parse the path, find the registry, authenticate, find the row, read the name, authorize, bound the body, handle;
whatever is raised on the way is translated by the one table. A caller who may not do a thing learns from the answer
nothing about what exists: names are looked up by the authorizer, and only for those who may.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from openecr.application.authentication import Authenticator
from openecr.application.authorization import denial
from openecr.application.limits import Limits
from openecr.domain.audit import TEXT_MAX_CHARACTERS, explanation_of
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import AuditedCall, AuditRecord, Decision, Grant, Outcome, Requirement
from openecr.domain.errors import (
    AccessDenied,
    DomainError,
    InvalidLayerPart,
    LayerPartLengthMismatch,
    LayerTooLarge,
    ManifestTooLarge,
    StorageFull,
    Unavailable,
)
from openecr.domain.registries import RegistryId
from openecr.ports.clock import Clock
from openecr.web.audit_records import close_record
from openecr.web.messages import Headers, Request, Response
from openecr.web.oci.call import Call, Query, Services, parse_query
from openecr.web.oci.credentials import challenge, password_of
from openecr.web.oci.errors import (
    UNAUTHORIZED,
    ProtocolError,
    Refusal,
    internal_error,
    refusal,
    row_of,
)
from openecr.web.oci.events import (
    INITIATE_UPLOAD,
    MOUNT_LAYER,
    NO_PARAMETERS,
    error_code,
    kept_parameters,
)
from openecr.web.oci.paths import Target, parse_path
from openecr.web.oci.routes import BodyBound, Route, Scope, find_route
from openecr.web.oci.uploads import session_headers

_LOG = structlog.get_logger(__name__)

_UNKNOWN_DOOR = "unknown"
_MAX_USER_AGENT_CHARACTERS = 512


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far a request has come; what its outcome says."""

    target: Target | None
    context: RequestContext | None = None
    door: str = _UNKNOWN_DOOR
    caller: Caller | None = None
    requirement: Requirement | None = None
    decision: Decision | None = None
    audited: AuditedCall | None = None
    query: Query | None = None
    record: AuditRecord | None = None
    error: Refusal | None = None
    error_code: str | None = None


class RegistryFace:
    """Answers requests under `/v2`."""

    def __init__(
        self,
        *,
        services: Services,
        authenticator: Authenticator,
        resolve_host: Callable[[str], RegistryId],
        clock: Clock,
        record: Callable[[Outcome], None],
    ) -> None:
        """`resolve_host` raises RegistryNotServed; `record` takes the one outcome of each request."""
        self._services = services
        self._authenticator = authenticator
        self._resolve_host = resolve_host
        self._clock = clock
        self._record = record

    async def handle(self, request: Request) -> Response:
        """Answer a request. Whatever nobody expected is logged, and told as the request's id and no more."""
        started = time.monotonic_ns()
        progress = _Progress(target=parse_path(request.path))
        status = 500
        try:
            response = await self._answer(request, progress)
            status = response.status
        finally:
            self._finish(request, progress, status, time.monotonic_ns() - started)
        return response

    async def _answer(self, request: Request, progress: _Progress) -> Response:
        try:
            return await self._serve(request, progress)
        except (DomainError, Unavailable, ProtocolError) as error:
            if isinstance(error, Unavailable):
                _LOG.warning("unavailable", request_id=request.request_id, context=error.context)
            return _refuse(error, request, progress)
        except Exception:  # noqa: BLE001 -- a bug ends this request, in the words of the protocol
            _LOG.exception("request failed", request_id=request.request_id, door=progress.door)
            return _refuse(internal_error(request.request_id), request, progress)

    async def _serve(self, request: Request, progress: _Progress) -> Response:
        registry = self._resolve_host(request.host)
        progress.context = context = self._context(request, registry.region)
        password = password_of(request.header("authorization"))
        target = progress.target
        name = None if target is None else target.repository_name
        authenticated = await self._authenticator.by_token(password, registry, name)
        progress.caller = caller = authenticated.caller
        query = parse_query(request.query)
        route = find_route(request, target, query)
        assert target is not None, "find_route refuses a path that names nothing"
        progress.door, progress.audited, progress.query = route.door, route.audited, query
        if route.scope is Scope.REPOSITORY and name is None:
            raise _malformed_name(target.name)
        progress.requirement = requirement = route.requirement(registry, target)
        grant = None
        if requirement is not None:
            grant = await self._services.authorizer.judge(caller, context, requirement, authenticated.scene)
            progress.decision = grant.decision
            _check_allowed(grant)
            if route.audited is not None and route.audited.commits:
                progress.record = _record(progress, (requirement,))
                grant = replace(grant, record=progress.record)
        _check_length(request, route, self._services.limits)
        call = Call(
            request=request,
            query=query,
            target=target,
            registry=registry,
            context=context,
            caller=caller,
            decided=grant,
        )
        return await route.handler(self._services, call)

    def _context(self, request: Request, region: str) -> RequestContext:
        return RequestContext(
            requested_at=self._clock.now(),
            request_id=request.request_id,
            region=region,
            source_address=request.client_address,
            is_secure_transport=request.scheme == "https",
            user_agent=(request.header("user-agent") or "")[:_MAX_USER_AGENT_CHARACTERS],
        )

    def _finish(self, request: Request, progress: _Progress, status: int, elapsed_nanoseconds: int) -> None:
        requirements = () if progress.requirement is None else (progress.requirement,)
        self._record(
            Outcome(
                door=progress.door,
                context=progress.context or self._context(request, region=""),
                caller=progress.caller,
                requirements=requirements,
                decision=progress.decision,
                status=status,
                error_code=progress.error_code,
                duration_microseconds=elapsed_nanoseconds // 1000,
                record=_closed_record(progress, requirements, status),
            )
        )


def _record(progress: _Progress, requirements: Sequence[Requirement]) -> AuditRecord | None:
    """Return what the audit trail keeps of the request; None while it is not known who asks for what."""
    caller, context, call, target = progress.caller, progress.context, progress.audited, progress.target
    if caller is None or context is None or call is None or target is None:
        return None
    return AuditRecord(
        call=call,
        context=context,
        caller=caller,
        requirements=requirements,
        parameters=kept_parameters(progress.query) if progress.query else NO_PARAMETERS,
        reference=target.tail[:TEXT_MAX_CHARACTERS],
    )


def _closed_record(
    progress: _Progress, requirements: Sequence[Requirement], status: int
) -> AuditRecord | None:
    record = progress.record or _record(progress, requirements)
    if record is None:
        return None
    if record.call is MOUNT_LAYER and not record.is_stored:
        record.call = INITIATE_UPLOAD
    close_record(record, status, progress.error, error_code(progress.error, progress.error_code))
    return record


def _malformed_name(name: str) -> ProtocolError:
    message = f"The repository name '{name[:256]}' is malformed"
    return ProtocolError(code="NAME_INVALID", status=400, message=message)


def _check_allowed(grant: Grant) -> None:
    if grant.decision is not Decision.ALLOW:
        raise AccessDenied(message=denial(grant), explanation=explanation_of(grant))


def _check_length(request: Request, route: Route, limits: Limits) -> None:
    """Refuse a body whose declared length is over the door's bound before a byte of it is read."""
    length = request.content_length
    if length is None:
        return
    match route.body:
        case BodyBound.NOTHING:
            return
        case BodyBound.MANIFEST:
            if length > limits.manifest_max_bytes:
                raise ManifestTooLarge(limit_bytes=limits.manifest_max_bytes)
        case BodyBound.LAYER:
            if length > limits.layer_max_bytes:
                raise LayerTooLarge(limit_bytes=limits.layer_max_bytes)


def _refuse(error: Refusal, request: Request, progress: _Progress) -> Response:
    progress.error, progress.error_code = error, row_of(error).code
    return refusal(error, _headers_of(error, request, progress.target))


def _headers_of(error: Refusal, request: Request, target: Target | None) -> Headers:
    """Return what a client needs to mend an error: the challenge, or where to resume."""
    if row_of(error).code == UNAUTHORIZED:
        return (challenge(request.scheme, request.host),)
    if isinstance(error, InvalidLayerPart | LayerPartLengthMismatch) and target is not None:
        return session_headers(target.name, error.upload_id, error.received_bytes)
    if isinstance(error, Unavailable) and not isinstance(error, StorageFull):
        return (("retry-after", "5"),)
    return ()
