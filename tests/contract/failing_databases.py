"""Databases that lose what they are told."""

from openecr.store.database import Database, T, Work


class FailingOnce:
    """A database whose next write is lost: its work is not done."""

    def __init__(self, database: Database, error: Exception) -> None:
        self._database = database
        self._error: Exception | None = error

    async def read(self, work: Work[T]) -> T:
        return await self._database.read(work)

    async def scan(self, work: Work[T]) -> T:
        return await self._database.scan(work)

    async def write(self, work: Work[T]) -> T:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return await self._database.write(work)

    async def close(self) -> None:
        raise NotImplementedError
