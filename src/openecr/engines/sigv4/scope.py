"""When and for what a signature was made: clock skew, expiry, and the credential scope."""

from openecr.engines.sigv4.authorization import Authorization
from openecr.engines.sigv4.errors import InvalidSignature
from openecr.engines.sigv4.timestamps import MICROSECONDS, write_timestamp

SKEW_SECONDS = 900
TERMINATOR = "aws4_request"
GLOBAL_REGION = "us-east-1"
# Services with a global endpoint: their clients may sign this region wherever they talk to.
GLOBAL_SERVICES = frozenset({"iam", "sts"})


def check_time_and_scope(
    authorization: Authorization,
    *,
    now_at: int,
    services: frozenset[str],
    regions: frozenset[str],
    skew_seconds: int = SKEW_SECONDS,
) -> None:
    """Check that the signature is of now and scoped to what this endpoint serves.

    `now_at` is in microseconds. `services` are the signing names that fit the request's operation, `regions`
    those served; services with a global endpoint may also be signed for us-east-1.

    Raises `InvalidSignature`.
    """
    _check_time(authorization, now_at, skew_seconds)
    if authorization.date != authorization.timestamp[:8]:
        signed_date = authorization.timestamp[:8]
        raise InvalidSignature(
            message="Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{authorization.date}' != '{signed_date}', from '{authorization.timestamp}'."
        )
    _check_scope(authorization, services, regions)


def _check_time(authorization: Authorization, now_at: int, skew_seconds: int) -> None:
    skew_at = skew_seconds * MICROSECONDS
    timestamp, now = authorization.timestamp, write_timestamp(now_at)
    # A presigned request never lives shorter than the clocks may differ: the signer's may run that late. STS
    # itself grants a quarter of an hour, and cluster logins presign for 60 s and reuse it for 14 minutes.
    life_seconds = max(authorization.expires_seconds, skew_seconds)
    earliest_at = now_at - life_seconds * MICROSECONDS
    if authorization.signed_at < earliest_at:
        raise InvalidSignature(
            message=f"Signature expired: {timestamp} is now earlier than {write_timestamp(earliest_at)} "
            f"({now} - {_duration(life_seconds)})"
        )
    latest_at = now_at + skew_at
    if authorization.signed_at > latest_at:
        raise InvalidSignature(
            message=f"Signature not yet current: {timestamp} is still later than "
            f"{write_timestamp(latest_at)} ({now} + {_duration(skew_seconds)})"
        )


def _check_scope(authorization: Authorization, services: frozenset[str], regions: frozenset[str]) -> None:
    if authorization.service not in services:
        names = ", ".join(f"'{name}'" for name in sorted(services))
        raise InvalidSignature(message=f"Credential should be scoped to correct service: {names}. ")
    is_global = authorization.service in GLOBAL_SERVICES and authorization.region == GLOBAL_REGION
    if authorization.region not in regions and not is_global:
        raise InvalidSignature(
            message=f"Credential should be scoped to a valid Region, not '{authorization.region}'. "
        )
    if authorization.terminator != TERMINATOR:
        raise InvalidSignature(
            message=f"Credential should be scoped with a valid terminator: '{TERMINATOR}', "
            f"not '{authorization.terminator}'."
        )


def _duration(seconds: int) -> str:
    return f"{seconds // 60} min." if seconds % 60 == 0 else f"{seconds} s."
