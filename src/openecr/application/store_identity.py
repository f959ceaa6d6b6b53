"""That a blob store is the one of this database: each names the same id.

Without it a wrong folder, a disk that is not mounted or a bucket of somebody else would look like a store that has lost
every blob, and its content like bytes that nobody needs.

While blobs move there are two stores. The one that they come from is the database's. The one that they go to has a mark
of its own, `moving-` and the id, and `filling-` and the id since a server writes what is pushed there. Alone it is
refused, until a copy finds nothing that it lacks while a server writes there.

What the database says is read before the marks: a mark is made before the database is told of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.blobs import MARK_NAME, MarkedBlobStore
from openecr.ports.ids import Ids
from openecr.store import scrubbing, server_state
from openecr.store.connections import Connection
from openecr.store.database import Database

MARK_BYTES = 16
SAMPLE = 20
"""So many blobs are looked for in a store that the database has never seen."""

_MOVING = "moving-"
_FILLING = "filling-"


def moving_mark(store_id: str) -> str:
    """Return the mark of a store that blobs are being moved to, while pushes still go to the one that they are in."""
    return f"{_MOVING}{store_id}"


def filling_mark(store_id: str) -> str:
    """Return the mark of a store that blobs are being moved to, and that takes what is pushed."""
    return f"{_FILLING}{store_id}"


def id_of(mark: str) -> str:
    """Return the id in a mark of any kind."""
    return mark.removeprefix(_MOVING).removeprefix(_FILLING)


@dataclass(frozen=True, slots=True)
class PlacedStore:
    """A store, and where it is as the operator calls it."""

    place: str
    store: MarkedBlobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the database says: `is_marked`, its store has been seen; `is_moving`, so has the one that blobs move to."""

    store_id: str
    is_marked: bool
    is_moving: bool


