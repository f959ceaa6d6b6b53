"""Who asks in the matrix, and what he may: by tables and one rule each, never by the policy engine."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.contract.cities import ACCOUNT, STRANGER, City, Person, arn_of, logged_in, policy

OPEN, SHARED, PROD, MISSING = "open", "shared", "prod", "missing"
REPOSITORIES = (OPEN, SHARED, PROD, MISSING)
EVERY_REPOSITORY = "*"
PULL = frozenset({"BatchGetImage", "GetDownloadUrlForLayer"})
READ = PULL | {"BatchCheckLayerAvailability", "DescribeImages", "DescribeRepositories", "ListImages"}
UPLOAD = frozenset({"InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"})
EVERYTHING = (
    READ
    | UPLOAD
    | {"PutImage", "BatchDeleteImage", "TagResource", "UntagResource", "ListTagsForResource"}
    | {"GetRepositoryPolicy", "SetRepositoryPolicy", "DeleteRepositoryPolicy"}
    | {"PutImageTagMutability", "PutImageScanningConfiguration", "CreateRepository", "DeleteRepository"}
)

May = Callable[[str, str], bool]
"""Tells whether an action on a repository is allowed."""

Kind = Callable[[City, Person], Awaitable[Person]]
"""Makes a person of one kind, with the help of the root of the repositories' account."""


def statement(actions: frozenset[str] | set[str], **more: Any) -> dict[str, Any]:
    """A statement of an identity policy."""
    return {"Effect": "Allow", "Action": sorted(f"ecr:{each}" for each in actions), "Resource": "*", **more}


async def temporary(city: City, credentials: Mapping[str, str]) -> Person:
    """Whoever has these credentials of STS."""
    key = (credentials["AccessKeyId"], credentials["SecretAccessKey"])
    return await logged_in(Person(city=city, key=key, session_token=credentials["SessionToken"]))


async def root(city: City, owner: Person) -> Person:
    return owner


async def nobody(city: City, owner: Person) -> Person:
    return await city.user(owner, "nobody")


async def puller(city: City, owner: Person) -> Person:
    return await city.user(owner, "puller", statement(PULL))


async def reader(city: City, owner: Person) -> Person:
    return await city.user(owner, "reader", statement(READ))


async def builder(city: City, owner: Person) -> Person:
    return await city.user(owner, "builder", statement(READ | UPLOAD | {"PutImage"}))


async def writer(city: City, owner: Person) -> Person:
    """Uploads, and sees nothing."""
    return await city.user(owner, "writer", statement(UPLOAD | {"PutImage"}))


async def careful(city: City, owner: Person) -> Person:
    frozen = {
        "Effect": "Deny",
        "Action": "ecr:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/env": "prod"}},
    }
    return await city.user(owner, "careful", statement(set(EVERYTHING)), frozen)


async def narrow(city: City, owner: Person) -> Person:
    return await city.user(owner, "narrow", statement(set(EVERYTHING), Resource=arn_of(ACCOUNT, "o*")))


async def bounded(city: City, owner: Person) -> Person:
    made = await city.user(owner, "bounded", statement(set(EVERYTHING)))
    document = policy(statement(READ | {"GetAuthorizationToken"}))
    edge = (await owner.aws("create_policy", "iam", PolicyName="edge", PolicyDocument=document))["Policy"]
    await owner.aws(
        "put_user_permissions_boundary", "iam", UserName="bounded", PermissionsBoundary=edge["Arn"]
    )
    return made


async def session(city: City, owner: Person) -> Person:
    """A role that may do everything, in a session that may only pull."""
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    await owner.aws("create_role", "iam", RoleName="ci", AssumeRolePolicyDocument=policy(trust))
    document = policy(statement(EVERYTHING | {"GetAuthorizationToken"}))
    await owner.aws("put_role_policy", "iam", RoleName="ci", PolicyName="own", PolicyDocument=document)
    taker = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    person = await city.user(owner, "taker", taker)
    given = await person.aws(
        "assume_role",
        "sts",
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/ci",
        RoleSessionName="run",
        Policy=policy(statement(PULL | {"GetAuthorizationToken"})),
    )
    return await temporary(city, given["Credentials"])


async def federated(city: City, owner: Person) -> Person:
    """A user who may do everything, in a session that may only read."""
    lender = await city.user(
        owner,
        "lender",
        statement(EVERYTHING | {"GetAuthorizationToken"}),
        {"Effect": "Allow", "Action": "sts:GetFederationToken", "Resource": "*"},
    )
    document = policy(statement(READ | {"GetAuthorizationToken"}))
    given = await lender.aws("get_federation_token", "sts", Name="guest", Policy=document)
    return await temporary(city, given["Credentials"])


async def stranger(city: City, owner: Person) -> Person:
    return await city.root(STRANGER)


async def strange_user(city: City, owner: Person) -> Person:
    return await city.user(await city.root(STRANGER), "visitor", statement(set(EVERYTHING)))


async def strange_nobody(city: City, owner: Person) -> Person:
    return await city.user(await city.root(STRANGER), "strange-nobody")


def _of(actions: frozenset[str] | set[str]) -> May:
    return lambda action, _: action in actions


def _let_in(action: str, repository: str) -> bool:
    """What the policy of one repository lets the other account do."""
    return repository == SHARED and action in PULL


PEOPLE: dict[Kind, May] = {
    root: _of(EVERYTHING),
    nobody: _of(set()),
    puller: _of(PULL),
    reader: _of(READ),
    builder: _of(READ | UPLOAD | {"PutImage"}),
    writer: _of(UPLOAD | {"PutImage"}),
    careful: lambda action, repository: action in EVERYTHING and repository != PROD,
    narrow: lambda action, repository: action in EVERYTHING and repository == OPEN,
    bounded: _of(READ),
    session: _of(PULL),
    federated: _of(READ),
    stranger: _let_in,
    strange_user: _let_in,
    strange_nobody: _of(set()),
}
