"""The database: reads, scans and units of work, the same on SQLite and PostgreSQL.

A unit of work is a synchronous function of a `Connection`, free of side effects (it may be run again) and of I/O of
its own, touching at most about 1,000 rows. Raising inside one undoes it alone.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from openecr.store.connections import Connection

T = TypeVar("T")
Work = Callable[[Connection], T]


class DatabaseFailed(Exception):
    """The database cannot be trusted any more (an I/O error, a failed commit): the server must stop."""


class Database(Protocol):
    """One metadata database."""

    async def read(self, work: Work[T]) -> T:
        """Run bounded point reads. On SQLite: inline, in the event loop's thread."""
        ...

    async def scan(self, work: Work[T]) -> T:
        """Run longer reads, a list's page say, in one snapshot. On SQLite: in a reader thread."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work and return once it is durable. Raises what the unit raised, or DatabaseFailed."""
        ...

    async def close(self) -> None:
        """Let what is queued finish, then close."""
        ...