class StoreIdentity:
    """Compares the marks of the store, and while blobs move of the older one behind it, with the database."""

    def __init__(self, *, database: Database, stores: Sequence[PlacedStore], ids: Ids) -> None:
        self._database = database
        self._stores = stores
        self._ids = ids
        self._places = " and ".join(each.place for each in stores)

    async def prove(self) -> None:
        """Look at a start whether the store is the database's; the first time, mark it. Raises CannotStart."""
        try:
            await self._prove()
        except Unavailable as error:
            raise CannotStart(
                message=f"cannot use {self._places}: {error.context or error.message}"
            ) from error

    async def check(self) -> None:
        """Look again, before something that trusts the store's word that bytes are gone. Raises Unavailable."""
        known = await self._database.read(_find)
        marks = await self._read_marks()
        is_right = known is not None and (
            {id_of(mark or "") for mark in marks.values()} == {known.store_id}
            and known.store_id in marks.values()
        )
        if not is_right:
            raise Unavailable(
                message="The registry's storage failed. Try again.",
                context=f"{self._places} is not the store of this database any more: its mark is gone, or another",
            )

    async def _prove(self) -> None:
        known = await self._database.read(_find) or await self._draw()
        marks = await self._read_marks()
        if not known.is_marked and known.store_id not in marks.values():
            known = await self._recognize(known, marks)
            marks = await self._read_marks()
        self._refuse_others(known, marks)
        self._refuse_without_blobs(known, marks)
        for each in self._stores:
            if marks[each.place] is None:
                await self._join(known, each)
            if marks[each.place] != known.store_id:
                await self._say_who_writes(known, each)
        await self._write_down(known)

    async def _draw(self) -> _Known:
        """Draw the id of a database that has none yet."""
        drawn = self._ids.token(MARK_BYTES).hex()

        def draw(connection: Connection) -> _Known:
            server_state.put_first(connection, server_state.BLOB_STORE, drawn)
            return _found(connection)

        return await self._database.write(draw)

    async def _recognize(self, known: _Known, marks: Mapping[str, str | None]) -> _Known:
        """Find the store that the database has never seen by its blobs, and mark it or take over its mark.

        An earlier version's store has no mark. A backup of the database that was made before the id was drawn does
        not know the mark that its store has by now.
        """
        named = await self._database.scan(
            lambda connection: scrubbing.list_stored(connection, after=0, limit=SAMPLE)
        )
        locations = [blob.location for blob in named]
        holder = await self._find_holder(locations)
        others = {id_of(mark) for mark in marks.values() if mark is not None} - {known.store_id}
        if others:
            if len(others) == 1 and holder is not None and marks[holder.place] is not None:
                return await self._adopt(known, others.pop())
            return known
        if named and holder is None:
            raise CannotStart(
                message=f"{self._places} holds none of the blobs that the database names: is it the right place "
                f"(--blobs), and mounted? {self._remedy(self._stores[-1], known.store_id)}"
            )
        await (holder or self._stores[-1]).store.make_mark(known.store_id)
        return known

    async def _find_holder(self, locations: Sequence[str]) -> PlacedStore | None:
        """Return the store that has any of these, first of all the one that blobs come from."""
        for each in reversed(self._stores):
            for location in locations:
                if await each.store.size(location) is not None:
                    return each
        return None

    async def _adopt(self, known: _Known, store_id: str) -> _Known:
        def adopt(connection: Connection) -> _Known:
            if not _found(connection).is_marked:
                server_state.replace(connection, server_state.BLOB_STORE, store_id, seen=known.store_id)
            return _found(connection)

        return await self._database.write(adopt)

    def _refuse_others(self, known: _Known, marks: Mapping[str, str | None]) -> None:
        for each in self._stores:
            mark = marks[each.place]
            if mark is not None and id_of(mark) != known.store_id:
                raise CannotStart(
                    message=f"{each.place} holds the blobs of another database: each needs a store of its own, is it "
                    f"the right place (--blobs)? {self._remedy(each, known.store_id)}"
                )

    def _refuse_without_blobs(self, known: _Known, marks: Mapping[str, str | None]) -> None:
        if known.store_id in marks.values():
            return
        moving = [each for each in self._stores if marks[each.place] is not None]
        if moving:
            raise CannotStart(
                message=f"blobs are still being moved to {moving[0].place}, which does not have all of them: start "
                "with --blobs-old as well, and run `openecr blobs copy` until it says complete. "
                f"{self._remedy(moving[0], known.store_id)}"
            )
        raise CannotStart(
            message=f"{self._places} is not the store of this database's blobs: is it the right place (--blobs), and "
            f"mounted? {self._remedy(self._stores[-1], known.store_id)}"
        )

    async def _join(self, known: _Known, joining: PlacedStore) -> None:
        """Mark a store that blobs move to, before it takes any. Raises CannotStart where it had a mark before."""
        mark = moving_mark(known.store_id)
        if known.is_moving:
            raise CannotStart(
                message=f"{joining.place} is not the store that blobs are being moved to: is it the right place, and "
                f"mounted? {self._remedy(joining, mark)}"
            )
        await joining.store.make_mark(mark)
        if {id_of(found) for found in await joining.store.read_marks()} != {known.store_id}:
            raise CannotStart(message=f"{joining.place} was marked by another database just now: start again")

    async def _say_who_writes(self, known: _Known, moving: PlacedStore) -> None:
        """Let the mark of a store that blobs move to tell whether it takes what is pushed to this server."""
        before, after = filling_mark(known.store_id), moving_mark(known.store_id)
        if moving is self._stores[0]:
            before, after = after, before
        await moving.store.make_mark(after, instead_of=before)

    async def _write_down(self, known: _Known) -> None:
        """Remember which marks there are. A start without an old store says that no blobs move any more."""
        is_moving = len(self._stores) > 1
        if known.is_marked and known.is_moving is is_moving:
            return

        def write(connection: Connection) -> None:
            server_state.put_first(connection, server_state.BLOB_STORE_MARKED, "yes")
            if is_moving:
                server_state.put_first(connection, server_state.BLOB_STORE_MOVING, "yes")
            else:
                server_state.remove(connection, server_state.BLOB_STORE_MOVING)

        await self._database.write(write)

    async def _read_marks(self) -> dict[str, str | None]:
        """Return the mark of each place, None where there is none."""
        return {each.place: next(iter(await each.store.read_marks()), None) for each in self._stores}

    @staticmethod
    def _remedy(placed: PlacedStore, mark: str) -> str:
        return f"If it is the right store, write {mark} into {placed.place.rstrip('/')}/{MARK_NAME}"


def _find(connection: Connection) -> _Known | None:
    store_id = server_state.find(connection, server_state.BLOB_STORE)
    if store_id is None:
        return None
    return _Known(
        store_id=store_id,
        is_marked=server_state.find(connection, server_state.BLOB_STORE_MARKED) is not None,
        is_moving=server_state.find(connection, server_state.BLOB_STORE_MOVING) is not None,
    )


def _found(connection: Connection) -> _Known:
    known = _find(connection)
    assert known is not None  # it was drawn before
    return known
