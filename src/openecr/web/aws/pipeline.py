"""The way of every request through the AWS face, in one visible list.

Read the target, parse the signature, find the key, check time and scope, read the body, verify, decode, authorize,
validate, handle; whatever is raised on the way is translated by the one table. Of a caller whose key is unknown no body
is read. A caller who may not do a thing learns from the answer nothing about what exists.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import cast

import anyio
import anyio.to_thread
import structlog

from openecr.application.authentication import Authenticator, Credential
from openecr.application.authorization import Authorizer, denial
from openecr.domain.audit import explanation_of
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import AuditRecord, Decision, Grant, Outcome, Requirement
from openecr.domain.errors import AccessDenied, DomainError, Unavailable
from openecr.engines.sigv4 import (
    Authorization,
    MissingAuthentication,
    SignatureError,
    SignedRequest,
    UnknownKey,
    check_time_and_scope,
    parse,
    verify,
)
from openecr.ports.clock import Clock
from openecr.web.audit_records import close_record
from openecr.web.aws.audit import audited_call, kept_parameters
from openecr.web.aws.bodies import SMALL_BODY_BYTES, Bodies
from openecr.web.aws.call import Call, Output, Parameters, Services, context_of
from openecr.web.aws.errors import Refusal, internal_error
from openecr.web.aws.protocol_errors import ProtocolError
from openecr.web.aws.rows import Row
from openecr.web.aws.sts.requirements import check_caller
from openecr.web.aws.validation import validate
from openecr.web.aws.wire import Claim, Wire, wire_of
from openecr.web.messages import Request, Response

_LOG = structlog.get_logger(__name__)

_UNKNOWN_DOOR = "unknown"
_CODING_THREADS = 4
_MANY_ITEMS = 100
_PATH = "/"


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far a request has come; what its outcome says."""

    wire: Wire
    context: RequestContext
    door: str = _UNKNOWN_DOOR
    caller: Caller | None = None
    row: Row | None = None
    requirements: Sequence[Requirement] = ()
    decision: Decision | None = None
    record: AuditRecord | None = None
    error: Refusal | None = None
    error_code: str | None = None


