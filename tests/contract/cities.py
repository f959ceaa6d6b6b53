"""Both faces over one database, with people of every kind in front of them."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from sqlalchemy import select

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.adapters.oidc import OidcProviders
from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.accounts import Accounts
from openecr.application.audit_lookup import AuditLookup
from openecr.application.authorization_tokens import TokenEnd
from openecr.application.limits import Limits
from openecr.application.pull_times import PullTimes
from openecr.application.use_cases import UseCases
from openecr.domain.decisions import Outcome
from openecr.domain.registries import RegistryId
from openecr.store.connections import Connection, Row
from openecr.store.iam_tables import REPOSITORY_POLICIES
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_TAGS, IMAGES, LINKS, REPOSITORIES, RESOURCE_TAGS, UPLOADS
from openecr.testing.aws import AwsClient, chunks_of, content_of
from openecr.testing.clocks import MovableClock
from openecr.web.aws import call as aws
from openecr.web.aws.downloads import Downloads
from openecr.web.aws.ecr.layers import DOWNLOADS_PATH
from openecr.web.aws.pipeline import AwsFace
from openecr.web.hosts import RegistryHosts
from openecr.web.messages import Request, Response
from openecr.web.oci import call as oci
from openecr.web.oci.pipeline import RegistryFace
from tests.contract.databases import Databases

ACCOUNT, STRANGER = "000000000000", "111122223333"
NOWHERE = "999999999999"
"""An account that there is not."""

REGION = "us-east-1"
_OF_EACH_ANSWER = frozenset({"content-length", "date", "x-amzn-requestid"})
EVERYTHING = (
    Statement(select(IMAGES.c.repository_id, IMAGES.c.digest).order_by(IMAGES.c.id)),
    Statement(
        select(IMAGE_TAGS.c.repository_id, IMAGE_TAGS.c.tag, IMAGE_TAGS.c.image_id).order_by(IMAGE_TAGS.c.tag)
    ),
    Statement(select(LINKS.c.repository_id, LINKS.c.digest).order_by(LINKS.c.digest)),
    Statement(select(UPLOADS.c.id, UPLOADS.c.received_bytes).order_by(UPLOADS.c.id)),
    Statement(select(RESOURCE_TAGS).order_by(RESOURCE_TAGS.c.repository_id, RESOURCE_TAGS.c.key)),
    Statement(select(REPOSITORIES).order_by(REPOSITORIES.c.id)),
    Statement(select(REPOSITORY_POLICIES).order_by(REPOSITORY_POLICIES.c.repository_id)),
)


def host_of(account_id: str) -> str:
    """The name by which docker calls an account's registry."""
    return f"{account_id}.dkr.ecr.{REGION}.localhost:5050"


def arn_of(account_id: str, name: str) -> str:
    """The ARN of a repository."""
    return f"arn:aws:ecr:{REGION}:{account_id}:repository/{name}"


