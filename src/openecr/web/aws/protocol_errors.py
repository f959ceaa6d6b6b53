"""What can be wrong with an AWS request before any of our nouns is touched.

These are errors of the protocol: the body does not decode, the operation does not exist, a parameter breaks a
constraint of the service's model. Errors of the domain are mapped to codes elsewhere. Each class carries what
goes on the wire: `code`, `message` and the HTTP `status`.
"""

from http import HTTPStatus


class ProtocolError(Exception):
    """A request that the protocol or the service's model refuses. `message` is fit for the client."""

    code = "ValidationException"
    status: int = HTTPStatus.BAD_REQUEST

    def __init__(self, *, message: str) -> None:
        self.message = message
        super().__init__(message)


class Serialization(ProtocolError):
    """A JSON body that cannot be read, or a value of another type than the model's."""

    code = "SerializationException"


class UnknownOperation(ProtocolError):
    """JSON: no such target, or one that is not implemented (the message tells which)."""

    code = "UnknownOperationException"


class InvalidParameter(ProtocolError):
    """ECR and ECR Public: a parameter breaks a constraint of the model."""

    code = "InvalidParameterException"


class ValidationFailed(ProtocolError):
    """The other JSON services: parameters break constraints of the model."""

    code = "ValidationException"


class QueryValidationFailed(ProtocolError):
    """The query services: parameters break constraints of the model."""

    code = "ValidationError"


class MissingAction(ProtocolError):
    """Query: the parameter Action is absent."""

    code = "MissingAction"


class InvalidAction(ProtocolError):
    """Query: no service has this Action in this Version, or it is not implemented."""

    code = "InvalidAction"


class MalformedQueryString(ProtocolError):
    """Query: the parameters cannot be read: bad encoding, a name given twice, too many."""

    code = "MalformedQueryString"


class MalformedInput(ProtocolError):
    """Query: a value of another type than the model's."""

    code = "MalformedInput"


class RequestEntityTooLarge(ProtocolError):
    """The body is longer than the operation allows."""

    code = "RequestEntityTooLargeException"
    status: int = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
