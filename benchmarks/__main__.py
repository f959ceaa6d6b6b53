"""`python -m benchmarks`: the table of ratios, OpenECR against Distribution."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import content, servers
from benchmarks.servers import Target

_LOAD_SOURCE = Path(__file__).parent / "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run of the load generator measured."""

    per_second: float
    bytes_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    errors: int


def build_load(folder: Path) -> Path:
    """Build the load generator."""
    binary = folder / "load"
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=_LOAD_SOURCE, check=True)
    return binary


class Bench:
    """Runs rows against both servers in turn, so that drift of the machine hits both."""

    def __init__(self, load: Path, rounds: int, seconds: float) -> None:
        self._load = load
        self._rounds = rounds
        self._seconds = seconds

    def run(
        self, target: Target, mode: str, paths: list[str], clients: int, size: int, count: int = 0
    ) -> Figures:
        """Run the load generator once."""
        command = [str(self._load), "-base", target.base, "-mode", mode, "-clients", str(clients)]
        command += ["-paths", ",".join(paths), "-seconds", str(self._seconds), "-size", str(size)]
        command += ["-count", str(count), "-auth", target.authorization, "-accept", content.MANIFEST_TYPE]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        if finished.stderr:
            print(finished.stderr.strip(), file=sys.stderr)
        result = json.loads(finished.stdout)
        return Figures(
            per_second=result["per_second"],
            bytes_per_second=result["bytes"] / result["seconds"],
            p50_milliseconds=result["p50_ms"],
            p99_milliseconds=result["p99_ms"],
            errors=result["errors"],
        )

    def median(self, figures: list[Figures]) -> Figures:
        """Return the run whose rate is the middle one."""
        return sorted(figures, key=lambda each: each.per_second)[len(figures) // 2]

    def row(self, name: str, targets: list[Target], run: Callable[[Target], Figures]) -> str:
        """Measure one row in alternating rounds and return its line of the table."""
        runs: dict[str, list[Figures]] = {target.name: [] for target in targets}
        for _ in range(self._rounds):
            for target in targets:
                runs[target.name].append(run(target))
        ours, theirs = (self.median(runs[target.name]) for target in targets)
        line = (
            f"| {name} | {_rate(ours)} | {_rate(theirs)} | **{ours.per_second / theirs.per_second:.2f}x** "
            f"| {ours.p50_milliseconds:.1f} / {ours.p99_milliseconds:.1f} "
            f"| {theirs.p50_milliseconds:.1f} / {theirs.p99_milliseconds:.1f} |"
        )
        errors = ours.errors + theirs.errors
        line = f"{line} {errors} errors" if errors else line
        print(line, flush=True)
        return line


def _rate(figures: Figures) -> str:
    gigabytes = figures.bytes_per_second / 1e9
    return (
        f"{figures.per_second:,.0f}/s, {gigabytes:.2f} GB/s"
        if gigabytes > 0.1
        else f"{figures.per_second:,.0f}/s"
    )


def main() -> None:
    """Start both servers, fill them, measure every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--folder", type=Path, default=None, help="where both servers keep their data")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="openecr-bench-", dir=options.folder))
    try:
        bench = Bench(build_load(folder), options.rounds, options.seconds)
        with servers.openecr(folder) as (ours, ecr), servers.peer(folder) as theirs:
            digests = content.fill(ours, lambda name: ecr.create_repository(repositoryName=name))
            content.fill(theirs, lambda _: None)
            table(bench, [ours, theirs], digests)
            print(f"resident: openecr {servers.resident_bytes(ours.process_id) >> 20} MiB")
            print(f"resident: peer {servers.resident_bytes(theirs.process_id) >> 20} MiB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(bench: Bench, targets: list[Target], digests: dict[str, str]) -> None:
    """Print every row."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        "| row | OpenECR | peer | ratio | OpenECR p50 / p99 ms | peer p50 / p99 ms |\n|---|---|---|---|---|---|"
    )
    manifests = [f"/v2/{name}/manifests/v1" for name in content.repository_names()]
    bench.row("GET manifest by tag, 16 clients", targets, lambda t: bench.run(t, "get", manifests, 16, 0))
    for size, clients in (("1 KiB", 16), ("10 KiB", 16), ("1 MiB", 4), ("100 MiB", 1), ("100 MiB", 4)):
        paths = [f"/v2/bench/blobs/blobs/{digests[size]}"]
        bench.row(
            f"GET {size} blob, {clients} clients",
            targets,
            lambda t, p=paths, c=clients: bench.run(t, "get", p, c, 0),
        )
    large = content.BLOB_SIZES["100 MiB"]
    for clients in (1, 4):
        bench.row(
            f"PUT 100 MiB blob, {clients} clients",
            targets,
            lambda t, c=clients: bench.run(t, "put", ["bench/uploads"], c, large, count=8),
        )
    for clients in (1, 8):
        bench.row(
            f"push of a small image, {clients} clients",
            targets,
            lambda t, c=clients: bench.run(t, "push", ["bench/uploads"], c, 1024),
        )


if __name__ == "__main__":
    main()
