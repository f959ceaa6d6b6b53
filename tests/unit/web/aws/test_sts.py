"""GetCallerIdentity, posted and presigned."""

from urllib.parse import urlencode, urlsplit

import pytest

from openecr.testing.aws import AwsClient, content_of
from openecr.web.messages import Request
from tests.unit.web.aws.conftest import ACCOUNT, OTHER_ACCOUNT, House
from tests.unit.web.aws.signed import signed_form, unsigned


def fetched(url: str) -> Request:
    """What a driver makes of the GET of a URL."""
    return unsigned("GET", query=urlsplit(url).query)


def presigned(client: AwsClient, seconds: int = 60) -> str:
    url: str = client.client.generate_presigned_url(
        "get_caller_identity", ExpiresIn=seconds, HttpMethod="GET"
    )
    return url


async def test_the_root_of_an_account_is_told_by_its_id(house: House) -> None:
    own = await house.client("sts").call("get_caller_identity")
    strange = await house.stranger("sts").call("get_caller_identity")

    for answer, account in ((own, ACCOUNT), (strange, OTHER_ACCOUNT)):
        assert answer["UserId"] == answer["Account"] == account
        assert answer["Arn"] == f"arn:aws:iam::{account}:root"


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
async def test_any_served_region_may_be_signed(house: House, region: str) -> None:
    answer = await house.client("sts", region=region).call("get_caller_identity")

    assert answer["Account"] == ACCOUNT


async def test_a_presigned_url_is_fetched_with_get(house: House) -> None:
    url = presigned(house.client("sts"))

    answer = await house.face.handle(fetched(url))

    assert answer.status == 200
    assert b"<Account>000000000000</Account>" in await content_of(answer)


async def test_a_presigned_url_ends_and_cannot_be_changed(house: House) -> None:
    url = presigned(house.client("sts"), seconds=20 * 60)
    changed = await house.face.handle(fetched(url + "&DurationSeconds=900"))
    house.clock.move(seconds=19 * 60)
    early = await house.face.handle(fetched(url))
    house.clock.move(seconds=2 * 60)
    late = await house.face.handle(fetched(url))

    assert [each.status for each in (changed, early, late)] == [403, 200, 403]
    assert b"<Code>SignatureDoesNotMatch</Code>" in await content_of(changed)
    assert b"Signature expired: " in await content_of(late)


async def test_a_presigned_url_for_another_method_is_refused(house: House) -> None:
    url = presigned(house.client("sts"))
    posted = unsigned("POST", query=urlsplit(url).query)

    assert (await house.face.handle(posted)).status == 403


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Action": ""}, b"MissingAction"),
        ({"Action": "Nonsense"}, b"InvalidAction"),
        ({"Version": "2001-01-01"}, b"InvalidAction"),
        ({"Version": ""}, b"InvalidAction"),
        ({"Action": "CreateVirtualMFADevice", "Version": "2010-05-08"}, b"InvalidAction"),
    ],
    ids=["no action", "unknown action", "unknown version", "no version", "missing operation"],
)
async def test_an_action_that_is_not_served_is_named(
    house: House, changes: dict[str, str], code: bytes
) -> None:
    parameters = {"Action": "GetCallerIdentity", "Version": "2011-06-15"} | changes

    answer, content = await signed_form(house, urlencode(parameters).encode())

    assert answer.status == 400
    assert b"<Code>" + code + b"</Code>" in content
    if changes.get("Action"):
        assert changes["Action"].encode() in content


@pytest.mark.parametrize(
    "form", [b"", b"Action", b"a=%ff", b"Action=A&Action=A", b"{}", b"\xff", b"&" * 9999]
)
async def test_a_form_that_cannot_be_read_is_refused(house: House, form: bytes) -> None:
    answer, _ = await signed_form(house, form)

    assert answer.status == 400


async def test_parameters_that_nobody_knows_are_ignored(house: House) -> None:
    answer, _ = await signed_form(house, b"Action=GetCallerIdentity&Version=2011-06-15&Unknown.member.1=x")

    assert answer.status == 200


async def test_an_action_is_signed_for_its_own_service(house: House) -> None:
    form = b"Action=GetCallerIdentity&Version=2011-06-15"

    answer, content = await signed_form(house, form, service="iam")

    assert answer.status == 403
    assert b"Credential should be scoped to correct service: 'sts'. " in content
