"""Everybody at every door, by every way to name a thing: the same verdict through both faces, and its effect.

What is expected comes from a table of actions, not from the policy engine: sets, and one rule for each kind of person.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from openecr.domain.digests import Digest
from openecr.domain.manifests import OCI_INDEX, OCI_MANIFEST
from openecr.testing.aws import content_of
from tests.contract.cities import ACCOUNT, ARN, HOST, STRANGER, Answered, City, Person, logged_in, policy
from tests.contract.databases import Databases
from tests.contract.galleries import CONFIG_TYPE, LAYER_TYPE

OPEN, SHARED, PROD, MISSING = "open", "shared", "prod", "missing"
REPOSITORIES = (OPEN, SHARED, PROD, MISSING)
PULL = frozenset({"BatchGetImage", "GetDownloadUrlForLayer"})
READ = PULL | {"BatchCheckLayerAvailability", "DescribeImages", "DescribeRepositories", "ListImages"}
UPLOAD = frozenset({"InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"})
EVERYTHING = (
    READ
    | UPLOAD
    | {
        *("PutImage", "BatchDeleteImage", "TagResource", "GetRepositoryPolicy", "DeleteRepository"),
        "CreateRepository",
    }
)
LAYER, CONFIG = b"a layer of the matrix", b"{}"

May = Callable[[str, str], bool]
Attempt = Callable[[Person, str], Awaitable[Answered]]


def statement(actions: frozenset[str] | set[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": sorted(f"ecr:{each}" for each in actions), "Resource": "*", **more}


def digest_of(content: bytes) -> str:
    return str(Digest.of(content))


def manifest(about: str) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(CONFIG), "size": len(CONFIG)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": digest_of(LAYER), "size": len(LAYER)}],
            "annotations": {"about": about},
        }
    ).encode()


def index_of(child: bytes) -> bytes:
    named = {"mediaType": OCI_MANIFEST, "digest": digest_of(child), "size": len(child)}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named]}).encode()


FIRST = manifest("first")
INDEX = index_of(FIRST)


# --- who asks, and what he may by the table -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of person. `may` says whether an action on a repository is allowed."""

    name: str
    may: May


async def root(city: City, owner: Person) -> Person:
    return owner


async def nobody(city: City, owner: Person) -> Person:
    return await city.user(owner, "nobody")


async def puller(city: City, owner: Person) -> Person:
    return await city.user(owner, "puller", statement(PULL))


async def reader(city: City, owner: Person) -> Person:
    return await city.user(owner, "reader", statement(READ))


async def builder(city: City, owner: Person) -> Person:
    return await city.user(owner, "builder", statement(READ | UPLOAD | {"PutImage"}))


async def careful(city: City, owner: Person) -> Person:
    frozen = {
        "Effect": "Deny",
        "Action": "ecr:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/env": "prod"}},
    }
    return await city.user(owner, "careful", statement(set(EVERYTHING)), frozen)


async def narrow(city: City, owner: Person) -> Person:
    return await city.user(owner, "narrow", statement(set(EVERYTHING), Resource=f"{ARN}/o*"))


async def bounded(city: City, owner: Person) -> Person:
    made = await city.user(owner, "bounded", statement(set(EVERYTHING)))
    document = policy(statement(READ | {"GetAuthorizationToken"}))
    edge = (await owner.aws("create_policy", "iam", PolicyName="edge", PolicyDocument=document))["Policy"]
    await owner.aws(
        "put_user_permissions_boundary", "iam", UserName="bounded", PermissionsBoundary=edge["Arn"]
    )
    return made