def policy(*statements: Mapping[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What somebody got: `is_denied` by the decision, else whatever else came of it.

    `headers` of the AWS face are those that tell something; with them comes the error's code.
    """

    is_denied: bool
    status: int
    body: bytes = b""
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with credentials, at both faces. `account_id` is whose registry is called."""

    city: "City"
    key: tuple[str, str]
    session_token: str | None = None
    authorization: str = ""
    account_id: str = ACCOUNT

    async def aws(self, operation: str, service: str = "ecr", **given: Any) -> Any:
        """Call the AWS face. Raises ClientError."""
        return await self.city.client(self.key, service, self.session_token).call(operation, **given)

    async def may(self, operation: str, **given: Any) -> Answered:
        """Call the AWS face, and tell what came of it."""
        try:
            answer = await self.aws(operation, **given)
        except ClientError as error:
            found: Any = error.response
            told, code = found.pop("ResponseMetadata"), found["Error"]["Code"]
            headers = {
                name: value for name, value in told["HTTPHeaders"].items() if name not in _OF_EACH_ANSWER
            }
            return Answered(
                is_denied=code == "AccessDeniedException",
                status=told["HTTPStatusCode"],
                body=json.dumps(found).encode(),
                headers={**headers, "code": code},
            )
        return Answered(
            is_denied=False, status=200, headers={}, body=json.dumps(answer, default=str).encode()
        )

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answered:
        """Call the registry face of the account."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.city.send(
            method,
            path,
            body,
            {"host": host_of(self.account_id), "authorization": self.authorization, **more},
        )
        content = await content_of(response)
        is_denied = response.status == 403 and b'"DENIED"' in content
        return Answered(
            is_denied=is_denied, status=response.status, body=content, headers=dict(response.headers)
        )


class City:
    """The application behind both faces."""

    def __init__(self, databases: Databases, folder: Path) -> None:
        self.clock = MovableClock(time.time_ns() // 1000)  # botocore signs with the time of this machine
        ids, keys = SystemIds(), MasterKeyRing({1: b"k" * MASTER_KEY_BYTES})
        self.store = FileBlobStore(folder / "blobs", min_free_bytes=0, min_free_ratio=0)
        self.accounts = Accounts(database=databases.metadata, keys=keys, clock=self.clock, ids=ids)
        self.parts = UseCases(
            database=databases.metadata,
            store=self.store,
            pull_times=PullTimes(database=databases.activity, clock=self.clock),
            key_uses=AccessKeyUses(database=databases.activity),
            keys=keys,
            clock=self.clock,
            ids=ids,
            limits=Limits(),
            encrypt_at_rest=True,
            token_end=TokenEnd.ALONE,
            identity_providers=OidcProviders(clock=self.clock),
            issuers=(),
        )
        self._database = databases.metadata
        self._clients: dict[tuple[tuple[str, str], str], AwsClient] = {}
        self.begun: dict[str, str] = {}  # paths of uploads that root has begun, by repository
        self.outcomes: list[Outcome] = []
        hosts = _hosts()
        parts = self.parts
        self._registry = RegistryFace(
            services=oci.Services(
                authorizer=parts.authorizer,
                images=parts.images,
                blobs=parts.blobs,
                uploads=parts.uploads,
                repositories=parts.repositories,
                limits=parts.limits,
            ),
            authenticator=parts.authenticator,
            resolve_host=hosts.resolve,
            clock=self.clock,
            record=self.outcomes.append,
        )
        self._aws = AwsFace(
            services=_aws_services(parts, databases, hosts),
            authenticator=parts.authenticator,
            authorizer=parts.authorizer,
            regions=(REGION,),
            clock=self.clock,
            record=self.outcomes.append,
        )
        self._downloads = Downloads(
            blobs=parts.blobs,
            authenticator=parts.authenticator,
            authorizer=parts.authorizer,
            clock=self.clock,
            record=self.outcomes.append,
        )

    def client(self, key: tuple[str, str], service: str, session_token: str | None) -> AwsClient:
        """One client for each key: botocore takes its time to make one."""
        found = self._clients.get((key, service))
        if found is None:
            found = AwsClient(self.handle, key, service=service, session_token=session_token)
            self._clients[key, service] = found
        return found

    async def content(self) -> list[Row]:
        """Every image, tag, blob, upload and repository with its tags and policy, as the store has them."""

        def read(connection: Connection) -> list[Row]:
            return [row for statement in EVERYTHING for row in connection.fetch_all(statement)]

        return await self._database.scan(read)

    async def handle(self, request: Request) -> Response:
        """Answer a request, whichever face it is for."""
        if request.path.startswith("/v2"):
            return await self._registry.handle(request)
        if request.path.startswith(DOWNLOADS_PATH):
            return await self._downloads.handle(request)
        return await self._aws.handle(request)

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Hand in a request of a registry's client."""
        target, _, query = path.partition("?")
        pairs = {"content-length": str(len(body)), **headers}
        return await self.handle(
            Request(
                method=method,
                path=target,
                query=query,
                host=pairs.get("host", "localhost:5050"),
                scheme="http",
                client_address="127.0.0.1",
                headers=tuple(pairs.items()),
                body=chunks_of(body),
                request_id="matrix",
            )
        )

    async def root(self, account_id: str) -> Person:
        """An account's root, with the account where it is missing."""
        key = await self.accounts.ensure(account_id)
        person = Person(city=self, key=(key.access_key_id, key.secret))
        return await logged_in(person)

    async def user(self, owner: Person, name: str, *statements: Mapping[str, Any]) -> Person:
        """A user with a policy of its own; everybody may log in."""
        await owner.aws("create_user", "iam", UserName=name)
        login = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
        await owner.aws(
            "put_user_policy",
            "iam",
            UserName=name,
            PolicyName="own",
            PolicyDocument=policy(login, *statements),
        )
        made = (await owner.aws("create_access_key", "iam", UserName=name))["AccessKey"]
        return await logged_in(Person(city=self, key=(made["AccessKeyId"], made["SecretAccessKey"])))


async def logged_in(person: Person) -> Person:
    """The same person with what docker sends."""
    answer = await person.aws("get_authorization_token")
    token = answer["authorizationData"][0]["authorizationToken"]
    assert base64.b64decode(token).startswith(b"AWS:")
    return Person(
        city=person.city,
        key=person.key,
        session_token=person.session_token,
        authorization=f"Basic {token}",
    )


def _hosts() -> RegistryHosts:
    return RegistryHosts(
        default=RegistryId(account_id=ACCOUNT, region=REGION),
        regions=(REGION,),
        domains=("localhost",),
        plain_names=(),
        scheme="http",
        port=5050,
        default_host="localhost:5050",
    )


def _aws_services(parts: UseCases, databases: Databases, hosts: RegistryHosts) -> aws.Services:
    return aws.Services(
        account_settings=parts.account_settings,
        audit=AuditLookup(metadata=databases.metadata, activity=databases.activity),
        authorization_tokens=parts.tokens,
        blobs=parts.blobs,
        hosts=hosts,
        iam=parts.iam,
        images=parts.images,
        kms=parts.kms,
        registry_policies=parts.registry_policies,
        repositories=parts.repositories,
        repository_policies=parts.repository_policies,
        sessions=parts.sessions,
        sts=parts.sts,
        uploads=parts.uploads,
        web_identities=parts.web_identities,
    )
