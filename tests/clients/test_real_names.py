"""A server under AWS's own names, on port 443, where a hosts file leads: clients that know of no other endpoint.

Docker's credential helper for ECR is one of them: it takes nothing but real names. docker, crane and skopeo push and
pull with what it gives them.
"""

import base64
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.commands import AWS_CLI_1, AWS_CLI_2, Shell
from tests.clients.dockerd import Docker, docker_daemon
from tests.clients.host_files import with_hosts
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.requirements import lack, require_tool
from tests.running import REGION, RunningServer, running_server

ACCOUNT = "123456789012"
DOMAIN = "amazonaws.com"
PORT = 443
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.{DOMAIN}"
FIPS_HOST = f"{ACCOUNT}.dkr.ecr-fips.{REGION}.{DOMAIN}"
API_HOSTS = (f"api.ecr.{REGION}.{DOMAIN}", f"ecr-fips.{REGION}.{DOMAIN}", f"api.ecr-fips.{REGION}.{DOMAIN}")
STS_HOSTS = (f"sts.{REGION}.{DOMAIN}", f"sts.{DOMAIN}")
ELSEWHERE = (f"api.ecr-public.us-east-1.{DOMAIN}",)
"""Asked too by some clients, and not served: nobody's real key may travel there."""

HELPER = "docker-credential-ecr-login"
HELPER_PACKAGE = "amazon-ecr-credential-helper"

Enter = Callable[..., Shell]


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool(HELPER, package=HELPER_PACKAGE)
    for program in ("crane", "skopeo"):
        require_tool(program)
    require_tool(AWS_CLI_1, package="awscli")
    require_tool(AWS_CLI_2, package="awscli")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError as error:
            lack(f"port {PORT} is not to be had: {error}")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server as an operator starts one who points AWS's names at it."""
    options = ("--domain", DOMAIN, "--repository-host", "full", "--account", ACCOUNT)
    folder = tmp_path_factory.mktemp("real-names")
    with running_server(folder, tls=True, options=options, port=PORT) as running:
        yield running


