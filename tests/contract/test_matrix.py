"""Everybody at every door, by every way to name a thing: the same verdict through both faces, and its effect.

What is expected comes from a table of actions, not from the policy engine: sets, and one rule for each kind of person.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from openecr.domain.manifests import OCI_INDEX, OCI_MANIFEST
from openecr.web.aws.ecr import rows as ecr_rows
from openecr.web.oci.routes import ROUTES
from tests.contract.cities import ACCOUNT, NOWHERE, STRANGER, Answered, City, Person, arn_of, host_of, policy
from tests.contract.databases import Databases
from tests.contract.doors import CONFIG, ENDS, FIRST, INDEX, LAYER, READS, WRITES, Door, digest_of, manifest
from tests.contract.people import (
    EVERY_REPOSITORY,
    EVERYTHING,
    MISSING,
    OPEN,
    PEOPLE,
    PROD,
    PULL,
    REPOSITORIES,
    SHARED,
    UPLOAD,
    Kind,
    May,
    nobody,
    root,
    statement,
    strange_nobody,
    strange_user,
    stranger,
)

TARGET = "target"
_NO_UPLOAD = re.compile(rb"BLOB_UPLOAD_UNKNOWN|UploadNotFound")
OF_NO_REPOSITORY = {
    *("GetAuthorizationToken", "GetAccountSetting", "PutAccountSetting"),
    *("GetRegistryPolicy", "PutRegistryPolicy", "DeleteRegistryPolicy"),
}
OF_ITS_OWN = {"POST upload, mount", "GET catalog", "GET ping", "HEAD ping"}
"""Mounts and the catalog are tried in a way of their own; a ping asks only who is there."""


@pytest.fixture
async def city(databases: Databases, tmp_path: Path) -> AsyncIterator[City]:
    city = City(databases, tmp_path)
    yield city
    await city.store.close()


async def begin_upload(owner: Person, name: str) -> None:
    """An upload of root's, which others will try to go on with."""
    begun = await owner.ask("POST", f"/v2/{name}/blobs/uploads/")
    owner.city.begun[name] = begun.headers["location"]


async def furnish(owner: Person, name: str) -> None:
    """A repository with two images, an index and something to delete."""
    await owner.aws("create_repository", repositoryName=name)
    for content in (LAYER, CONFIG):
        pushed = await owner.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(content)}", content)
        assert pushed.status == 201
    for tag, content, kind in (
        ("v1", FIRST, OCI_MANIFEST),
        ("many", INDEX, OCI_INDEX),
        ("doomed", manifest("doomed"), OCI_MANIFEST),
        ("doomed-too", manifest("doomed too"), OCI_MANIFEST),
    ):
        assert (
            await owner.ask("PUT", f"/v2/{name}/manifests/{tag}", content, content_type=kind)
        ).status == 201
    await begin_upload(owner, name)


async def furnish_all(city: City) -> Person:
    """Three repositories, of which one is shared with the other account and one has a tag; returns root."""
    owner = await city.root(ACCOUNT)
    await city.root(STRANGER)
    for name in (OPEN, SHARED, PROD):
        await furnish(owner, name)
    await owner.aws("tag_resource", resourceArn=arn_of(ACCOUNT, PROD), tags=[{"Key": "env", "Value": "prod"}])
    let_in = {
        "Effect": "Allow",
        "Principal": {"AWS": STRANGER},
        "Action": sorted(f"ecr:{each}" for each in PULL),
    }
    await owner.aws("set_repository_policy", repositoryName=SHARED, policyText=policy(let_in))
    return owner


def without_names(answer: Answered, *names: str) -> tuple[int, bytes, str]:
    """What a client sees, but for the names that it asked for."""
    told = [f"{key}: {value}" for key, value in sorted(answer.headers.items()) if key != "content-length"]
    lines, body = "\n".join(told), answer.body
    for name in names:
        lines, body = lines.replace(name, "NAME"), body.replace(name.encode(), b"NAME")
    return answer.status, body, lines


