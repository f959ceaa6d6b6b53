"""Two server processes over one PostgreSQL and one store of blobs, a folder or a bucket, are one registry."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import RunningServer, plain_environment
from tests.scenario.drivers import ACCOUNT, REGION, WireDriver, authorization, variables
from tests.scenario.images import Registry, SmallImage, digest_of, error_of
from tests.scenario.storages import Storages

_TRAIL_SECONDS = 20.0
_REPOSITORY_ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
CHUNK_SIZES = (70_000, 70_001, 6 * 2**20, 70_002, 9 * 2**20, 70_003, 70_004)
"""Below and above S3's smallest part, and what is sent in several pieces."""

PULL = ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers, reached by their ports."""

    left: WireDriver
    right: WireDriver

    def registries(self, name: str) -> tuple[Registry, Registry]:
        """Make a repository at one server; it as both servers show it, to one token."""
        ecr = self.left.client()
        ecr.create_repository(repositoryName=name)
        token = authorization(ecr)
        return Registry(self.left, token, name), Registry(self.right, token, name)

    def user(self, name: str, *actions: str) -> tuple[str, str]:
        """Make a user at one server who may do something; gives its key."""
        iam = self.left.client("iam")
        iam.create_user(UserName=name)
        if actions:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=allowing(*actions))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]


def allowing(*actions: str) -> str:
    """A policy of a user's."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def code_of(call: Callable[[], object]) -> str:
    """The error that AWS's face answers with."""
    with pytest.raises(ClientError) as caught:
        call()
    found: Any = caught.value.response
    return str(found["Error"]["Code"])


