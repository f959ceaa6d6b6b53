"""A server with an issuer beside it, and what stories about temporary credentials are told with."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from botocore.exceptions import ClientError

from tests.issuers import AUDIENCE, Issuer, running_issuer
from tests.scenario.drivers import ACCOUNT, Driver, in_process_driver

OTHER = "999999999999"
LOOPBACK = "127.0.0.0/8"
CONFLICT = (
    "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
    "calling session."
)
EVERYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@dataclass(slots=True)
class House:
    """A server, an issuer that it may ask, and its database, into which roles are put."""

    driver: Driver
    database: Path
    issuer: Issuer
    roles: int = 0

    def role(
        self,
        trust: object,
        *,
        policy: object = EVERYTHING,
        account_id: str = ACCOUNT,
        path: str = "/",
        max_seconds: int = 3600,
        tags: tuple[tuple[str, str], ...] = (),
    ) -> str:
        """Put a role in, and return its ARN. `trust`: a document's statements."""
        self.roles += 1
        name, role_id = f"role{self.roles}", f"AROA{self.roles:017}".replace("0", "A").replace("1", "B")
        document = json.dumps({"Version": "2012-10-17", "Statement": trust})
        self.run(
            "INSERT INTO principals (id, account_id, kind, name, name_key, path, created_at, trust_policy, "
            "trust_principals, max_session_seconds) VALUES (?, ?, 'role', ?, ?, ?, 0, ?, '{}', ?)",
            (role_id, account_id, name, name, path, document, max_seconds),
        )
        self.run("INSERT INTO inline_policies VALUES (?, 'all', ?)", (role_id, json.dumps(policy)))
        for key, value in tags:
            self.run("INSERT INTO iam_tags VALUES (?, ?, ?, ?)", (role_id, key.lower(), key, value))
        self.changed(account_id)
        return f"arn:aws:iam::{account_id}:role{path}{name}"

    def remove_role(self, arn: str) -> None:
        """Take a role away."""
        name = arn.rpartition("/")[2]
        self.run(
            "DELETE FROM inline_policies WHERE principal_id = (SELECT id FROM principals WHERE name = ?)",
            (name,),
        )
        self.run("DELETE FROM principals WHERE name = ?", (name,))
        self.changed(ACCOUNT)

    def changed(self, account_id: str) -> None:
        """Tell every cache."""
        self.run(
            "UPDATE accounts SET authorization_epoch = authorization_epoch + 1 WHERE account_id = ?",
            (account_id,),
        )

    def run(self, statement: str, parameters: tuple[object, ...]) -> None:
        """Change the database beside the server."""
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement, parameters)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    folder = tmp_path_factory.mktemp("issuer")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_issuer(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("sts")
    flags = {
        "oidc_issuers": (issuer.url,),
        "oidc_ca_file": str(issuer.ca_file),
        "oidc_private_networks": (LOOPBACK,),
    }
    with in_process_driver(folder, flags=flags) as driver:
        yield settled(House(driver, folder / "metadata.sqlite", issuer))


def settled(house: House) -> House:
    """Put in what every test wants: another account, an identity provider, a repository."""
    house.run("INSERT INTO accounts (account_id, created_at) VALUES (?, 0)", (OTHER,))
    house.run(
        "INSERT INTO oidc_providers VALUES (?, ?, ?, '[]', 0)",
        (ACCOUNT, house.issuer.provider, json.dumps([AUDIENCE, "other"])),
    )
    house.driver.client().create_repository(repositoryName="app")
    return house


@dataclass(frozen=True, slots=True)
class User:
    """A user with a key."""

    arn: str
    key: tuple[str, str]
    remove_key: Callable[[], None]


@pytest.fixture
def user(house: House) -> Iterator[User]:
    """Ana, who may do nothing yet."""
    iam = house.driver.client("iam")
    arn = iam.create_user(UserName="ana")["User"]["Arn"]
    made = iam.create_access_key(UserName="ana")["AccessKey"]
    key_id = made["AccessKeyId"]
    yield User(
        arn,
        (key_id, made["SecretAccessKey"]),
        lambda: iam.delete_access_key(UserName="ana", AccessKeyId=key_id),
    )
    for each in iam.list_access_keys(UserName="ana")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="ana", AccessKeyId=each["AccessKeyId"])
    for name in iam.list_user_policies(UserName="ana")["PolicyNames"]:
        iam.delete_user_policy(UserName="ana", PolicyName=name)
    iam.delete_user(UserName="ana")


def allow(house: House, action: str | list[str], resource: str = "*") -> None:
    """Let Ana do something."""
    document = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": action, "Resource": resource},
    }
    house.driver.client("iam").put_user_policy(
        UserName="ana", PolicyName="allowed", PolicyDocument=json.dumps(document)
    )


def trusts(
    principal: object, *, actions: object = "sts:AssumeRole", **condition: object
) -> dict[str, object]:
    statement: dict[str, object] = {"Effect": "Allow", "Principal": principal, "Action": actions}
    return statement | ({"Condition": condition} if condition else {})


def key_of(answer: Any) -> tuple[str, ...]:
    made = answer["Credentials"]
    return made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, int, str]:
    """What a client is told: code, status and sentence."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    told: Any = error.value.response
    return told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Message"]


def denied(caller: str, action: str, resource: str) -> tuple[str, int, str]:
    return (
        "AccessDenied",
        403,
        f"User: {caller} is not authorized to perform: {action} on resource: {resource}",
    )


def allowing(*actions: str) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": actions, "Resource": "*"}}
