"""A server with an issuer beside it, and what stories about temporary credentials are told with."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from botocore.exceptions import ClientError

from tests.issuers import AUDIENCE, Issuer, running_issuer
from tests.running import plain_environment, running_server
from tests.scenario.drivers import ACCOUNT, Driver, WireDriver, in_process_driver, variables
from tests.scenario.storages import SETUPS, Flags, Setup, Storages

OTHER = "999999999999"
LOOPBACK = "127.0.0.0/8"
CONFLICT = (
    "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
    "calling session."
)
EVERYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@dataclass(slots=True)
class House:
    """A server, an issuer that it may ask, and clients of IAM for the roots of two accounts."""

    driver: Driver
    issuer: Issuer
    roots: Mapping[str, Any]
    roles: int = 0

    def role(
        self,
        trust: object,
        *,
        policy: object = EVERYTHING,
        account_id: str = ACCOUNT,
        path: str = "/",
        max_seconds: int = 3600,
    ) -> str:
        """Make a role, and return its ARN. `trust`: the statements of its trust policy."""
        self.roles += 1
        name, iam = f"role{self.roles}", self.roots[account_id]
        made = iam.create_role(
            RoleName=name,
            Path=path,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust}),
            MaxSessionDuration=max_seconds,
        )
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        arn: str = made["Role"]["Arn"]
        return arn

    def remove_role(self, arn: str) -> None:
        """Take a role away."""
        name, iam = arn.rpartition("/")[2], self.roots[ACCOUNT]
        iam.delete_role_policy(RoleName=name, PolicyName="all")
        iam.delete_role(RoleName=name)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    folder = tmp_path_factory.mktemp("issuer")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_issuer(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="module", params=SETUPS, ids=str)
def house(
    request: pytest.FixtureRequest,
    storages: Storages,
    tmp_path_factory: pytest.TempPathFactory,
    issuer: Issuer,
) -> Iterator[House]:
    with storages.opened(request.param.storage) as storage:
        yield from opened_house(request.param, storage, tmp_path_factory.mktemp("sts"), issuer)


def opened_house(setup: Setup, storage: Flags, folder: Path, issuer: Issuer) -> Iterator[House]:
    """Run a server that trusts the issuer, and put in what every story wants."""
    if setup.reach == "in process":
        flags = {
            **storage,
            "oidc_issuers": (issuer.url,),
            "oidc_ca_file": str(issuer.ca_file),
            "oidc_private_networks": (LOOPBACK,),
        }
        with in_process_driver(folder, flags=flags) as driver:
            other = driver.call(driver.server.parts.accounts.create, OTHER)
            yield settled(driver, issuer, (other.access_key_id, other.secret))
    else:
        options = ["--oidc-issuer", issuer.url, "--oidc-ca-file", str(issuer.ca_file)]
        options += ["--oidc-private-network", LOOPBACK]
        with running_server(folder, options=options, settings=variables(storage)) as server:
            command = [sys.executable, "-m", "openecr", "accounts", "create", OTHER, "--json"]
            told = subprocess.check_output([*command, "--data", str(server.data)], env=plain_environment())
            key = json.loads(told)
            yield settled(WireDriver(server), issuer, (key["access_key_id"], key["secret_access_key"]))


def settled(driver: Driver, issuer: Issuer, other: tuple[str, str]) -> House:
    """Put in what every story wants: an identity provider and a repository."""
    roots = {ACCOUNT: driver.client("iam"), OTHER: driver.client("iam", key=other)}
    roots[ACCOUNT].create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=[AUDIENCE, "other"], ThumbprintList=["0" * 40]
    )
    driver.client().create_repository(repositoryName="app")
    return House(driver, issuer, roots)


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
