"""What a signed request claims: who signs, for which scope, at what time, over which headers.

Parsing believes nothing: the result is a set of claims that `check_time_and_scope` and `verify` examine.
Both forms end in the same `Authorization`: the `Authorization` header, and the presigned query string.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from openecr.engines.sigv4.errors import (
    IncompleteSignature,
    MissingAuthentication,
    SignatureError,
)
from openecr.engines.sigv4.timestamps import read_timestamp

ALGORITHM = "AWS4-HMAC-SHA256"
DEFAULT_PRESIGN_SECONDS = 900
MAX_PRESIGN_SECONDS = 604_800

_MAX_AUTHORIZATION_CHARS = 16_384
_MAX_QUERY_CHARS = 65_536
_MAX_QUERY_PARAMETERS = 1_000
_MAX_HEADERS = 500
_MAX_SIGNED_HEADERS = 100
_MAX_CREDENTIAL_CHARS = 512
_MAX_SIGNATURE_CHARS = 256
_MAX_TOKEN_CHARS = 16_384
_MAX_ECHO_CHARS = 1_024
_CREDENTIAL_PARTS = 5

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,256}")
_EXPIRES = re.compile(r"[0-9]{1,6}")
# What makes a query string a presigned one, and so what may not stand beside an Authorization header.
_PRESIGN_PARAMETERS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
)
_PRESIGN_NAMES = frozenset(name.lower() for name in _PRESIGN_PARAMETERS)
_PRESIGN_REQUIRED = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """The parts of a request that a signature covers, as they came.

    `path` and `query` are raw (still percent-encoded, no leading `?`). `headers` are (lower-case name, value)
    pairs in wire order with `host` among them (HTTP/2: made from `:authority`), values decoded as UTF-8.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """All values of the header `name` (lower case), in wire order."""
        return [value for each, value in self.headers if each == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """The claims of a signature. `timestamp` is `YYYYMMDDTHHMMSSZ`; `signed_at` the same in microseconds."""

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    signed_at: int
    session_token: str | None
    presigned: bool
    expires_seconds: int


def query_parameters(query: str) -> dict[str, str]:
    """Decode a raw query string (`+` is a space); a repeated name is refused.

    Raises `IncompleteSignature`.
    """
    if not query:
        return {}
    if len(query) > _MAX_QUERY_CHARS or not query.isascii():
        raise IncompleteSignature(message="The query string is too long, or not ASCII.")
    pairs = query.split("&")
    if len(pairs) > _MAX_QUERY_PARAMETERS:
        raise IncompleteSignature(message="The query string holds too many parameters.")
    parameters: dict[str, str] = {}
    for pair in pairs:
        raw_name, _, raw_value = pair.partition("=")
        try:
            name, value = (
                unquote_plus(raw_name, errors="strict"),
                unquote_plus(raw_value, errors="strict"),
            )
        except UnicodeDecodeError as error:
            raise IncompleteSignature(message="The query string is not UTF-8.") from error
        if name in parameters:
            raise IncompleteSignature(message=f"The query parameter {_echo(name)} is given more than once.")
        parameters[name] = value
    return parameters


def parse(request: SignedRequest) -> Authorization:
    """Read the claims of a signed request, header or presigned form.

    Raises `MissingAuthentication` when there is no signature and `IncompleteSignature` for one that is
    malformed, given twice, or given in both forms.
    """
    if len(request.headers) > _MAX_HEADERS:
        raise IncompleteSignature(message="The request has too many headers.")
    parameters = query_parameters(request.query)
    presigned = [name for name in parameters if name.lower() in _PRESIGN_NAMES]
    values = request.values("authorization")
    if values and presigned:
        raise IncompleteSignature(
            message="A request is signed in the Authorization header or in the query string, not in both."
        )
    if values:
        return _parse_header(request, values)
    if not any(name in parameters for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature")):
        raise MissingAuthentication
    return _parse_query(request, parameters)


def _parse_header(request: SignedRequest, values: list[str]) -> Authorization:
    value = values[0].strip()
    scheme, _, rest = value.partition(" ")
    if len(values) > 1:
        raise IncompleteSignature(message="The Authorization header is given more than once.")
    if not scheme.upper().startswith("AWS4-"):
        # Basic, Bearer and the like: no attempt at a signature, and not ours to echo.
        raise MissingAuthentication
    if len(value) > _MAX_AUTHORIZATION_CHARS or scheme != ALGORITHM:
        raise _incomplete_header(f"Authorization header requires the algorithm {ALGORITHM}. ", value)
    fields = _authorization_fields(rest, value)
    date_name, dates = "x-amz-date", request.values("x-amz-date")
    if not dates:
        date_name, dates = "date", request.values("date")
    sentences = [
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not fields.get(name)
    ]
    if not dates:
        sentences.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        )
    if sentences:
        raise _incomplete_header("".join(sentences), value)
    if len(dates) > 1:
        raise IncompleteSignature(message=f"The header {date_name} is given more than once.")
    tokens = request.values("x-amz-security-token")
    if len(tokens) > 1:
        raise IncompleteSignature(message="The header x-amz-security-token is given more than once.")
    return _authorization(
        fields,
        date=dates[0],
        session_token=tokens[0] if tokens else None,
        expires_seconds=None,
    )


def _authorization_fields(rest: str, value: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in rest.split(","):
        stripped = part.strip()
        if not stripped:
            continue
        name, equals, field = stripped.partition("=")
        if not equals or name not in {"Credential", "SignedHeaders", "Signature"} or name in fields:
            raise _incomplete_header(
                f"{_echo(stripped)} is not a valid key=value pair in the Authorization header. ",
                value,
            )
        fields[name] = field
    return fields


def _parse_query(request: SignedRequest, parameters: Mapping[str, str]) -> Authorization:
    sentences = [
        f"AWS query-string parameters must include '{name}'. "
        for name in _PRESIGN_REQUIRED
        if not parameters.get(name)
    ]
    if sentences:
        raise IncompleteSignature(message="".join(sentences) + "Re-examine the query-string parameters.")
    if parameters["X-Amz-Algorithm"] != ALGORITHM:
        raise IncompleteSignature(message=f"X-Amz-Algorithm must be {ALGORITHM}.")
    if request.values("x-amz-security-token"):
        raise IncompleteSignature(
            message="A presigned request carries its session token in the query string."
        )
    return _authorization(
        {name: parameters[f"X-Amz-{name}"] for name in ("Credential", "SignedHeaders", "Signature")},
        date=parameters["X-Amz-Date"],
        session_token=parameters.get("X-Amz-Security-Token"),
        expires_seconds=_expires_seconds(parameters.get("X-Amz-Expires")),
    )


def _expires_seconds(value: str | None) -> int:
    # Some SDKs leave X-Amz-Expires out when they presign for STS, which then grants its quarter of an hour.
    if value is None:
        return DEFAULT_PRESIGN_SECONDS
    seconds = int(value) if _EXPIRES.fullmatch(value) else 0
    if not 1 <= seconds <= MAX_PRESIGN_SECONDS:
        raise IncompleteSignature(
            message=f"X-Amz-Expires must be between 1 and {MAX_PRESIGN_SECONDS} seconds."
        )
    return seconds


def _authorization(
    fields: Mapping[str, str],
    *,
    date: str,
    session_token: str | None,
    expires_seconds: int | None,
) -> Authorization:
    credential, signature = fields["Credential"], fields["Signature"]
    parts = credential.split("/")
    if len(credential) > _MAX_CREDENTIAL_CHARS or len(parts) != _CREDENTIAL_PARTS or not all(parts):
        raise IncompleteSignature(
            message="Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got {_echo(credential)}"
        )
    if not credential.isascii() or not credential.isprintable():
        raise IncompleteSignature(message="Credential must be printable ASCII.")
    if len(signature) > _MAX_SIGNATURE_CHARS:
        raise IncompleteSignature(message="Signature is too long.")
    if session_token is not None and len(session_token) > _MAX_TOKEN_CHARS:
        raise IncompleteSignature(message="X-Amz-Security-Token is too long.")
    instant = read_timestamp(date)
    if instant is None:
        raise IncompleteSignature(message=f"Date must be in ISO-8601 'basic format'. Got {_echo(date)}.")
    timestamp, signed_at = instant
    access_key_id, scope_date, region, service, terminator = parts
    return Authorization(
        access_key_id=access_key_id,
        date=scope_date,
        region=region,
        service=service,
        terminator=terminator,
        signed_headers=_signed_headers(fields["SignedHeaders"]),
        signature=signature,
        timestamp=timestamp,
        signed_at=signed_at,
        session_token=session_token,
        presigned=expires_seconds is not None,
        expires_seconds=0 if expires_seconds is None else expires_seconds,
    )


def _signed_headers(value: str) -> tuple[str, ...]:
    names = tuple(value.split(";", maxsplit=_MAX_SIGNED_HEADERS))
    # The canonical request sorts the list: any other order would be a second spelling of one signature.
    if len(names) > _MAX_SIGNED_HEADERS or list(names) != sorted(set(names)):
        raise IncompleteSignature(message="SignedHeaders must be a sorted list of distinct header names.")
    if not all(_HEADER_NAME.fullmatch(name) for name in names):
        raise IncompleteSignature(
            message="SignedHeaders must be lower-case header names separated by semicolons."
        )
    if "authorization" in names:
        raise IncompleteSignature(message="SignedHeaders cannot hold the Authorization header itself.")
    return names


def _incomplete_header(sentences: str, value: str) -> SignatureError:
    return IncompleteSignature(message=f"{sentences}Authorization={_printable(value)}")


def _echo(value: str) -> str:
    return f"'{_printable(value)}'"


def _printable(value: str) -> str:
    shown = value[:_MAX_ECHO_CHARS]
    return shown if shown.isascii() and shown.isprintable() else ascii(shown)[1:-1]
