"""What stories about keys are told with."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openecr.domain.callers import RequestContext
from openecr.domain.kms_errors import KmsFailed
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository
from openecr.store import repositories
from tests.running import plain_environment, running_server
from tests.scenario.drivers import (
    ACCOUNT,
    REGION,
    Driver,
    InProcessDriver,
    WireDriver,
    in_process_driver,
    variables,
)
from tests.scenario.storages import Setup, Storages

OTHER = "999999999999"
CONTEXT = {"team": "build"}


@dataclass(slots=True)
class KeyHouse:
    """A server, and clients of the roots of two accounts."""

    driver: Driver
    keys: Mapping[str, tuple[str, str]]
    users: int = 0
    clients: dict[tuple[str, tuple[str, ...]], Any] = field(
        default_factory=dict[tuple[str, tuple[str, ...]], Any]
    )

    @property
    def inside(self) -> InProcessDriver:
        """The driver of a server in this process."""
        assert isinstance(self.driver, InProcessDriver)
        return self.driver

    def client(self, service: str, key: tuple[str, ...]) -> Any:
        """Return a client, made once: botocore takes its time to make one."""
        found = self.clients.get((service, key))
        if found is None:
            found = self.clients[service, key] = self.driver.client(service, key=key)
        return found

    def root(self, service: str = "kms", account_id: str = ACCOUNT) -> Any:
        """Return a client of an account's root."""
        return self.client(service, self.keys[account_id])

    def user(self, *statements: Mapping[str, Any], account_id: str = ACCOUNT) -> "KeyUser":
        """Make a user with a policy of its own."""
        self.users += 1
        name, iam = f"user{self.users}", self.root("iam", account_id)
        arn: str = iam.create_user(UserName=name)["User"]["Arn"]
        user = KeyUser(house=self, name=name, arn=arn, account_id=account_id)
        if statements:
            user.may(*statements)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        user.key = (made["AccessKeyId"], made["SecretAccessKey"])
        return user

    def key(self, *statements: Mapping[str, Any], account_id: str = ACCOUNT, **more: Any) -> str:
        """Make a key, and return its ARN. With statements its policy is made of them alone."""
        if statements:
            more |= {"Policy": document(*statements), "BypassPolicyLockoutSafetyCheck": True}
        arn: str = self.root(account_id=account_id).create_key(**more)["KeyMetadata"]["Arn"]
        return arn

    def put_policy(self, key: str, *statements: Mapping[str, Any]) -> None:
        """Replace a key's policy."""
        self.root().put_key_policy(KeyId=key, Policy=document(*statements))


@dataclass(slots=True)
class KeyUser:
    """A user of an account."""

    house: KeyHouse
    name: str
    arn: str
    account_id: str
    key: tuple[str, ...] = ()

    def may(self, *statements: Mapping[str, Any]) -> None:
        """Replace the user's policy."""
        self.house.root("iam", self.account_id).put_user_policy(
            UserName=self.name, PolicyName="own", PolicyDocument=document(*statements)
        )

    def client(self, service: str = "kms") -> Any:
        """Return a client of the user."""
        return self.house.client(service, self.key)


def allow(*actions: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def deny(*actions: str, **more: Any) -> dict[str, Any]:
    """A statement that denies."""
    return {**allow(*actions, **more), "Effect": "Deny"}


def account(account_id: str = ACCOUNT) -> dict[str, str]:
    """The principal that is a whole account."""
    return {"AWS": f"arn:aws:iam::{account_id}:root"}


def document(*statements: Mapping[str, Any]) -> str:
    """A policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def refused(call: Callable[..., Any], **given: Any) -> tuple[str, str]:
    """Call, and return the code and message of the error that comes of it; empty where none does."""
    try:
        call(**given)
    except ClientError as error:
        told = error.response["Error"]
        return told.get("Code", ""), told.get("Message", "")
    return "", ""


IN_PROCESS = "in process"
SETUPS_OF_KEYS = [
    Setup(IN_PROCESS, "SQLite"),
    Setup(IN_PROCESS, "PostgreSQL"),
    Setup("over the wire", "SQLite"),
]


@pytest.fixture(scope="module", params=SETUPS_OF_KEYS, ids=str)
def keys(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyHouse]:
    """A server of its own for each file of stories, with two accounts."""
    with _house(request.param, storages, tmp_path_factory.mktemp("keys")) as house:
        yield house


@pytest.fixture(
    scope="module", params=[setup for setup in SETUPS_OF_KEYS if setup.reach == IN_PROCESS], ids=str
)
def open_house(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyHouse]:
    """The same in this process alone: for stories that look inside, or move the clock."""
    with _house(request.param, storages, tmp_path_factory.mktemp("keys")) as house:
        yield house


@contextmanager
def _house(setup: Setup, storages: Storages, folder: Path) -> Iterator[KeyHouse]:
    with storages.opened(setup.storage) as flags:
        if setup.reach == IN_PROCESS:
            with in_process_driver(folder, regions=("us-east-1", "eu-west-1"), flags=flags) as driver:
                other = driver.call(driver.server.parts.accounts.create, OTHER)
                roots = {ACCOUNT: driver.server.root_key, OTHER: (other.access_key_id, other.secret)}
                yield KeyHouse(driver, roots)
            return
        options = ["--region", "us-east-1", "--region", "eu-west-1"]
        with running_server(folder, options=options, settings=variables(flags)) as server:
            command = [sys.executable, "-m", "openecr", "accounts", "create", OTHER, "--json"]
            told = subprocess.check_output([*command, "--data", str(server.data)], env=plain_environment())
            made, env = json.loads(told), server.environment()
            roots = {
                ACCOUNT: (env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]),
                OTHER: (made["access_key_id"], made["secret_access_key"]),
            }
            yield KeyHouse(WireDriver(server), roots)


class OwnUse:
    """What ECR does with the key of a repository, in this process."""

    def __init__(self, driver: InProcessDriver, name: str) -> None:
        self._driver = driver
        self._keys = driver.server.parts.kms.repository_keys
        self._database = driver.server.parts.scrubbing._database
        registry = RegistryId(account_id=ACCOUNT, region=REGION)
        found = driver.call(
            self._database.read, lambda connection: repositories.find(connection, registry, name)
        )
        assert found is not None
        self.repository: Repository = found
        self._context = RequestContext(
            requested_at=driver.server.clock.now(),
            request_id="pull",
            region=REGION,
            source_address="127.0.0.1",
            is_secure_transport=True,
            user_agent="",
        )

    def sealed(self) -> bytes:
        """Return the repository's own key as CreateRepository has encrypted it."""
        sealed: bytes | None = self._driver.call(
            self._database.read,
            lambda connection: repositories.find_sealed_key(connection, self.repository),
        )
        assert sealed is not None
        return sealed

    def opened(self, blob: bytes) -> bytes:
        """Decrypt."""
        return self._driver.call(self._keys.open, self.repository, self._context, blob)

    def failure(self, blob: bytes) -> str:
        """Return KMS's code where it cannot be decrypted."""
        with pytest.raises(KmsFailed) as raised:
            self.opened(blob)
        if raised.value.kms_error != "InvalidCiphertextException":
            with pytest.raises(KmsFailed):
                self._driver.call(self._keys.check, self.repository, self._context)
        return raised.value.kms_error
