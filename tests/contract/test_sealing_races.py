"""Blobs are sealed beside whoever takes, heals, reads or seals them too, in every order of their calls.

There is no grace, and the clock of the server that collects is ahead by more than any hold: nothing relies on clocks.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from openecr.application.collection import Collection
from openecr.application.pacing import Pace
from openecr.application.scrubbing import Scrubbing, ScrubReport
from openecr.application.sealing import HOLD_SECONDS, SealReport
from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.domain.errors import Unavailable
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases
from tests.contract.interleavings import DatabaseInSteps, Interleavings
from tests.contract.shelves import ALL_BLOBS, NO_GRACE, chunks_of, digests_of
from tests.contract.test_sealing_job import FAST, ClearShelf, no_pause
from tests.contract.turns import DatabaseInTurns, Orders, errors_of


class FastClock:
    """A clock that is ahead of another one by more than any hold."""

    def __init__(self, clock: MovableClock) -> None:
        self._clock = clock

    def now(self) -> int:
        return self._clock.now() + 1_000_000 * (HOLD_SECONDS + 1)


class Race(ClearShelf):
    """A shelf with a collection whose clock is ahead."""

    def __init__(
        self, databases: Databases, folder: Path, database: DatabaseInTurns | DatabaseInSteps
    ) -> None:
        super().__init__(databases, folder, database=database, limits=NO_GRACE)
        self.count = 0
        self.image = Digest.of(b"")
        self.ahead = Collection(
            database=self.database,
            activity=self.activity,
            blobs=self.store,
            clock=FastClock(self.clock),
            limits=NO_GRACE,
        )

    async def begin(self) -> StoredBlob:
        """Make this order's repository, with a blob in clear that an image needs, and nothing else."""
        if self.count:
            await self.repositories.delete(self.grant, force=True)
            await self.ahead.run(self.ahead.purge_repositories)
            await self.remove()
        self.count += 1
        await self.open(f"app-{self.count}")
        pushed = await self.push_image(f"content {self.count}", f"content {self.count}")
        self.image = pushed.image.digest
        return await self.blobs.get(self.grant, Digest.of(self.content))

    @property
    def content(self) -> bytes:
        """This order's content."""
        return f"content {self.count}".encode()

    async def uploaded(self) -> str:
        """Begin an upload of this order's content."""
        upload = await self.uploads.start(self.grant)
        await self.uploads.append(self.grant, upload.id, chunks_of(self.content))
        return upload.id

    async def healed(self, upload_id: str) -> StoredBlob:
        """Let the blob have proved bad, and end the upload, whose bytes are in clear too."""
        await self.lose(Digest.of(self.content))
        return await self.uploads.finish(self.grant, upload_id, digests_of(self.content))

    async def remove(self) -> None:
        """Remove what is doomed."""
        await self.ahead.run(self.ahead.remove_doomed)

    async def take(self) -> None:
        """Collect blobs and remove their bytes at once."""
        await self.ahead.run(self.ahead.drop_links)
        await self.remove()

    async def check_whole(self) -> bool:
        """Check that the blob is there; tell whether it is sealed. Nothing but blobs is left."""
        await self.remove()
        await self.check()
        blob = await self.blobs.get(self.grant, Digest.of(self.content))
        assert await self.read(blob) == self.content
        assert await self.locations() == {row[0] for row in await self.rows(ALL_BLOBS)}
        return blob.header is not None


@pytest.fixture
async def race(databases: Databases, tmp_path: Path) -> AsyncIterator[Race]:
    race = Race(databases, tmp_path, DatabaseInTurns(databases.metadata))
    yield race
    await race.files.close()


async def test_a_blob_never_names_bytes_that_collection_removes(race: Race) -> None:
    orders, sealed = Orders(), 0
    async for take_turns in orders:
        await race.begin()

        results = await take_turns(race.seal, race.remove)

        assert errors_of(results) == []
        (report,) = (result for result in results if isinstance(result, SealReport))
        assert report.unreadable == 0
        is_sealed = await race.check_whole()
        assert report.sealed == is_sealed
        sealed += is_sealed
        await race.seal()
    assert 0 < sealed < orders.count, "some copies were taken away, some were not"