class AwsFace:
    """Answers `POST /`, and `GET /` of the query protocol."""

    def __init__(
        self,
        *,
        services: Services,
        authenticator: Authenticator,
        authorizer: Authorizer,
        regions: Collection[str],
        clock: Clock,
        record: Callable[[Outcome], None],
        bodies: Bodies | None = None,
    ) -> None:
        """`regions` are those that signatures may be scoped to; `record` takes the one outcome of each request."""
        self._services = services
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._regions = frozenset(regions)
        self._clock = clock
        self._record = record
        self._bodies = bodies or Bodies()
        self._threads = anyio.CapacityLimiter(_CODING_THREADS)

    async def handle(self, request: Request) -> Response:
        """Answer a request. Whatever nobody expected is logged, and told as the request's id and no more."""
        started = time.monotonic_ns()
        progress = _Progress(
            wire=wire_of(request), context=context_of(request, requested_at=self._clock.now())
        )
        status = 500
        try:
            response = await self._answer(request, progress)
            status = response.status
        finally:
            self._finish(progress, status, time.monotonic_ns() - started)
        return response

    async def _answer(self, request: Request, progress: _Progress) -> Response:
        try:
            content = await self._serve(request, progress)
        except (DomainError, Unavailable, SignatureError, ProtocolError) as error:
            if isinstance(error, Unavailable):
                _LOG.warning("unavailable", request_id=request.request_id, context=error.context)
            return _refusal(error, request, progress)
        except Exception:  # noqa: BLE001 -- a bug ends this request, in the words of its protocol
            _LOG.exception("request failed", request_id=request.request_id, door=progress.door)
            return _refusal(internal_error(request.request_id), request, progress)
        return _response(200, content, request, progress)

    async def _serve(self, request: Request, progress: _Progress) -> bytes:
        claim = progress.wire.claim(request)
        progress.row, progress.door = claim.row, claim.door or _UNKNOWN_DOOR
        signed = _signed(request)
        try:
            authorization = parse(signed)
        except MissingAuthentication:
            return await self._serve_unsigned(request, claim, progress)
        progress.context = context = replace(progress.context, region=authorization.region)
        credential = await self._credential(authorization)
        check_time_and_scope(
            authorization,
            now_at=context.requested_at,
            services=claim.signing_names,
            regions=self._regions,
        )
        async with self._bodies.read(request, claim.body_max_bytes) as body:
            proven = _Proven(request=request, signed=signed, authorization=authorization, claim=claim)
            row, parameters = await self._open(proven, progress.wire, credential.secret, body)
            progress.caller, progress.row, progress.door = credential.caller, row, row.door
            if row.identify is not None:
                progress.caller = await self._identify(row, progress.context, parameters)
            output = await self._call(row, progress.caller, parameters, progress)
        return await self._encode(progress.wire, row, output, request.request_id)

    async def _serve_unsigned(self, request: Request, claim: Claim, progress: _Progress) -> bytes:
        """Serve the few operations whose callers prove otherwise who they are; all others miss a signature."""
        length = request.content_length
        if request.method == "POST" and (length is None or length > claim.unsigned_max_bytes):
            raise MissingAuthentication
        async with self._bodies.read(request, claim.unsigned_max_bytes) as body:
            row, parameters = progress.wire.decode_unsigned(request, body)
        progress.context = replace(progress.context, region=self._services.hosts.default.region)
        progress.row, progress.door = row, row.door
        progress.caller = await self._identify(row, progress.context, parameters)
        output = await self._call(row, progress.caller, parameters, progress)
        return await self._encode(progress.wire, row, output, request.request_id)

    async def _identify(self, row: Row, context: RequestContext, parameters: Parameters) -> Caller:
        """Ask the row who calls."""
        assert row.identify is not None, "only such rows come here"
        validate(row.model, parameters)
        return await row.identify(self._services, context, parameters)

    async def _call(self, row: Row, caller: Caller, parameters: Parameters, progress: _Progress) -> Output:
        """Do what a known caller asks for, if he may."""
        progress.record = _record(row, caller, progress.context, parameters)
        check_caller(caller, row.service, row.name)
        validate(row.model, parameters, only=row.needs)
        grants = await self._authorize(caller, parameters, progress)
        validate(row.model, parameters)
        call = Call(
            operation=row.name, caller=caller, context=progress.context, parameters=parameters, grants=grants
        )
        return await row.handler(self._services, call)

    async def _credential(self, authorization: Authorization) -> Credential:
        """Look the key up; a session token that does not belong to it makes it as good as unknown."""
        credential = await self._authenticator.secret_of(
            authorization.access_key_id, authorization.session_token or None
        )
        if credential is None:
            raise UnknownKey
        return credential

    async def _open(self, proven: "_Proven", wire: Wire, secret: str, body: bytes) -> tuple[Row, Parameters]:
        """Verify and decode; a large body in a thread, since both take time that others need."""
        work = functools.partial(proven.open, wire, secret, body)
        if len(body) <= SMALL_BODY_BYTES:
            return work()
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _encode(self, wire: Wire, row: Row, output: Output, request_id: str) -> bytes:
        """Write the output; a long one, such as a hundred manifests, in a thread."""
        work = functools.partial(wire.encode_output, row, output, request_id)
        if not _is_long(output):
            return work()
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _authorize(
        self, caller: Caller, parameters: Parameters, progress: _Progress
    ) -> tuple[Grant, ...]:
        """Decide each requirement of the row. Raises AccessDenied at the first that is not met."""
        assert progress.row is not None, "the row is known once the request is open"
        progress.requirements = progress.row.requires(caller, progress.context, parameters)
        grants: list[Grant] = []
        for requirement in progress.requirements:
            grant = await self._authorizer.decide(caller, progress.context, requirement)
            progress.decision = grant.decision
            if grant.decision is not Decision.ALLOW:
                raise AccessDenied(message=denial(grant), explanation=explanation_of(grant))
            grants.append(_with_record(grant, progress))
        return tuple(grants)

    def _finish(self, progress: _Progress, status: int, elapsed_nanoseconds: int) -> None:
        record = progress.record
        if record is not None:
            record.requirements = progress.requirements
            close_record(record, status, progress.error, progress.error_code)
        self._record(
            Outcome(
                door=progress.door,
                context=progress.context,
                caller=progress.caller,
                requirements=progress.requirements,
                decision=progress.decision,
                status=status,
                error_code=progress.error_code,
                duration_microseconds=elapsed_nanoseconds // 1000,
                record=record,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proven:
    """A request with its claims, ready to be proven and opened."""

    request: Request
    signed: SignedRequest
    authorization: Authorization
    claim: Claim

    def open(self, wire: Wire, secret: str, body: bytes) -> tuple[Row, Parameters]:
        """Verify the signature over the body, then decode it. Raises SignatureError, ProtocolError."""
        digest_hex = hashlib.sha256(body).hexdigest()
        verify(self.authorization, self.signed, secret=secret, body_digest_hex=digest_hex)
        return wire.decode(self.request, self.claim, self.authorization, body)


def _is_long(output: Output) -> bool:
    """Tell whether an output takes its time to write: many items, or long texts in them."""
    lists = (cast("list[object]", member) for member in output.values() if isinstance(member, list))
    return any(len(items) > _MANY_ITEMS for items in lists) or _characters(output) > SMALL_BODY_BYTES


def _characters(value: object) -> int:
    """Return how much text a part of an output holds."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(_characters(each) for each in cast("dict[str, object]", value).values())
        case list():
            return sum(_characters(each) for each in cast("list[object]", value))
        case _:
            return 0


def _record(row: Row, caller: Caller, context: RequestContext, parameters: Parameters) -> AuditRecord:
    return AuditRecord(
        call=audited_call(row.service, row.name),
        context=context,
        caller=caller,
        requirements=(),
        parameters=kept_parameters(parameters),
    )


def _with_record(grant: Grant, progress: _Progress) -> Grant:
    """Hand the record to the use case, where it commits with the effect."""
    record = progress.record
    if record is None or not record.call.commits:
        return grant
    record.requirements = progress.requirements
    return replace(grant, record=record)


def _signed(request: Request) -> SignedRequest:
    """Return what the signature covers. HTTP/2 has no Host header: the authority stands for it."""
    headers = request.headers
    if request.header("host") is None:
        headers = (("host", request.host), *headers)
    return SignedRequest(method=request.method, path=_PATH, query=request.query, headers=headers)


def _refusal(error: Refusal, request: Request, progress: _Progress) -> Response:
    fault = progress.wire.tell(error, progress.row, progress.requirements)
    progress.error, progress.error_code = error, fault.code
    content = progress.wire.encode_fault(fault, progress.row, request.request_id)
    return _response(fault.status, content, request, progress)


def _response(status: int, content: bytes, request: Request, progress: _Progress) -> Response:
    headers = (("content-type", progress.wire.content_type), ("x-amzn-requestid", request.request_id))
    return Response(status=status, headers=headers, body=content)