async def session(city: City, owner: Person) -> Person:
    """A role that may do everything, in a session that may only pull."""
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    await owner.aws("create_role", "iam", RoleName="ci", AssumeRolePolicyDocument=policy(trust))
    document = policy(statement(EVERYTHING | {"GetAuthorizationToken"}))
    await owner.aws("put_role_policy", "iam", RoleName="ci", PolicyName="own", PolicyDocument=document)
    taker = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    person = await city.user(owner, "taker", taker)
    given = await person.aws(
        "assume_role",
        "sts",
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/ci",
        RoleSessionName="run",
        Policy=policy(statement(PULL | {"GetAuthorizationToken"})),
    )
    credentials = given["Credentials"]
    key = (credentials["AccessKeyId"], credentials["SecretAccessKey"])
    return await logged_in(Person(city=city, key=key, session_token=credentials["SessionToken"]))


async def stranger(city: City, owner: Person) -> Person:
    return await city.root(STRANGER)


async def strange_user(city: City, owner: Person) -> Person:
    return await city.user(await city.root(STRANGER), "visitor", statement(set(EVERYTHING)))


async def strange_nobody(city: City, owner: Person) -> Person:
    return await city.user(await city.root(STRANGER), "strange-nobody")


def _of(actions: frozenset[str] | set[str]) -> May:
    return lambda action, _: action in actions


def _let_in(action: str, repository: str) -> bool:
    """What the policy of one repository lets the other account do."""
    return repository == SHARED and action in PULL


PEOPLE: dict[Callable[[City, Person], Awaitable[Person]], May] = {
    root: _of(EVERYTHING),
    nobody: _of(set()),
    puller: _of(PULL),
    reader: _of(READ),
    builder: _of(READ | UPLOAD | {"PutImage"}),
    careful: lambda action, repository: action in EVERYTHING and repository != PROD,
    narrow: lambda action, repository: action in EVERYTHING and repository == OPEN,
    bounded: _of(READ),
    session: _of(PULL),
    stranger: _let_in,
    strange_user: _let_in,
    strange_nobody: _of(set()),
}


# --- doors, and ways to name a thing --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Door:
    """One way in. All of `actions` are needed, or any of them.

    `changes`: it has an effect; `of_root`: on what is root's, and for others is not there.
    """

    name: str
    actions: tuple[str, ...]
    attempt: Attempt
    any_of: bool = False
    changes: bool = False
    of_root: bool = False


def _get(path: str, method: str = "GET", **headers: str) -> Attempt:
    return lambda person, name: person.ask(method, f"/v2/{name}/{path}", b"", **headers)


def _aws(operation: str, **given: Any) -> Attempt:
    return lambda person, name: person.may(operation, registryId=ACCOUNT, repositoryName=name, **given)


async def _through_the_index(person: Person, name: str) -> Answered:
    """As docker pulls an image of several platforms: the index by its tag, then the child by its digest."""
    found = await person.ask("GET", f"/v2/{name}/manifests/many")
    if found.status != 200:
        return found
    child = json.loads(found.body)["manifests"][0]["digest"]
    return await person.ask("GET", f"/v2/{name}/manifests/{child}")


async def _download(person: Person, name: str) -> Answered:
    given = await person.may(
        "get_download_url_for_layer", registryId=ACCOUNT, repositoryName=name, layerDigest=digest_of(LAYER)
    )
    if given.status != 200:
        return given
    url = urlsplit(json.loads(given.body)["downloadUrl"])
    response = await person.city.send("GET", url.path, b"", {})
    assert await content_of(response) == LAYER
    return given


async def _upload_of_root(person: Person, name: str) -> Answered:
    """An upload that root began is nobody else's, whatever he may do."""
    path = person.city.begun.get(name, f"/v2/{name}/blobs/uploads/00000000-0000-0000-0000-000000000000")
    return await person.ask("PATCH", path, b"x")


async def _put(person: Person, name: str) -> Answered:
    return await person.ask("PUT", f"/v2/{name}/manifests/new", manifest("new"), content_type=OCI_MANIFEST)


async def _put_by_digest(person: Person, name: str) -> Answered:
    content = manifest("untagged")
    return await person.ask(
        "PUT", f"/v2/{name}/manifests/{digest_of(content)}", content, content_type=OCI_MANIFEST
    )


