"""Tags of keys."""

from collections.abc import Mapping, Sequence

from openecr.application.audit import audited
from openecr.application.key_names import require_key
from openecr.application.kms.states import check_stays
from openecr.domain.decisions import Grant
from openecr.domain.kms_errors import InvalidKeyTag
from openecr.store import accounts, kms_key_tags
from openecr.store.connections import Connection
from openecr.store.database import Database

_TAGS_MAX = 50
_RESERVED_PREFIX = "aws:"


class KeyTags:
    """The use cases of tags, which are condition keys too."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def put(self, grant: Grant, tags: Mapping[str, str]) -> None:
        """Merge tags. Raises KmsNotFound, KmsInvalidState, InvalidKeyTag."""

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            check_stays(key)
            check_tags(tags, kms_key_tags.list_of(connection, key.key_id))
            kms_key_tags.put(connection, key.key_id, tags)
            accounts.raise_epoch(connection, key.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def remove(self, grant: Grant, keys: Sequence[str]) -> None:
        """Remove tags; unknown ones are fine. Raises KmsNotFound, KmsInvalidState."""

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            check_stays(key)
            kms_key_tags.remove(connection, key.key_id, keys)
            accounts.raise_epoch(connection, key.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def list(self, grant: Grant) -> Mapping[str, str]:
        """Return all tags by their key. Raises KmsNotFound."""

        def look(connection: Connection) -> Mapping[str, str]:
            return kms_key_tags.list_of(connection, require_key(connection, grant).key_id)

        return await self._database.read(look)


def check_tags(tags: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Check tags that are to be added. Policies know tag keys without letter case. Raises InvalidKeyTag."""
    if any(key.lower().startswith(_RESERVED_PREFIX) for key in tags):
        raise InvalidKeyTag(message="Tags beginning with aws: are reserved")
    merged = {*present, *tags}
    if len(merged) > _TAGS_MAX:
        raise InvalidKeyTag(message="Too many tags")
    if len({key.lower() for key in merged}) != len(merged):
        raise InvalidKeyTag(message="Duplicate tag keys")
    if any("\0" in text for pair in tags.items() for text in pair):
        raise InvalidKeyTag(message="Tags are of letters, digits, spaces and _.:/=+-@")