@pytest.fixture(scope="module", params=["PostgreSQL", "PostgreSQL and S3"])
def pair(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two servers that were started at the same moment, on an empty database and without a key."""
    folder = tmp_path_factory.mktemp("two")
    with storages.opened(request.param) as flags, ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        shared = {"blobs": str(folder / "blobs"), **flags, "keys": str(folder / "keys")}
        servers = [RunningServer(folder / side, settings=variables(shared)) for side in ("left", "right")]
        for server in servers:
            stack.callback(server.kill)
        started = [threads.submit(server.start) for server in servers]
        left, right = (each.result() for each in started)
        yield Pair(WireDriver(left), WireDriver(right))
        left.stop()
        right.stop()


def test_both_know_one_root_key(pair: Pair) -> None:
    left, right = (side.server.environment() for side in (pair.left, pair.right))
    assert left["AWS_ACCESS_KEY_ID"] == right["AWS_ACCESS_KEY_ID"]
    assert left["AWS_SECRET_ACCESS_KEY"] == right["AWS_SECRET_ACCESS_KEY"]


def test_what_one_server_takes_the_other_gives_at_once(pair: Pair) -> None:
    left, right = pair.registries("two/pushed")
    digest = ""
    for number, (here, there) in enumerate([(left, right), (right, left)] * 5):
        image = SmallImage.named(f"pushed {number}")
        assert there.call("GET", "/manifests/latest").body != image.manifest()  # whatever was read before
        digest = here.push(image, "latest")
        assert there.call("GET", "/manifests/latest").body == image.manifest()
        assert there.call("HEAD", f"/manifests/{digest}").status == 200
        assert there.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer
    tags = pair.right.client().describe_images(repositoryName="two/pushed", imageIds=[{"imageTag": "latest"}])
    assert tags["imageDetails"][0]["imageDigest"] == digest


def test_an_upload_whose_chunks_alternate_between_servers_is_whole(pair: Pair) -> None:
    sides = pair.registries("two/chunks")
    chunks = [bytes([number]) * size for number, size in enumerate(CHUNK_SIZES)]
    path, start = sides[0].start_upload(), 0
    for number, chunk in enumerate(chunks):
        answer = sides[number % 2].call(
            "PATCH", path, chunk, content_range=f"{start}-{start + len(chunk) - 1}"
        )
        assert answer.status == 202, answer
        start += len(chunk)
        status = sides[(number + 1) % 2].call("GET", path)
        assert (status.status, status.headers["range"]) == (204, f"0-{start - 1}")
    whole = b"".join(chunks)
    wrong = sides[1].call("PUT", f"{path}?digest={digest_of(b'other')}")
    assert error_of(wrong)[:2] == (400, "DIGEST_INVALID")
    assert sides[1].call("PUT", f"{path}?digest={digest_of(whole)}").status == 201
    assert sides[0].call("GET", f"/blobs/{digest_of(whole)}").body == whole


def test_a_chunk_that_repeats_the_others_is_refused_by_both(pair: Pair) -> None:
    left, right = pair.registries("two/repeated")
    path = left.start_upload()
    assert left.call("PATCH", path, b"first", content_range="0-4").status == 202
    assert right.call("PATCH", path, b"again", content_range="0-4").status == 416
    assert right.call("PATCH", path, b"second", content_range="5-10").status == 202
    assert left.call("PATCH", path, b"second", content_range="5-10").status == 416
    assert left.call("PUT", f"{path}?digest={digest_of(b'firstsecond')}").status == 201


def test_tokens_and_sessions_of_one_server_are_taken_by_the_other(pair: Pair) -> None:
    left, right = pair.registries("two/tokens")
    left.push(SmallImage.named("tokens"), "v1")
    assert right.call("GET", "/manifests/v1").status == 200  # by the token that the left one made
    key = pair.user("federates", "sts:GetFederationToken", *PULL)
    made = pair.left.client("sts", key=key).get_federation_token(Name="bob", Policy=allowing(*PULL))
    found = made["Credentials"]
    session = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    assert pair.right.client("sts", key=session).get_caller_identity()["Arn"].endswith(":federated-user/bob")
    token = authorization(pair.right.client(key=session))
    assert Registry(pair.left, token, "two/tokens").call("GET", "/manifests/v1").status == 200


def test_a_changed_policy_counts_at_the_others_very_next_request(pair: Pair) -> None:
    left, _ = pair.registries("two/policies")
    left.push(SmallImage.named("policies"), "v1")
    key = pair.user("reader", *PULL)
    reader = Registry(pair.right, authorization(pair.right.client(key=key)), "two/policies")
    iam = pair.left.client("iam")
    for _ in range(5):
        assert reader.call("GET", "/manifests/v1").status == 200
        iam.delete_user_policy(UserName="reader", PolicyName="own")
        assert reader.call("GET", "/manifests/v1").status == 403
        iam.put_user_policy(UserName="reader", PolicyName="own", PolicyDocument=allowing(*PULL))
    assert reader.call("GET", "/manifests/v1").status == 200
    denial = {"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}
    pair.left.client().set_repository_policy(
        repositoryName="two/policies", policyText=json.dumps({"Version": "2012-10-17", "Statement": denial})
    )
    assert reader.call("GET", "/manifests/v1").status == 403


def test_a_key_that_is_turned_off_counts_at_the_others_very_next_request(pair: Pair) -> None:
    left, _ = pair.registries("two/keys")
    left.push(SmallImage.named("keys"), "v1")
    key = pair.user("locked", *PULL)
    there = pair.right.client(key=key)
    reader = Registry(pair.right, authorization(there), "two/keys")
    iam = pair.left.client("iam")
    for _ in range(3):
        assert reader.call("GET", "/manifests/v1").status == 200
        iam.update_access_key(UserName="locked", AccessKeyId=key[0], Status="Inactive")
        assert reader.call("GET", "/manifests/v1").status == 401
        assert code_of(there.get_authorization_token) == "UnrecognizedClientException"
        iam.update_access_key(UserName="locked", AccessKeyId=key[0], Status="Active")


def test_the_state_of_a_kms_key_counts_at_the_others_very_next_request(pair: Pair) -> None:
    kms, there = pair.left.client("kms"), pair.right.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    ecr = pair.left.client()
    ecr.create_repository(
        repositoryName="two/sealed", encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key_id}
    )
    token = authorization(ecr)
    left, right = (Registry(side, token, "two/sealed") for side in (pair.left, pair.right))
    image = SmallImage.named("sealed")
    left.push(image, "v1")
    paths = ("/manifests/v1", f"/blobs/{digest_of(image.layer)}")
    for _ in range(5):
        for path in paths:
            assert right.call("GET", path).status == 200
        kms.disable_key(KeyId=key_id)
        for path in paths:
            assert right.call("GET", path).status in {400, 403}
        assert code_of(lambda: there.encrypt(KeyId=key_id, Plaintext=b"x")) == "DisabledException"
        kms.enable_key(KeyId=key_id)
    assert right.call("GET", paths[1]).body == image.layer


def test_a_repository_that_is_deleted_and_made_again_is_another_one_at_both(pair: Pair) -> None:
    left, right = pair.registries("two/again")
    image = SmallImage.named("again")
    left.push(image, "v1")
    assert right.call("GET", "/manifests/v1").status == 200
    pair.left.client().delete_repository(repositoryName="two/again", force=True)
    assert right.call("GET", "/manifests/v1").status == 404
    assert code_of(lambda: pair.right.client().describe_images(repositoryName="two/again")) == (
        "RepositoryNotFoundException"
    )
    pair.right.client().create_repository(repositoryName="two/again", imageTagMutability="IMMUTABLE")
    for side in (left, right):
        assert side.call("GET", "/manifests/v1").status == 404
        assert side.call("GET", f"/blobs/{digest_of(image.layer)}").status == 404
    left.push(image, "v1")
    answer = right.call("PUT", "/manifests/v1", image.manifest(annotations={"a": "b"}))
    assert error_of(answer)[1] == "TAG_INVALID"


def test_an_account_that_the_operator_makes_at_one_server_is_known_to_both(pair: Pair) -> None:
    made = openecr(pair.left.server, "accounts", "create", "222233334444", "--json")
    key = (made["access_key_id"], made["secret_access_key"])
    assert pair.right.client("sts", key=key).get_caller_identity()["Account"] == "222233334444"
    other = openecr(pair.right.server, "accounts", "rotate-key", "222233334444", "--json")
    assert code_of(pair.left.client("sts", key=key).get_caller_identity) == "InvalidClientTokenId"
    key = (other["access_key_id"], other["secret_access_key"])
    assert pair.left.client("sts", key=key).get_caller_identity()["Account"] == "222233334444"


def test_the_trail_and_the_explanations_of_both_are_one(pair: Pair) -> None:
    pair.registries("two/told")
    stranger = pair.user("curious", "ecr:GetAuthorizationToken")
    pair.right.client().describe_images(repositoryName="two/told")
    token = authorization(pair.left.client(key=stranger))
    denied = Registry(pair.right, token, "two/told").call("GET", "/manifests/v1")
    assert denied.status == 403
    wanted = {"CreateRepository", "DescribeImages", "BatchGetImage"}

    def told(side: WireDriver) -> dict[str, Any]:
        events = lines_of(side.server, "audit", "--repository", "two/told", "--json")
        return {event["eventName"]: event for event in events}

    deadline = time.monotonic() + _TRAIL_SECONDS
    while not all(wanted <= set(told(side)) for side in (pair.left, pair.right)):
        assert time.monotonic() < deadline, (told(pair.left), told(pair.right))
    request_id = told(pair.left)["BatchGetImage"]["requestID"]
    explained = openecr(pair.left.server, "explain", "--request", request_id, "--json")
    assert explained["action"] == "ecr:BatchGetImage"
    assert explained["resource"] == f"{_REPOSITORY_ARN}/two/told"


def lines_of(server: RunningServer, *arguments: str) -> list[Any]:
    """Run an operator's command beside a server; what it prints, a document each line."""
    command = [sys.executable, "-m", "openecr", *arguments, "--data", str(server.data)]
    told = subprocess.check_output(command, env=plain_environment(), timeout=60)
    return [json.loads(line) for line in told.splitlines()]


def openecr(server: RunningServer, *arguments: str) -> Any:
    """Run an operator's command that prints one document."""
    (document,) = lines_of(server, *arguments)
    return document


def test_a_server_of_other_keys_is_turned_away(pair: Pair, tmp_path: Path) -> None:
    settings = pair.left.server.settings
    for keys, told in (
        ({}, "the master key is missing"),
        ({"OPENECR_MASTER_KEYS": f"1:{'0' * 64}"}, "do not open"),
    ):
        environment = {**plain_environment(), **settings, "OPENECR_KEYS": str(tmp_path / "keys"), **keys}
        command = [sys.executable, "-m", "openecr", "serve", "--data", str(tmp_path / "data")]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert told in done.stderr.splitlines()[-1]
