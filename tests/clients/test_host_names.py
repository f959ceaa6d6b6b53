"""Registries under their full names, which say account and region and stand in `/etc/hosts`.

Only root can put them there; what it adds is taken out again. Nobody else's entries are touched.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.commands import AWS_CLI_2, Shell
from tests.clients.dockerd import Docker
from tests.clients.plain_registry import PlainRegistry
from tests.requirements import require_root, require_tool
from tests.running import ACCOUNT, REGION, RunningServer, running_server

OTHER_REGION = "eu-central-1"
HOSTS = Path("/etc/hosts")
MARK = "# openecr's tests"


def full_name(region: str) -> str:
    return f"{ACCOUNT}.dkr.ecr.{region}.localhost"


@pytest.fixture(scope="module", autouse=True)
def host_entries() -> Iterator[None]:
    require_root()
    require_tool("crane")
    require_tool(AWS_CLI_2, package="awscli")
    names = " ".join(full_name(region) for region in (REGION, OTHER_REGION))
    entry = f"127.0.0.1 {names} {MARK}\n"
    with HOSTS.open("a") as hosts:
        hosts.write(entry)
    yield
    HOSTS.write_text(HOSTS.read_text().replace(entry, "", 1))


@pytest.fixture(scope="module")
def regions(host_entries: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of two regions."""
    options = ("--region", REGION, "--region", OTHER_REGION)
    with running_server(tmp_path_factory.mktemp("regions"), options=options) as running:
        yield running


def password_of(server: RunningServer, region: str) -> str:
    shell = Shell(server.data.parent / region, server.environment())
    return shell.run(
        AWS_CLI_2, "--endpoint-url", server.url, "--region", region, "ecr", "get-login-password"
    ).strip()


def test_a_repository_of_another_region_is_pushed_to_as_its_uri_says(
    regions: RunningServer, docker: Docker
) -> None:
    made = regions.client(region_name=OTHER_REGION).create_repository(repositoryName="names/far")[
        "repository"
    ]
    uri = made["repositoryUri"]
    assert uri == f"{full_name(OTHER_REGION)}:{regions.port}/names/far"
    host = uri.partition("/")[0]
    password = password_of(regions, OTHER_REGION)
    docker.run("login", "--username", "AWS", "--password-stdin", host, stdin=password)
    image = images.debian_image()
    archive = images.write_docker_archive(regions.data.parent / "image.tar", image, f"{uri}:v1")
    docker.run("load", "--input", str(archive))
    docker.run("push", f"{uri}:v1")
    docker.remove(f"{uri}:v1")
    docker.run("pull", f"{uri}:v1")
    assert docker.image_id(f"{uri}:v1") == image.config_digest


def test_the_full_and_the_plain_name_are_one_registry(regions: RunningServer, tmp_path: Path) -> None:
    regions.create_repository("names/same")
    image = images.debian_image()
    with PlainRegistry(regions) as registry:
        registry.push("names/same", "v1", image)
    host = f"{full_name(REGION)}:{regions.port}"
    shell = Shell(tmp_path)
    shell.run(
        *("crane", "auth", "login", "--username", "AWS", "--password-stdin", host),
        stdin=password_of(regions, REGION),
    )
    shell.run("crane", "pull", "--format", "oci", f"{host}/names/same:v1", str(tmp_path / "pulled"))
    assert images.read_layout(tmp_path / "pulled") == image.contents()


def test_a_token_of_one_region_does_not_open_another(regions: RunningServer, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    host = f"{full_name(OTHER_REGION)}:{regions.port}"
    login = ("crane", "auth", "login", "--username", "AWS", "--password-stdin", host)
    shell.run(*login, stdin=password_of(regions, REGION))
    said = shell.fail("crane", "catalog", host)
    assert "401 Unauthorized: Not Authorized" in said
