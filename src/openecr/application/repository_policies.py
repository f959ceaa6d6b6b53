"""Policies of repositories (ECR API: SetRepositoryPolicy, GetRepositoryPolicy, DeleteRepositoryPolicy)."""

from openecr.application.audit import audited
from openecr.application.authorization import Authorizer
from openecr.application.policy_principals import PrincipalNotFound, resolve, shown
from openecr.application.policy_texts import checked, unknown_principal
from openecr.domain.decisions import Decision, Grant
from openecr.domain.errors import InvalidParameter, RepositoryPolicyNotFound
from openecr.domain.repositories import Repository
from openecr.engines.iam import DocumentKind
from openecr.store import accounts, principals, repositories, repository_policies
from openecr.store.connections import Connection
from openecr.store.database import Database


class RepositoryPolicies:
    """The use cases of a repository's policy. Every change is seen by the next request."""

    def __init__(self, *, database: Database, authorizer: Authorizer) -> None:
        self._database = database
        self._authorizer = authorizer

    async def put(self, grant: Grant, text: str, *, force: bool) -> str:
        """Store a policy and return it as it is kept.

        Raises RepositoryNotFound, and InvalidParameter for what is no policy, names a principal that does not exist,
        or (unless `force`) would keep this caller from changing it again.
        """
        repository = grant.require_repository()
        document = checked(text, DocumentKind.REPOSITORY)
        if not force:
            await self._check_way_back(grant, document)

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            try:
                ids = resolve(connection, document)
            except PrincipalNotFound as error:
                raise unknown_principal() from error
            repository_policies.put(connection, repository.id, document, ids)
            accounts.raise_epoch(connection, repository.registry.account_id)

        await self._database.write(audited(grant, unit))
        return document

    async def get(self, grant: Grant) -> str:
        """Return the policy; principals that are gone are shown by their ids.

        Raises RepositoryNotFound, RepositoryPolicyNotFound.
        """
        repository = grant.require_repository()

        def look(connection: Connection) -> str:
            repositories.require_live(connection, repository)
            return _text(connection, repository)

        return await self._database.read(look)

    async def delete(self, grant: Grant) -> str:
        """Remove the policy and return what it was. Raises RepositoryNotFound, RepositoryPolicyNotFound."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> str:
            repositories.require_live(connection, repository)
            text = _text(connection, repository)
            repository_policies.remove(connection, repository.id)
            accounts.raise_epoch(connection, repository.registry.account_id)
            return text

        return await self._database.write(audited(grant, unit))

    async def _check_way_back(self, grant: Grant, document: str) -> None:
        """Whom only the present policy lets in is locked out by one that says nothing of him, too."""
        decision = await self._authorizer.decide_under(grant, document)
        if decision is not Decision.ALLOW:
            raise InvalidParameter(
                parameter="PolicyText",
                constraint="The policy would not allow you to set the repository policy again: use force",
            )


def _text(connection: Connection, repository: Repository) -> str:
    row = principals.repository_policy(connection, repository.id)
    if row is None:
        raise RepositoryPolicyNotFound(
            repository_name=repository.name, registry_id=repository.registry.account_id
        )
    return shown(connection, row.document, row.principals)
