"""Collection: online, in bounded steps, safe at any moment and with no grace at all.

Safety does not come from waiting: every step checks again in the transaction that deletes, and what refers is a foreign
key that restricts. Grace only spares clients from uploading again what they were just told is there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from openecr.application.limits import Limits
from openecr.domain.errors import StorageFull, Unavailable
from openecr.ports.blobs import BlobStore
from openecr.ports.clock import Clock
from openecr.store import (
    access_key_uses,
    access_keys,
    blobs,
    doomed,
    garbage,
    images,
    large_sessions,
    pulls,
    purging,
    uploads,
)
from openecr.store.blobs import FIRST_PLACE
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.garbage import Garbage

SECOND = 1_000_000
_PUT_OFF_SECONDS = 15 * 60
STEP_ROWS = 200
"""About as many rows as one transaction changes."""

WINDOW_ROWS = 5_000
"""As many links as one step looks at: most of them are needed, and none of them is locked."""

DUE_ROWS = 20_000
"""As many locations are listed at a time as give each of the 256 folders of files several of them."""

_ROOM_BYTES = 64 * 1024 * 1024
"""With less room than this, layers begin to be refused."""

PURGE = "purge-repositories"
"""The step, and the kind of job, that takes away what deleted repositories held."""

Step = Callable[[], Awaitable[bool]]


class Collection:
    """Each step does a bounded piece and tells whether there may be more."""

    def __init__(
        self,
        *,
        database: Database,
        activity: Database,
        blobs: BlobStore,
        clock: Clock,
        limits: Limits,
        step_rows: int = STEP_ROWS,
        window_rows: int = WINDOW_ROWS,
        due_rows: int = DUE_ROWS,
    ) -> None:
        self._step_rows = step_rows
        self._window_rows = window_rows
        self._due_rows = due_rows
        self._database = database
        self._activity = activity
        self._blobs = blobs
        self._clock = clock
        self._limits = limits
        self._next_place = FIRST_PLACE
        self._next_pulled = 0
        self._next_used = ""
        self._dead_images: list[int] = []
        self._due: list[str] = []

    @property
    def steps(self) -> Mapping[str, Step]:
        """Return the steps that make room, in the order in which one leaves work to the next."""
        return {
            PURGE: self.purge_repositories,
            "expire-uploads": self.expire_uploads,
            "expire-sessions": self.expire_sessions,
            "collect-blobs": self.drop_links,
            "remove-bytes": self.remove_doomed,
        }

    @property
    def rare_steps(self) -> Mapping[str, Step]:
        """Return the steps that look at all of something and free little: worth running far less often."""
        return {"prune-pull-times": self.prune_pull_times, "prune-key-uses": self.prune_key_uses}

    async def is_urgent(self) -> bool:
        """Tell whether uploads are refused for want of room, or soon will be."""
        try:
            await self._blobs.check_space(_ROOM_BYTES)
        except StorageFull:
            return True
        except Unavailable:  # work that needs no bytes goes on
            return False
        return False

    async def preview(self) -> Garbage:
        """Return what would go now."""
        now = self._clock.now()
        return await self._database.scan(lambda connection: garbage.count(connection, now=now))

    async def collect(self) -> None:
        """Run every step until none has more to do."""
        self._next_place = FIRST_PLACE
        self._next_pulled = 0
        self._next_used = ""
        for step in (*self.steps.values(), *self.rare_steps.values()):
            await self.run(step)

    async def run(self, step: Step) -> None:
        """Run one step until it has no more to do."""
        while await step():
            pass

    async def drop_links(self) -> bool:
        """Remove links that no image of their repository needs and whose grace has passed.

        A blob follows its last link in the same transaction: its row goes, its location is doomed.
        """
        now = self._clock.now()
        # What fails starts again at the first link.
        after, self._next_place = self._next_place, FIRST_PLACE
        window = await self._database.scan(
            lambda connection: blobs.list_unneeded_links(
                connection, now=now, after=after, window=self._window_rows, limit=self._step_rows
            )
        )
        not_before = self._removed_not_before()

        def unit(connection: Connection) -> None:
            places = (place for place, _ in window.unneeded)
            dropped = blobs.remove_unneeded_links(connection, places, now=now)
            blobs.claim(connection, dropped, not_before=not_before)

        if window.unneeded:
            await self._database.write(unit)
        self._next_place = window.end or FIRST_PLACE
        return window.end is not None

    async def remove_doomed(self) -> bool:
        """Remove some bytes whose time has come, then forget them. Those that would not go are tried again later.

        Many are listed and then taken in the order of their locations, which is that of the folders they are in: what
        goes together is made durable together. Raises Unavailable where none would go.
        """
        # What fails is looked for again.
        due, self._due = self._due, []
        if not due:
            now = self._clock.now()
            found = await self._database.scan(
                lambda connection: doomed.list_due(connection, now=now, limit=self._due_rows)
            )
            due = sorted(found)
        if not due:
            return False
        await self._remove(due[: self._step_rows])
        self._due = due[self._step_rows :]
        return True

    async def _remove(self, due: Sequence[str]) -> None:
        """Remove the bytes of these locations. Raises Unavailable where none would go."""
        now = self._clock.now()
        # Who writes at one of these locations must know, before its bytes go, that no row may name it any more.
        claimed = await self._database.write(lambda connection: doomed.claim(connection, due, now=now))
        stayed = set(await self._blobs.remove(sorted(claimed)))
        gone = {location: seen for location, seen in claimed.items() if location not in stayed}
        left = {location: seen for location, seen in claimed.items() if location in stayed}
        later = now + _PUT_OFF_SECONDS * SECOND

        def unit(connection: Connection) -> None:
            doomed.remove(connection, gone)
            doomed.put_off(connection, left, not_before=later)

        await self._database.write(unit)
        if left and not gone:
            raise Unavailable(
                message="The registry's storage failed. Try again.",
                context=f"none of {len(left)} locations could be removed, {next(iter(left))} among them",
            )

    async def end_leftovers(self) -> int:
        """Remove what writers that were killed have left in the store besides blobs; return how many of it."""
        begun_before = self._clock.now() - self._limits.leftover_seconds * SECOND
        return await self._blobs.end_leftovers(begun_before=begun_before)

    async def expire_uploads(self) -> bool:
        """End sessions that nobody used in time."""
        now = self._clock.now()
        late = self._removed_not_before()
        found = await self._database.scan(
            lambda connection: uploads.list_expired(connection, now=now, limit=self._step_rows)
        )

        def unit(connection: Connection) -> int:
            expired = [each for each in found if uploads.is_expired(connection, each, now=now)]
            return uploads.remove_some(
                connection, expired, limit=self._step_rows, not_before=now, unfinished_not_before=late
            )

        return bool(found) and await self._database.write(unit) > 0

    async def expire_sessions(self) -> bool:
        """Forget large sessions whose authorization tokens and links have all ended."""
        now = self._clock.now()
        if not await self._database.read(lambda connection: large_sessions.has_expired(connection, now=now)):
            return False
        removed = await self._database.write(
            lambda connection: large_sessions.remove_expired(connection, now=now, limit=self._step_rows)
        )
        return removed == self._step_rows

    async def purge_repositories(self) -> bool:
        """Remove some of what one deleted repository held; at last its row."""
        # What fails is looked for again.
        dead, self._dead_images = self._dead_images, []
        dead = dead or await self._database.scan(
            lambda connection: purging.list_dead_images(connection, limit=self._window_rows)
        )
        if dead:
            done = await self._database.write(
                lambda connection: purging.purge_images(connection, dead, limit=self._step_rows)
            )
            self._dead_images = dead[done:]
            return True
        now, late = self._clock.now(), self._removed_not_before()
        return await self._database.write(
            lambda connection: purging.purge_rest(connection, now=now, late=late, limit=self._step_rows)
        )

    async def prune_pull_times(self) -> bool:
        """Forget when images were pulled that are gone: ids are never used again, so what is gone stays so."""
        after, self._next_pulled = self._next_pulled, 0
        found = await self._activity.scan(
            lambda connection: pulls.list_after(connection, after=after, limit=self._step_rows)
        )
        if not found:
            return False
        # Asked after the pull was stored, which was after the image was.
        known = await self._database.scan(lambda connection: images.list_known(connection, found))
        gone = [image_id for image_id in found if image_id not in known]
        if gone:
            await self._activity.write(lambda connection: pulls.remove(connection, gone))
        if len(found) < self._step_rows:
            return False
        self._next_pulled = found[-1]
        return True

    async def prune_key_uses(self) -> bool:
        """Forget when access keys were used that are gone: their ids are never drawn again."""
        after, self._next_used = self._next_used, ""
        found = await self._activity.scan(
            lambda connection: access_key_uses.list_after(connection, after=after, limit=self._step_rows)
        )
        known = await self._database.scan(lambda connection: access_keys.list_known(connection, found))
        gone = [key_id for key_id in found if key_id not in known]
        if gone:
            await self._activity.write(lambda connection: access_key_uses.remove_all(connection, gone))
        if len(found) < self._step_rows:
            return False
        self._next_used = found[-1]
        return True

    def _removed_not_before(self) -> int:
        """Return when bytes may go: after any response or request that still uses them."""
        return self._clock.now() + self._limits.doomed_seconds * SECOND
