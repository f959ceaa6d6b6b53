"""Each sync of our own is needed: where any one is left out, something that was promised can be lost."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.filesystems import FileSystem, Ignores
from tests.durability.traces import Call, Tracer, steps
from tests.requirements import require_tool

SYNCS = ("fsync", "fdatasync")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call]]:
    """The folder in which the program worked, and its calls."""
    require_tool("strace")
    folder = tmp_path_factory.mktemp("traced")
    root = folder / "host"
    root.mkdir()
    tracer = Tracer(folder / "calls.trace")
    program = subprocess.Popen(
        [*tracer.command, sys.executable, "-m", "tests.durability.every_adapter", str(root / "a/new/data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"the data folder is made\n"
        read = tracer.watch(program.pid)
        program.stdout.read()
    assert program.returncode == 0
    return root, read()


def not_durable(root: Path, calls: list[Call], ignores: Ignores) -> Iterator[str]:
    """Each promise that was given while something of it could still be lost."""
    filesystem = FileSystem(root, ignores=ignores)
    for _, call, ends in steps(calls):
        if ends:
            filesystem.end(call)
            continue
        filesystem.begin(call)
        if call.name == "write" and call.descriptor() == 1:
            lost = [name for name in filesystem.unsynced() if not name.endswith("/lock")]
            if lost:
                yield f"{call.written.decode().strip()}: {', '.join(lost)}"


def test_what_an_adapter_promises_is_durable(traced: tuple[Path, list[Call]]) -> None:
    assert list(not_durable(*traced, lambda _path, _call: False)) == []


def test_no_sync_can_be_left_out(traced: tuple[Path, list[Call]]) -> None:
    root, calls = traced
    syncs = [call for call in calls if call.name in SYNCS and call.described().startswith(str(root))]
    needless = Counter(
        Path(call.described()).name for call in syncs if not any(not_durable(root, calls, leaving_out(call)))
    )

    assert len(syncs) > 20
    # Four files are written there, each durably, and what is promised is all four.
    assert needless == {"tls": 3}


def leaving_out(call: Call) -> Ignores:
    return lambda _path, seen: seen is call
