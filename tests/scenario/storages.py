"""What the servers under scenarios keep their data in: each kind is a few settings of a server."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

from openecr.store.postgres_migrating import migrate_postgresql
from tests.contract.databases import PostgresServer, postgres_server
from tests.s3_servers import S3Server, swift_server

Flags = Mapping[str, str]
"""Settings by their names; nothing means the data folder."""

Variables = Mapping[str, str]
"""The same as the variables of a program."""

_TEMPLATE = "template_of_scenarios"


class Storages:
    """Starts what a kind of storage needs when it is asked for the first time; one for a process of tests."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._opened = 0

    def opened(self, name: str) -> AbstractContextManager[Flags]:
        """Make an empty storage of a kind, for as long as the block lasts."""
        return KINDS[name](self)

    @cached_property
    def postgres(self) -> PostgresServer:
        """A server with a migrated database, which others are copied from: quicker than migrating each."""
        server = self._stack.enter_context(postgres_server())
        server.create(_TEMPLATE)
        asyncio.run(migrate_postgresql(server.dsn(_TEMPLATE)))
        return server

    @contextmanager
    def postgresql(self) -> Iterator[Flags]:
        """PostgreSQL and files."""
        self._opened += 1
        name = f"scenario_{self._opened}"
        self.postgres.clone(_TEMPLATE, name)
        yield {"database": self.postgres.dsn(name)}
        self.postgres.drop(name)

    @cached_property
    def swift(self) -> S3Server:
        """A server of S3's protocol."""
        return self._stack.enter_context(swift_server())

    @contextmanager
    def postgresql_and_s3(self) -> Iterator[Flags]:
        """PostgreSQL and a bucket."""
        with self.postgresql() as database:
            yield {**database, **self.swift.settings(self.swift.make_bucket())}

    @contextmanager
    def folder(self) -> Iterator[Flags]:
        """SQLite and files."""
        yield {}


KINDS: Mapping[str, Callable[[Storages], AbstractContextManager[Flags]]] = {
    "SQLite": Storages.folder,
    "PostgreSQL": Storages.postgresql,
    "PostgreSQL and S3": Storages.postgresql_and_s3,
}


DATABASES = ("SQLite", "PostgreSQL")
"""Kinds that leave blobs in the data folder."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a scenario reaches a server, and where that keeps its data."""

    reach: str
    storage: str

    def __str__(self) -> str:
        return f"{self.reach}, {self.storage}"


SETUPS = (*(Setup("in process", kind) for kind in KINDS), Setup("over the wire", "SQLite"))
EVERY_SETUP = (
    *SETUPS,
    Setup("over the wire", "PostgreSQL"),
    Setup("over the wire", "PostgreSQL and S3"),
)
"""Starting programs takes long: only some scenarios meet each kind of storage over the wire."""
