"""Inline policies of users, groups and roles."""

from openecr.application.audit import audited
from openecr.application.iam import entities
from openecr.application.iam.documents import check_document, counted_characters
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam import EntityKind
from openecr.domain.iam_errors import IamLimitExceeded, NoSuchEntity
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.engines.iam import DocumentKind
from openecr.store import accounts, inline_policies
from openecr.store.connections import Connection
from openecr.store.database import Database


class InlinePolicies:
    """The use cases of inline policies. A grant names the user, group or role that has them."""

    def __init__(self, *, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    async def put(self, grant: Grant, name: str, document: str) -> None:
        """Add a policy or replace the one of that name; the text is kept as it is.

        Raises NoSuchEntity, MalformedPolicyDocument, IamLimitExceeded, UnmodifiableEntity.
        """
        check_document(document, DocumentKind.IDENTITY)

        def unit(connection: Connection) -> None:
            owner = entities.require_entity(connection, grant)
            entities.check_modifiable(owner)
            others = inline_policies.list_all(connection, owner.unique_id)
            others.pop(name, None)
            limit = self._max_characters(owner.kind)
            if sum(map(counted_characters, (*others.values(), document))) > limit:
                raise IamLimitExceeded(
                    message=f"Maximum policy size of {limit} bytes exceeded for {owner.kind.value} {owner.name}"
                )
            inline_policies.put(connection, owner.unique_id, name, document)
            accounts.raise_epoch(connection, owner.account_id)

        await self._database.write(audited(grant, unit))

    async def get(self, grant: Grant, name: str) -> tuple[str, str]:
        """Return the name of the policy's owner, and the document. Raises NoSuchEntity."""

        def work(connection: Connection) -> tuple[str, str]:
            owner = entities.require_entity(connection, grant)
            document = inline_policies.find(connection, owner.unique_id, name)
            if document is None:
                raise _missing(owner.kind, name)
            return owner.name, document

        return await self._database.read(work)

    async def list(self, grant: Grant, page: PageRequest) -> Page[str]:
        """Return a page of the policies' names. Raises NoSuchEntity."""

        def scan(connection: Connection) -> list[str]:
            owner = entities.require_entity(connection, grant)
            return inline_policies.list_after(
                connection, owner.unique_id, after=page.after or "", limit=page.limit + 1
            )

        return cut_page(await self._database.scan(scan), page.limit, lambda name: name)

    async def delete(self, grant: Grant, name: str) -> None:
        """Remove a policy. Raises NoSuchEntity, UnmodifiableEntity."""

        def unit(connection: Connection) -> None:
            owner = entities.require_entity(connection, grant)
            entities.check_modifiable(owner)
            if not inline_policies.remove(connection, owner.unique_id, name):
                raise _missing(owner.kind, name)
            accounts.raise_epoch(connection, owner.account_id)

        await self._database.write(audited(grant, unit))

    def _max_characters(self, kind: EntityKind) -> int:
        match kind:
            case EntityKind.USER:
                return self._limits.user_inline_policy_characters
            case EntityKind.GROUP:
                return self._limits.group_inline_policy_characters
            case EntityKind.ROLE:
                return self._limits.role_inline_policy_characters


def _missing(kind: EntityKind, name: str) -> NoSuchEntity:
    return NoSuchEntity(message=f"The {kind.value} policy with name {name} cannot be found.")
