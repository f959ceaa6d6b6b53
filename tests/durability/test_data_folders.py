"""The data folders of earlier releases open, hold every byte, and are worked in. `make fixture` makes the next one."""

import base64
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import openecr
from openecr.testing.clocks import MovableClock
from tests.clients import images
from tests.clients.plain_registry import ACCEPTED, PlainRegistry, holds_exactly
from tests.durability.afterwards import damages
from tests.durability.data_folders import APP, FOLDER, OTHER_ACCOUNT, TOOLS, small_image
from tests.running import running_server
from tests.scenario.drivers import Answer, InProcessDriver, in_process_driver

ARCHIVES = sorted(FOLDER.glob("*.tar.gz"))
MAX_BYTES = 200 * 1024
A_MINUTE = 60
"""An archive is made in less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An unpacked archive: the data folder, and what was promised when it was made."""

    folder: Path
    promise: dict[str, Any]

    @property
    def data(self) -> Path:
        return self.folder / "data"


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="tar")
    promise = json.loads((tmp_path / "promise.json").read_text(encoding="utf-8"))
    return Kept(folder=tmp_path, promise=promise)


def test_this_version_has_its_data_folder() -> None:
    """A release without it could not be proven readable later."""
    assert f"{openecr.__version__}.tar.gz" in [path.name for path in ARCHIVES], "make fixture"
    assert all(path.stat().st_size <= MAX_BYTES for path in ARCHIVES)


def lost(promise: dict[str, Any], get: Callable[[str], Answer]) -> list[str]:
    """What of the promised images is not there, byte for byte and with its type."""
    missing: list[str] = []
    for name, held in promise["repositories"].items():
        for digest, media_type in held["manifests"].items():
            found = get(f"/v2/{name}/manifests/{digest}")
            if images.digest_of(found.body) != digest or found.headers["content-type"] != media_type:
                missing.append(f"{name}@{digest}: {found}")
        for tag, digest in held["tags"].items():
            if images.digest_of(get(f"/v2/{name}/manifests/{tag}").body) != digest:
                missing.append(f"{name}:{tag}")
        missing += [
            f"{name}: blob {digest}"
            for digest in held["blobs"]
            if images.digest_of(get(f"/v2/{name}/blobs/{digest}").body) != digest
        ]
    return missing


def test_it_opens_at_its_own_time_and_work_goes_on_where_it_was(kept: Kept) -> None:
    """Uploads and passwords have lifetimes, so the clock stands where the folder was left."""
    promise = kept.promise
    clock = MovableClock(promise["made_at"] + A_MINUTE * 1_000_000)
    with in_process_driver(kept.data, clock=clock) as driver:
        assert driver.server.root_key == tuple(promise["root_key"])
        assert lost(promise, lambda path: ask(driver, promise, "GET", path)) == []
        finish_upload(driver, promise)
        signature = promise["signature"]
        referrers = ask(driver, promise, "GET", f"/v2/{APP}/referrers/{signature['subject']}")
        (found,) = json.loads(referrers.body)["manifests"]
        assert (found["digest"], found["artifactType"]) == (signature["digest"], signature["artifact_type"])
        assert ask(driver, promise, "GET", "/v2/gone/tags/list").status == 404
    assert damages(kept.data) == []


def ask(
    driver: InProcessDriver, promise: dict[str, Any], method: str, path: str, body: bytes = b""
) -> Answer:
    """Ask with the password of the old server."""
    headers = {"authorization": promise["authorization"], "accept": ACCEPTED}
    return driver.http(method, path, headers=headers, body=body)


def finish_upload(driver: InProcessDriver, promise: dict[str, Any]) -> None:
    """End the upload that was left in the middle."""
    path, received = promise["upload"]["path"], base64.b64decode(promise["upload"]["received"])
    status = ask(driver, promise, "GET", path)
    assert (status.status, status.headers["range"]) == (204, f"0-{len(received) - 1}")
    whole = received + b"and its end"
    digest = images.digest_of(whole)
    assert ask(driver, promise, "PUT", f"{path}?digest={digest}", b"and its end").status == 201
    assert ask(driver, promise, "GET", f"/v2/{APP}/blobs/{digest}").body == whole


def test_a_server_of_today_serves_it_and_takes_pushes(kept: Kept) -> None:
    promise = kept.promise
    with running_server(kept.folder) as server:
        environment = server.environment()
        key = [environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]]
        assert key == promise["root_key"]
        client = server.client()
        (image_detail,) = client.describe_images(repositoryName=TOOLS, imageIds=[{"imageTag": "v1"}])[
            "imageDetails"
        ]
        pulled_after = image_detail["lastRecordedPullTime"].timestamp() - promise["made_at"] / 1_000_000
        assert 0 < pulled_after < A_MINUTE
        with PlainRegistry(server) as registry:

            def get(path: str) -> Answer:
                found = registry.request("GET", path, Accept=ACCEPTED)
                return Answer(status=found.status, headers=found.headers, body=found.body)

            assert lost(promise, get) == []
            image = small_image("pushed by a later version")
            registry.push(APP, "later", image)
        assert holds_exactly(server, APP, "later", image)

        described = {each["repositoryName"]: each for each in client.describe_repositories()["repositories"]}
        assert described.keys() == {APP, TOOLS}
        assert described[TOOLS]["imageTagMutability"] == "IMMUTABLE"
        assert described[TOOLS]["imageScanningConfiguration"] == {"scanOnPush": True}
        arn = described[TOOLS]["repositoryArn"]
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [
            {"Key": "team", "Value": "infrastructure"}
        ]
        assert client.get_account_setting(name="BLOB_MOUNTING")["value"] == "ENABLED"
        (pulled,) = client.describe_images(repositoryName=TOOLS, imageIds=[{"imageTag": "v1"}])[
            "imageDetails"
        ]
        assert pulled["lastRecordedPullTime"].timestamp() > promise["made_at"] / 1_000_000 - 1

        identifier, secret = promise["other_key"]
        other = server.client(aws_access_key_id=identifier, aws_secret_access_key=secret)
        assert other.describe_repositories()["repositories"] == []
        proxy = other.get_authorization_token()["authorizationData"][0]["proxyEndpoint"]
        assert OTHER_ACCOUNT in proxy
        assert server.stop() == 0
    assert damages(kept.data) == []
