"""Master keys that an external KMS holds: while that refuses one, nothing is served, whatever was opened before."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openecr.adapters.keys import AwsKms, KmsOptions, TrustedKeyRing, add_master_key
from openecr.application.master_keys import MasterKeys
from openecr.domain.errors import CannotStart
from tests.external_kms import ExternalKms, external_kms
from tests.running import REGION, RunningServer, eventually, plain_environment, running_server
from tests.scenario.drivers import ACCOUNT, InProcessDriver, authorization, in_process_driver, variables
from tests.scenario.images import Registry, SmallImage, digest_of
from tests.scenario.kms_keys import refused
from tests.scenario.storages import Flags, Storages

_TRUSTED = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
TRUST = {"Version": "2012-10-17", "Statement": _TRUSTED}
ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalKms]:
    with (
        external_kms(tmp_path_factory.mktemp("external")) as external,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in external.credentials().items():
            environment.setenv(name, value)
        yield external


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def storage(request: pytest.FixtureRequest, storages: Storages) -> Iterator[Flags]:
    with storages.opened(request.param) as flags:
        yield flags


class Site:
    """A server under an external key, with an image in a repository of each kind."""

    def __init__(self, driver: InProcessDriver) -> None:
        self.driver = driver
        self.ecr = driver.client()
        self.image = SmallImage.named("an image under an external key")
        self.registries: list[Registry] = []
        for name, kind in (("plain", "AES256"), ("keyed", "KMS")):
            self.ecr.create_repository(repositoryName=name, encryptionConfiguration={"encryptionType": kind})
            registry = Registry(driver, authorization(self.ecr), name)
            registry.push(self.image, "v1")
            self.registries.append(registry)
        self.session = self._session()

    def _session(self) -> Any:
        """A client with temporary credentials, whose session token is opened once and kept."""
        iam = self.driver.client("iam")
        iam.create_role(RoleName="ci", AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.put_role_policy(RoleName="ci", PolicyName="all", PolicyDocument=json.dumps(ALL))
        user = iam.create_user(UserName="ann")["User"]
        iam.put_user_policy(UserName=user["UserName"], PolicyName="all", PolicyDocument=json.dumps(ALL))
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        anns = self.driver.client("sts", key=(key["AccessKeyId"], key["SecretAccessKey"]))
        found = anns.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/ci", RoleSessionName="build")[
            "Credentials"
        ]
        parts = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
        return self.driver.client(key=parts)

    def urls(self) -> list[str]:
        """Download URLs of the layer in each repository."""
        digest = digest_of(self.image.layer)
        return [
            self.ecr.get_download_url_for_layer(repositoryName=each.repository, layerDigest=digest)[
                "downloadUrl"
            ].partition("localhost:5050")[2]
            for each in self.registries
        ]

    def statuses(self, urls: list[str]) -> set[int]:
        """The statuses of every way to something that a key opens."""
        found = {self.driver.http("GET", url).status for url in urls}
        for registry in self.registries:
            found.add(registry.call("GET", "/manifests/v1").status)
            found.add(registry.call("HEAD", "/manifests/v1").status)
            found.update(
                registry.call("GET", f"/blobs/{digest_of(each)}").status
                for each in (self.image.config, self.image.layer)
            )
        for client in (self.ecr, self.session):
            found.add(_status(client.describe_repositories))
            found.add(_status(client.batch_get_image, repositoryName="keyed", imageIds=[{"imageTag": "v1"}]))
        found.add(self.driver.http("GET", "/readyz").status)
        return found

    def look(self, seconds: int) -> None:
        """Let time pass, and the KMS be asked."""
        self.driver.server.clock.move(seconds=seconds)
        master_keys = self.driver.server.parts.master_keys
        assert master_keys is not None
        self.driver.call(master_keys.look)


def _status(call: Callable[..., Any], **given: Any) -> int:
    try:
        answer = call(**given)
    except ClientError as error:
        answer = error.response
    status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
    return status


def test_a_key_that_is_disabled_closes_everything_and_opens_it_again(
    kms: ExternalKms, storage: Flags, tmp_path: Path
) -> None:
    key = kms.make_key()
    with in_process_driver(tmp_path, flags={**storage, **kms.flags(key)}) as driver:
        site = Site(driver)
        urls = site.urls()
        assert site.statuses(urls) == {200}
        assert not (tmp_path / "keys").exists()

        kms.client.disable_key(KeyId=key)
        site.look(seconds=4)
        assert site.statuses(urls) == {200}  # it is not asked for each request
        site.look(seconds=1)

        assert site.statuses(urls) == {500, 503}
        answer = site.registries[0].call("GET", "/manifests/v1")
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (503, "UNAVAILABLE")
        assert refused(site.ecr.describe_repositories)[0] == "ServerException"

        kms.client.enable_key(KeyId=key)
        site.look(seconds=5)
        assert site.statuses(urls) == {200}


def test_a_master_key_that_was_never_open_here_closes_nothing(
    kms: ExternalKms, storage: Flags, tmp_path: Path
) -> None:
    """A server with another key of the KMS has added one: those that are not told of that key yet go on without it."""
    key, other = kms.make_key(), kms.make_key()
    flags = {**storage, **kms.flags(key)}
    with in_process_driver(tmp_path, flags=flags) as driver:
        site = Site(driver)
        urls = site.urls()
        assert driver.call(_beside(driver, kms, other, key).add) == 2

        site.look(seconds=5)

        assert site.statuses(urls) == {200}
        assert driver.server.parts.keys.numbers == (1,)
        kms.client.disable_key(KeyId=key)
        site.look(seconds=5)
        assert site.statuses(urls) == {500, 503}
        kms.client.enable_key(KeyId=key)
        site.look(seconds=5)
        assert site.statuses(urls) == {200}
    with pytest.raises(CannotStart, match="IncorrectKeyException"), in_process_driver(tmp_path, flags=flags):
        pass
    with in_process_driver(tmp_path, flags={**storage, **kms.flags(key, other)}) as driver:
        assert driver.server.parts.keys.numbers == (1, 2)


def _beside(driver: InProcessDriver, kms: ExternalKms, *keys: str) -> MasterKeys:
    """The master keys of the same database as another server sees them."""
    clock = driver.server.clock
    return MasterKeys(
        database=driver.server.parts.scrubbing._database,
        service=AwsKms(KmsOptions(key_ids=keys, endpoint=kms.server.url, region=REGION)),
        ring=TrustedKeyRing(clock=clock),
        clock=clock,
        check_seconds=5,
        trust_seconds=60,
        older={},
    )


def test_a_kms_that_is_out_of_reach_is_trusted_for_a_while_and_no_longer(
    kms: ExternalKms, tmp_path: Path
) -> None:
    with in_process_driver(tmp_path, flags=kms.flags(kms.make_key())) as driver:
        site = Site(driver)
        urls = site.urls()
        kms.server.stop()
        try:
            site.look(seconds=10)
            assert site.statuses(urls) == {200}
            driver.server.clock.move(seconds=49)
            assert site.statuses(urls) == {200}
            driver.server.clock.move(seconds=1)  # nobody has looked since: the ring sees to it itself
            assert site.statuses(urls) == {500, 503}
            site.look(seconds=5)
            assert site.statuses(urls) == {500, 503}
        finally:
            kms.server.restart()
        site.look(seconds=5)
        assert site.statuses(urls) == {200}


def test_a_start_is_refused_in_a_sentence(kms: ExternalKms, tmp_path: Path) -> None:
    key, other = kms.make_key(), kms.make_key()
    with in_process_driver(tmp_path / "data", flags=kms.flags(key)) as driver:
        ecr = driver.client()
        ecr.create_repository(repositoryName="kept")

    def start(**flags: Any) -> None:
        with in_process_driver(tmp_path / "data", flags=flags):
            pass

    with pytest.raises(CannotStart, match=r"does not let the master keys be used.*IncorrectKeyException"):
        start(**kms.flags(other))
    with pytest.raises(CannotStart, match="no master key 7"):
        start(**kms.flags(key), sealing_key="7")
    with pytest.raises(CannotStart, match="--keys-kms-key"):
        start()
    away = {**kms.flags(key), "keys_kms_endpoint": "http://127.0.0.1:1"}
    with pytest.raises(CannotStart, match="cannot be reached"):
        start(**away)
    with pytest.raises(CannotStart, match=r"cannot read .*kms_ca_file"):
        start(**kms.flags(key), keys_kms_ca_file=str(tmp_path / "none.pem"))
    kms.client.disable_key(KeyId=key)
    with pytest.raises(CannotStart, match="DisabledException"):
        start(**kms.flags(key))
    kms.client.enable_key(KeyId=key)
    with in_process_driver(tmp_path / "data", flags=kms.flags(other, key)) as driver:
        assert driver.client().describe_repositories()["repositories"][0]["repositoryName"] == "kept"
    with in_process_driver(tmp_path / "folder"):
        pass
    with (
        pytest.raises(CannotStart, match="other master keys than an external KMS's"),
        in_process_driver(tmp_path / "folder", flags=kms.flags(key)),
    ):
        pass


def test_a_first_start_that_was_refused_leaves_a_folder_that_may_have_keys_of_its_own(
    kms: ExternalKms, tmp_path: Path
) -> None:
    """Nothing is sealed in it yet; once something is, keys that are gone are missed."""
    away = {**kms.flags(kms.make_key()), "keys_kms_endpoint": "http://127.0.0.1:1"}

    def start(flags: Flags) -> None:
        with in_process_driver(tmp_path / "data", flags=flags):
            pass

    with pytest.raises(CannotStart, match="cannot be reached"):
        start(away)
    start({})
    for file in (tmp_path / "data" / "keys").iterdir():
        file.unlink()
    with pytest.raises(CannotStart, match="the master key is missing"):
        start({})


@pytest.mark.timeout(300)  # it starts many programs, which a busy machine takes long for
def test_a_program_whose_key_is_refused_says_so_in_one_line_and_a_running_one_is_not_ready(
    kms: ExternalKms, tmp_path: Path
) -> None:
    key = kms.make_key()
    settings = variables({**kms.flags(), "keys_kms_check_seconds": "1"}) | kms.credentials()
    settings["OPENECR_KEYS_KMS_KEYS"] = key
    with running_server(tmp_path, settings=settings) as server:
        assert server.client().describe_repositories()["repositories"] == []
        assert _cli(server, "keys", "add") == f"master key 2, a data key of {key}\n"
        eventually(lambda: "master key 2 opens: 0 rows" in _cli(server, "keys", "status"))
        kms.client.disable_key(KeyId=key)
        eventually(lambda: _ready(server.connection()) == 503)
        kms.client.enable_key(KeyId=key)
        eventually(lambda: _ready(server.connection()) == 200)
        assert server.client().describe_repositories()["repositories"] == []
        server.stop()
        added = _cli(server, "keys", "add", **settings)
        assert added == f"master key 3, a data key of {key}\n"
        server.restart()
        assert _cli(server, "keys", "rewrap").endswith("sealed anew under master key 3, 0 unopened\n")
    assert "Traceback" not in server.log_tail()
    assert "the key ring is closed" in server.log_tail()


def _cli(server: RunningServer, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", "openecr", *arguments, "--data", str(server.data)]
    return subprocess.check_output(command, env=plain_environment() | variables, text=True, timeout=120)


def _ready(connection: Any) -> int:
    connection.request("GET", "/readyz")
    status: int = connection.getresponse().status
    connection.close()
    return status


def test_a_folder_of_master_keys_is_left_behind_for_an_external_kms(
    kms: ExternalKms, storage: Flags, tmp_path: Path
) -> None:
    data, folder = tmp_path / "data", tmp_path / "data" / "keys"
    with in_process_driver(data, flags=storage) as driver:
        site = Site(driver)
    flags = {**storage, **kms.flags(kms.make_key())}
    with in_process_driver(data, flags={**flags, "keys_old": str(folder)}) as driver:
        assert driver.server.parts.keys.numbers == (1, 2)
        assert driver.server.parts.keys.sealing_number == 2
        rewrapping = driver.server.parts.rewrapping
        report = driver.call(rewrapping.resumed, {})
        while driver.call(rewrapping.step, report):
            pass
        assert report.rewrapped > 0
    for path in folder.iterdir():
        path.unlink()
    with in_process_driver(data, flags=flags) as driver:
        assert driver.server.parts.keys.numbers == (2,)
        for name in ("plain", "keyed"):
            registry = Registry(driver, authorization(driver.client()), name)
            assert registry.call("GET", f"/blobs/{digest_of(site.image.layer)}").body == site.image.layer


def _folder_of(keys: Path, *numbers: int) -> str:
    """Make a folder with some of the keys of another one."""
    folder = keys.with_name("-".join(("old", *map(str, numbers))))
    folder.mkdir()
    for number in numbers:
        shutil.copy2(keys / f"master-{number:06}.key", folder)
    return str(folder)


def test_a_number_that_a_folder_has_used_is_not_drawn_again_where_its_key_is_missing(
    kms: ExternalKms, storage: Flags, tmp_path: Path
) -> None:
    """The folder that is given is of before the last rotation: the right one opens the rest, whenever it is given."""
    data, keys = tmp_path / "data", tmp_path / "data" / "keys"
    with in_process_driver(data, flags=storage):
        pass
    add_master_key(keys)
    with in_process_driver(data, flags=storage) as driver:
        assert driver.server.parts.keys.numbers == (1, 2)
    flags = {**storage, **kms.flags(kms.make_key())}

    with in_process_driver(data, flags={**flags, "keys_old": _folder_of(keys, 1)}) as driver:
        assert driver.server.parts.keys.numbers == (1, 3)
    with in_process_driver(data, flags={**flags, "keys_old": _folder_of(keys, 1, 2)}) as driver:
        assert driver.server.parts.keys.numbers == (1, 2, 3)


def test_a_wrong_folder_of_old_keys_is_refused_before_a_key_is_drawn(
    kms: ExternalKms, storage: Flags, tmp_path: Path
) -> None:
    data, keys, wrong = tmp_path / "data", tmp_path / "data" / "keys", tmp_path / "wrong"
    with in_process_driver(data, flags=storage):
        pass
    add_master_key(keys)
    with in_process_driver(data, flags=storage):
        pass
    wrong.mkdir()
    shutil.copy2(keys / "master-000001.key", wrong)
    add_master_key(wrong)

    for told in ("master key 2 is not the one", "do not open what the database holds"):
        flags = {**storage, **kms.flags(kms.make_key()), "keys_old": str(wrong)}
        with pytest.raises(CannotStart, match=told), in_process_driver(data, flags=flags):
            pass
        (wrong / "master-000001.key").unlink(missing_ok=True)

    with in_process_driver(data, flags=storage) as driver:
        assert driver.server.parts.keys.numbers == (1, 2)
