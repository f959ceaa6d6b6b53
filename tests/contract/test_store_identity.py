"""A database knows its blob store: a wrong folder, or a disk that is not mounted, is no store that lost everything."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.ids import SystemIds
from openecr.application.store_identity import PlacedStore, StoreIdentity, filling_mark, moving_mark
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


def identity(
    shelf: Shelf, store: MarkedBlobStore | None = None, old: MarkedBlobStore | None = None
) -> StoreIdentity:
    """`old`: the blobs are being moved from there to `store`."""
    stores = [PlacedStore("the place", store or shelf.files)]
    if old is not None:
        stores.append(PlacedStore("the old place", old))
    return StoreIdentity(database=shelf.database, stores=stores, ids=SystemIds())


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
        async def make_mark(self, mark: str, *, instead_of: str | None = None) -> None:
            raise Killed

    failing = Failing(shelf.files._root, min_free_bytes=0, min_free_ratio=0)
    with pytest.raises(Killed):
        await identity(shelf, failing).prove()
    await failing.close()

    await identity(shelf).prove()

    assert len(await shelf.files.read_marks()) == 1


async def mark_of(store: MarkedBlobStore) -> str:
    (mark,) = await store.read_marks()
    return mark


def overwrite(store: FileBlobStore, mark: str) -> None:
    (store._root / MARK_NAME).write_text(mark)


async def test_while_blobs_move_the_old_store_is_the_databases_and_the_new_one_has_a_mark_of_its_own(
    shelf: Shelf, elsewhere: FileBlobStore
) -> None:
    await shelf.push(b"content")
    await identity(shelf, shelf.files, elsewhere).prove()  # the database had seen no store yet
    mark = await mark_of(shelf.files)

    assert await mark_of(elsewhere) == moving_mark(mark)
    for new, old, said in (
        (elsewhere, shelf.files, filling_mark(mark)),
        (shelf.files, elsewhere, moving_mark(mark)),
        (elsewhere, shelf.files, filling_mark(mark)),
    ):
        await identity(shelf, new, old).prove()
        await identity(shelf, new, old).check()
        assert await mark_of(elsewhere) == said, "whether it takes what is pushed"
    with pytest.raises(CannotStart, match="run `openecr blobs copy` until"):
        await identity(shelf, elsewhere).prove()
    with pytest.raises(Unavailable):
        await identity(shelf, elsewhere).check()

    await elsewhere.make_mark(mark, instead_of=filling_mark(mark))  # as a copy that found nothing any more
    await identity(shelf, elsewhere).prove()
    await identity(shelf, elsewhere).check()


async def test_while_blobs_move_a_new_store_of_another_database_is_refused(
    shelf: Shelf, elsewhere: FileBlobStore
) -> None:
    await identity(shelf).prove()
    await elsewhere.make_mark("of somebody else")

    with pytest.raises(CannotStart, match="the place holds the blobs of another database"):
        await identity(shelf, elsewhere, shelf.files).prove()


@pytest.mark.parametrize("is_first_step", [True, False])
async def test_a_new_store_whose_disk_is_not_mounted_any_more_is_refused(
    shelf: Shelf, elsewhere: FileBlobStore, *, is_first_step: bool
) -> None:
    await identity(shelf).prove()
    stores = (shelf.files, elsewhere) if is_first_step else (elsewhere, shelf.files)
    moving = identity(shelf, *stores)
    await moving.prove()
    (elsewhere._root / MARK_NAME).unlink()

    with pytest.raises(CannotStart, match="is not the store that blobs are being moved to"):
        await moving.prove()
    with pytest.raises(Unavailable):
        await moving.check()
    assert await elsewhere.read_marks() == frozenset()

    overwrite(elsewhere, moving_mark(await mark_of(shelf.files)))  # as the refusal says
    await moving.prove()


async def test_a_second_move_begins_as_the_first_did(shelf: Shelf, elsewhere: FileBlobStore) -> None:
    await identity(shelf).prove()
    await identity(shelf, elsewhere, shelf.files).prove()
    await identity(shelf).prove()  # it was given up
    (elsewhere._root / MARK_NAME).unlink()

    await identity(shelf, elsewhere, shelf.files).prove()

    assert await mark_of(elsewhere) == filling_mark(await mark_of(shelf.files))


async def test_a_backup_of_before_the_mark_knows_its_store_by_its_blobs(
    shelf: Shelf, elsewhere: FileBlobStore
) -> None:
    await shelf.push(b"content")
    await shelf.files.make_mark("made after the backup")
    await elsewhere.make_mark("of somebody else")

    with pytest.raises(CannotStart, match="another database"):
        await identity(shelf, elsewhere).prove()
    await identity(shelf).prove()
    await identity(shelf).check()

    assert await mark_of(shelf.files) == "made after the backup"
    overwrite(shelf.files, "of somebody else")
    with pytest.raises(CannotStart, match="another database"):
        await identity(shelf).prove()


async def test_blobs_are_looked_for_as_long_as_no_store_was_marked(
    shelf: Shelf, elsewhere: FileBlobStore
) -> None:
    await shelf.push(b"content")
    for _ in range(2):  # the first has drawn the id
        with pytest.raises(
            CannotStart, match=f"If it is the right store, write .* into the place/{MARK_NAME}"
        ):
            await identity(shelf, elsewhere).prove()

    assert await elsewhere.read_marks() == frozenset()


async def test_a_mark_that_another_server_makes_meanwhile_counts(shelf: Shelf) -> None:
    class Late(FileBlobStore):
        async def read_marks(self) -> frozenset[str]:
            marks = await super().read_marks()
            if not marks:
                await identity(shelf).prove()  # another server's, between two steps of this one
            return marks

    late = Late(shelf.files._root, min_free_bytes=0, min_free_ratio=0)

    await identity(shelf, late).prove()

    await late.close()


async def test_what_the_operator_writes_by_hand_counts(shelf: Shelf, elsewhere: FileBlobStore) -> None:
    await identity(shelf).prove()
    with pytest.raises(CannotStart) as told:
        await identity(shelf, elsewhere).prove()
    (mark,) = await shelf.files.read_marks()
    assert f"write {mark} into the place/{MARK_NAME}" in told.value.message

    (elsewhere._root / MARK_NAME).write_text(mark)

    await identity(shelf, elsewhere).prove()
