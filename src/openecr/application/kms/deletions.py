"""The end of keys: once their time has come, grants, aliases, tags and material are removed, and the key.

From that time on nobody can keep a key (`Keys.cancel_deletion`); its material goes with its row, in one transaction.
"""

from openecr.domain.kms import KeyState
from openecr.ports.clock import Clock
from openecr.store import accounts, kms_aliases, kms_grants, kms_key_tags, kms_keys, kms_materials
from openecr.store.connections import Connection
from openecr.store.database import Database

_KEYS = 20
_GRANTS = 500


class KeyDeletions:
    """The step that deletes keys. What it was interrupted at it does again."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def delete_due(self) -> int:
        """Delete keys whose time has come, a bounded number at a time; return how many. A step of a job."""
        now = self._clock.now()
        due = await self._database.scan(
            lambda connection: kms_keys.list_to_delete(connection, until=now, limit=_KEYS)
        )
        deleted = 0
        for key_id in due:
            while (state := await self._delete_some(key_id, now)) is None:
                pass
            deleted += state
        return deleted

    async def _delete_some(self, key_id: str, now: int) -> bool | None:
        """Remove a bounded part of a key. None: there is more; else whether it is gone by this."""

        def unit(connection: Connection) -> bool | None:
            key = kms_keys.find(connection, key_id)
            if key is None or key.state is not KeyState.PENDING_DELETION:
                return False
            if key.deletion_at is None or key.deletion_at > now:
                return False
            if kms_grants.remove_some(connection, key_id, limit=_GRANTS) == _GRANTS:
                return None
            kms_materials.remove_all(connection, key_id)
            kms_aliases.remove_of_key(connection, key_id)
            kms_key_tags.remove_all(connection, key_id)
            kms_keys.remove(connection, key_id)
            accounts.raise_epoch(connection, key.registry.account_id)
            return True

        return await self._database.write(unit)