async def _push_blob(person: Person, name: str) -> Answered:
    content = b"another layer"
    return await person.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(content)}", content)


READS = (
    Door("GET manifest by tag", ("BatchGetImage",), _get("manifests/v1")),
    Door("GET manifest by digest", ("BatchGetImage",), _get(f"manifests/{digest_of(FIRST)}")),
    Door("HEAD manifest", ("BatchGetImage",), _get("manifests/v1", "HEAD")),
    Door("GET through an index", ("BatchGetImage",), _through_the_index),
    Door("BatchGetImage by tag", ("BatchGetImage",), _aws("batch_get_image", imageIds=[{"imageTag": "v1"}])),
    Door(
        "BatchGetImage by digest",
        ("BatchGetImage",),
        _aws("batch_get_image", imageIds=[{"imageDigest": digest_of(FIRST)}]),
    ),
    Door("GET referrers", ("BatchGetImage",), _get(f"referrers/{digest_of(FIRST)}")),
    Door("GET blob", ("GetDownloadUrlForLayer",), _get(f"blobs/{digest_of(LAYER)}")),
    Door(
        "GET range of a blob",
        ("GetDownloadUrlForLayer",),
        _get(f"blobs/{digest_of(LAYER)}", range="bytes=2-5"),
    ),
    Door("download URL", ("GetDownloadUrlForLayer",), _download),
    Door(
        "HEAD blob",
        ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer"),
        _get(f"blobs/{digest_of(LAYER)}", "HEAD"),
        any_of=True,
    ),
    Door(
        "BatchCheckLayerAvailability",
        ("BatchCheckLayerAvailability",),
        _aws("batch_check_layer_availability", layerDigests=[digest_of(LAYER)]),
    ),
    Door("GET tags", ("ListImages",), _get("tags/list")),
    Door("ListImages", ("ListImages",), _aws("list_images")),
    Door("DescribeImages", ("DescribeImages",), _aws("describe_images")),
    Door(
        "DescribeRepositories",
        ("DescribeRepositories",),
        lambda person, name: person.may("describe_repositories", registryId=ACCOUNT, repositoryNames=[name]),
    ),
    Door("GetRepositoryPolicy", ("GetRepositoryPolicy",), _aws("get_repository_policy")),
)
WRITES = (
    Door("POST upload", ("InitiateLayerUpload",), _get("blobs/uploads/", "POST"), changes=True),
    Door("POST upload at once", tuple(sorted(UPLOAD)), _push_blob, changes=True),
    Door("PATCH upload of root", ("UploadLayerPart",), _upload_of_root, changes=True, of_root=True),
    Door("PUT manifest by tag", ("PutImage",), _put, changes=True),
    Door("PUT manifest by digest", ("PutImage",), _put_by_digest, changes=True),
    Door(
        "PutImage",
        ("PutImage",),
        _aws("put_image", imageManifest=manifest("aws").decode(), imageTag="aws"),
        changes=True,
    ),
    Door("DELETE manifest by tag", ("BatchDeleteImage",), _get("manifests/doomed", "DELETE"), changes=True),
    Door(
        "BatchDeleteImage",
        ("BatchDeleteImage",),
        _aws("batch_delete_image", imageIds=[{"imageTag": "doomed-too"}]),
        changes=True,
    ),
    Door(
        "TagResource",
        ("TagResource",),
        lambda person, name: person.may(
            "tag_resource", resourceArn=f"{ARN}/{name}", tags=[{"Key": "seen", "Value": "yes"}]
        ),
        changes=True,
    ),
)


@pytest.fixture
async def city(databases: Databases, tmp_path: Path) -> AsyncIterator[City]:
    city = City(databases, tmp_path)
    yield city
    await city.store.close()


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
    begun = await owner.ask("POST", f"/v2/{name}/blobs/uploads/")
    owner.city.begun[name] = begun.headers["location"]


