"""What policies cost: a role session with many of them beside root, and calls of the AWS API. The peer has neither."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.credentials import Credentials

from benchmarks import content, rows
from benchmarks.loads import Figures, Generator, Load
from benchmarks.servers import Target
from benchmarks.signing import signed

_ACCOUNT = "000000000000"
_CLIENTS = 16
_CALLERS = 8
_PAGE = 100
_PULL_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
_READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """boto3 clients of the root."""

    target: Target
    credentials: Credentials

    def of(self, service: str) -> Any:
        """Return one."""
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.target.base,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
        )


def measure(
    generator: Generator, target: Target, credentials: Credentials, folder: Path, rounds: int
) -> None:
    """Print the rows."""
    root = Clients(target=target, credentials=credentials)
    session = _session(root)
    ecr = boto3.client(
        "ecr",
        region_name="us-east-1",
        endpoint_url=target.base,
        aws_access_key_id=session.access_key,
        aws_secret_access_key=session.secret_key,
        aws_session_token=session.token,
    )
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    as_session = replace(target, authorization=f"Basic {token}")
    manifests = [f"/v2/{name}/manifests/v1" for name in content.repository_names()]
    load = Load(mode="get", paths=manifests, clients=_CLIENTS)
    pairs = [(generator.run(target, load), generator.run(as_session, load)) for _ in range(rounds)]
    ours = rows.middle([first for first, _ in pairs], lambda each: each.per_second)
    theirs = rows.middle([second for _, second in pairs], lambda each: each.per_second)
    print(
        f"| GET manifest, {_CLIENTS} clients: root, and a role session with five managed policies, a boundary and a "
        f"repository policy with conditions | {ours.per_second:,.0f}/s | {theirs.per_second:,.0f}/s "
        f"| **{theirs.per_second / ours.per_second:.2f}x** | at least 0.85x | {ours.p50:.1f} / {ours.p99:.1f} "
        f"| {theirs.p50:.1f} / {theirs.p99:.1f} |",
        flush=True,
    )
    for name, operation, given, goal in (
        ("GetAuthorizationToken", "GetAuthorizationToken", {}, 500),
        (f"DescribeRepositories of {_PAGE}", "DescribeRepositories", {"maxResults": _PAGE}, 400),
    ):
        file = folder / f"{operation}.http"
        file.write_bytes(signed(target, session, operation, given))
        runs = [
            generator.run(target, Load(mode="signed", paths=[str(file)], clients=_CALLERS))
            for _ in range(rounds)
        ]
        _tell(name, runs, goal)


def _tell(name: str, runs: Sequence[Figures], goal: int) -> None:
    found = rows.middle(runs, lambda each: each.per_second)
    errors = f" {found.errors} errors" if found.errors else ""
    print(
        f"| {name}, the same session, {_CALLERS} clients | {found.per_second:,.0f}/s | | | at least {goal}/s "
        f"| {found.p50:.1f} / {found.p99:.1f} | |{errors}",
        flush=True,
    )


def _session(root: Clients) -> Credentials:
    """Return credentials of a role that has five managed policies, a boundary, and repositories with a policy."""
    iam, ecr = root.of("iam"), root.of("ecr")
    trust = _policy({"Effect": "Allow", "Principal": {"AWS": _ACCOUNT}, "Action": "sts:AssumeRole"})
    iam.create_role(RoleName="bench", AssumeRolePolicyDocument=trust)
    for number in range(3):
        statements = [
            {
                "Effect": "Allow",
                "Action": [f"ecr:Put*{number}", "s3:GetObject"],
                "Resource": f"arn:aws:s3:::b{number}/*",
            },
            {
                "Effect": "Deny",
                "Action": "ecr:DeleteRepository",
                "Resource": f"arn:aws:ecr:*:*:repository/x{number}/*",
            },
        ]
        made = iam.create_policy(PolicyName=f"bench-{number}", PolicyDocument=_policy(*statements))
        iam.attach_role_policy(RoleName="bench", PolicyArn=made["Policy"]["Arn"])
    for arn in (_PULL_ONLY, _READ_ONLY):
        iam.attach_role_policy(RoleName="bench", PolicyArn=arn)
    edge = iam.create_policy(
        PolicyName="bench-edge",
        PolicyDocument=_policy({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}),
    )["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="bench", PermissionsBoundary=edge)
    document = _policy(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "ecr:*",
            "Condition": {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}},
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": _ACCOUNT},
            "Action": ["ecr:BatchGetImage"],
            "Condition": {"StringLike": {"aws:PrincipalTag/team": "a*"}},
        },
    )
    for name in content.repository_names():
        ecr.set_repository_policy(repositoryName=name, policyText=document)
    iam.create_user(UserName="bench")
    allow = _policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    iam.put_user_policy(UserName="bench", PolicyName="assume", PolicyDocument=allow)
    key = iam.create_access_key(UserName="bench")["AccessKey"]
    user = Clients(target=root.target, credentials=Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    given = user.of("sts").assume_role(
        RoleArn=f"arn:aws:iam::{_ACCOUNT}:role/bench", RoleSessionName="bench"
    )["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
