"""docker and the AWS CLI before a proxy, two servers, PostgreSQL and S3, with keys of KMS."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import images, plain_registry
from tests.clients.commands import AWS_CLI_2, Shell
from tests.clients.dockerd import Docker
from tests.clients.plain_registry import PlainRegistry
from tests.clients.proxies import Proxy, running_proxy
from tests.requirements import require_root, require_tool
from tests.running import RunningServer, eventually, free_port
from tests.s3_servers import S3Server
from tests.scenario.drivers import variables
from tests.scenario.storages import Storages


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Two servers of one registry, the proxy before them, and the store behind."""

    left: RunningServer
    right: RunningServer
    proxy: Proxy
    s3: S3Server
    bucket: str
    shell: Shell
    docker: Docker

    def aws(self, *arguments: str) -> Any:
        """Run `aws ...` against the proxy; gives its answer."""
        said = self.shell.run(AWS_CLI_2, "--endpoint-url", self.proxy.url, *arguments)
        return json.loads(said) if said.startswith("{") else said.strip()

    def make_repository(self, name: str) -> tuple[str, str]:
        """A repository under a key of its own: its URI, and the key's id."""
        key = self.aws("kms", "create-key")["KeyMetadata"]["KeyId"]
        kind = f"encryptionType=KMS,kmsKey={key}"
        made = self.aws(
            "ecr", "create-repository", "--repository-name", name, "--encryption-configuration", kind
        )
        return made["repository"]["repositoryUri"], key

    def load(self, folder: Path, name: str, image: images.Image) -> None:
        """Give docker an image under a name."""
        self.docker.run(
            "load", "--input", str(images.write_docker_archive(folder / "image.tar", image, name))
        )

    def pull(self, name: str) -> str:
        """Pull an image that docker does not have; gives its id."""
        self.docker.remove(name)
        self.docker.run("pull", name)
        return self.docker.image_id(name)

    def read(self, *paths: str) -> list[list[plain_registry.Answer]]:
        """What each of the servers answers to a GET of each path by itself."""
        found: list[list[plain_registry.Answer]] = []
        for server in (self.left, self.right):
            with PlainRegistry(server) as registry:
                found.append(
                    [registry.request("GET", path, Accept=plain_registry.ACCEPTED) for path in paths]
                )
        return found

    def statuses(self, *paths: str) -> set[int]:
        """The statuses of all these answers."""
        return {answer.status for answers in self.read(*paths) for answer in answers}

    def paths_of(self, name: str) -> list[str]:
        """Where everything is that the tag `v1` of a repository needs."""
        tagged = f"/v2/{name}/manifests/v1"
        (left,), (right,) = self.read(tagged)
        assert (left.status, left.body) == (200, right.body)
        manifest = left.document()
        parts = (manifest["config"], *manifest["layers"])
        return [tagged, *(f"/v2/{name}/blobs/{part['digest']}" for part in parts)]

    def stored(self) -> list[bytes]:
        """Every object of the bucket."""
        client = self.s3.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        found = [client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys]
        client.close()
        return found


@pytest.fixture(scope="module")
def cluster(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """What an operator of many machines runs, with docker logged in at the proxy."""
    require_root()
    require_tool("docker")
    require_tool(AWS_CLI_2, package="awscli")
    folder, port = tmp_path_factory.mktemp("cluster"), free_port()
    with ExitStack() as stack:
        storages = Storages(stack)
        s3 = storages.swift
        bucket = s3.make_bucket()
        shared = {
            **stack.enter_context(storages.opened("PostgreSQL")),
            **s3.settings(bucket),
            "keys": str(folder / "keys"),
            "repository_host": f"localhost:{port}",
        }
        left, right = (
            RunningServer(folder / side, settings=variables(shared)).start() for side in ("left", "right")
        )
        for server in (left, right):
            stack.callback(_end, server)
        proxy = stack.enter_context(running_proxy(folder, port, [left, right]))
        shell = Shell(folder / "home", left.environment())
        found = Cluster(left=left, right=right, proxy=proxy, s3=s3, bucket=bucket, shell=shell, docker=docker)
        password = found.aws("ecr", "get-login-password")
        docker.run("login", "--username", "AWS", "--password-stdin", proxy.host, stdin=password)
        yield found


def _end(server: RunningServer) -> None:
    if server.process.poll() is None:
        server.stop()


def test_an_image_comes_back_through_both_servers(cluster: Cluster, tmp_path: Path) -> None:
    uri, _ = cluster.make_repository("many/image")
    image = images.debian_image(many="both")
    cluster.load(tmp_path, f"{uri}:v1", image)
    cluster.docker.run("push", f"{uri}:v1")

    asked = cluster.proxy.requests()
    assert {words[3] for words in asked if words[0] == "PATCH"} == {"s0", "s1"}
    left, right = cluster.read(*cluster.paths_of("many/image"))
    assert {answer.status for answer in left} == {200}
    assert [answer.body for answer in left] == [answer.body for answer in right]
    assert cluster.pull(f"{uri}:v1") == image.config_digest

    stored = cluster.stored()
    assert len(stored) >= len(left) - 1, "the manifest is in the database"
    assert not any(answer.body[20:100] in each for answer in left for each in stored)


def test_a_key_that_is_disabled_closes_its_images_on_every_server_at_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    uri, key = cluster.make_repository("many/closed")
    image = images.debian_image(many="closed")
    cluster.load(tmp_path, f"{uri}:v1", image)
    cluster.docker.run("push", f"{uri}:v1")
    paths = cluster.paths_of("many/closed")
    assert cluster.statuses(*paths) == {200}

    cluster.aws("kms", "disable-key", "--key-id", key)
    closed = cluster.statuses(*paths)
    cluster.docker.remove(f"{uri}:v1")
    said = cluster.docker.fail("pull", f"{uri}:v1")
    cluster.aws("kms", "enable-key", "--key-id", key)

    assert closed == {403}
    assert f"key/{key} is disabled" in said
    assert cluster.statuses(*paths) == {200}
    cluster.docker.run("pull", f"{uri}:v1")
    assert cluster.docker.image_id(f"{uri}:v1") == image.config_digest


def test_a_push_outlives_a_server_that_is_killed_under_it(cluster: Cluster, tmp_path: Path) -> None:
    uri, _ = cluster.make_repository("many/killed")
    image = images.heavy_image(seed=11)
    cluster.load(tmp_path, f"{uri}:v1", image)
    begun = ["POST", "/v2/many/killed/blobs/uploads/", "202"]

    with ThreadPoolExecutor(1) as pool:
        push = pool.submit(cluster.docker.run, "push", f"{uri}:v1")
        eventually(lambda: begun in (words[:3] for words in cluster.proxy.requests()))
        cluster.left.kill()
        push.result(timeout=300)
    assert cluster.pull(f"{uri}:v1") == image.config_digest

    cluster.left.restart()
    assert cluster.statuses(*cluster.paths_of("many/killed")) == {200}
