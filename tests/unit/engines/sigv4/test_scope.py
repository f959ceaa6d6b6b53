"""Clock skew, expiry and the credential scope, with AWS's sentences."""

from dataclasses import replace
from typing import Any

import pytest

from openecr.engines.sigv4 import Authorization, InvalidSignature, check_time_and_scope

SECONDS = 1_000_000
SIGNED_AT = 1_767_323_045 * SECONDS  # 2026-01-02T03:04:05Z
ECR = frozenset({"ecr"})
REGIONS = frozenset({"us-east-1", "eu-west-1"})

AUTHORIZATION = Authorization(
    access_key_id="AKIDEXAMPLE",
    date="20260102",
    region="eu-west-1",
    service="ecr",
    terminator="aws4_request",
    signed_headers=("host", "x-amz-date"),
    signature="0" * 64,
    timestamp="20260102T030405Z",
    signed_at=SIGNED_AT,
    session_token=None,
    presigned=False,
    expires_seconds=0,
)


def message_of(authorization: Authorization = AUTHORIZATION, **changes: Any) -> str:
    arguments = {"now_at": SIGNED_AT, "services": ECR, "regions": REGIONS, **changes}
    with pytest.raises(InvalidSignature) as caught:
        check_time_and_scope(authorization, **arguments)
    return caught.value.message


@pytest.mark.parametrize("seconds", [-900, -1, 0, 1, 900])
def test_a_clock_may_be_a_quarter_of_an_hour_off(seconds: int) -> None:
    now_at = SIGNED_AT + seconds * SECONDS
    check_time_and_scope(AUTHORIZATION, now_at=now_at, services=ECR, regions=REGIONS)


def test_an_old_signature_has_expired() -> None:
    assert message_of(now_at=SIGNED_AT + 901 * SECONDS) == (
        "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z "
        "(20260102T031906Z - 15 min.)"
    )


def test_a_signature_from_the_future_is_not_yet_current() -> None:
    assert message_of(now_at=SIGNED_AT - 901 * SECONDS) == (
        "Signature not yet current: 20260102T030405Z is still later than 20260102T030404Z "
        "(20260102T024904Z + 15 min.)"
    )


def test_a_presigned_request_lives_as_long_as_it_says() -> None:
    presigned = replace(AUTHORIZATION, presigned=True, expires_seconds=3_600)

    check_time_and_scope(presigned, now_at=SIGNED_AT + 3_600 * SECONDS, services=ECR, regions=REGIONS)
    assert message_of(presigned, now_at=SIGNED_AT + 3_601 * SECONDS).startswith("Signature expired: ")
    assert message_of(presigned, now_at=SIGNED_AT - 901 * SECONDS).startswith("Signature not yet current: ")


def test_a_presigned_request_never_lives_shorter_than_clocks_may_differ() -> None:
    presigned = replace(AUTHORIZATION, presigned=True, expires_seconds=60)

    check_time_and_scope(presigned, now_at=SIGNED_AT + 900 * SECONDS, services=ECR, regions=REGIONS)
    assert message_of(presigned, now_at=SIGNED_AT + 901 * SECONDS).endswith("(20260102T031906Z - 15 min.)")


def test_an_expiry_in_odd_seconds_is_told_in_seconds() -> None:
    presigned = replace(AUTHORIZATION, presigned=True, expires_seconds=1_001)

    assert message_of(presigned, now_at=SIGNED_AT + 1_002 * SECONDS).endswith("- 1001 s.)")


def test_the_date_of_the_scope_must_be_that_of_the_signature() -> None:
    assert message_of(replace(AUTHORIZATION, date="20260103")) == (
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        "'20260103' != '20260102', from '20260102T030405Z'."
    )


def test_the_region_must_be_served() -> None:
    assert message_of(replace(AUTHORIZATION, region="ap-south-1")).startswith(
        "Credential should be scoped to a valid Region, not 'ap-south-1'"
    )


@pytest.mark.parametrize("service", ["iam", "sts"])
def test_services_with_a_global_endpoint_may_sign_us_east_1(service: str) -> None:
    authorization = replace(AUTHORIZATION, service=service, region="us-east-1")
    arguments: dict[str, Any] = {"now_at": SIGNED_AT, "services": frozenset({service})}

    check_time_and_scope(authorization, regions=frozenset({"eu-west-1"}), **arguments)
    elsewhere = replace(authorization, region="us-west-2")
    assert "valid Region" in message_of(elsewhere, regions=frozenset({"eu-west-1"}), **arguments)


def test_other_services_may_sign_us_east_1_only_where_it_is_served() -> None:
    authorization = replace(AUTHORIZATION, region="us-east-1")

    assert "valid Region" in message_of(authorization, regions=frozenset({"eu-west-1"}))


def test_the_service_must_be_that_of_the_operation() -> None:
    assert message_of(replace(AUTHORIZATION, service="sts")).startswith(
        "Credential should be scoped to correct service: 'ecr'"
    )


def test_the_scope_must_end_as_aws_scopes_end() -> None:
    assert message_of(replace(AUTHORIZATION, terminator="aws5_request")).startswith(
        "Credential should be scoped with a valid terminator: 'aws4_request'"
    )
