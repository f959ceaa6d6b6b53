"""Who calls, and the circumstances of a call."""

from dataclasses import dataclass

from openecr.domain.registries import PARTITION


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a temporary session adds to its principal (STS).

    `policy` (a document) and `policy_arns` (of managed policies) together are the session policy; None and empty: there
    is none. `made_by` is the access key that made the session; of sessions of a user, root or federated user it has to
    work for as long as they do. `tags` hold the principal's own tags only where they were passed with the session.
    """

    issued_at: int
    expires_at: int
    name: str
    source_identity: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    made_by: str = ""
    federated_provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root of an account. Its unique id is the account id."""

    account_id: str
    access_key_id: str
    session: Session | None = None

    @property
    def unique_id(self) -> str:
        """Return the id that never belongs to another principal."""
        return self.account_id

    @property
    def arn(self) -> str:
        """Return the principal's ARN."""
        return f"arn:{PARTITION}:iam::{self.account_id}:root"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An IAM user."""

    account_id: str
    access_key_id: str
    unique_id: str
    name: str
    path: str = "/"
    session: Session | None = None

    @property
    def arn(self) -> str:
        """Return the principal's ARN."""
        return f"arn:{PARTITION}:iam::{self.account_id}:user{self.path}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """A session of an IAM role."""

    account_id: str
    access_key_id: str
    unique_id: str
    role_name: str
    session: Session

    @property
    def arn(self) -> str:
        """Return the session's ARN."""
        return f"arn:{PARTITION}:sts::{self.account_id}:assumed-role/{self.role_name}/{self.session.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedUser:
    """A session of GetFederationToken. `user_id`: the user (or the account, of root) whose permissions bound it."""

    account_id: str
    access_key_id: str
    unique_id: str
    user_id: str
    session: Session

    @property
    def arn(self) -> str:
        """Return the session's ARN."""
        return f"arn:{PARTITION}:sts::{self.account_id}:federated-user/{self.session.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The server itself, acting for an account in a job."""

    account_id: str
    name: str
    access_key_id: str = ""
    session: Session | None = None

    @property
    def unique_id(self) -> str:
        """Return the service's name, which is its id."""
        return self.name

    @property
    def arn(self) -> str:
        """Return the service principal."""
        return f"{self.name}.amazonaws.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """Somebody whom an OpenID Connect provider vouches for, and who asks for a role of the account: no principal.

    `provider` is the issuer without `https://`. `claims` are those that trust policies may ask for, by name; `tags`,
    `transitive_tag_keys` and `source_identity` are what the provider wants the session to have.
    """

    account_id: str
    provider: str
    subject: str
    audience: str
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None
    access_key_id: str = ""
    session: Session | None = None

    @property
    def arn(self) -> str:
        """Return the provider's ARN, which is what policies name."""
        return f"arn:{PARTITION}:iam::{self.account_id}:oidc-provider/{self.provider}"

    @property
    def unique_id(self) -> str:
        """Return provider, audience and subject (CloudTrail user guide, "userIdentity element")."""
        return f"{self.arn}:{self.audience}:{self.subject}"


Caller = Root | User | RoleSession | FederatedUser | Service | WebIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """The circumstances of one request; IAM's condition keys come from here."""

    requested_at: int
    request_id: str
    region: str
    source_address: str
    is_secure_transport: bool
    user_agent: str
