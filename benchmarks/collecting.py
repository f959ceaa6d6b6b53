"""Pulls while 100,000 blobs are collected that no image needs: `python -m benchmarks.collecting`.

Embedded, and PostgreSQL with files. In each round a server is started with so many blobs that nobody refers to, their
small files really written; eight clients pull manifests and blobs of 10 KiB before, while the jobs that collect run to
their end, and after.
"""

import argparse
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

from benchmarks import content, loads
from benchmarks.clusters import Cluster, run_postgresql
from benchmarks.loads import Figures, Generator, Load
from benchmarks.servers import Target, clean_up_when_told_to_end, openecr

_GOAL = 1.2
_CLIENTS = 8
_IMAGES = 20
_FOREVER = 1_000_000.0
_DOOMED_SECONDS = 1
_ENVIRONMENT = {
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "1000000",  # when it is told to, and not by itself
    "OPENECR_DOOMED_SECONDS": str(_DOOMED_SECONDS),
    "OPENECR_STORAGE_ENCRYPT_AT_REST": "false",  # or a job would seal what is to go, and keep what it was for a week
}
_JOBS = ("collect-blobs", "remove-bytes")
_HOLDER = "bench/garbage"
_GARBAGE_BYTES = 71
"""Of each; nothing else is as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where a server keeps things; `store` adds blobs by (digest, location) while no server runs."""

    name: str
    options: list[str]
    data: Path
    blobs: Path
    store: Callable[[list[tuple[str, str]]], None]


@dataclass(slots=True, kw_only=True)
class Found:
    """What was measured in all rounds: quiet runs, those beside the collection, and its seconds for each job."""

    quiet: list[Figures] = field(default_factory=list[Figures])
    busy: list[Figures] = field(default_factory=list[Figures])
    seconds: dict[str, list[float]] = field(default_factory=lambda: {job: [] for job in _JOBS})


