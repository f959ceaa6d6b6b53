"""Nobody reads or writes what is another's, on either face, and a digest is no capability."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, InProcessDriver, authorization, in_process_driver
from tests.scenario.images import MANIFEST_TYPE, Registry, SmallImage, digest_of, error_of
from tests.scenario.storages import Flags

STRANGER = "111122223333"


@pytest.fixture(scope="module")
def server(storage: Flags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessDriver]:
    folder, regions = tmp_path_factory.mktemp("who"), ("us-east-1", "eu-west-1")
    with in_process_driver(folder, regions=regions, flags=storage) as driver:
        yield driver


@pytest.fixture(scope="module")
def stranger(server: InProcessDriver) -> tuple[str, str]:
    key = server.call(server.server.parts.accounts.create, STRANGER)
    return key.access_key_id, key.secret


def _registry(server: InProcessDriver, repository: str) -> Registry:
    ecr = server.client()
    ecr.create_repository(repositoryName=repository)
    return Registry(server, authorization(ecr), repository)


def _code_and_text(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    found = error.value.response["Error"]
    return found["Code"], found["Message"]


@pytest.mark.parametrize("repository", ["who/exists", "who/does-not"])
def test_a_stranger_learns_nothing_about_existence_through_aws(
    server: InProcessDriver, stranger: tuple[str, str], repository: str
) -> None:
    if repository == "who/exists":
        server.client().create_repository(repositoryName=repository)

    with pytest.raises(ClientError) as raised:
        server.client(key=stranger).describe_images(repositoryName=repository, registryId=ACCOUNT)

    assert _code_and_text(raised) == (
        "AccessDeniedException",
        (
            f"User: arn:aws:iam::{STRANGER}:root is not authorized to perform: ecr:DescribeImages on resource: "
            f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{repository} "
            "because no resource-based policy allows the ecr:DescribeImages action"
        ),
    )


@pytest.mark.parametrize("repository", ["who/there", "who/not-there"])
@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/manifests/v1", "ecr:BatchGetImage"),
        ("POST", "/blobs/uploads/", "ecr:InitiateLayerUpload"),
        ("GET", f"/blobs/{digest_of(b'')}", "ecr:GetDownloadUrlForLayer"),
        ("GET", "/tags/list", "ecr:ListImages"),
        ("DELETE", "/manifests/v1", "ecr:BatchDeleteImage"),
        ("PUT", "/manifests/v1", "ecr:PutImage"),
    ],
)
def test_a_stranger_learns_nothing_about_existence_through_docker(
    server: InProcessDriver, stranger: tuple[str, str], repository: str, method: str, path: str, action: str
) -> None:
    if repository == "who/there" and not _exists(server, repository):
        server.client().create_repository(repositoryName=repository)
    registry = Registry(server, authorization(server.client(key=stranger)), repository)

    assert error_of(registry.call(method, path)) == (
        403,
        "DENIED",
        (
            f"User: arn:aws:iam::{STRANGER}:root is not authorized to perform: {action} on resource: "
            f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{repository} "
            f"because no resource-based policy allows the {action} action"
        ),
    )


def _exists(server: InProcessDriver, repository: str) -> bool:
    names = [each["repositoryName"] for each in server.client().describe_repositories()["repositories"]]
    return repository in names


def test_a_strangers_own_registry_is_reached_by_its_host(
    server: InProcessDriver, stranger: tuple[str, str]
) -> None:
    ecr = server.client(key=stranger)
    uri = ecr.create_repository(repositoryName="own/app")["repository"]["repositoryUri"]
    host = uri.partition("/")[0]
    registry = Registry(server, authorization(ecr), "own/app", host=host)

    digest = registry.push(SmallImage.named("a stranger's"), "v1")

    assert host.startswith(f"{STRANGER}.dkr.ecr.us-east-1.")
    assert ecr.describe_images(repositoryName="own/app")["imageDetails"][0]["imageDigest"] == digest
    assert not _exists(server, "own/app")


def test_a_digest_is_not_a_capability(server: InProcessDriver) -> None:
    holder, other = _registry(server, "who/holder"), _registry(server, "who/other")
    layer = holder.push_blob(b"a secret layer")

    assert holder.call("GET", f"/blobs/{layer}").status == 200
    assert other.call("HEAD", f"/blobs/{layer}").status == 404
    assert error_of(other.call("GET", f"/blobs/{layer}"))[1] == "BLOB_UNKNOWN"
    image = SmallImage(config=b"{}", layer=b"a secret layer")
    other.push_blob(image.config)
    refused = other.call("PUT", "/manifests/v1", image.manifest(), content_type=MANIFEST_TYPE)
    assert layer in error_of(refused)[2]


def test_a_repository_made_again_is_another_one(server: InProcessDriver) -> None:
    registry = _registry(server, "who/reborn")
    image = SmallImage.named("before")
    digest = registry.push(image, "v1")
    upload = registry.start_upload()
    ecr = server.client()

    ecr.delete_repository(repositoryName="who/reborn", force=True)
    ecr.create_repository(repositoryName="who/reborn")

    assert registry.call("GET", "/manifests/v1").status == 404
    assert registry.call("GET", f"/manifests/{digest}").status == 404
    assert registry.call("GET", f"/blobs/{digest_of(image.layer)}").status == 404
    assert error_of(registry.call("PATCH", upload, b"late"))[1] == "BLOB_UPLOAD_UNKNOWN"


def test_what_a_deleted_repository_alone_held_is_collected_and_what_is_shared_stays(
    server: InProcessDriver,
) -> None:
    going, staying = _registry(server, "who/going"), _registry(server, "who/staying")
    shared, own = SmallImage.named("shared"), SmallImage.named("own")
    for registry in (going, staying):
        registry.push(shared, "v1")
    going.push(own, "v2")

    server.client().delete_repository(repositoryName="who/going", force=True)
    server.collect(days=3)

    fresh = Registry(server, authorization(server.client()), "who/staying")
    assert fresh.call("GET", f"/blobs/{digest_of(shared.layer)}").body == shared.layer
    assert not server.stores(own.layer)
    assert server.stores(shared.layer)


def test_a_token_ends_with_its_key(server: InProcessDriver) -> None:
    accounts = server.server.parts.accounts
    first = server.call(accounts.create, "444455556666")
    token = authorization(server.client(key=(first.access_key_id, first.secret)))
    host = "444455556666.dkr.ecr.us-east-1.localhost:5050"
    ping = {"authorization": token, "host": host}
    before = server.http("GET", "/v2/", headers=ping).status

    server.call(accounts.rotate_key, "444455556666")

    assert (before, server.http("GET", "/v2/", headers=ping).status) == (200, 401)


def test_a_token_is_refused_on_another_regions_host(server: InProcessDriver) -> None:
    token = authorization(server.client(region="eu-west-1"))
    host = f"{ACCOUNT}.dkr.ecr.eu-west-1.localhost:5050"

    assert server.http("GET", "/v2/", headers={"authorization": token, "host": host}).status == 200
    assert server.http("GET", "/v2/", headers={"authorization": token}).status == 401


def test_a_token_lasts_twelve_hours(server: InProcessDriver) -> None:
    token = {"authorization": authorization(server.client())}

    server.server.clock.move(seconds=12 * 3600 - 1)
    last_moment = server.http("GET", "/v2/", headers=token)
    server.server.clock.move(seconds=1)
    after = server.http("GET", "/v2/", headers=token)
    server.server.clock.move(seconds=-12 * 3600)

    assert last_moment.status == 200
    assert error_of(after) == (
        403,
        "DENIED",
        "Your authorization token has expired. Reauthenticate and try again.",
    )


def test_every_path_asks_an_anonymous_caller_who_he_is(server: InProcessDriver) -> None:
    for path in ("/v2/", "/v2", "/v2/who/there/tags/list", "/v2/_catalog", "/v2/x", "/v2/UPPER/manifests/v1"):
        answer = server.http("GET", path)

        assert answer.status == 401, path
        assert answer.headers["www-authenticate"].startswith('Basic realm="'), path
        assert answer.headers["www-authenticate"].endswith(',service="ecr.amazonaws.com"'), path
