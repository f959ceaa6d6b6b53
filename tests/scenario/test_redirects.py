"""Blobs in clear on S3: a pull is sent on to the bucket, where the operator says so, and everything else comes here."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.clients import images
from tests.clients.commands import Shell
from tests.clients.logins import log_in
from tests.requirements import require_tool
from tests.running import RunningServer
from tests.scenario.drivers import Answer, WireDriver, authorization, variables
from tests.scenario.images import Registry, SmallImage, digest_of
from tests.scenario.storages import Flags, Storages

IMAGE = SmallImage.named("redirected")
EXPIRY_SECONDS = 1234


@pytest.fixture(scope="module")
def bucket(storages: Storages) -> Flags:
    """A bucket whose server lets clients in by URL."""
    return storages.swift.settings(storages.swift.make_bucket())


def serving(folder: Path, bucket: Flags, **settings: str) -> RunningServer:
    """A server over SQLite and the bucket, which redirects."""
    flags = {
        **bucket,
        "s3_redirect": "true",
        "s3_redirect_seconds": str(EXPIRY_SECONDS),
        "storage_encrypt_at_rest": "false",
        **settings,
    }
    return RunningServer(folder, settings=variables(flags))


@pytest.fixture(scope="module")
def server(bucket: Flags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with blobs in clear."""
    running = serving(tmp_path_factory.mktemp("redirects"), bucket).start()
    yield running
    running.stop()


def pushed(server: RunningServer, name: str, **settings: str) -> Registry:
    """A new repository with the image in it."""
    ecr = server.client()
    kind = {"encryptionConfiguration": settings} if settings else {}
    ecr.create_repository(repositoryName=name, **kind)
    registry = Registry(WireDriver(server), authorization(ecr), name)
    registry.push(IMAGE, "v1")
    return registry


def fetched(location: str, **headers: str) -> Answer:
    """What the bucket answers to somebody without any credentials."""
    url = urlsplit(location)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    try:
        connection.request("GET", f"{url.path}?{url.query}", headers=headers)
        response = connection.getresponse()
        return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
    finally:
        connection.close()


def test_a_pull_is_sent_on_to_the_bucket_which_gives_the_bytes_to_whoever_has_the_url(
    server: RunningServer, bucket: Flags
) -> None:
    registry = pushed(server, "redirects/pull")
    answer = registry.call("GET", f"/blobs/{digest_of(IMAGE.layer)}")

    assert (answer.status, answer.body) == (307, b"")
    assert answer.headers["docker-content-digest"] == digest_of(IMAGE.layer)
    location = answer.headers["location"]
    assert location.startswith(f"{bucket['s3_endpoint']}/")
    assert parse_qs(urlsplit(location).query)["X-Amz-Expires"] == [str(EXPIRY_SECONDS)]
    assert fetched(location).body == IMAGE.layer
    part = fetched(location, Range="bytes=2-5")
    assert (part.status, part.body) == (206, IMAGE.layer[2:6])


def test_a_range_is_asked_of_the_bucket_too(server: RunningServer) -> None:
    registry = pushed(server, "redirects/range")
    answer = registry.call("GET", f"/blobs/{digest_of(IMAGE.layer)}", range="bytes=2-5")

    assert answer.status == 307
    assert fetched(answer.headers["location"], Range="bytes=2-5").body == IMAGE.layer[2:6]


def test_only_the_bytes_of_blobs_are_elsewhere(server: RunningServer) -> None:
    registry = pushed(server, "redirects/else")
    layer = f"/blobs/{digest_of(IMAGE.layer)}"

    head = registry.call("HEAD", layer)
    assert (head.status, head.headers["content-length"]) == (200, str(len(IMAGE.layer)))
    assert registry.call("GET", layer, if_none_match=f'"{digest_of(IMAGE.layer)}"').status == 304
    manifest = registry.call("GET", "/manifests/v1")
    assert (manifest.status, manifest.body) == (200, IMAGE.manifest())


def test_a_download_by_the_url_of_the_api_is_sent_on_too(server: RunningServer) -> None:
    pushed(server, "redirects/api")
    answer = server.client().get_download_url_for_layer(
        repositoryName="redirects/api", layerDigest=digest_of(IMAGE.layer)
    )
    url = urlsplit(answer["downloadUrl"])
    sent_on = WireDriver(server).http("GET", f"{url.path}?{url.query}", headers={"host": url.netloc})

    assert sent_on.status == 307
    assert fetched(sent_on.headers["location"]).body == IMAGE.layer


def test_who_may_not_pull_gets_no_url(server: RunningServer) -> None:
    registry = pushed(server, "redirects/closed")
    ecr = server.client()
    deny = {"Effect": "Deny", "Principal": "*", "Action": "ecr:GetDownloadUrlForLayer"}
    policy = {"Version": "2012-10-17", "Statement": [deny]}
    layer = f"/blobs/{digest_of(IMAGE.layer)}"
    assert registry.call("GET", layer).status == 307

    ecr.set_repository_policy(repositoryName="redirects/closed", policyText=json.dumps(policy))
    refused = registry.call("GET", layer)
    assert refused.status == 403
    assert "location" not in refused.headers


def test_what_is_sealed_comes_through_the_server(server: RunningServer) -> None:
    registry = pushed(server, "redirects/sealed", encryptionType="KMS")
    answer = registry.call("GET", f"/blobs/{digest_of(IMAGE.layer)}")

    assert (answer.status, answer.body) == (200, IMAGE.layer)


def test_where_everything_new_is_sealed_what_was_clear_is_still_sent_on(
    storages: Storages, tmp_path: Path
) -> None:
    bucket = storages.swift.settings(storages.swift.make_bucket())
    before = SmallImage.named("pushed in clear")
    clear = serving(tmp_path, bucket).start()
    registry = pushed(clear, "redirects/both")
    registry.push(before, "before")
    assert clear.stop() == 0

    sealing = serving(tmp_path, bucket, storage_encrypt_at_rest="true").start()
    registry = Registry(WireDriver(sealing), authorization(sealing.client()), "redirects/both")
    after = SmallImage.named("pushed sealed")
    registry.push(after, "after")
    old = registry.call("GET", f"/blobs/{digest_of(before.layer)}")
    new = registry.call("GET", f"/blobs/{digest_of(after.layer)}")
    assert sealing.stop() == 0

    assert (old.status, fetched(old.headers["location"]).body) == (307, before.layer)
    assert (new.status, new.body) == (200, after.layer)


def test_skopeo_follows(server: RunningServer, tmp_path: Path) -> None:
    require_tool("skopeo")
    uri = server.create_repository("redirects/skopeo")
    image = images.make_image([images.gzip_layer(images.files_archive({"etc/motd": b"welcome\n"}))])
    layout = images.write_layout(tmp_path / "made", ("v1", image))
    shell = Shell(tmp_path / "home", server.environment())
    log_in(shell, server, "skopeo")
    shell.run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{uri}:v1")
    pulled = tmp_path / "pulled"
    shell.run("skopeo", "copy", "--src-tls-verify=false", f"docker://{uri}:v1", f"oci:{pulled}:v1")
    assert image.contents().items() <= images.read_layout(pulled).items()
