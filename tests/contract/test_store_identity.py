"""A database knows its blob store: a wrong folder, or a disk that is not mounted, is no store that lost everything."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from openecr.adapters.blobs.copying import copy_blobs
from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.blobs.moving import MovingBlobStore
from openecr.adapters.ids import SystemIds
from openecr.application.store_identity import StoreIdentity
from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.blobs import MARK_NAME, MarkedBlobStore
from tests.contract.databases import Databases
from tests.contract.shelves import Shelf


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.files.close()


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "elsewhere", min_free_bytes=0, min_free_ratio=0)
    yield store
    await store.close()


def identity(shelf: Shelf, store: MarkedBlobStore | None = None) -> StoreIdentity:
    return StoreIdentity(
        database=shelf.database, store=store or shelf.files, ids=SystemIds(), place="the place"
    )


async def test_a_new_store_is_marked_once_and_known_from_then_on(shelf: Shelf) -> None:
    await identity(shelf).prove()
    marks = await shelf.files.read_marks()

    await identity(shelf).prove()
    await identity(shelf).check()

    assert len(marks) == 1
    assert await shelf.files.read_marks() == marks
    assert await shelf.locations() == set()


async def test_servers_that_start_together_agree(shelf: Shelf) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(identity(shelf).prove)

    assert len(await shelf.files.read_marks()) == 1


async def test_another_place_is_refused_at_a_start_and_later(shelf: Shelf, elsewhere: FileBlobStore) -> None:
    await identity(shelf).prove()

    with pytest.raises(CannotStart, match="the place is not the store of this database"):
        await identity(shelf, elsewhere).prove()
    with pytest.raises(Unavailable):
        await identity(shelf, elsewhere).check()
    assert await elsewhere.read_marks() == frozenset()

    await elsewhere.make_mark("of somebody else")
    with pytest.raises(CannotStart, match="another database"):
        await identity(shelf, elsewhere).prove()


async def test_a_new_database_takes_no_store_of_another_one(shelf: Shelf) -> None:
    await shelf.files.make_mark("of somebody else")

    with pytest.raises(CannotStart, match="another database"):
        await identity(shelf).prove()


async def test_a_store_of_an_earlier_version_is_known_by_its_blobs(
    shelf: Shelf, elsewhere: FileBlobStore
) -> None:
    await shelf.push(b"content")

    with pytest.raises(CannotStart, match="none of the blobs"):
        await identity(shelf, elsewhere).prove()
    await identity(shelf).prove()

    assert len(await shelf.files.read_marks()) == 1


async def test_a_start_that_was_killed_before_it_marked_the_store_is_ended_by_the_next(shelf: Shelf) -> None:
    class Killed(Exception):
        pass

    class Failing(FileBlobStore):
        async def make_mark(self, mark: str) -> None:
            raise Killed

    failing = Failing(shelf.files._root, min_free_bytes=0, min_free_ratio=0)
    with pytest.raises(Killed):
        await identity(shelf, failing).prove()
    await failing.close()

    await identity(shelf).prove()

    assert len(await shelf.files.read_marks()) == 1


async def test_while_blobs_move_either_store_may_have_the_mark(
    shelf: Shelf, elsewhere: FileBlobStore
) -> None:
    await identity(shelf).prove()
    for new, old in ((shelf.files, elsewhere), (elsewhere, shelf.files)):
        await identity(shelf, MovingBlobStore(new, old)).prove()
    await copy_blobs(shelf.files, elsewhere, lambda _: None)
    await elsewhere.make_mark("of somebody else")

    with pytest.raises(CannotStart):
        await identity(shelf, MovingBlobStore(elsewhere, shelf.files)).prove()


async def test_what_the_operator_writes_by_hand_counts(shelf: Shelf, elsewhere: FileBlobStore) -> None:
    await identity(shelf).prove()
    with pytest.raises(CannotStart) as told:
        await identity(shelf, elsewhere).prove()
    (mark,) = await shelf.files.read_marks()
    assert f"write {mark} into {MARK_NAME}" in told.value.message

    (elsewhere._root / MARK_NAME).write_text(mark)

    await identity(shelf, elsewhere).prove()
