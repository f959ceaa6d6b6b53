"""When access keys were last used: noted in memory, written in batches, so that no request waits for a write."""

import re
from functools import partial

from openecr.domain.accounts import KeyUse
from openecr.domain.decisions import Outcome
from openecr.domain.iam import ACCESS_KEY_PREFIX
from openecr.store import access_key_uses
from openecr.store.database import Database

NOTES_MAX = 50_000

_REGISTRY_SERVICE = "ecr"
_SERVICE = re.compile(r"[a-z]+(-[a-z]+)*")


class AccessKeyUses:
    """Notes uses and tells them, written or not."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._notes: dict[str, KeyUse] = {}

    def record(self, outcome: Outcome) -> None:
        """Note the use of a key by a request of which the caller was proven, whatever came of it.

        Keys of sessions are not asked about. When too many wait to be written, new ones are left out: the use is for
        information.
        """
        key_id = "" if outcome.caller is None else outcome.caller.access_key_id
        if not key_id.startswith(ACCESS_KEY_PREFIX):
            return
        if len(self._notes) < NOTES_MAX or key_id in self._notes:
            self._notes[key_id] = KeyUse(
                used_at=outcome.context.requested_at,
                service=_service_of(outcome.door),
                region=outcome.context.region,
            )

    async def flush(self) -> None:
        """Write what was noted; until it is written, `find` tells it from memory."""
        noted = list(self._notes.items())
        for start in range(0, len(noted), access_key_uses.BATCH_ROWS):
            batch = dict(noted[start : start + access_key_uses.BATCH_ROWS])
            await self._database.write(partial(access_key_uses.put, uses=batch))
            for key_id, use in batch.items():
                if self._notes.get(key_id) is use:
                    del self._notes[key_id]

    async def find(self, access_key_id: str) -> KeyUse | None:
        """Return the last use of a key, or None where it never was used."""
        noted = self._notes.get(access_key_id)
        written = await self._database.read(
            lambda connection: access_key_uses.find(connection, access_key_id)
        )
        if noted is None or written is None:
            return noted or written
        return max(noted, written, key=lambda use: use.used_at)  # another process may know of a later one

    async def forget(self, access_key_id: str) -> None:
        """Remove what is known of a key that is gone."""
        self._notes.pop(access_key_id, None)
        await self._database.write(lambda connection: access_key_uses.remove(connection, access_key_id))


def _service_of(door: str) -> str:
    """Doors of the AWS face begin with their service; all others are the registry's."""
    service, separator, _ = door.partition(":")
    return service if separator and _SERVICE.fullmatch(service) else _REGISTRY_SERVICE