@pytest.fixture(scope="module")
def enter(registry: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Enter:
    """Make a shell with the account's keys and trust in the local CA, to which AWS's names mean the server."""
    # Docker asks for no certificate where a name leads to 127.0.0.0/8; this address leads there as well.
    names = dict.fromkeys((HOST, FIPS_HOST, *API_HOSTS, *STS_HOSTS, *ELSEWHERE), "0.0.0.0")
    wrapper = with_hosts(tmp_path_factory.mktemp("etc") / "hosts", names)
    environment = registry.environment()
    for unwanted in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        del environment[unwanted]
    environment |= {
        "SSL_CERT_FILE": str(registry.ca_file),
        "NO_PROXY": "*",
        "no_proxy": "*",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def make(name: str, **changes: str) -> Shell:
        return Shell(tmp_path_factory.mktemp(name), environment | changes, wrapper=wrapper)

    return make


def configure(shell: Shell, configuration: object) -> None:
    """Write what docker, crane and skopeo take their credentials by."""
    for file in (shell.home / "docker" / "config.json", shell.home / "auth.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(configuration))


def answer(shell: Shell, host: str = HOST) -> dict[str, str]:
    """What the helper says when a client asks it for a registry's credentials."""
    said: dict[str, str] = json.loads(shell.run(HELPER, "get", stdin=host))
    return said


PER_HOST = {"credHelpers": {HOST: "ecr-login", FIPS_HOST: "ecr-login"}}
FOR_ALL = {"credsStore": "ecr-login"}


@pytest.fixture
def helped(enter: Enter) -> Shell:
    """A shell whose clients take credentials from the helper."""
    shell = enter("helped")
    configure(shell, PER_HOST)
    return shell


@pytest.fixture
def docker(helped: Shell) -> Iterator[Docker]:
    require_tool("dockerd", package="docker.io")
    with docker_daemon(helped.home, helped) as running:
        yield running


def test_names_and_uris_are_aws_own_without_a_port(registry: RunningServer) -> None:
    assert registry.create_repository("names/uri") == f"{HOST}/names/uri"
    (data,) = registry.client().get_authorization_token()["authorizationData"]
    assert data["proxyEndpoint"] == f"https://{HOST}"
    assert f"registry         {HOST} (others: <account>.dkr.ecr.<region>.{DOMAIN})\n" in registry.log_tail()


@pytest.mark.parametrize("host", [HOST, FIPS_HOST])
def test_the_helper_gets_a_password_that_opens_the_registry(
    registry: RunningServer, enter: Enter, host: str
) -> None:
    said = answer(enter("get"), host)
    assert (said["ServerURL"], said["Username"]) == (host, "AWS")
    with PlainRegistry(registry, said["Secret"]) as opened:
        assert opened.request("GET", "/v2/").status == 200


def test_the_helper_keeps_its_password_in_a_file(registry: RunningServer, enter: Enter) -> None:
    shell = enter("cache")
    first = answer(shell)
    kept = json.loads((shell.home / ".ecr" / "cache.json").read_text())["Registries"]
    (entry,) = (entry for entry in kept.values() if entry["ProxyEndpoint"] == f"https://{HOST}")
    assert base64.b64decode(entry["AuthorizationToken"]).decode() == f"AWS:{first['Secret']}"
    wrong = Shell(shell.home, shell.environment | {"AWS_SECRET_ACCESS_KEY": "x" * 40}, wrapper=shell.wrapper)
    assert answer(wrong) == first  # not asked again: the server would have refused
    wrong.environment["AWS_ECR_DISABLE_CACHE"] = "true"
    said = wrong.fail(HELPER, "get", stdin=HOST)
    assert "credentials not found" in said
    log = (shell.home / ".ecr" / "log" / "ecr-login.log").read_text()
    assert "InvalidSignatureException" in log


def test_the_helper_lists_the_registry(enter: Enter) -> None:
    assert json.loads(enter("list").run(HELPER, "list")) == {f"https://{HOST}": "AWS"}


def test_docker_pushes_and_pulls_with_the_helpers_password(
    registry: RunningServer, helped: Shell, docker: Docker, tmp_path: Path
) -> None:
    name = f"helped/docker-{helped.home.name}"
    uri = registry.create_repository(name)
    image = images.debian_image()
    archive = images.write_docker_archive(tmp_path / "image.tar", image, f"{uri}:v1")
    docker.run("load", "--input", str(archive))
    docker.run("push", f"{uri}:v1")
    digest = docker.pushed_digest(f"{uri}:v1")
    docker.remove(f"{uri}:v1")
    assert f"Digest: {digest}" in docker.run("pull", f"{uri}:v1")
    assert docker.image_id(f"{uri}:v1") == image.config_digest


@pytest.mark.parametrize("configuration", [PER_HOST, FOR_ALL], ids=["credHelpers", "credsStore"])
def test_crane_pushes_and_pulls_with_the_helpers_password(
    registry: RunningServer, enter: Enter, tmp_path: Path, configuration: object
) -> None:
    helped = enter("helped")
    configure(helped, configuration)
    name = f"helped/crane-{helped.home.name}"
    uri = registry.create_repository(name)
    image = images.mixed_image()
    layout = images.write_layout(tmp_path / "made", ("v1", image))
    helped.run("crane", "push", str(layout), f"{uri}:v1")
    assert holds_exactly(registry, name, "v1", image)
    helped.run("crane", "pull", "--format", "oci", f"{FIPS_HOST}/{name}:v1", str(tmp_path / "pulled"))
    assert images.read_layout(tmp_path / "pulled") == image.contents()


def test_skopeo_pushes_and_pulls_with_the_helpers_password(
    registry: RunningServer, helped: Shell, tmp_path: Path
) -> None:
    name = f"helped/skopeo-{helped.home.name}"
    uri = registry.create_repository(name)
    image = images.mixed_image()
    layout = images.write_layout(tmp_path / "made", ("v1", image))
    copy = ("skopeo", "copy", "--preserve-digests")
    helped.run(*copy, f"oci:{layout}:v1", f"docker://{uri}:v1")
    assert holds_exactly(registry, name, "v1", image)
    helped.run(*copy, f"docker://{uri}:v1", f"oci:{tmp_path / 'pulled'}:v1")
    assert images.read_layout(tmp_path / "pulled") == image.contents()


def test_a_client_whose_helper_is_refused_hears_that_it_is_not_authorized(
    registry: RunningServer, enter: Enter
) -> None:
    uri = registry.create_repository("helped/refused")
    shell = enter("refused", AWS_SECRET_ACCESS_KEY="x" * 40)
    configure(shell, PER_HOST)
    assert "401 Unauthorized: Not Authorized" in shell.fail("crane", "ls", uri)


@pytest.mark.parametrize(
    ("program", "variable"),
    [(AWS_CLI_1, "AWS_CA_BUNDLE"), (AWS_CLI_2, "REQUESTS_CA_BUNDLE")],
    ids=["v1", "v2"],
)
def test_the_aws_cli_finds_ecr_and_sts_by_their_names(
    registry: RunningServer, enter: Enter, program: str, variable: str
) -> None:
    trust = {variable: str(registry.ca_file)}
    shell = enter("cli", **trust)
    name = f"names/{variable.lower()}"
    made = json.loads(shell.run(program, "ecr", "create-repository", "--repository-name", name))
    assert made["repository"]["repositoryUri"] == f"{HOST}/{name}"
    caller = json.loads(shell.run(program, "sts", "get-caller-identity"))
    assert caller["Account"] == ACCOUNT
    legacy = enter("legacy", **trust, AWS_STS_REGIONAL_ENDPOINTS="legacy")
    assert json.loads(legacy.run(program, "sts", "get-caller-identity")) == caller
    fips = enter("fips", **trust, AWS_USE_FIPS_ENDPOINT="true")
    assert name in fips.run(program, "ecr", "describe-repositories", "--repository-names", name)
