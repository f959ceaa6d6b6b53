"""Every door of the registry face and what it requires, as a list that is reviewed.

With `OPENECR_UPDATE_GOLDEN=1` the list is written anew.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openecr.domain.decisions import Mode
from openecr.domain.registries import RegistryId
from openecr.web.messages import Request
from openecr.web.oci.call import parse_query
from openecr.web.oci.errors import ProtocolError
from openecr.web.oci.paths import Target, parse_path
from openecr.web.oci.routes import ROUTES, Route, find_route

GOLDEN = Path(__file__).parents[3] / "golden" / "oci_doors.txt"
UPDATE = os.environ.get("OPENECR_UPDATE_GOLDEN") == "1"

REGISTRY = RegistryId(account_id="123456789012", region="us-east-1")
UPLOAD = "/v2/app/blobs/uploads/6f1d0a3c-3f0e-4c57-9f43-0a4d5b0f9a11"


def _line(route: Route) -> str:
    joined = (" or " if route.mode is Mode.ANY_OF else " and ").join(route.actions)
    required = f"{joined} on {route.scope.value}" if joined else "credentials"
    source = f"; {' and '.join(route.source_actions)} on the source" if route.source_actions else ""
    return f"{route.door}: {required}{source}"


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


def request(method: str, path: str, query: str = "", length: str | None = "0") -> Request:
    return Request(
        method=method,
        path=path,
        query=query,
        host="localhost",
        scheme="http",
        client_address="127.0.0.1",
        headers=() if length is None else (("content-length", length),),
        body=_nothing(),
    )


def door(asked: Request) -> str:
    return find_route(asked, parse_path(asked.path), parse_query(asked.query)).door


def test_the_doors_are_those_of_the_golden_file() -> None:
    lines = "".join(_line(route) + "\n" for route in ROUTES)
    if UPDATE:
        GOLDEN.write_text(lines)

    assert GOLDEN.read_text() == lines


def test_no_two_doors_share_a_name() -> None:
    assert len({route.door for route in ROUTES}) == len(ROUTES)


def test_only_the_ping_requires_nothing() -> None:
    assert {route.door for route in ROUTES if not route.actions} == {"GET ping", "HEAD ping"}


def test_a_row_whose_condition_can_fail_is_followed_by_one_without() -> None:
    for route in ROUTES:
        rows = [row for row in ROUTES if (row.method, row.endpoint) == (route.method, route.endpoint)]
        assert rows[-1].condition is None
        assert all(row.condition is not None for row in rows[:-1])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request("POST", "/v2/app/blobs/uploads/"), "POST upload"),
        (request("POST", "/v2/app/blobs/uploads/", "digest-algorithm=sha512"), "POST upload"),
        (request("POST", "/v2/app/blobs/uploads/", "mount=sha256:0&from=x"), "POST upload, mount"),
        (request("POST", "/v2/app/blobs/uploads/", "mount=x&digest=y"), "POST upload, mount"),
        (request("POST", "/v2/app/blobs/uploads/", "digest="), "POST upload, at once"),
        (request("PUT", UPLOAD, "digest=x"), "PUT upload"),
        (request("PUT", UPLOAD, "digest=x", "9"), "PUT upload, with a body"),
        (request("PUT", UPLOAD, "digest=x", None), "PUT upload, with a body"),
        (request("PUT", UPLOAD, "digest=x", "junk"), "PUT upload, with a body"),
        (request("GET", "/v2"), "GET ping"),
    ],
)
def test_the_query_and_the_body_choose_the_door(asked: Request, expected: str) -> None:
    assert door(asked) == expected


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.door)
def test_what_a_row_requires_is_asked_of_the_named_repository(route: Route) -> None:
    requirement = route.requirement(REGISTRY, Target(endpoint=route.endpoint, name="team/app", tail="x"))

    if requirement is None:
        assert route.actions == ()
        return
    assert requirement.actions == route.actions
    assert requirement.resource.endswith(
        ":repository/*" if route.door == "GET catalog" else ":repository/team/app"
    )


def test_a_path_of_no_endpoint_is_not_found() -> None:
    with pytest.raises(ProtocolError) as raised:
        door(request("GET", "/v2/app"))

    assert raised.value.status == 404


def test_a_method_that_an_endpoint_lacks_is_told_those_that_it_has() -> None:
    with pytest.raises(ProtocolError) as raised:
        door(request("PUT", "/v2/app/blobs/sha256:00"))

    assert raised.value.status == 405
    assert raised.value.headers == (("allow", "DELETE, GET, HEAD"),)


def test_a_flood_of_parameters_is_refused() -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_query("&".join(f"tag=v{number}" for number in range(100)))

    assert raised.value.status == 414