def main() -> None:
    """Measure and print the table."""
    clean_up_when_told_to_end()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each quiet run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--blobs", type=int, default=100_000, help="to collect in each round")
    parser.add_argument("--folder", type=Path, default=None, help="where the servers keep their data")
    parser.add_argument("--only", default="", help="only storages whose name begins with this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="openecr-bench-", dir=options.folder))
    try:
        generator = Generator(loads.build(folder), options.seconds)
        measure(generator, folder, rounds=options.rounds, blobs=options.blobs, only=options.only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(generator: Generator, folder: Path, *, rounds: int, blobs: int, only: str) -> None:
    """Print a line for each storage."""
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    print(
        "| storage | pulls without: rate, p50 / p99 ms | pulls beside it | p99 | to stay below "
        f"| {' | '.join(f'{job}, s' for job in _JOBS)} |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    with ExitStack() as stack:
        storages: list[Storage] = []
        if "embedded".startswith(only):
            storages.append(_embedded(folder))
        if "postgresql".startswith(only.lower()):
            storages.append(_postgresql(folder, stack.enter_context(run_postgresql())))
        for storage in storages:
            found = Found()
            with _server(folder, storage) as running:
                load = Load(mode="get", paths=_fill(*running), clients=_CLIENTS)
            for number in range(rounds):
                _measure_round(generator, folder, storage, load, number=number, blobs=blobs, found=found)
            print(_line(storage, found), flush=True)


def _embedded(folder: Path) -> Storage:
    data = folder / "embedded"

    def store(made: list[tuple[str, str]]) -> None:
        with sqlite3.connect(data / "metadata.sqlite") as connection:
            connection.executemany(
                "INSERT INTO blobs (region, digest, size_bytes, location, created_at) "
                f"VALUES ('us-east-1', ?, {_GARBAGE_BYTES}, ?, 0)",
                made,
            )
            connection.execute(
                "INSERT INTO links (repository_id, digest, blob_id, grace_until) "
                "SELECT repositories.id, digest, blobs.id, 0 FROM blobs, repositories "
                f"WHERE name = ? AND size_bytes = {_GARBAGE_BYTES}",
                [_HOLDER],
            )
        connection.close()

    return Storage(name="embedded", options=[], data=data, blobs=data / "blobs", store=store)


def _postgresql(folder: Path, cluster: Cluster) -> Storage:
    data = folder / "postgresql"

    def store(made: list[tuple[str, str]]) -> None:
        rows = "".join(f"{digest}\t{location}\n" for digest, location in made)
        cluster.run(
            'CREATE TEMPORARY TABLE made (digest text COLLATE "C", location text);\nCOPY made FROM STDIN;\n'
            f"{rows}\\.\n"
            "INSERT INTO blobs (region, digest, size_bytes, location, created_at) "
            f"SELECT 'us-east-1', digest, {_GARBAGE_BYTES}, location, 0 FROM made;\n"
            "INSERT INTO links (repository_id, digest, blob_id, grace_until) SELECT repositories.id, blobs.digest, "
            f"blobs.id, 0 FROM blobs JOIN made USING (digest), repositories WHERE name = '{_HOLDER}';\n"
            "ANALYZE;"
        )

    options = [f"--database={cluster.dsn()}"]
    return Storage(name="PostgreSQL, files", options=options, data=data, blobs=data / "blobs", store=store)


def _measure_round(
    generator: Generator,
    folder: Path,
    storage: Storage,
    load: Load,
    *,
    number: int,
    blobs: int,
    found: Found,
) -> None:
    storage.store(_write_garbage(storage.blobs, number, blobs))
    with _server(folder, storage) as (target, _):
        found.quiet.append(generator.run(target, load))
        with generator.started(target, load, _FOREVER) as process:
            for job in _JOBS:
                began = time.monotonic()
                _run(storage, job)
                found.seconds[job].append(time.monotonic() - began)
                time.sleep(_DOOMED_SECONDS)
            process.send_signal(signal.SIGINT)
            found.busy.append(loads.figures(target, process))
        found.quiet.append(generator.run(target, load))
    left = sum(1 for each in storage.blobs.glob("*/*") if each.stat().st_size == _GARBAGE_BYTES)
    assert left == 0, f"{left} of {blobs} blobs are still there"


@contextmanager
def _server(folder: Path, storage: Storage) -> Iterator[tuple[Target, Any]]:
    with openecr(
        folder, name=storage.data.name, options=storage.options, environment=_ENVIRONMENT
    ) as running:
        yield running


def _fill(target: Target, ecr: Any) -> list[str]:
    """Store what is pulled, and return its paths."""
    ecr.create_repository(repositoryName=_HOLDER)
    pusher = content.Pusher(target)
    paths: list[str] = []
    for name in content.repository_names()[:_IMAGES]:
        ecr.create_repository(repositoryName=name)
        pusher.image(name, "v1")
        digest = pusher.blob(name, name.encode().ljust(content.BLOB_SIZES["10 KiB"], b"."))
        paths += [f"/v2/{name}/manifests/v1", f"/v2/{name}/blobs/{digest}"]
    return paths


def _write_garbage(folder: Path, round_number: int, count: int) -> list[tuple[str, str]]:
    """Write files that nobody needs, and return the digest and the location of each."""
    made: list[tuple[str, str]] = []
    for number in range(count):
        text = f"garbage {round_number} {number}".ljust(_GARBAGE_BYTES).encode()
        location = md5(text).hexdigest()
        (folder / location[:2] / location).write_bytes(text)
        made.append((content.digest_of(text), location))
    os.sync()
    return made


def _run(storage: Storage, job: str) -> None:
    """Let a job run now, and wait for its end."""
    command = [sys.executable, "-m", "openecr", "jobs", "run", job, "--data", str(storage.data)]
    subprocess.run(command, check=True)


def _line(storage: Storage, found: Found) -> str:
    quiet, busy = (
        {
            name: statistics.median(getattr(each, name) for each in runs)
            for name in ("per_second", "p50", "p99")
        }
        for runs in (found.quiet, found.busy)
    )
    cells = [f"{each['per_second']:,.0f}/s, {each['p50']:.1f} / {each['p99']:.1f}" for each in (quiet, busy)]
    seconds = [f"{statistics.median(taken):.0f}" for taken in found.seconds.values()]
    errors = sum(each.errors for each in (*found.quiet, *found.busy))
    return (
        f"| {storage.name} | {cells[0]} | {cells[1]} | **{busy['p99'] / quiet['p99']:.2f}x** | {_GOAL:g}x "
        f"| {' | '.join(seconds)} |" + (f" {errors} errors" if errors else "")
    )


if __name__ == "__main__":
    main()
