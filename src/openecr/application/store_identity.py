"""That a blob store is the one of this database: each names the same id.

Without it a wrong folder, a disk that is not mounted or a bucket of somebody else would look like a store that has lost
every blob, and its content like bytes that nobody needs. The database draws the id before the store is marked: whoever
finds a mark finds the id too.
"""

from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.blobs import MARK_NAME, MarkedBlobStore
from openecr.ports.ids import Ids
from openecr.store import scrubbing, server_state
from openecr.store.connections import Connection
from openecr.store.database import Database

MARK_BYTES = 16
SAMPLE = 20
"""So many blobs are looked for in a store that was never marked."""


class StoreIdentity:
    """Compares the mark of a store, `place` as the operator calls it, with the database."""

    def __init__(self, *, database: Database, store: MarkedBlobStore, ids: Ids, place: str) -> None:
        self._database = database
        self._store = store
        self._ids = ids
        self._place = place

    async def prove(self) -> None:
        """Look at a start whether the store is the database's; the first time, mark it. Raises CannotStart."""
        try:
            await self._prove()
        except Unavailable as error:
            raise CannotStart(
                message=f"cannot use {self._place}: {error.context or error.message}"
            ) from error

    async def check(self) -> None:
        """Look again, before something that trusts the store's word that bytes are gone. Raises Unavailable."""
        store_id, _ = await self._database.read(_find)
        marks = await self._store.read_marks()
        if store_id is None or marks != frozenset({store_id}):
            raise Unavailable(
                message="The registry's storage failed. Try again.",
                context=f"{self._place} is not the store of this database any more: its mark is gone, or another",
            )

    async def _prove(self) -> None:
        marks = await self._store.read_marks()  # before the id: it is drawn before a store is marked
        store_id, is_marked = await self._database.read(_find)
        if store_id is None:
            store_id = await self._claim(marks)
        if not marks and not is_marked:
            await self._store.make_mark(store_id)
            marks = await self._store.read_marks()
        if marks != frozenset({store_id}):
            raise CannotStart(message=self._refusal(marks, store_id))
        if not is_marked:
            await self._database.write(
                lambda connection: server_state.put_first(connection, server_state.BLOB_STORE_MARKED, "yes")
            )

    async def _claim(self, marks: frozenset[str]) -> str:
        """Draw the id of the store of a database that has none yet, and return it."""
        if marks:
            raise CannotStart(
                message=f"{self._place} holds the blobs of another database: each needs a store of its own"
            )
        await self._look_for_blobs()
        drawn = self._ids.token(MARK_BYTES).hex()

        def claim(connection: Connection) -> str:
            server_state.put_first(connection, server_state.BLOB_STORE, drawn)
            return server_state.find(connection, server_state.BLOB_STORE) or drawn

        return await self._database.write(claim)

    async def _look_for_blobs(self) -> None:
        """An earlier version's store has no mark, and some of the blobs that its database names."""
        named = await self._database.scan(
            lambda connection: scrubbing.list_stored(connection, after=0, limit=SAMPLE)
        )
        for blob in named:
            if await self._store.size(blob.location) is not None:
                return
        if named:
            raise CannotStart(
                message=f"{self._place} holds none of the blobs that the database names: is it the right place "
                "(--blobs), and mounted?"
            )

    def _refusal(self, marks: frozenset[str], store_id: str) -> str:
        if marks:
            return f"{self._place} holds the blobs of another database: is it the right place (--blobs)?"
        return (
            f"{self._place} is not the store of this database's blobs: is it the right place (--blobs), and mounted? "
            f"To go on without what is gone, write {store_id} into {MARK_NAME} there"
        )


def _find(connection: Connection) -> tuple[str | None, bool]:
    is_marked = server_state.find(connection, server_state.BLOB_STORE_MARKED) is not None
    return server_state.find(connection, server_state.BLOB_STORE), is_marked
