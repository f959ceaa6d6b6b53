"""What a path under `/v2` names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.names import is_repository_name
from openecr.web.oci.paths import (
    CATALOG,
    PING,
    Endpoint,
    Target,
    blob_url,
    manifest_url,
    parse_path,
    upload_url,
)

COMPONENT = st.sampled_from(
    ["app", "team", "tags", "list", "manifests", "blobs", "uploads", "referrers", "a1", "x"]
)
NAMES = st.lists(COMPONENT, min_size=1, max_size=6).map("/".join).filter(is_repository_name)
TAILS = st.sampled_from(["latest", "v1.0", "sha256:" + "a" * 64, "tags", "list", "0-9"])
UPLOAD_ID = "6f1d0a3c-3f0e-4c57-9f43-0a4d5b0f9a11"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2", PING),
        ("/v2/", PING),
        ("/v2/_catalog", CATALOG),
        ("/v2/a/b/manifests/v1", Target(endpoint=Endpoint.MANIFEST, name="a/b", tail="v1")),
        ("/v2/app/blobs/sha256:00", Target(endpoint=Endpoint.BLOB, name="app", tail="sha256:00")),
        ("/v2/app/blobs/uploads/", Target(endpoint=Endpoint.UPLOADS, name="app", tail="uploads/")),
        ("/v2/app/blobs/uploads", Target(endpoint=Endpoint.UPLOADS, name="app", tail="uploads")),
        ("/v2/app/blobs/uploads/x", Target(endpoint=Endpoint.UPLOAD, name="app", tail="x")),
        ("/v2/app/tags/list", Target(endpoint=Endpoint.TAGS, name="app", tail="tags/list")),
        ("/v2/tags/list/tags/list", Target(endpoint=Endpoint.TAGS, name="tags/list", tail="tags/list")),
        ("/v2/app/referrers/x", Target(endpoint=Endpoint.REFERRERS, name="app", tail="x")),
        (
            "/v2/a/blobs/uploads/manifests/v1",
            Target(endpoint=Endpoint.MANIFEST, name="a/blobs/uploads", tail="v1"),
        ),
    ],
)
def test_a_path_names_its_endpoint(path: str, target: Target) -> None:
    assert parse_path(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/v2/app",
        "/v2/app/",
        "/v2/app/manifests/",
        "/v2/app/tags",
        "/v2/_catalog/",
        "/v2//",
        "/v1/",
        "/v2/manifests/x",
    ],
)
def test_what_has_no_endpoint_is_none(path: str) -> None:
    assert parse_path(path) is None


@given(name=NAMES, tail=TAILS)
def test_every_name_comes_out_of_the_urls_that_it_went_into(name: str, tail: str) -> None:
    assert parse_path(manifest_url(name, tail)) == Target(endpoint=Endpoint.MANIFEST, name=name, tail=tail)
    assert parse_path(blob_url(name, tail)) == Target(endpoint=Endpoint.BLOB, name=name, tail=tail)
    assert parse_path(upload_url(name, UPLOAD_ID)) == Target(
        endpoint=Endpoint.UPLOAD, name=name, tail=UPLOAD_ID
    )
    found = parse_path(f"/v2/{name}/tags/list")
    assert found is not None
    assert (found.endpoint, found.name) == (Endpoint.TAGS, name)


@given(st.text(max_size=60))
def test_any_path_is_read_or_refused(text: str) -> None:
    found = parse_path("/v2/" + text)

    assert found is None or found.name in text
