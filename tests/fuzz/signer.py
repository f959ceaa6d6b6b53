"""Signature version 4, quick and with a clock of our own (AWS General Reference, "Signature Version 4")."""

import hashlib
import hmac
import time
from functools import lru_cache

from tests.fuzz.requests import Pairs

REGION = "us-east-1"


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for step in (day, REGION, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def signature(
    headers: Pairs, body: bytes, *, method: str, query: str, service: str, key: tuple[str, str], now_at: int
) -> Pairs:
    """Return the headers that sign a request to `/`."""
    access_key_id, secret = key
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_at // 1_000_000))
    content = hashlib.sha256(body).hexdigest()
    covered = [(name, value) for name, value in headers if name in {"host", "content-type", "x-amz-target"}]
    covered.append(("x-amz-date", moment))
    covered.sort()
    names = ";".join(name for name, _ in covered)
    lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in covered)
    canonical = f"{method}\n/\n{query}\n{lines}\n{names}\n{content}"
    scope = f"{moment[:8]}/{REGION}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signed = hmac.digest(_signing_key(secret, moment[:8], service), text.encode(), "sha256").hex()
    return [
        ("x-amz-date", moment),
        (
            "authorization",
            f"AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signed}",
        ),
    ]