def without_names(answer: Answered, name: str) -> tuple[int, bytes, tuple[str, ...]]:
    """What a client sees, but for the name that it asked for."""
    headers = tuple(
        sorted(f"{key}: {value}" for key, value in answer.headers.items() if key != "content-length")
    )
    return answer.status, answer.body.replace(name.encode(), b"NAME"), headers


@pytest.mark.parametrize("kind", PEOPLE, ids=lambda kind: kind.__name__)
async def test_the_same_verdict_at_every_door(
    city: City, kind: Callable[[City, Person], Awaitable[Person]]
) -> None:
    owner = await city.root(ACCOUNT)
    await city.root(STRANGER)
    for name in (OPEN, SHARED, PROD):
        await furnish(owner, name)
    await owner.aws("tag_resource", resourceArn=f"{ARN}/{PROD}", tags=[{"Key": "env", "Value": "prod"}])
    let_in = {
        "Effect": "Allow",
        "Principal": {"AWS": STRANGER},
        "Action": sorted(f"ecr:{each}" for each in PULL),
    }
    await owner.aws("set_repository_policy", repositoryName=SHARED, policyText=policy(let_in))
    person, may = await kind(city, owner), PEOPLE[kind]

    for door in (*READS, *WRITES):
        answers: dict[str, Answered] = {}
        for name in REPOSITORIES:
            allowed = [may(action, name) for action in door.actions]
            expected = any(allowed) if door.any_of else all(allowed)
            before = await city.content()
            answer = answers[name] = await door.attempt(person, name)
            seen = not answer.is_denied if answer.body or answer.status != 403 else False
            assert seen is expected, (door.name, name, answer)
            assert answer.status < 500, (door.name, name, answer)
            is_changed = await city.content() != before
            is_there = name != MISSING and (not door.of_root or person.key == owner.key)
            assert is_changed is (expected and door.changes and is_there), (door.name, name)
            if expected and not is_there:
                assert answer.status in {400, 404}, (door.name, answer)
        if not may(door.actions[0], OPEN) and not any(may(each, OPEN) for each in door.actions):
            there, not_there = without_names(answers[OPEN], OPEN), without_names(answers[MISSING], MISSING)
            assert there == not_there, door.name


async def test_a_mount_needs_the_source_too(city: City) -> None:
    owner = await city.root(ACCOUNT)
    await owner.aws("put_account_setting", name="BLOB_MOUNTING", value="ENABLED")
    await furnish(owner, OPEN)
    await owner.aws("create_repository", repositoryName="target")
    target = statement({*UPLOAD}, Resource=f"{ARN}/target")
    path = f"/v2/target/blobs/uploads/?mount={digest_of(LAYER)}&from={OPEN}"
    blind = await city.user(owner, "blind", target)
    assert (await blind.ask("POST", path)).status == 202
    assert (await owner.ask("HEAD", f"/v2/target/blobs/{digest_of(LAYER)}")).status == 404
    seeing = await city.user(owner, "seeing", target, statement(PULL, Resource=f"{ARN}/{OPEN}"))
    assert (await seeing.ask("POST", path)).status == 201
    assert (await owner.ask("HEAD", f"/v2/target/blobs/{digest_of(LAYER)}")).status == 200


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
    url = urlsplit(json.loads(given.body)["downloadUrl"]).path
    begun = await visitor.ask("POST", f"/v2/{SHARED}/blobs/uploads/")
    assert begun.status == 202
    await owner.aws("delete_repository", repositoryName=SHARED, force=True)
    await furnish(owner, SHARED)
    assert (await visitor.ask("GET", f"/v2/{SHARED}/manifests/v1")).is_denied
    assert (await visitor.ask("PATCH", begun.headers["location"], b"x")).is_denied
    assert (await city.send("GET", url, b"", {"host": HOST})).status == 403
