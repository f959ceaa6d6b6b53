"""What a start writes is durable before the server answers: a lost master key would lose everything."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.durability.filesystems import FileSystem, Ignores
from tests.durability.recordings import freeze
from tests.durability.traces import Call, Tracer, steps
from tests.requirements import require_tool
from tests.running import RunningServer


def precious(filesystem: FileSystem) -> set[str]:
    """What a loss of power might take, but for the lock, and for what every start writes anew from the database."""
    return {path for path in filesystem.unsynced() if not re.fullmatch(r"/data/(lock|env|\.env\..*)", path)}


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call], int]:
    """Two starts over TLS on one folder, each killed once it answers: folder, calls, where the second begins.

    Background work, which commits whenever it likes, is off: it might be halfway through when an answer goes out.
    """
    require_tool("strace")
    folder = tmp_path_factory.mktemp("traced")
    runs: list[list[Call]] = []
    for number in range(2):
        tracer = Tracer(folder / f"{number}.trace")
        server = RunningServer(
            folder / "host", tls=True, settings={"OPENECR_WORKER": "false"}, wrapper=tracer.command
        ).start()
        try:
            read = tracer.watch(server.process.pid)
            freeze(server.process.pid)
        finally:
            server.kill()
        runs.append(read())
    second = runs[0][-1].ended + 1
    later = [replace(call, began=call.began + second, ended=call.ended + second) for call in runs[1]]
    return folder / "host", [*runs[0], *later], second


def until(
    root: Path, calls: list[Call], instant: int, ignores: Ignores = lambda _path, _call: False
) -> FileSystem:
    """The file system at the beginning of a call."""
    filesystem = FileSystem(root, ignores=ignores)
    for line, call, ends in steps(calls):
        if line >= instant:
            break
        if ends:
            filesystem.end(call)
        else:
            filesystem.begin(call)
    return filesystem


def first_answer(calls: list[Call], after: int = 0) -> int:
    return next(call.began for call in calls if call.began >= after and call.peer_port is not None)


def test_everything_that_the_first_start_makes_is_durable_before_it_answers(
    starts: tuple[Path, list[Call], int],
) -> None:
    root, calls, _ = starts
    filesystem = until(root, calls, first_answer(calls))

    assert precious(filesystem) == set()
    made = {path.relative_to(root).as_posix() for path in (root / "data").rglob("*") if path.is_file()}
    assert {"data/keys/master-000001.key", "data/tls/ca.key", "data/env", "data/format"} <= made


def test_the_master_key_is_durable_before_there_is_a_database(
    starts: tuple[Path, list[Call], int],
) -> None:
    root, calls, _ = starts
    database = next(
        call.began for call in calls if call.name == "openat" and b"metadata.sqlite" in call.strings[0]
    )

    assert precious(until(root, calls, database)) == set()


def test_a_start_makes_durable_what_one_that_was_killed_had_not_synced_yet(
    starts: tuple[Path, list[Call], int],
) -> None:
    """Every file was synced before it got its name; what a kill can prevent is the sync of that name."""
    root, calls, second = starts
    folders = {root, *(root / name for name in ("data", "data/keys", "data/tls", "data/blobs"))}

    def prevented(path: Path, call: Call) -> bool:
        return call.began < second and path in folders

    left = until(root, calls, second, prevented).unsynced()
    assert {"/data", "/data/keys", "/data/keys/master-000001.key", "/data/tls/ca.key"} <= set(left)
    found = until(root, calls, first_answer(calls, second), prevented)
    assert precious(found) == set()
