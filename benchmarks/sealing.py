"""What sealing costs: every byte row of two servers, one of which stores in clear. `python -m benchmarks.sealing`."""

import argparse
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import content, loads, rows
from benchmarks.loads import Figures, Generator
from benchmarks.rows import Row
from benchmarks.servers import Target, clean_up_when_told_to_end, openecr

GOALS = {"GET 100 MiB blob, 1 clients": 0.6, "GET 100 MiB blob, 4 clients": 0.6}
"""What the rate of sealed content has to reach of that in clear; over TLS 0.85, and of all other rows 1."""

_NAMES = ("clear", "sealed")


def _goal(row: Row) -> float:
    if row.is_tls and "100 MiB blob" in row.name:
        return 0.85
    return GOALS.get(row.name, 1.0)


def _byte_rows(digests: dict[str, str], word: str) -> list[Row]:
    return [row for row in rows.rows(digests) if "tags/list" not in row.name and word in row.name]


def _pair(folder: Path, stack: ExitStack, *, is_tls: bool) -> tuple[dict[str, Target], dict[str, str]]:
    """Start both servers with the same content."""
    targets: dict[str, Target] = {}
    digests: dict[str, str] = {}
    for name, option in zip(
        _NAMES, ("--no-storage-encrypt-at-rest", "--storage-encrypt-at-rest"), strict=True
    ):
        place = folder / ("tls" if is_tls else "plain")
        place.mkdir(exist_ok=True)
        target, ecr = stack.enter_context(openecr(place, is_tls=is_tls, name=name, options=[option]))
        for repository in (content.BLOBS, rows.UPLOADS, *content.repository_names()[:1]):
            ecr.create_repository(repositoryName=repository)
        pusher = content.Pusher(target)
        digests = {
            size: pusher.blob(content.BLOBS, random.Random(size).randbytes(length))
            for size, length in content.BLOB_SIZES.items()
        }
        pusher.image(content.repository_names()[0], "v1")
        targets[name] = target
    return targets, digests


def _compare(generator: Generator, targets: dict[str, Target], row: Row, rounds: int) -> str:
    found: dict[str, list[Figures]] = {name: [] for name in targets}
    for number in range(rounds):
        for name in _NAMES if number % 2 else reversed(_NAMES):
            figures = generator.run(targets[name], row.load)
            assert not figures.errors, (name, row.name, figures)
            found[name].append(figures)
    middle = {name: statistics.median(each.per_second for each in runs) for name, runs in found.items()}
    tail = {name: statistics.median(each.p99 for each in runs) for name, runs in found.items()}
    ratio = middle["sealed"] / middle["clear"]
    return (
        f"| {row.name} | {middle['clear']:,.0f}/s | {middle['sealed']:,.0f}/s | **{ratio:.2f}x** | {_goal(row)}x "
        f"| {tail['clear']:.1f} | {tail['sealed']:.1f} |"
    )


def measure(generator: Generator, folder: Path, rounds: int, word: str = "") -> None:
    """Print a line for each row whose name holds a word."""
    folder.mkdir(exist_ok=True)
    for line in _lines(generator, folder, rounds, word):
        print(line, flush=True)


def _lines(generator: Generator, folder: Path, rounds: int, word: str) -> Iterator[str]:
    yield "| row | clear | sealed | ratio | to reach | clear p99 ms | sealed p99 ms |"
    yield "|---|---|---|---|---|---|---|"
    for is_tls in (False, True):
        with ExitStack() as stack:
            targets, digests = _pair(folder, stack, is_tls=is_tls)
            names = [f"/v2/{content.repository_names()[0]}/manifests/v1"]
            for row in _byte_rows(digests, word):
                if row.is_tls is is_tls:
                    load = row.load
                    if "manifest" in row.name:
                        row = Row(  # noqa: PLW2901 -- one repository does here
                            name=row.name,
                            goal=row.goal,
                            load=loads.Load(mode=load.mode, paths=names, clients=load.clients),
                        )
                    yield _compare(generator, targets, row, rounds)


def main() -> None:
    """Measure and print the table."""
    clean_up_when_told_to_end()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose names have this")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="openecr-bench-", dir=os.environ.get("TMPDIR")))
    try:
        generator = Generator(loads.build(folder), arguments.seconds)
        measure(generator, folder, arguments.rounds, arguments.only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
