"""`python -m benchmarks`: the table of ratios, OpenECR against Distribution."""

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from botocore.credentials import Credentials

from benchmarks import content, lists, loads, policies, postgresql, rows, sealing, servers
from benchmarks.loads import Generator, Load
from benchmarks.servers import Target, clean_up_when_told_to_end

_HEADER = """\
| row | OpenECR | peer | ratio | to reach | OpenECR p50 / p99 ms | peer p50 / p99 ms |
|---|---|---|---|---|---|---|"""
_FILLERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both servers on one kind of wire, with the same content."""

    targets: tuple[Target, Target]
    create: Callable[[str], None]
    credentials: Credentials


@contextmanager
def pair(folder: Path, *, is_tls: bool) -> Iterator[Pair]:
    """Run both servers."""
    folder.mkdir()
    with servers.openecr(folder, is_tls=is_tls) as (ours, ecr):
        certificates = folder / "openecr" / "tls" if is_tls else None
        with servers.peer(folder, certificates=certificates) as theirs:
            yield Pair(
                targets=(ours, theirs),
                create=lambda name: ecr.create_repository(repositoryName=name),
                credentials=ecr._request_signer._credentials,
            )


def fill(
    pair: Pair, fill_one: Callable[[Target, Callable[[str], None]], dict[str, str] | None]
) -> dict[str, str]:
    """Give both servers the same content."""
    ours, theirs = pair.targets
    fill_one(theirs, lambda _: None)
    return fill_one(ours, pair.create) or {}


def main() -> None:
    """Start the servers, fill them, measure every row and print the table."""
    clean_up_when_told_to_end()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--folder", type=Path, default=None, help="where the servers keep their data")
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="openecr-bench-", dir=options.folder))
    try:
        generator = Generator(loads.build(folder), options.seconds)
        print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(_HEADER, flush=True)
        comparisons(generator, folder, options.rounds, options.only)
        if options.only in "large repository":
            large_repository(generator, folder / "large")
        if options.only in "policies":
            what_policies_cost(generator, folder / "policies", options.rounds)
        if options.only in "postgresql":
            postgresql.measure(generator, folder / "postgresql", options.rounds)
        if options.only == "sealing":  # by itself: it measures most rows once more
            sealing.measure(generator, folder / "sealing", options.rounds)
        if options.only in "memory":
            memory(generator, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def comparisons(generator: Generator, folder: Path, rounds: int, only: str) -> None:
    """Print the rows that both servers take part in."""
    with pair(folder / "plain", is_tls=False) as plain, pair(folder / "tls", is_tls=True) as tls:
        digests = fill(plain, content.fill_blobs)
        fill(tls, content.fill_blobs)
        wanted = [row for row in rows.rows(digests) if only in row.name]
        if any("manifest" in row.name for row in wanted) or only in "beside uploads":
            fill(plain, content.fill_images)
        plain.create(rows.UPLOADS)
        if any("tags" in row.name for row in wanted):
            for count in content.TAGS:
                plain.create(content.tagged(count))
                load = Load(mode="images", paths=[content.tagged(count)], clients=_FILLERS, count=count)
                for target in plain.targets:
                    generator.run(target, load)
        for row in wanted:
            rows.compare(generator, row, (tls if row.is_tls else plain).targets, rounds)
        if only in "tiny requests":
            rows.tiny_beside_uploads(generator, plain.targets, rounds)
        if only in "beside uploads":
            rows.beside_uploads(generator, plain.targets, rounds)
        for target in plain.targets:
            now, highest = servers.resident_mebibytes(target.process_id)
            print(f"resident memory of {target.name}: {now} MiB, at its highest {highest} MiB", flush=True)


def large_repository(generator: Generator, folder: Path) -> None:
    """Print how long the last page of a large repository takes."""
    with pair(folder, is_tls=False) as both:
        ours = both.targets[0]
        both.create(lists.REPOSITORY)
        load = Load(mode="images", paths=[lists.REPOSITORY], clients=_FILLERS, count=lists.IMAGES)
        generator.run(ours, load)
        lists.last_pages(ours, both.credentials)


def what_policies_cost(generator: Generator, folder: Path, rounds: int) -> None:
    """Print what policies cost, on a server of its own."""
    with pair(folder, is_tls=False) as both:
        fill(both, content.fill_images)
        policies.measure(generator, both.targets[0], both.credentials, folder, rounds)


def memory(generator: Generator, folder: Path) -> None:
    """Print the most memory that sixteen uploads at once take, small and large, each on a fresh server."""
    run = partial(Load, mode="patch", paths=[rows.UPLOADS], clients=16, count=16)
    for name, size_bytes in (("10 MiB", 10 << 20), ("1 GiB", 1 << 30)):
        with pair(folder / f"memory-{size_bytes}", is_tls=False) as both:
            both.create(rows.UPLOADS)
            for target in both.targets:
                generator.run(target, run(size_bytes=size_bytes))
                highest = servers.resident_mebibytes(target.process_id)[1]
                print(
                    f"| 16 uploads of {name} at once, {target.name} | {highest} MiB | | | | | |", flush=True
                )


if __name__ == "__main__":
    main()
