"""The policy of a registry (ECR API: PutRegistryPolicy, GetRegistryPolicy, DeleteRegistryPolicy)."""

from openecr.application.account_settings import value_of
from openecr.application.audit import audited
from openecr.application.decisions import OLD_SCOPE
from openecr.application.policy_principals import PrincipalNotFound, resolve, shown
from openecr.application.policy_texts import checked, invalid, unknown_principal
from openecr.domain.account_settings import AccountSetting
from openecr.domain.decisions import Grant
from openecr.domain.errors import RegistryPolicyNotFound
from openecr.domain.registries import RegistryId
from openecr.engines.iam import DocumentKind, actions_of
from openecr.store import accounts, principals, registry_policies
from openecr.store.connections import Connection
from openecr.store.database import Database

_OLD_SCOPE = "V1"
_OLD_ACTIONS = frozenset(action.lower() for action in OLD_SCOPE)


class RegistryPolicies:
    """The use cases of a registry's policy. Every change is seen by the next request."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def put(self, grant: Grant, text: str) -> str:
        """Store a policy and return it as it is kept.

        Raises InvalidParameter for what is no policy, names a principal that does not exist, or, in scope V1, is about
        other actions than that scope knows.
        """
        registry = grant.registry
        document = checked(text, DocumentKind.REGISTRY)

        def unit(connection: Connection) -> None:
            scope = value_of(connection, registry, AccountSetting.REGISTRY_POLICY_SCOPE)
            if scope == _OLD_SCOPE and not _OLD_ACTIONS.issuperset(map(str.lower, actions_of(document))):
                raise invalid(DocumentKind.REGISTRY)
            try:
                ids = resolve(connection, document)
            except PrincipalNotFound as error:
                raise unknown_principal() from error
            registry_policies.put(connection, registry, document, ids)
            accounts.raise_epoch(connection, registry.account_id)

        await self._database.write(audited(grant, unit))
        return document

    async def get(self, grant: Grant) -> str:
        """Return the policy; principals that are gone are shown by their ids. Raises RegistryPolicyNotFound."""
        return await self._database.read(lambda connection: _text(connection, grant.registry))

    async def delete(self, grant: Grant) -> str:
        """Remove the policy and return what it was. Raises RegistryPolicyNotFound."""

        def unit(connection: Connection) -> str:
            text = _text(connection, grant.registry)
            registry_policies.remove(connection, grant.registry)
            accounts.raise_epoch(connection, grant.registry.account_id)
            return text

        return await self._database.write(audited(grant, unit))


def _text(connection: Connection, registry: RegistryId) -> str:
    row = principals.registry_policy(connection, registry)
    if row is None:
        raise RegistryPolicyNotFound(registry_id=registry.account_id)
    return shown(connection, row.document, row.principals)
