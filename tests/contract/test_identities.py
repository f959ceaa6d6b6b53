"""What decisions know of a resource is of one moment, also where it is changed while it is being read."""

from typing import Any

import pytest

from openecr.application.identities import Identities
from openecr.store import repositories, repository_policies
from openecr.store.connections import Connection, Row
from openecr.store.database import Database, Work
from openecr.store.statements import Statement
from tests.contract.databases import Databases
from tests.contract.galleries import Gallery
from tests.contract.questions import Meanwhile

_POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"*"}]}'


class _Interrupted:
    """A database of which something else changes what is read, after the first statement of the read."""

    def __init__(self, database: Database, meanwhile: Meanwhile, change: Work[None]) -> None:
        self._database = database
        self._meanwhile = meanwhile
        self._change = change
        self.changes = 0

    async def read(self, work: Work[Any]) -> Any:
        return await self._database.read(lambda connection: work(_Connection(connection, self)))

    async def scan(self, work: Work[Any]) -> Any:
        return await self._database.scan(lambda connection: work(_Connection(connection, self)))

    async def write(self, work: Work[Any]) -> Any:
        return await self._database.write(work)

    async def close(self) -> None:
        await self._database.close()

    def after_statement(self) -> None:
        self.changes += 1
        if self.changes == 1:
            self._meanwhile(lambda: self._database.write(self._change))


class _Connection:
    def __init__(self, connection: Connection, database: _Interrupted) -> None:
        self._connection = connection
        self._database = database

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        row = self._connection.fetch_one(statement, **parameters)
        self._database.after_statement()
        return row

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        rows = self._connection.fetch_all(statement, **parameters)
        self._database.after_statement()
        return rows

    def execute(self, statement: Statement, **parameters: Any) -> int:
        return self._connection.execute(statement, **parameters)


@pytest.fixture
async def gallery(databases: Databases) -> Gallery:
    return await Gallery(databases).open()


async def test_tags_and_policy_of_a_repository_are_of_one_moment(
    gallery: Gallery, meanwhile: Meanwhile
) -> None:
    repository = gallery.grant.require_repository()

    def change(connection: Connection) -> None:
        repositories.put_resource_tags(connection, repository, {"open": "no"})
        repository_policies.put(connection, repository.id, _POLICY, {})

    interrupted = _Interrupted(gallery.database, meanwhile, change)
    before = await Identities(database=interrupted).of_repository(repository, 1)
    assert interrupted.changes > 1
    assert (before.policy, before.tags) == (None, {})
    after = await Identities(database=gallery.database).of_repository(repository, 1)
    assert (after.policy is None, after.tags) == (False, {"open": "no"})
