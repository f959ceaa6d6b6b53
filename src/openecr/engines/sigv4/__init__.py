"""AWS Signature Version 4, seen from the server: parse, check time and scope, verify.

The caller looks the access key up between the steps, so this package knows no store and no clock::

    authorization = parse(request)
    secret = ...                      # the caller's look-up; raises UnknownKey or ExpiredSession
    check_time_and_scope(authorization, now_at=now_at, services=frozenset({"ecr"}), regions=served)
    verify(authorization, request, secret=secret, body_digest_hex=hashlib.sha256(body).hexdigest())

Every refusal is a `SignatureError`; no input makes any of the three raise anything else.
"""

from openecr.engines.sigv4.authorization import Authorization, SignedRequest, parse
from openecr.engines.sigv4.errors import (
    ExpiredSession,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthentication,
    SignatureError,
    UnknownKey,
)
from openecr.engines.sigv4.scope import check_time_and_scope
from openecr.engines.sigv4.verification import MUST_BE_SIGNED_IF_PRESENT, verify

__all__ = [
    "MUST_BE_SIGNED_IF_PRESENT",
    "Authorization",
    "ExpiredSession",
    "IncompleteSignature",
    "InvalidSignature",
    "MissingAuthentication",
    "SignatureError",
    "SignedRequest",
    "UnknownKey",
    "check_time_and_scope",
    "parse",
    "verify",
]
