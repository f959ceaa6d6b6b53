"""A repository of 100,000 images: deleted at once, purged in small steps between other pushes, paged by indexes."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Table, select

from openecr.application.collection import Collection
from openecr.application.images import PutRules
from openecr.domain.images import ImageId, TagStatus
from openecr.domain.repositories import Repository
from openecr.store import image_lists, repositories
from openecr.store.connections import Connection, SqliteConnection
from openecr.store.job_tables import JOBS
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_TAGS, IMAGES, METADATA
from tests.contract.crowds import HOW_MANY, CountingDatabase, digest_of, store_crowd, tag_of
from tests.contract.databases import Databases
from tests.contract.galleries import REGISTRY, grant_for, image_of, index_of
from tests.contract.shelves import NO_GRACE, Shelf

T = TypeVar("T")

UNIT_ROWS = 1_000
"""Design notes, section 7: about as many rows as one unit of work may change."""

PURGED = int(os.environ.get("OPENECR_TEST_PURGED_IMAGES", "1500"))
"""How many images are purged to the end; 100,000 take a minute on SQLite."""

FEW_STEPS = 20
PAGE = 100
PAGE_INSTRUCTIONS = 40_000
"""Of SQLite's machine, for a page that visits its own rows; all images would be millions."""


class CrowdedShelf(Shelf):
    """A shelf that counts the rows of its units of work."""

    def __init__(self, databases: Databases, folder: Path) -> None:
        self.uncounted = databases.metadata
        self.counting = CountingDatabase(self.uncounted)
        super().__init__(databases, folder, database=self.counting, limits=NO_GRACE)

    async def crowd(self, count: int) -> None:
        """Fill the repository `crowd`."""
        await self.open("crowd")
        await store_crowd(self.uncounted, self.grant.require_repository(), count)
        self.counting.rows_of_units.clear()

    async def asked(self, work: Callable[[Connection], Sequence[T]]) -> Sequence[T]:
        """Ask SQLite for a page, and count its instructions."""
        pieces = 0

        def count() -> int:
            nonlocal pieces
            pieces += 1
            return 0

        def scan(connection: Connection) -> Sequence[T]:
            assert isinstance(connection, SqliteConnection)
            connection.raw.set_progress_handler(count, PAGE_INSTRUCTIONS // 100)
            try:
                return work(connection)
            finally:
                connection.raw.set_progress_handler(None, 0)

        found = await self.uncounted.scan(scan)
        assert pieces <= 100
        return found

    async def find(self, name: str) -> Repository:
        """Find a live repository."""
        found = await self.database.read(lambda connection: repositories.find(connection, REGISTRY, name))
        assert found is not None
        return found

    async def purge(self, steps: int) -> bool:
        """Go some steps; after each somebody pushes."""
        other = await self.create("other")
        await self.push(b"config", grant=other)
        await self.push(b"layer", grant=other)
        for number in range(steps):
            self.counting.rows_of_units.clear()
            goes_on = await self.collection.purge_repositories()
            assert self.counting.rows_of_units[0] <= UNIT_ROWS
            await self.images.put(
                other, image_of(about=number), media_type=None, tags=["latest"], rules=PutRules.REGISTRY
            )
            if not goes_on:
                return True
        return False


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[CrowdedShelf]:
    shelf = CrowdedShelf(databases, tmp_path)
    yield shelf
    await shelf.files.close()


async def rows_left(shelf: Shelf) -> dict[str, int]:
    """How many rows each table has that has any, but for jobs: no worker is here to end them."""

    def scan(connection: Connection) -> dict[str, int]:
        counts = {
            name: len(connection.fetch_all(Statement(select(table))))
            for name, table in METADATA.tables.items()
            if table is not JOBS
        }
        return {name: count for name, count in counts.items() if count}

    return await shelf.database.scan(scan)


async def rows_of(shelf: Shelf, table: Table) -> int:
    """How many rows a table has."""
    return (await rows_left(shelf)).get(table.name, 0)


async def test_a_deleted_repository_is_purged_in_small_steps_between_other_pushes(
    shelf: CrowdedShelf,
) -> None:
    await shelf.crowd(PURGED)

    await shelf.repositories.delete(shelf.grant, force=True)
    assert shelf.counting.rows_of_units == [2]  # its own, and the job's that purges it
    await shelf.open("crowd")
    assert await shelf.purge(steps=PURGED * 10)

    for grant in (shelf.grant, grant_for("other", await shelf.find("other"))):
        await shelf.repositories.delete(grant, force=True)
    await shelf.collect_everything()
    assert await rows_left(shelf) == {}
    assert await shelf.locations() == set()
    assert max(shelf.counting.rows_of_units) <= UNIT_ROWS


async def test_a_child_of_very_many_indexes_with_many_tags_is_purged_in_small_steps(
    shelf: CrowdedShelf,
) -> None:
    await shelf.open("crowd")
    child = await shelf.push_image()
    for number in range(20):
        content = index_of(str(child.image.digest), annotations={"number": str(number)})
        await shelf.images.put(
            shelf.grant,
            content,
            media_type=None,
            tags=[f"{number}-{each}" for each in range(6)],
            rules=PutRules.REGISTRY,
        )
    await shelf.repositories.delete(shelf.grant, force=True)
    shelf.collection = Collection(
        database=shelf.database,
        activity=shelf.activity,
        blobs=shelf.store,
        clock=shelf.clock,
        limits=shelf.limits,
        step_rows=6,
    )
    shelf.counting.rows_of_units.clear()

    await shelf.collection.run(shelf.collection.purge_repositories)

    assert max(shelf.counting.rows_of_units) <= 3 * 6
    await shelf.collect_everything()
    assert await rows_left(shelf) == {}


async def test_images_of_very_many_layers_and_tags_are_deleted_in_several_units(shelf: CrowdedShelf) -> None:
    await shelf.open("crowd")
    names = [f"layer {number}" for number in range(30)]
    for name in names:
        await shelf.push(name.encode())
    pushed: list[ImageId] = []
    for number in range(20):
        image = (
            await shelf.images.put(
                shelf.grant,
                image_of(names[0], names, about=number),
                media_type=None,
                tags=[f"{number}-{each}" for each in range(90)],
                rules=PutRules.REGISTRY,
            )
        ).image
        pushed.append(ImageId(digest=str(image.digest)))
    index = await shelf.images.put(
        shelf.grant, index_of(pushed[-1].digest or ""), media_type=None, rules=PutRules.REGISTRY
    )
    missing = ImageId(tag="missing")
    shelf.counting.rows_of_units.clear()

    deleted, failures = await shelf.images.batch_delete(
        shelf.grant, [pushed[-1], missing, *pushed[:-1], ImageId(digest=str(index.image.digest))]
    )

    assert len(shelf.counting.rows_of_units) == 3
    assert max(shelf.counting.rows_of_units) <= UNIT_ROWS + 200
    assert {each.digest for each in deleted} == {
        each.digest for each in (*pushed, ImageId(digest=str(index.image.digest)))
    }
    assert len(deleted) == 20 * 90 + 1
    assert [failure.image_id for failure in failures] == [missing]
    assert await rows_of(shelf, IMAGE_TAGS) == await rows_of(shelf, IMAGES) == 0


# --- on SQLite, which counts its own instructions ---------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_repository_of_100_000_images_is_paged_by_indexes_and_deleted_at_once(
    shelf: CrowdedShelf,
) -> None:
    await shelf.crowd(HOW_MANY)
    repository_id = shelf.grant.require_repository().id
    digests = sorted(digest_of("image", number) for number in range(HOW_MANY))

    for start in (0, HOW_MANY - PAGE):
        after = digests[start - 1] if start else ""
        for status in (TagStatus.ANY, TagStatus.TAGGED):
            found = await shelf.asked(
                partial(
                    image_lists.list_images,
                    repository_id=repository_id,
                    tag_status=status,
                    after=after,
                    limit=PAGE,
                )
            )
            assert [str(image.digest) for image in found] == digests[start : start + PAGE]
            ids = await shelf.asked(
                partial(
                    image_lists.list_ids,
                    repository_id=repository_id,
                    tag_status=status,
                    after=ImageId(digest=after, tag="z"),
                    limit=PAGE,
                )
            )
            assert [each.digest for each in ids[::2]] == digests[start : start + PAGE // 2]
        tags = partial(image_lists.list_tags, repository_id=repository_id, after=tag_of(start), limit=PAGE)
        names = await shelf.asked(tags)
        assert len(names) == PAGE

    await shelf.repositories.delete(shelf.grant, force=True)
    assert shelf.counting.rows_of_units == [2]  # its own, and the job's that purges it
    await shelf.create("crowd")
    assert not await shelf.purge(steps=FEW_STEPS)