def is_allowed(door: Door, may: May, name: str) -> bool:
    """By the table."""
    allowed = [may(action, name) for action in door.actions]
    return any(allowed) if door.any_of else all(allowed)


def was_allowed(answer: Answered) -> bool:
    """By the answer; that to a HEAD has no body."""
    return not answer.is_denied if answer.body or answer.status != 403 else False


def has_effect(door: Door, may: May, name: str, *, is_root: bool) -> bool:
    """By the table, and by what is there."""
    return door.changes and is_allowed(door, may, name) and is_there(door, name, is_root=is_root)


def is_there(door: Door, name: str, *, is_root: bool) -> bool:
    """Whether what the door is about can be found."""
    return door.makes or (name != MISSING and (not door.of_root or is_root))


async def go_through(door: Door, person: Person, may: May, *, is_root: bool) -> None:
    """Try one door of every repository, with what the store holds before and after."""
    answers: dict[str, Answered] = {}
    effects = {name: has_effect(door, may, name, is_root=is_root) for name in REPOSITORIES}
    before = await person.city.content()
    for name in REPOSITORIES:
        expected = is_allowed(door, may, name)
        answer = answers[name] = await door.attempt(person, name)
        assert was_allowed(answer) is expected, (door.name, name, answer)
        assert answer.status < 500, (door.name, name, answer)
        if expected and not is_there(door, name, is_root=is_root):
            assert answer.status in {400, 404}, (door.name, answer)
            if door.of_root and name != MISSING:
                assert _NO_UPLOAD.search(answer.body), (door.name, answer)
        if any(effects.values()) or name == REPOSITORIES[-1]:  # where none is expected, one look is enough
            after = await person.city.content()
            assert (after != before) is effects[name], (door.name, name, answer)
            before = after
    if not any(may(each, OPEN) for each in door.actions):
        there, not_there = without_names(answers[OPEN], OPEN), without_names(answers[MISSING], MISSING)
        assert there == not_there, door.name


async def mount_from_everywhere(owner: Person, person: Person, may: May) -> None:
    """A layer comes from where he may read, to where he may upload; else there is an upload, or nothing."""
    blob = f"/v2/{TARGET}/blobs/{digest_of(LAYER)}"
    may_upload = may("InitiateLayerUpload", TARGET) and may("CompleteLayerUpload", TARGET)
    for name in REPOSITORIES:
        path = f"/v2/{TARGET}/blobs/uploads/?mount={digest_of(LAYER)}&from={name}"
        answer = await person.ask("POST", path)
        is_mounted = may_upload and name != MISSING and may("GetDownloadUrlForLayer", name)
        assert answer.status == (403 if not may_upload else 201 if is_mounted else 202), (name, answer)
        assert (await owner.ask("HEAD", blob)).status == (200 if is_mounted else 404), name
        if is_mounted:
            assert (await owner.ask("DELETE", blob)).status == 202


async def list_everything(person: Person, may: May) -> None:
    """Both faces list repositories for who may on all of them."""
    expected = may("DescribeRepositories", EVERY_REPOSITORY)
    for answer in (
        await person.ask("GET", "/v2/_catalog"),
        await person.may("describe_repositories", registryId=ACCOUNT),
    ):
        assert was_allowed(answer) is expected, answer
        assert (OPEN.encode() in answer.body) is expected, answer


def test_no_door_is_forgotten() -> None:
    """Doors of the matrix begin with the names of the rows that they try."""
    tried = [door.name for door in (*READS, *WRITES, *ENDS)]
    rows = {row.name for row in ecr_rows.ROWS} - OF_NO_REPOSITORY
    routes = {route.door for route in ROUTES} - OF_ITS_OWN
    forgotten = [
        name for name in (*rows, *routes) if not any(f"{each} ".startswith(f"{name} ") for each in tried)
    ]
    assert forgotten == []


