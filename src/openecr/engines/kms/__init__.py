"""KMS's own formats, pure: what Encrypt gives, and what a grant says as a policy."""

from openecr.engines.kms.ciphertexts import (
    RANDOM_BYTES,
    NotOurs,
    Origin,
    decrypt,
    encrypt,
    origin_of,
)
from openecr.engines.kms.contexts import canonical
from openecr.engines.kms.grants import grant_policy
from openecr.engines.kms.tokens import grant_token, parse_grant_token

__all__ = [
    "RANDOM_BYTES",
    "NotOurs",
    "Origin",
    "canonical",
    "decrypt",
    "encrypt",
    "grant_policy",
    "grant_token",
    "origin_of",
    "parse_grant_token",
]
