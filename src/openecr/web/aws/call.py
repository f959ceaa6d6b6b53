"""What a handler is given: the parts of the application that it may use, and one authorized call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openecr.application.account_settings import AccountSettings
from openecr.application.audit_lookup import AuditLookup
from openecr.application.authorization_tokens import AuthorizationTokens
from openecr.application.blobs import Blobs
from openecr.application.iam.iam import Iam
from openecr.application.images import Images
from openecr.application.kms.kms import Kms
from openecr.application.registry_policies import RegistryPolicies
from openecr.application.repositories import Repositories
from openecr.application.repository_policies import RepositoryPolicies
from openecr.application.sessions import Sessions
from openecr.application.sts import Sts
from openecr.application.uploads import Uploads
from openecr.application.web_identities import WebIdentities
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Grant
from openecr.domain.registries import RegistryId
from openecr.web.hosts import RegistryHosts
from openecr.web.messages import Request

Parameters = Mapping[str, Any]
"""Decoded and validated input of an operation, by the model's member names."""

Output = dict[str, Any]
"""Output of an operation, by the model's member names; members that are None are left out on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The application, as far as this face needs it, and how registries are told to clients."""

    account_settings: AccountSettings
    audit: AuditLookup
    authorization_tokens: AuthorizationTokens
    blobs: Blobs
    hosts: RegistryHosts
    iam: Iam
    images: Images
    kms: Kms
    registry_policies: RegistryPolicies
    repositories: Repositories
    repository_policies: RepositoryPolicies
    sessions: Sessions
    sts: Sts
    uploads: Uploads
    web_identities: WebIdentities


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An authorized call. `grants` answer the row's requirements, in their order; all of them allow."""

    operation: str
    caller: Caller
    context: RequestContext
    parameters: Parameters
    grants: tuple[Grant, ...]

    @property
    def grant(self) -> Grant:
        """Return the grant of a row that requires exactly one thing."""
        (grant,) = self.grants
        return grant

    @property
    def registry(self) -> RegistryId:
        """Return the registry that the call is about."""
        return self.grants[0].registry


Handler = Callable[[Services, Call], Awaitable[Output]]


_USER_AGENT_MAX_CHARACTERS = 512


def context_of(request: Request, *, requested_at: int, region: str = "") -> RequestContext:
    """Return the circumstances of a request; the region is empty until it is known."""
    return RequestContext(
        requested_at=requested_at,
        request_id=request.request_id,
        region=region,
        source_address=request.client_address,
        is_secure_transport=request.scheme == "https",
        user_agent=(request.header("user-agent") or "")[:_USER_AGENT_MAX_CHARACTERS],
    )