@pytest.mark.parametrize("kind", PEOPLE, ids=lambda kind: kind.__name__)
async def test_the_same_verdict_at_every_door(city: City, kind: Kind) -> None:
    owner = await furnish_all(city)
    await owner.aws("create_repository", repositoryName=TARGET)
    await owner.aws("put_account_setting", name="BLOB_MOUNTING", value="ENABLED")
    person, may = await kind(city, owner), PEOPLE[kind]

    await list_everything(person, may)
    await mount_from_everywhere(owner, person, may)
    for door in (*READS, *WRITES):
        await go_through(door, person, may, is_root=kind is root)
    for name in (OPEN, SHARED, PROD):
        await begin_upload(owner, name)
    for door in ENDS:
        await go_through(door, person, may, is_root=kind is root)


@pytest.mark.parametrize(
    "kind", [nobody, stranger, strange_user, strange_nobody], ids=lambda kind: kind.__name__
)
async def test_an_account_that_is_not_there_looks_like_one_that_lets_nobody_in(
    city: City, kind: Kind
) -> None:
    owner = await furnish_all(city)
    visited = STRANGER if kind is nobody else ACCOUNT
    person = replace(await kind(city, owner), account_id=visited)
    for door in (*READS, *WRITES, *ENDS):
        there = await door.attempt(person, OPEN)
        not_there = await door.attempt(replace(person, account_id=NOWHERE), OPEN)
        assert not was_allowed(there), (door.name, there)
        assert without_names(there, visited) == without_names(not_there, NOWHERE), door.name


async def test_without_from_a_mount_comes_from_where_the_caller_may_read(city: City) -> None:
    owner = await city.root(ACCOUNT)
    await owner.aws("put_account_setting", name="BLOB_MOUNTING", value="ENABLED")
    await furnish(owner, OPEN)
    await owner.aws("create_repository", repositoryName=TARGET)
    target = statement({*UPLOAD}, Resource=arn_of(ACCOUNT, TARGET))
    path = f"/v2/{TARGET}/blobs/uploads/?mount={digest_of(LAYER)}"
    blind = await city.user(owner, "blind", target)
    assert (await blind.ask("POST", path)).status == 202
    assert (await owner.ask("HEAD", f"/v2/{TARGET}/blobs/{digest_of(LAYER)}")).status == 404
    seeing = await city.user(owner, "seeing", target, statement(PULL, Resource=arn_of(ACCOUNT, OPEN)))
    assert (await seeing.ask("POST", path)).status == 201
    assert (await owner.ask("HEAD", f"/v2/{TARGET}/blobs/{digest_of(LAYER)}")).status == 200


async def test_a_repository_that_is_made_again_lets_nobody_in(city: City) -> None:
    owner = await city.root(ACCOUNT)
    await city.root(STRANGER)
    visitor = await city.user(await city.root(STRANGER), "visitor", statement(set(EVERYTHING)))
    let_in = {"Effect": "Allow", "Principal": {"AWS": STRANGER}, "Action": "ecr:*"}
    await furnish(owner, SHARED)
    await owner.aws("set_repository_policy", repositoryName=SHARED, policyText=policy(let_in))
    given = await visitor.may(
        "get_download_url_for_layer", registryId=ACCOUNT, repositoryName=SHARED, layerDigest=digest_of(LAYER)
    )
    url = urlsplit(str(json.loads(given.body)["downloadUrl"])).path
    begun = await visitor.ask("POST", f"/v2/{SHARED}/blobs/uploads/")
    assert begun.status == 202
    await owner.aws("delete_repository", repositoryName=SHARED, force=True)
    await furnish(owner, SHARED)
    assert (await visitor.ask("GET", f"/v2/{SHARED}/manifests/v1")).is_denied
    assert (await visitor.ask("PATCH", begun.headers["location"], b"x")).is_denied
    assert (await city.send("GET", url, b"", {"host": host_of(ACCOUNT)})).status == 403
