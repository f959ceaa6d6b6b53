"""The power goes at any instant of a real run: whatever the disk kept beside what was synced, every promise holds.

`OPENECR_POWER_LOSSES` asks for more instants, `OPENECR_CHANGES` for a longer run (from about 300 on SQLite's log is
copied into the database and begun anew under load), `OPENECR_SEED` for the choices of a failure again.
"""

import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.afterwards import losses
from tests.durability.filesystems import Always, Chance, Dice, FileSystem, Ignores
from tests.durability.recordings import Recording, record
from tests.durability.traces import Call
from tests.requirements import require_tool

LOSSES = int(os.environ.get("OPENECR_POWER_LOSSES", "60"))
SEED = os.environ.get("OPENECR_SEED") or str(random.SystemRandom().randrange(10**9))
CALLERS = 3
CHANGES = int(os.environ.get("OPENECR_CHANGES", "60"))
"""So many are acknowledged in each of the two runs of the server."""

LARGEST_BYTES = 20_000
MEMORY = Path("/dev/shm")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """One run, which every test looks at."""
    require_tool("strace")
    folder = tmp_path_factory.mktemp("traced") / "host"
    folder.mkdir()
    return record(folder, seed=SEED, callers=CALLERS, changes=CHANGES, largest_bytes=LARGEST_BYTES)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such a place: hundreds of data folders are written there."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


def losses_at(
    recording: Recording, filesystem: FileSystem, instant: int, chance: Chance, folder: Path
) -> list[str]:
    """What of the promises up to an instant is broken after a loss of power."""
    left = folder / "left"
    left.mkdir()
    filesystem.after_loss(left, chance)
    try:
        return losses(
            left / "data",
            recording.history.expected(recording.is_acknowledged(instant)),
            authorization=recording.authorization,
            root_key=recording.root_key,
        )
    finally:
        shutil.rmtree(left)


def first_loss(recording: Recording, folder: Path, ignores: Ignores) -> list[str]:
    """What is lost first where the disk lies about some syncs, if anything is."""
    for instant, filesystem in recording.replay(recording.acknowledgements, ignores=ignores):
        found = losses_at(recording, filesystem, instant, Always(kept=False), folder)
        if found:
            return found
    return []


def test_the_trace_tells_everything_that_the_server_did(recording: Recording, fresh: Path) -> None:
    """What the model believes is in the files is what is there."""
    ((_, filesystem),) = recording.replay([recording.length])
    filesystem.after_loss(fresh, Always(kept=True))

    assert contents(fresh / "data") == contents(recording.root / "data")


LIES = {
    "the file of a blob": r"data/blobs/../.+",
    "the folder of a blob": r"data/blobs/..",
    "the folder of the blobs' folders": r"data/blobs",
    "the log of the database": r"data/metadata\.sqlite-wal",
    "the database": r"data/metadata\.sqlite",
    "the data folder": r"data",
    "the folder around the data folder": r"\.",
    "the master key": r"data/keys/.+",
    "the folder of the master key": r"data/keys",
    "the format of the folder": r"data/\.format.*",
}
"""Whatever the server syncs, by its path: each is needed."""


@pytest.mark.parametrize("path", LIES.values(), ids=LIES.keys())
def test_a_disk_that_lies_about_one_kind_of_sync_loses_what_was_acknowledged(
    recording: Recording, fresh: Path, path: str
) -> None:
    """The test of the tests: a sync that the program left out would be seen."""

    def ignores(synced: Path, _call: Call) -> bool:
        return re.fullmatch(path, str(synced.relative_to(recording.root))) is not None

    assert first_loss(recording, fresh, ignores) != []


def contents(data: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_every_acknowledged_change_survives_when_nothing_is_kept_that_was_not_synced(
    recording: Recording, fresh: Path
) -> None:
    instants = recording.acknowledgements
    chosen = random.Random(SEED).sample(instants, min(LOSSES, len(instants)))
    for instant, filesystem in recording.replay(chosen):
        assert losses_at(recording, filesystem, instant, Always(kept=False), fresh) == [], (SEED, instant)


def test_every_acknowledged_change_survives_whatever_else_is_kept(recording: Recording, fresh: Path) -> None:
    """Also halves of writes, names without bytes and bytes without names; at any instant, acknowledged or not."""
    chance = random.Random(SEED)
    start = recording.acknowledgements[0]
    chosen = [chance.randrange(start, recording.length + 1) for _ in range(LOSSES)]
    for instant, filesystem in recording.replay(chosen):
        found = losses_at(recording, filesystem, instant, Dice(f"{SEED}:{instant}"), fresh)
        assert found == [], (SEED, instant)
