"""A database in front of another one, for what differs from it in one thing."""

from typing import TypeVar

from openecr.store.database import Database, Work

T = TypeVar("T")


class Front:
    """Passes everything on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, work: Work[T]) -> T:
        """Run point reads."""
        return await self._database.read(work)

    async def scan(self, work: Work[T]) -> T:
        """Run longer reads."""
        return await self._database.scan(work)

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work."""
        return await self._database.write(work)

    async def close(self) -> None:
        """Close it."""
        await self._database.close()
