"""Does the signature fit the request and the secret? Computed with the parts of botocore's own signer.

What that signer, made for clients, would leave open is closed here: the body's digest comes from the server
and never from a header, SignedHeaders are taken literally (a client may sign headers that botocore would
skip), the headers that decide what happens must be signed, and the comparison takes the same time wherever
the difference is.
"""

import hmac
from collections.abc import Collection
from email.message import Message
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

from openecr.engines.sigv4.authorization import (
    Authorization,
    SignedRequest,
    query_parameters,
)
from openecr.engines.sigv4.errors import InvalidSignature

# Content-Type is absent on purpose: one AWS SDK (JavaScript v2) never signs it. So the operation of a request
# must follow from its signed target and its body, and never from its content type alone.
MUST_BE_SIGNED_IF_PRESENT = (
    "x-amz-target",
    "x-amz-security-token",
    "x-amz-content-sha256",
)

_CACHED_SIGNING_KEYS = 1_024
_UNRESERVED = "-_.~"


def verify(
    authorization: Authorization,
    request: SignedRequest,
    *,
    secret: str,
    body_digest_hex: str,
    required_headers: Collection[str] = MUST_BE_SIGNED_IF_PRESENT,
) -> None:
    """Check the signature over `request` and the body whose SHA-256 (lower-case hex) is `body_digest_hex`.

    `host` and the header that gave the date must be signed; those of `required_headers` (lower case) must be
    signed when the request has them. Raises `InvalidSignature`.
    """
    _check_signed_headers(authorization, request, required_headers)
    _check_declared_digest(request, body_digest_hex)
    try:
        expected = _signature(authorization, request, secret, body_digest_hex)
        given = authorization.signature.encode()
    except UnicodeEncodeError as error:  # lone surrogates, which no wire can carry
        raise InvalidSignature from error
    if not hmac.compare_digest(expected.encode(), given):
        raise InvalidSignature


def _check_signed_headers(
    authorization: Authorization,
    request: SignedRequest,
    required_headers: Collection[str],
) -> None:
    present = {name for name, _ in request.headers}
    signed = set(authorization.signed_headers)
    required = {"host"} | (present & set(required_headers))
    if not authorization.presigned:
        required.add("x-amz-date" if "x-amz-date" in present else "date")
    for name in sorted(required - signed):
        raise InvalidSignature(message=f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    for name in sorted(signed - present):
        raise InvalidSignature(message=f"The signed header '{name}' is not in the request.")
    if len(request.values("host")) != 1:
        raise InvalidSignature(message="A signed request has exactly one Host header.")


def _check_declared_digest(request: SignedRequest, body_digest_hex: str) -> None:
    for declared in request.values("x-amz-content-sha256"):
        # UNSIGNED-PAYLOAD and STREAMING-... are S3's; they would leave the body open here.
        if declared.strip() != body_digest_hex:
            raise InvalidSignature(
                message="The value of X-Amz-Content-SHA256 is not the SHA-256 digest of the request's body."
            )


def _signature(
    authorization: Authorization,
    request: SignedRequest,
    secret: str,
    body_digest_hex: str,
) -> str:
    signer = SigV4Auth(Credentials("", ""), authorization.service, authorization.region)
    canonical_request = "\n".join(
        (
            request.method.upper(),
            quote(normalize_url_path(request.path), safe="/~"),
            _canonical_query(request, presigned=authorization.presigned),
            signer.canonical_headers(_signed_part(authorization, request)) + "\n",
            ";".join(authorization.signed_headers),
            body_digest_hex,
        )
    )
    dated = AWSRequest()
    dated.context["timestamp"] = authorization.timestamp
    string_to_sign = signer.string_to_sign(dated, canonical_request)
    key = _signing_key(
        authorization.access_key_id,
        secret,
        authorization.date,
        authorization.region,
        authorization.service,
    )
    return hmac.new(key, string_to_sign.encode(), sha256).hexdigest()


def _signed_part(authorization: Authorization, request: SignedRequest) -> Message:
    names = set(authorization.signed_headers)
    headers = Message()
    for name, value in request.headers:
        if name in names:
            headers[name] = value
    return headers


def _canonical_query(request: SignedRequest, *, presigned: bool) -> str:
    parameters = query_parameters(request.query)
    if presigned:
        parameters.pop("X-Amz-Signature", None)
    return "&".join(
        f"{name}={value}"
        for name, value in sorted(
            (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
            for name, value in parameters.items()
        )
    )


@lru_cache(maxsize=_CACHED_SIGNING_KEYS)
def _signing_key(access_key_id: str, secret: str, date: str, region: str, service: str) -> bytes:
    # A key depends on nothing but its arguments, so a rotated secret never meets an old entry. The access key
    # id only keeps entries apart for whoever reads a dump.
    del access_key_id
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), sha256).digest()
    return key
