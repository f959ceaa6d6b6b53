"""Tags, referrers and the catalog, with their pages, over the real application."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.pages import PageRequest
from openecr.web.oci.replies import link
from tests.unit.web.oci.client import (
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    Answer,
    Client,
    descriptor,
    digest_of,
    image,
)

LAYER = b"layer"


def _next(answer: Answer) -> str | None:
    value = answer.headers.get("link")
    if value is None:
        return None
    assert value.startswith("</v2/")
    assert value.endswith('>; rel="next"')
    return value[1:].partition(">")[0]


async def _pages(client: Client, target: str, key: str) -> list[list[Any]]:
    pages: list[list[Any]] = []
    following: str | None = target
    while following is not None:
        answer = await client.ask("GET", following)
        assert answer.status == 200
        pages.append(answer.document[key])
        following = _next(answer)
    return pages


async def _push_tags(client: Client, *tags: str) -> None:
    manifest = await client.push_image("app", tags[0], LAYER)
    for tag in tags[1:]:
        assert (await client.put_manifest("app", tag, manifest)).status == 201


async def test_tags_are_listed_in_byte_order(client: Client) -> None:
    await _push_tags(client, "b", "a", "B", "_", "1")

    answer = await client.ask("GET", "/v2/app/tags/list")

    assert answer.document == {"name": "app", "tags": ["1", "B", "_", "a", "b"]}
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers


async def test_pages_of_tags_concatenate_to_the_list(client: Client) -> None:
    tags = [f"v{number}" for number in range(7)]
    await _push_tags(client, *tags)

    assert await _pages(client, "/v2/app/tags/list?n=3", "tags") == [tags[:3], tags[3:6], tags[6:]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("n=0", []),
        ("last=b", ["c"]),
        ("last=aa", ["b", "c"]),
        ("last=b%00z", ["c"]),
        ("last=%ff&n=9", []),
        ("n=100000", ["a", "b", "c"]),
    ],
)
async def test_last_is_exclusive_and_need_not_exist(client: Client, query: str, expected: list[str]) -> None:
    await _push_tags(client, "a", "b", "c")

    answer = await client.ask("GET", f"/v2/app/tags/list?{query}")

    assert answer.document["tags"] == expected
    assert "link" not in answer.headers


@pytest.mark.parametrize("number", ["-1", "x", "", "1.5", "1e3", "9" * 20])
async def test_a_page_has_a_number_of_items(client: Client, number: str) -> None:
    for path in ("/v2/app/tags/list", "/v2/_catalog", f"/v2/app/referrers/{digest_of(b'')}"):
        answer = await client.ask("GET", f"{path}?n={number}")
        assert answer.error[:2] == (400, "PAGINATION_NUMBER_INVALID")


async def test_a_repository_without_images_has_an_empty_list(client: Client) -> None:
    assert (await client.ask("GET", "/v2/app/tags/list")).content == b'{"name":"app","tags":[]}'


async def test_the_catalog_lists_the_registrys_repositories_in_pages(client: Client) -> None:
    assert (await client.ask("GET", "/v2/_catalog")).document == {"repositories": ["app", "other"]}
    assert await _pages(client, "/v2/_catalog?n=1", "repositories") == [["app"], ["other"]]
    assert (await client.ask("GET", "/v2/_catalog?n=0")).document == {"repositories": []}


async def test_nothing_refers_to_an_unknown_subject(client: Client) -> None:
    answer = await client.ask("GET", f"/v2/app/referrers/{digest_of(b'unknown')}")

    assert answer.status == 200
    assert answer.headers["content-type"] == IMAGE_INDEX
    assert answer.document == {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}


async def test_referrers_are_described_with_their_annotations(client: Client) -> None:
    subject = await client.push_image("app", "v1", LAYER)
    fields = {
        "artifactType": "application/spdx+json",
        "annotations": {"made-by": "test"},
        "subject": descriptor(IMAGE_MANIFEST, subject),
    }
    referrer = image(LAYER, **fields)
    pushed = await client.put_manifest("app", digest_of(referrer), referrer)
    assert pushed.headers["oci-subject"] == digest_of(subject)

    answer = await client.ask("GET", f"/v2/app/referrers/{digest_of(subject)}")

    assert answer.document["manifests"] == [
        {
            **descriptor(IMAGE_MANIFEST, referrer),
            "artifactType": "application/spdx+json",
            "annotations": {"made-by": "test"},
        }
    ]
    assert "oci-filters-applied" not in answer.headers


async def test_referrers_are_filtered_by_type_in_pages(client: Client) -> None:
    subject = await client.push_image("app", "v1", LAYER)
    wanted: list[str] = []
    for number in range(5):
        kind = "application/spdx+json" if number % 2 == 0 else "application/other"
        fields = {
            "artifactType": kind,
            "annotations": {"number": str(number)},
            "subject": descriptor(IMAGE_MANIFEST, subject),
        }
        referrer = image(LAYER, **fields)
        assert (await client.put_manifest("app", digest_of(referrer), referrer)).status == 201
        if number % 2 == 0:
            wanted.append(digest_of(referrer))
    url = f"/v2/app/referrers/{digest_of(subject)}"

    for value in ("application/spdx%2Bjson", "application/spdx+json"):
        answer = await client.ask("GET", f"{url}?artifactType={value}")
        assert answer.headers["oci-filters-applied"] == "artifactType"
        assert {each["digest"] for each in answer.document["manifests"]} == set(wanted)
    pages = await _pages(client, f"{url}?artifactType=application/spdx%2Bjson&n=2", "manifests")
    assert [len(page) for page in pages] == [2, 1]
    assert {each["digest"] for page in pages for each in page} == set(wanted)


async def test_referrers_of_a_malformed_digest_are_refused(client: Client) -> None:
    assert (await client.ask("GET", "/v2/app/referrers/junk")).error[:2] == (400, "DIGEST_INVALID")


@given(after=st.text(max_size=20))
def test_any_key_survives_its_link(after: str) -> None:
    ((name, value),) = link("/v2/_catalog", PageRequest(limit=5), after)

    assert name == "link"
    assert value.isascii()
    assert value.isprintable()
