"""The two protocols as the pipeline sees them: which operation is meant, what it was given, how the answer is written.

Dispatch goes by the header X-Amz-Target alone, never by Content-Type, which is not always signed: with the header it is
the JSON protocol, without it the query protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from openecr.domain.decisions import Requirement
from openecr.engines.sigv4 import Authorization, InvalidSignature, MissingAuthentication
from openecr.web.aws import json_protocol, query_protocol
from openecr.web.aws.call import Output, Parameters
from openecr.web.aws.errors import Fault, Refusal, json_fault, query_fault
from openecr.web.aws.model import load_service
from openecr.web.aws.operations import ROWS, ROWS_BY_NAME
from openecr.web.aws.protocol_errors import InvalidAction, ProtocolError, UnknownOperation
from openecr.web.aws.rows import Row
from openecr.web.messages import Request

TARGET_HEADER = "x-amz-target"

_MIB = 1024 * 1024
_UNSIGNED_MAX_BYTES = 64 * 1024
_SERVICES_BY_TARGET: Mapping[str, str] = {
    prefix: name
    for name in dict.fromkeys(row.service for row in ROWS)
    if (prefix := load_service(name).target_prefix) is not None
}
_QUERY_SERVICES: Mapping[str, str] = {"2010-05-08": "iam", "2011-06-15": "sts"}
"""Services of the query protocol by the API version that requests name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a request's head says, before its signature is looked at. `row` is None where only the body tells it.

    `unsigned_max_bytes`: so much body is read of a request without a signature; 0: none can do without.
    """

    row: Row | None
    signing_names: frozenset[str]
    body_max_bytes: int
    unsigned_max_bytes: int = 0

    @property
    def door(self) -> str | None:
        """Return the door, if the head tells it."""
        return None if self.row is None else self.row.door


class Wire(Protocol):
    """One protocol."""

    @property
    def content_type(self) -> str:
        """Return the type of its answers."""
        ...

    def claim(self, request: Request) -> Claim:
        """Read the head. Raises ProtocolError."""
        ...

    def decode(
        self, request: Request, claim: Claim, authorization: Authorization, body: bytes
    ) -> tuple[Row, Parameters]:
        """Read the rest of a request whose signature holds. Raises ProtocolError, InvalidSignature."""
        ...

    def decode_unsigned(self, request: Request, body: bytes) -> tuple[Row, Parameters]:
        """Read the rest of a request without a signature. Raises ProtocolError, MissingAuthentication."""
        ...

    def encode_output(self, row: Row, output: Output, request_id: str) -> bytes:
        """Write what a handler gave."""
        ...

    def tell(self, error: Refusal, row: Row | None, requirements: Sequence[Requirement]) -> Fault:
        """Translate an error, as far as operation and requirements are known."""
        ...

    def encode_fault(self, fault: Fault, row: Row | None, request_id: str) -> bytes:
        """Write an error."""
        ...


class JsonWire:
    """AWS JSON 1.1."""

    content_type = json_protocol.CONTENT_TYPE

    def claim(self, request: Request) -> Claim:
        """Find the row by its target. Raises UnknownOperation, which names what is not implemented."""
        targets = request.header_values(TARGET_HEADER)
        prefix, name = json_protocol.operation_name(targets[0] if len(targets) == 1 else "")
        if request.method != "POST":
            raise UnknownOperation(message="An operation named by X-Amz-Target is called with POST.")
        row = ROWS_BY_NAME.get((_SERVICES_BY_TARGET.get(prefix, ""), name))
        if row is None:
            raise UnknownOperation(message=not_implemented(name))
        signing_name = row.model.service.signing_name
        return Claim(row=row, signing_names=frozenset({signing_name}), body_max_bytes=row.body_max_bytes)

    def decode(
        self, request: Request, claim: Claim, authorization: Authorization, body: bytes
    ) -> tuple[Row, Parameters]:
        """Decode the body by the row that the head has named. Raises Serialization."""
        del request, authorization
        assert claim.row is not None, "the head names the row in this protocol"
        return claim.row, json_protocol.decode_input(claim.row.model, body)

    def decode_unsigned(self, request: Request, body: bytes) -> tuple[Row, Parameters]:
        """Refuse: no operation of this protocol goes without a signature."""
        del request, body
        raise MissingAuthentication

    def encode_output(self, row: Row, output: Output, request_id: str) -> bytes:
        """Write JSON; an operation without output answers an empty object."""
        del request_id
        return json_protocol.encode_output(row.model, output)

    def tell(self, error: Refusal, row: Row | None, requirements: Sequence[Requirement]) -> Fault:
        """Translate an error."""
        return json_fault(error, None if row is None else row.model, requirements)

    def encode_fault(self, fault: Fault, row: Row | None, request_id: str) -> bytes:
        """Write an error."""
        del row, request_id
        return json_protocol.encode_error(fault.code, fault.message, fault.members)


class QueryWire:
    """The query protocol, by POST or, presigned, by GET."""

    content_type = query_protocol.CONTENT_TYPE

    def claim(self, request: Request) -> Claim:
        """Take any service of this protocol: which one, and what is asked of it, may stand in the body."""
        if request.method not in {"GET", "POST"}:
            raise InvalidAction(message="Operations are called with POST or GET.")
        return Claim(
            row=None,
            signing_names=frozenset(_QUERY_SERVICES.values()),
            body_max_bytes=_MIB,
            unsigned_max_bytes=_UNSIGNED_MAX_BYTES,
        )

    def decode(
        self, request: Request, claim: Claim, authorization: Authorization, body: bytes
    ) -> tuple[Row, Parameters]:
        """Find Action and Version in query and body. Raises MissingAction, InvalidAction, MalformedInput."""
        del claim
        parameters = query_protocol.decode_parameters(request.query.encode(), body)
        row = _query_row(*query_protocol.action_and_version(parameters))
        signing_name = row.model.service.signing_name
        if authorization.service != signing_name:
            raise InvalidSignature(
                message=f"Credential should be scoped to correct service: '{signing_name}'. "
            )
        return row, query_protocol.decode_input(row.model, parameters)

    def decode_unsigned(self, request: Request, body: bytes) -> tuple[Row, Parameters]:
        """Find the operation, if it needs no signature: all others are told no more than that one is missing."""
        try:
            parameters = query_protocol.decode_parameters(request.query.encode(), body)
            row = _query_row(*query_protocol.action_and_version(parameters))
        except ProtocolError as error:
            raise MissingAuthentication from error
        if row.identify is None:
            raise MissingAuthentication
        return row, query_protocol.decode_input(row.model, parameters)

    def encode_output(self, row: Row, output: Output, request_id: str) -> bytes:
        """Write XML."""
        return query_protocol.encode_output(row.model, output, request_id=request_id)

    def tell(self, error: Refusal, row: Row | None, requirements: Sequence[Requirement]) -> Fault:
        """Translate an error."""
        del requirements
        return query_fault(error, None if row is None else row.model)

    def encode_fault(self, fault: Fault, row: Row | None, request_id: str) -> bytes:
        """Write an error in the service's namespace, if the service is known."""
        return query_protocol.encode_error(
            fault.code,
            fault.message,
            request_id=request_id,
            sender=fault.is_senders,
            namespace=None if row is None else row.model.service.xml_namespace,
        )


JSON = JsonWire()
QUERY = QueryWire()


def wire_of(request: Request) -> Wire:
    """Return the protocol that a request speaks."""
    return QUERY if request.header(TARGET_HEADER) is None else JSON


def not_implemented(name: str) -> str:
    """Return the sentence that names what is missing."""
    return f"The operation {name} is not implemented by this server."


def _query_row(action: str, version: str) -> Row:
    service = _QUERY_SERVICES.get(version, "")
    row = ROWS_BY_NAME.get((service, action))
    if row is not None:
        return row
    if service and action in load_service(service).operations:
        raise InvalidAction(message=not_implemented(action))
    raise query_protocol.unknown_action(action, version)