async def test_a_blob_that_nobody_needs_goes_with_its_copy(race: Race) -> None:
    orders, sealed = Orders(), 0
    async for take_turns in orders:
        await race.begin()
        await race.images.delete_manifest(race.grant, race.image)

        results = await take_turns(race.seal, race.ahead.drop_links)

        assert errors_of(results) == []
        (report,) = (result for result in results if isinstance(result, SealReport))
        assert report.unreadable == 0
        sealed += report.sealed
        await race.take()
        await race.check_settled()
    assert 0 < sealed < orders.count


async def test_of_two_who_seal_one_blob_one_does(race: Race) -> None:
    orders = Orders()
    async for take_turns in orders:
        await race.begin()

        results = await take_turns(race.seal, race.seal)

        assert errors_of(results) == []
        reports = [result for result in results if isinstance(result, SealReport)]
        assert (sum(each.sealed for each in reports), sum(each.unreadable for each in reports)) == (1, 0)
        assert await race.check_whole()
    assert orders.count > 1


async def test_what_is_lost_and_healed_meanwhile_is_what_was_pushed(race: Race) -> None:
    orders = Orders()
    async for take_turns in orders:
        await race.begin()

        upload_id = await race.uploaded()

        async def heal(upload_id: str = upload_id) -> StoredBlob:
            return await race.healed(upload_id)

        results = await take_turns(race.seal, heal)

        assert errors_of(results) == []
        await race.check_whole()
        await race.seal()
        assert await race.check_whole()
    assert orders.count > 1


async def test_scrubbing_never_calls_a_blob_lost_that_was_sealed_meanwhile(race: Race) -> None:
    scrubbing = Scrubbing(
        database=race.database,
        store=race.store,
        read=race.blobs.open,
        losses=race.losses,
        clock=race.clock,
        pace=Pace(FAST, pause=no_pause),
    )
    async for take_turns in Orders():
        await race.begin()

        async def scrub() -> ScrubReport:
            report = ScrubReport()
            while await scrubbing.step(report):
                pass
            return report

        async def seal() -> None:
            await race.seal()
            await race.remove()

        results = await take_turns(seal, scrub)

        assert errors_of(results) == []
        (report,) = (result for result in results if isinstance(result, ScrubReport))
        assert report.lost == []
        await race.check_whole()
        await race.seal()


async def test_who_reads_meanwhile_reads_it_all(race: Race) -> None:
    async for take_turns in Orders():
        await race.begin()

        async def read() -> bytes:
            blob = await race.blobs.get(race.grant, Digest.of(race.content))
            await race.database.read(lambda _: None)  # the bytes come one turn later
            return await race.read(blob)

        results = await take_turns(race.seal, read)

        assert errors_of(results) == []
        assert results[1] == race.content
        assert await race.check_whole()


# --- inside each other's units of work, statement by statement ---


@pytest.fixture
async def meeting(
    databases: Databases, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Race, Interleavings]]:
    observer = create_async_engine(request.getfixturevalue("postgres_url"), isolation_level="AUTOCOMMIT")
    race = Race(databases, tmp_path, DatabaseInSteps(databases.metadata))
    yield race, Interleavings(observer)
    await race.files.close()
    await observer.dispose()


@pytest.mark.parametrize("engine", ["postgresql"])
async def test_a_copy_is_named_or_taken(meeting: tuple[Race, Interleavings]) -> None:
    race, runs = meeting
    async for run in runs:
        await race.begin()

        results = await run(race.seal, race.remove)

        assert errors_of(results, Unavailable) == []
        await race.check_whole()
        await race.seal()
    assert runs.count > 4


@pytest.mark.parametrize("engine", ["postgresql"])
async def test_a_blob_is_sealed_or_claimed(meeting: tuple[Race, Interleavings]) -> None:
    race, runs = meeting
    async for run in runs:
        await race.begin()
        await race.images.delete_manifest(race.grant, race.image)

        results = await run(race.seal, race.ahead.drop_links)

        assert errors_of(results) == []
        await race.check()
        await race.take()
        await race.check_settled()
    assert runs.count > 4


@pytest.mark.parametrize("engine", ["postgresql"])
async def test_a_blob_is_sealed_by_one_or_healed(meeting: tuple[Race, Interleavings]) -> None:
    race, runs = meeting
    async for run in runs:
        await race.begin()

        upload_id = await race.uploaded()

        async def heal(upload_id: str = upload_id) -> StoredBlob:
            return await race.healed(upload_id)

        results = await run(race.seal, heal)

        assert errors_of(results) == []
        await race.check_whole()
        await race.seal()
        assert await race.check_whole()
    assert runs.count > 4
