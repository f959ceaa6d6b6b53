"""docker, with a daemon of its own, against a running server: every sentence is what a person sees.

The daemon takes a registry on the loopback interface over HTTPS without asking who signed its certificate, or
else over HTTP; so HTTPS here proves the protocol, and the other clients prove the trust.
"""

import http
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import images, texts
from tests.clients.commands import AWS_CLI_2, Shell
from tests.clients.dockerd import Docker
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.requirements import require_root, require_tool
from tests.running import RunningServer, running_server

Load = Callable[[str, images.Image], images.Image]


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("docker")
    require_tool("dockerd")
    require_tool(AWS_CLI_2, package="awscli")
    require_root()


@pytest.fixture(scope="module", params=["http", "https"])
def endpoint(
    request: pytest.FixtureRequest, docker: Docker, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """A server to which docker is logged in as AWS's guide says."""
    server: RunningServer = request.getfixturevalue("server" if request.param == "http" else "tls_server")
    shell = Shell(tmp_path_factory.mktemp("login"), server.environment())
    password = shell.run(AWS_CLI_2, "--endpoint-url", server.url, "ecr", "get-login-password")
    said = docker.run("login", "--username", "AWS", "--password-stdin", server.host, stdin=password)
    assert "Login Succeeded" in said
    return server


@pytest.fixture
def load(docker: Docker, tmp_path: Path) -> Load:
    """Give docker an image under a name."""

    def load_image(name: str, image: images.Image) -> images.Image:
        docker.run("load", "--input", str(images.write_docker_archive(tmp_path / "image.tar", image, name)))
        return image

    return load_image


def pushed(docker: Docker, load: Load, uri: str, **labels: str) -> images.Image:
    """Load an image and push it as `v1`."""
    image = load(f"{uri}:v1", images.debian_image(**labels))
    docker.run("push", f"{uri}:v1")
    return image


def test_an_image_comes_back_as_it_was_pushed(endpoint: RunningServer, docker: Docker, load: Load) -> None:
    uri = endpoint.create_repository("docker/image")
    image = pushed(docker, load, uri)
    digest = docker.pushed_digest(f"{uri}:v1")
    docker.remove(f"{uri}:v1")
    said = docker.run("pull", f"{uri}:v1")
    assert f"Digest: {digest}" in said
    assert docker.image_id(f"{uri}:v1") == image.config_digest
    with PlainRegistry(endpoint) as registry:
        manifest = registry.manifest("docker/image", "v1")
        assert images.digest_of(manifest.body) == digest
        assert registry.blob("docker/image", image.config_digest) == image.config
        sizes = [
            len(registry.blob("docker/image", layer["digest"])) for layer in manifest.document()["layers"]
        ]
        assert sizes == [layer["size"] for layer in manifest.document()["layers"]]


def test_a_large_layer_survives_the_round_trip(endpoint: RunningServer, docker: Docker, load: Load) -> None:
    uri = endpoint.create_repository("docker/large")
    image = load(f"{uri}:v1", images.heavy_image())
    docker.run("push", f"{uri}:v1")
    docker.remove(f"{uri}:v1")
    docker.run("pull", f"{uri}:v1")
    assert docker.image_id(f"{uri}:v1") == image.config_digest


def test_files_of_a_pulled_image_are_what_was_packed(
    endpoint: RunningServer, docker: Docker, load: Load, tmp_path: Path
) -> None:
    uri = endpoint.create_repository("docker/files")
    pushed(docker, load, uri)
    docker.remove(f"{uri}:v1")
    container = docker.run("create", "--pull", "always", "--network", "none", f"{uri}:v1").split()[-1]
    docker.run("cp", f"{container}:/usr/bin/dash", str(tmp_path / "dash"))
    docker.run("rm", container)
    assert (tmp_path / "dash").read_bytes() == Path("/usr/bin/dash").read_bytes()


def test_the_platform_that_was_asked_for_is_pulled(endpoint: RunningServer, docker: Docker) -> None:
    uri = endpoint.create_repository("docker/platforms")
    index = images.multi_platform_index()
    with PlainRegistry(endpoint) as registry:
        registry.push_index("docker/platforms", "v1", index)
    for image in index.images:
        said = docker.run("pull", "--platform", f"linux/{image.architecture}", f"{uri}:v1")
        assert f"Digest: {index.digest}" in said
        assert docker.image_id(f"{uri}:v1") == image.config_digest


@pytest.mark.parametrize("endpoint", ["http"], indirect=True)  # all that this command tries on the loopback
def test_a_manifest_list_is_made_from_pushed_images(endpoint: RunningServer, docker: Docker) -> None:
    uri = endpoint.create_repository("docker/list")
    index = images.multi_platform_index()
    with PlainRegistry(endpoint) as registry:
        for image in index.images:
            registry.push("docker/list", image.architecture, image)
    docker.run("manifest", "create", "--insecure", f"{uri}:v1", f"{uri}:amd64", f"{uri}:arm64")
    docker.run("manifest", "push", "--insecure", f"{uri}:v1")
    with PlainRegistry(endpoint) as registry:
        made = registry.manifest("docker/list", "v1").document()
    assert [child["digest"] for child in made["manifests"]] == [image.digest for image in index.images]


def test_an_image_is_copied_to_another_repository(
    endpoint: RunningServer, docker: Docker, load: Load
) -> None:
    source, target = endpoint.create_repository("docker/source"), endpoint.create_repository("docker/target")
    pushed(docker, load, source, copied="yes")
    docker.run("tag", f"{source}:v1", f"{target}:v2")
    docker.run("push", f"{target}:v2")
    assert docker.pushed_digest(f"{target}:v2") == docker.pushed_digest(f"{source}:v1")
    ecr = endpoint.client()
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    mounted = endpoint.create_repository("docker/mounted")
    docker.run("tag", f"{source}:v1", f"{mounted}:v3")
    assert "Mounted from docker/" in docker.run("push", f"{mounted}:v3")
    ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")


def test_what_docker_pushed_is_the_same_image_to_the_aws_face(
    endpoint: RunningServer, docker: Docker, load: Load
) -> None:
    uri = endpoint.create_repository("docker/aws")
    image = pushed(docker, load, uri)
    (detail,) = endpoint.client().describe_images(repositoryName="docker/aws")["imageDetails"]
    assert detail["imageDigest"] == docker.pushed_digest(f"{uri}:v1")
    assert detail["imageManifestMediaType"] == images.DOCKER_MANIFEST
    answer = endpoint.client().get_download_url_for_layer(
        repositoryName="docker/aws", layerDigest=image.config_digest
    )
    assert answer["downloadUrl"].startswith(endpoint.url)


def test_a_deleted_image_is_gone_and_can_be_pushed_again(
    endpoint: RunningServer, docker: Docker, load: Load
) -> None:
    uri = endpoint.create_repository("docker/deleted")
    image = pushed(docker, load, uri)
    endpoint.client().batch_delete_image(repositoryName="docker/deleted", imageIds=[{"imageTag": "v1"}])
    said = docker.fail("pull", f"{uri}:v1")
    assert f"manifest for {uri}:v1 not found: manifest unknown: {texts.UNKNOWN_REFERENCE}" in said
    docker.run("push", f"{uri}:v1")
    docker.remove(f"{uri}:v1")
    docker.run("pull", f"{uri}:v1")
    assert docker.image_id(f"{uri}:v1") == image.config_digest


def test_an_unknown_repository_is_named_in_ecrs_words(
    endpoint: RunningServer, docker: Docker, load: Load
) -> None:
    name = f"{endpoint.host}/docker/nowhere:v1"
    load(name, images.debian_image())
    expected = f"name unknown: {texts.unknown_repository('docker/nowhere')}"
    assert expected in docker.fail("push", name)
    assert expected in docker.fail("pull", name)


def test_an_immutable_tag_is_not_moved(endpoint: RunningServer, docker: Docker, load: Load) -> None:
    uri = endpoint.create_repository("docker/immutable", imageTagMutability="IMMUTABLE")
    first = pushed(docker, load, uri)
    load(f"{uri}:v1", images.debian_image(second="image"))
    said = docker.fail("push", f"{uri}:v1")
    assert f"tag invalid: {texts.immutable_tag('docker/immutable', 'v1')}" in said
    docker.remove(f"{uri}:v1")
    docker.run("pull", f"{uri}:v1")
    assert docker.image_id(f"{uri}:v1") == first.config_digest


def test_a_wrong_password_is_refused_at_login(
    endpoint: RunningServer, docker: Docker, tmp_path: Path
) -> None:
    stranger = Docker(socket=docker.socket, shell=Shell(tmp_path))
    said = stranger.fail(
        "login", "--username", "AWS", "--password-stdin", endpoint.host, stdin="not-the-password"
    )
    assert f"login attempt to {endpoint.url}/v2/ failed with status: 4" in said


def test_a_stranger_is_asked_for_credentials(
    endpoint: RunningServer, docker: Docker, load: Load, tmp_path: Path
) -> None:
    uri = endpoint.create_repository("docker/closed")
    load(f"{uri}:v1", images.debian_image())
    stranger = Docker(socket=docker.socket, shell=Shell(tmp_path))
    assert "no basic auth credentials" in stranger.fail("push", f"{uri}:v1")
    said = stranger.fail("pull", f"{uri}:v1")
    # On the loopback interface docker goes on to try HTTP, and tells of that failure instead.
    assert endpoint.tls or "no basic auth credentials" in said


def test_an_image_built_by_docker_is_pushed(
    endpoint: RunningServer, docker: Docker, load: Load, tmp_path: Path
) -> None:
    uri = endpoint.create_repository("docker/built")
    pushed(docker, load, uri)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {uri}:v1\nCOPY Dockerfile /etc/recipe\nLABEL built=yes\n")
    docker.shell.environment["DOCKER_BUILDKIT"] = "0"
    docker.run("build", "--pull", "--network", "none", "--tag", f"{uri}:v2", str(context))
    docker.run("push", f"{uri}:v2")
    docker.remove(f"{uri}:v2")
    docker.run("pull", f"{uri}:v2")


def test_an_oci_image_is_pulled_by_its_digest(endpoint: RunningServer, docker: Docker) -> None:
    uri = endpoint.create_repository("docker/oci")
    image = images.debian_image(made="by hand")
    with PlainRegistry(endpoint) as registry:
        registry.push("docker/oci", "v1", image)
    docker.run("pull", f"{uri}@{image.digest}")
    assert docker.image_id(f"{uri}@{image.digest}") == image.config_digest
    assert holds_exactly(endpoint, "docker/oci", "v1", image)


def test_an_expired_token_is_refused_in_ecrs_words(docker: Docker, load: Load, tmp_path: Path) -> None:
    with running_server(tmp_path / "short", settings={"OPENECR_AUTHORIZATION_TOKEN_SECONDS": "2"}) as server:
        uri = server.create_repository("docker/expired")
        password = server.password()
        docker.run("login", "--username", "AWS", "--password-stdin", server.host, stdin=password)
        load(f"{uri}:v1", images.debian_image())
        with PlainRegistry(server, password) as registry:
            while registry.request("GET", "/v2/").status == http.HTTPStatus.OK:
                continue
        assert f"denied: {texts.EXPIRED_TOKEN}" in docker.fail("push", f"{uri}:v1")
        assert f"denied: {texts.EXPIRED_TOKEN}" in docker.fail("pull", f"{uri}:v1")
