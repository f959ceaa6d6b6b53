"""Download URLs: decided again at each fetch, whole or in ranges."""

from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openecr.domain.callers import Root
from openecr.domain.decisions import Decision
from openecr.testing.aws import REQUEST_ID, AwsClient, chunks_of, content_of
from openecr.web.aws import downloads
from openecr.web.messages import FileBody, Request, Response
from tests.unit.web.aws.conftest import ACCOUNT, House
from tests.unit.web.aws.contents import digest_of, push

LAYER = b"0123456789"


def fetched(path: str, method: str = "GET", **headers: str) -> Request:
    return Request(
        method=method,
        path=path,
        query="",
        host="localhost:5050",
        scheme="http",
        client_address="127.0.0.1",
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        body=chunks_of(b""),
        request_id=REQUEST_ID,
    )


async def url_of(ecr: AwsClient, layer: bytes = LAYER) -> str:
    """Push an image with a layer, and return the path of the layer's download URL."""
    await push(ecr, layer, tag="v1")
    given_url = await ecr.call(
        "get_download_url_for_layer", repositoryName="app", layerDigest=digest_of(layer)
    )
    url: str = given_url["downloadUrl"]
    return urlsplit(url).path


async def told(house: House, path: str) -> tuple[int, str]:
    answer = await house.downloads.handle(fetched(path))
    assert dict(answer.headers)["content-type"] == "text/plain; charset=utf-8"
    return answer.status, (await content_of(answer)).decode().strip()


async def test_the_layer_comes_as_a_file(ecr: AwsClient, house: House) -> None:
    answer = await house.downloads.handle(fetched(await url_of(ecr)))

    assert answer.status == 200
    assert isinstance(answer.body, FileBody)
    assert await content_of(answer) == LAYER
    headers = dict(answer.headers)
    assert headers["etag"] == f'"{digest_of(LAYER)}"'
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-amzn-requestid"] == REQUEST_ID


@pytest.mark.parametrize(
    ("wanted", "content", "content_range"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=0-99", LAYER, "bytes 0-9/10"),
    ],
)
async def test_a_range_is_a_part_of_the_file(
    ecr: AwsClient, house: House, wanted: str, content: bytes, content_range: str
) -> None:
    answer = await house.downloads.handle(fetched(await url_of(ecr), range=wanted))

    assert (answer.status, dict(answer.headers)["content-range"]) == (206, content_range)
    assert await content_of(answer) == content


@pytest.mark.parametrize("wanted", ["bytes=0-1,4-5", "bytes=x", "lines=1-2"])
async def test_other_ranges_are_answered_by_the_whole(ecr: AwsClient, house: House, wanted: str) -> None:
    answer = await house.downloads.handle(fetched(await url_of(ecr), range=wanted))

    assert answer.status == 200
    assert await content_of(answer) == LAYER


async def test_a_range_of_another_version_is_answered_by_the_whole(ecr: AwsClient, house: House) -> None:
    path = await url_of(ecr)
    ranged = {"range": "bytes=0-0"}

    other = await house.downloads.handle(fetched(path, **ranged, if_range='"sha256:0"'))
    same = await house.downloads.handle(fetched(path, **ranged, if_range=f'"{digest_of(LAYER)}"'))

    assert [other.status, same.status] == [200, 206]


async def test_a_range_beyond_the_end_is_refused(ecr: AwsClient, house: House) -> None:
    answer = await house.downloads.handle(fetched(await url_of(ecr), range="bytes=10-"))

    assert (answer.status, dict(answer.headers)["content-range"]) == (416, "bytes */10")


async def test_head_tells_the_length_and_sends_nothing(ecr: AwsClient, house: House) -> None:
    path = await url_of(ecr)
    whole = await house.downloads.handle(fetched(path, "HEAD"))
    part = await house.downloads.handle(fetched(path, "HEAD", range="bytes=0-3"))

    def length(answer: Response) -> str:
        return dict(answer.headers)["content-length"]

    assert (whole.status, length(whole), whole.body) == (200, "10", b"")
    assert (part.status, length(part), part.body) == (206, "4", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_else_can_be_done_with_it(ecr: AwsClient, house: House, method: str) -> None:
    answer = await house.downloads.handle(fetched(await url_of(ecr), method))

    assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET, HEAD")


async def test_the_hour_ends(ecr: AwsClient, house: House) -> None:
    path = await url_of(ecr)
    house.clock.move(seconds=3_599)
    before = await house.downloads.handle(fetched(path))
    house.clock.move(seconds=1)

    assert before.status == 200
    assert await told(house, path) == (403, "Request has expired")


async def test_a_broken_seal_is_refused(ecr: AwsClient, house: House) -> None:
    path = await url_of(ecr)
    middle = len(path) // 2
    changed = path[:middle] + ("A" if path[middle] != "A" else "B") + path[middle + 1 :]

    for broken in (changed, path[:-4], path + "AAAA", "/layers/", "/layers/é", "/layers/" + "A" * 9999):
        assert await told(house, broken) == (403, "The URL is malformed")


async def test_an_authorization_token_is_no_download_url(ecr: AwsClient, house: House) -> None:
    """What is sealed for one purpose opens for no other."""
    await url_of(ecr)
    token = house.services.authorization_tokens.issue(
        Root(account_id=ACCOUNT, access_key_id=house.key[0]), "us-east-1"
    )

    assert await told(house, f"/layers/{token.token_text}") == (403, "The URL is malformed")


async def test_a_url_stops_with_the_key_that_made_it(ecr: AwsClient, house: House) -> None:
    path = await url_of(ecr)
    await house.accounts.rotate_key(ACCOUNT)

    assert await told(house, path) == (403, "The credentials that made this URL are no longer valid")


async def test_a_url_stops_with_its_repository_even_if_a_namesake_holds_the_same_layer(
    ecr: AwsClient, house: House
) -> None:
    path = await url_of(ecr)
    await ecr.call("delete_repository", repositoryName="app", force=True)
    gone = await told(house, path)
    await ecr.call("create_repository", repositoryName="app")
    again = await url_of(ecr)

    assert gone[0] == 404
    assert (await told(house, path))[0] == 404
    assert (await house.downloads.handle(fetched(again))).status == 200


async def test_every_fetch_has_one_outcome(ecr: AwsClient, house: House) -> None:
    path = await url_of(ecr)
    house.outcomes.clear()
    await house.downloads.handle(fetched(path))
    await house.downloads.handle(fetched("/layers/x"))

    served, refused = house.outcomes
    resource = "arn:aws:ecr:us-east-1:000000000000:repository/app"
    assert served.door == refused.door == downloads.DOOR
    assert (served.status, served.decision, served.resources) == (200, Decision.ALLOW, (resource,))
    assert served.caller == Root(account_id=ACCOUNT, access_key_id=house.key[0])
    assert (refused.status, refused.decision, refused.resources) == (403, None, ())
    assert refused.error_code == "LinkExpired"


@given(token=st.text(max_size=60), wanted=st.text(max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_text_is_a_servers_fault(house: House, token: str, wanted: str) -> None:
    answer = await house.downloads.handle(fetched(f"/layers/{token}", range=wanted))

    assert answer.status == 403
