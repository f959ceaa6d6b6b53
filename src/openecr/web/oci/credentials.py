"""What stands in an Authorization header: ECR knows Basic with the user `AWS`, and nothing else.

The `authorizationToken` of GetAuthorizationToken is the base64 of `AWS:<password>`, hence itself what follows `Basic`.
"""

import base64
import binascii
import functools
import re

from openecr.domain.errors import TokenInvalid, TokenMalformed, TokenMissing

_USER = "AWS"
_KEPT_HEADERS = 4096
_KEPT_CHARACTERS = 4096
_PLAIN_AUTHORITY = re.compile(
    r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::[0-9]{1,5})?", re.ASCII
)


def password_of(header: str | None) -> str:
    """Return the password in an Authorization header.

    Raises TokenMissing (no header, or another scheme), TokenMalformed (cannot be decoded), TokenInvalid (another user).
    """
    if header is None:
        raise TokenMissing
    return _decode_kept(header) if len(header) <= _KEPT_CHARACTERS else _decode(header)


def _decode(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise TokenMissing
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise TokenMalformed from error
    user, colon, password = decoded.partition(":")
    if not colon:
        raise TokenMalformed
    if user != _USER:
        raise TokenInvalid
    return password


_decode_kept = functools.lru_cache(maxsize=_KEPT_HEADERS)(_decode)


def challenge(scheme: str, host: str) -> tuple[str, str]:
    """Return ECR's WWW-Authenticate header, without a space after the comma; `scheme` is the request's own."""
    authority = host if _PLAIN_AUTHORITY.fullmatch(host) else "localhost"
    return "www-authenticate", f'Basic realm="{scheme}://{authority}/",service="ecr.amazonaws.com"'
