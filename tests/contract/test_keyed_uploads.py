"""Uploads under keys of KMS look where their blob goes before they store it, and others come in between."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.store import keyed_blobs
from openecr.store.database import Database, Work
from tests.contract.databases import Databases
from tests.contract.fronts import Front
from tests.contract.keyed_shelves import BLOBS_OF, KeyedShelf
from tests.contract.shelves import chunks_of

T = TypeVar("T")

CONTENT = b"pushed by many at once"
DIGEST = Digest.of(CONTENT)


class LookedAt(Front):
    """A database that lets something happen after an upload has looked where its blob goes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.looks = 0
        self.then: list[Callable[[], Awaitable[object]]] = []

    async def read(self, work: Work[T]) -> T:
        found = await super().read(work)
        if isinstance(work, partial) and work.func is keyed_blobs.find_place:
            self.looks += 1
            if self.then:
                await self.then.pop(0)()
        return found


@pytest.fixture
def database(databases: Databases) -> LookedAt:
    return LookedAt(databases.metadata)


@pytest.fixture
async def shelf(databases: Databases, database: LookedAt, tmp_path: Path) -> KeyedShelf:
    shelf = KeyedShelf(databases, tmp_path, database=database)
    await shelf.open()
    return shelf


async def is_readable(shelf: KeyedShelf, grant: Grant) -> bool:
    """Tell whether a repository gives the content, through a key of its own alone."""
    blob = await shelf.blobs.get(grant, DIGEST)
    return await shelf.read(blob) == CONTENT


async def test_two_repositories_push_one_layer_at_once_and_share_it(
    shelf: KeyedShelf, database: LookedAt
) -> None:
    """Both find nothing there, and each draws a key: whoever is second has to take that of the first."""
    other, both_have_looked = await shelf.create("other"), asyncio.Barrier(2)
    database.then = [both_have_looked.wait, both_have_looked.wait]

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for grant in (shelf.grant, other):
            tasks.create_task(shelf.push(CONTENT, grant=grant))

    # Whoever is second finds the content there, has its bytes looked at, and begins anew.
    assert database.looks == 4
    assert len(await shelf.rows(BLOBS_OF, the_digest=str(DIGEST))) == 1
    assert [await is_readable(shelf, grant) for grant in (shelf.grant, other)] == [True, True]


async def test_two_uploads_of_one_layer_to_one_repository_end_as_one(
    shelf: KeyedShelf, database: LookedAt
) -> None:
    both_have_looked = asyncio.Barrier(2)
    database.then = [both_have_looked.wait, both_have_looked.wait]

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(shelf.push(CONTENT))

    assert len(await shelf.rows(BLOBS_OF, the_digest=str(DIGEST))) == 1
    assert await is_readable(shelf, shelf.grant)


@pytest.mark.parametrize("comes_again", [False, True])
async def test_the_last_holder_goes_while_another_repository_pushes(
    shelf: KeyedShelf, database: LookedAt, *, comes_again: bool
) -> None:
    """The blob that was to be shared is gone, or there is another one of the same content under another key."""
    other, third = await shelf.create("other"), await shelf.create("third")
    await shelf.push(CONTENT, grant=other)
    database.looks = 0

    async def go() -> None:
        await shelf.blobs.unlink(other, DIGEST)
        if comes_again:
            await shelf.push(CONTENT, grant=third)

    database.then = [go]

    await shelf.push(CONTENT)

    assert database.looks == (4 if comes_again else 2)
    assert len(await shelf.rows(BLOBS_OF, the_digest=str(DIGEST))) == 1
    assert await is_readable(shelf, shelf.grant)
    if comes_again:
        assert await is_readable(shelf, third)


async def test_the_own_blob_is_lost_and_healed_by_another_while_it_is_pushed_again(
    shelf: KeyedShelf, database: LookedAt
) -> None:
    """Whoever shares a blob keeps its share key, whoever stored the bytes that are there now."""
    other = await shelf.create("other")
    for grant in (shelf.grant, other):
        await shelf.push(CONTENT, grant=grant)
    await shelf.lose(DIGEST)
    begun = await shelf.uploads.start(shelf.grant)
    await shelf.uploads.append(shelf.grant, begun.id, chunks_of(CONTENT))

    async def heal() -> None:
        await shelf.push(CONTENT, grant=other)

    database.then = [heal]

    await shelf.uploads.finish(shelf.grant, begun.id, [DIGEST])

    assert [await is_readable(shelf, grant) for grant in (shelf.grant, other)] == [True, True]
