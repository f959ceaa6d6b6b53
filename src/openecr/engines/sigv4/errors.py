"""Why a signed request is refused: a closed set, with the sentences AWS uses.

The classes name the cause, not a wire code: the same cause is `InvalidSignatureException` in the JSON
protocol and `SignatureDoesNotMatch` in the query protocol. The faces map them.
"""


class SignatureError(Exception):
    """The request's signature does not prove who sent it. `message` is fit for the client."""

    def __init__(self, *, message: str) -> None:
        self.message = message
        super().__init__(message)


class MissingAuthentication(SignatureError):
    """The request carries no signature at all."""

    def __init__(self, *, message: str = "Missing Authentication Token") -> None:
        super().__init__(message=message)


class IncompleteSignature(SignatureError):
    """A signature is there, but parts of it are missing or malformed."""

    def __init__(self, *, message: str) -> None:
        super().__init__(message=message)


class InvalidSignature(SignatureError):
    """The signature is well formed and wrong: other bytes, other time, other scope."""

    def __init__(
        self,
        *,
        message: str = (
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details."
        ),
    ) -> None:
        super().__init__(message=message)


class UnknownKey(SignatureError):
    """The access key id is unknown or inactive, or its session token is not ours (raised by the caller)."""

    def __init__(self, *, message: str = "The security token included in the request is invalid.") -> None:
        super().__init__(message=message)


class ExpiredSession(SignatureError):
    """The session behind the token has ended (raised by the caller)."""

    def __init__(self, *, message: str = "The security token included in the request is expired") -> None:
        super().__init__(message=message)
