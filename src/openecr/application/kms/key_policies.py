"""Key policies (KMS API: GetKeyPolicy, PutKeyPolicy): the root of authority over a key."""

from openecr.application.audit import audited
from openecr.application.authorization import Authorizer
from openecr.application.key_names import require_key
from openecr.application.policy_principals import PrincipalNotFound, resolve, shown
from openecr.domain.decisions import Decision, Grant, PolicyKind, Requirement
from openecr.domain.iam import Located
from openecr.domain.kms import KeyName, key_arn
from openecr.domain.kms_errors import KmsLimitExceeded, MalformedKeyPolicy
from openecr.engines.iam import DocumentKind, MalformedPolicy, validate
from openecr.store import accounts, kms_keys
from openecr.store.connections import Connection
from openecr.store.database import Database

_MAX_CHARACTERS = 32 * 1024
_PUT = "kms:PutKeyPolicy"


class KeyPolicies:
    """The use cases of key policies. Every change is seen by the next request."""

    def __init__(self, *, database: Database, authorizer: Authorizer) -> None:
        self._database = database
        self._authorizer = authorizer

    async def get(self, grant: Grant) -> str:
        """Return the policy; principals that are gone are shown by their ids. Raises KmsNotFound."""

        def look(connection: Connection) -> str:
            key = require_key(connection, grant)
            return shown(connection, key.policy, key.policy_principals)

        return await self._database.read(look)

    async def put(self, grant: Grant, text: str, *, may_lock_out: bool) -> None:
        """Replace the policy. Raises KmsNotFound, MalformedKeyPolicy, KmsLimitExceeded."""
        check_document(text)
        key_id = (await self._database.read(lambda connection: require_key(connection, grant))).key_id
        if not may_lock_out:
            await self.check_way_back(grant, key_id, text)

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            kms_keys.set_policy(connection, key.key_id, text, resolved(connection, text))
            accounts.raise_epoch(connection, key.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def check_way_back(self, grant: Grant, key_id: str, text: str) -> None:
        """Refuse a policy under which its author could not replace it again. Raises MalformedKeyPolicy.

        It is enough that the policy names the account, whose own policies then decide.
        """
        arn = key_arn(grant.registry, key_id)
        requirement = Requirement(
            actions=(_PUT,), registry=grant.registry, arn=arn, entity=KeyName(key_id=key_id)
        )
        verdict = await self._authorizer.verdict_under(
            grant, requirement, Located(unique_id=key_id, arn=arn), text
        )
        is_left_to_the_account = (
            verdict.decision is Decision.IMPLICIT_DENY and verdict.missing is not PolicyKind.RESOURCE
        )
        if verdict.decision is not Decision.ALLOW and not is_left_to_the_account:
            raise MalformedKeyPolicy(
                message="The new key policy will not allow you to update the key policy in the future."
            )


def check_document(text: str) -> None:
    """Check a text that is to be a key policy. Raises MalformedKeyPolicy, KmsLimitExceeded."""
    if len(text) > _MAX_CHARACTERS:
        raise KmsLimitExceeded(message=f"A key policy has at most {_MAX_CHARACTERS} characters")
    try:
        validate(text, DocumentKind.KEY)
    except MalformedPolicy as error:
        raise MalformedKeyPolicy(message=error.message) from error


def resolved(connection: Connection, text: str) -> dict[str, str]:
    """Return the unique ids of those whom a valid policy names. Raises MalformedKeyPolicy."""
    try:
        return resolve(connection, text)
    except PrincipalNotFound as error:
        raise MalformedKeyPolicy(
            message="Policy contains a statement with one or more invalid principals."
        ) from error
