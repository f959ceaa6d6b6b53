"""The same load on every place that bytes and rows may be in: `python -m benchmarks.storages`.

Embedded (SQLite and files), PostgreSQL with files, PostgreSQL with an S3 server; one and two server processes over one
database; stored in clear and sealed; from S3 through the server, and by a redirect to the store. All run at the same
time, and each row is measured on one after the other, in rounds.
"""

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import content, loads
from benchmarks.clusters import Cluster, run_postgresql
from benchmarks.loads import Figures, Generator, Load
from benchmarks.rows import UPLOADS
from benchmarks.servers import Target, clean_up_when_told_to_end, openecr
from tests.requirements import find_tool
from tests.s3_servers import S3Server, versity_server

_IMAGES = 100
_LARGE = content.BLOB_SIZES["100 MiB"]
_CONNECTIONS = "max_connections=300"
"""Of PostgreSQL: there are ten servers, of fifteen connections each."""

_NAMES = ("embedded", "PostgreSQL, files", "PostgreSQL, S3")
_OPTIONS = {"clear": "--no-storage-encrypt-at-rest", "sealed": "--storage-encrypt-at-rest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One way to store, and the servers that share it; `is_redirecting`: they send pulls of blobs to the store."""

    name: str
    encryption: str
    targets: Sequence[Target]
    is_redirecting: bool = False

    @property
    def title(self) -> str:
        """Return the first cells of its line."""
        redirect = ", redirect" if self.is_redirecting else ""
        return f"{self.name}{redirect} | {self.encryption} | {len(self.targets)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A load; what a redirect or a second server would not change is not measured with them."""

    name: str
    load: Load
    is_pull_of_blob: bool = False

    def is_for(self, site: Site) -> bool:
        """Tell whether it is measured there."""
        is_lone = self.load.clients == 1 and len(site.targets) > 1
        return not is_lone and (self.is_pull_of_blob or not site.is_redirecting)


def columns(digests: Mapping[str, str]) -> list[Column]:
    """Return what is measured."""
    manifests = [f"/v2/{name}/manifests/v1" for name in content.repository_names()[:_IMAGES]]
    blobs = {name: [f"/v2/{content.BLOBS}/blobs/{digest}"] for name, digest in digests.items()}
    push = Load(mode="push", paths=[UPLOADS], size_bytes=1024)
    return [
        Column(name="GET manifest, 16 clients", load=Load(mode="get", paths=manifests, clients=16)),
        Column(name="HEAD blob, 16", load=Load(mode="head", paths=blobs["10 KiB"], clients=16)),
        Column(
            name="GET 10 KiB, 16",
            load=Load(mode="get", paths=blobs["10 KiB"], clients=16),
            is_pull_of_blob=True,
        ),
        Column(
            name="GET 100 MiB, 4",
            load=Load(mode="get", paths=blobs["100 MiB"], clients=4),
            is_pull_of_blob=True,
        ),
        Column(
            name="PUT 100 MiB, 4",
            load=Load(mode="put", paths=[UPLOADS], clients=4, count=4, size_bytes=_LARGE),
        ),
        Column(name="push of a small image, 1", load=replace(push, clients=1)),
        Column(name="push of a small image, 8", load=replace(push, clients=8)),
    ]


def main() -> None:
    """Measure and print the table."""
    clean_up_when_told_to_end()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the servers keep their data")
    parser.add_argument("--only", default="", help="only sites whose line begins with this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="openecr-bench-", dir=options.folder))
    try:
        generator = Generator(loads.build(folder), options.seconds)
        measure(generator, folder, options.rounds, options.only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(generator: Generator, folder: Path, rounds: int, only: str = "") -> None:
    """Print the table: rates, and in brackets the slowest server's p99 in milliseconds."""
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    with _sites(folder, only) as (sites, digests):
        measured = columns(digests)
        cells = {site.title: [""] * len(measured) for site in sites}
        for place, column in enumerate(measured):
            print(f"{column.name} ...", file=sys.stderr, flush=True)
            chosen = [site for site in sites if column.is_for(site)]
            for title, cell in _measure(generator, column, chosen, rounds):
                cells[title][place] = cell
    print(f"| storage | content | servers | {' | '.join(column.name for column in measured)} |")
    print("|---|---|---|" + "---|" * len(measured))
    for title, found in cells.items():
        print(f"| {title} | {' | '.join(found)} |", flush=True)


def _measure(
    generator: Generator, column: Column, sites: Sequence[Site], rounds: int
) -> Iterator[tuple[str, str]]:
    runs: dict[str, list[list[Figures]]] = {site.title: [] for site in sites}
    for number in range(rounds):
        for site in sites if number % 2 == 0 else reversed(sites):
            runs[site.title].append(loads.together(generator, site.targets, column.load))
    for title, found in runs.items():
        rate = statistics.median(sum(each.per_second for each in figures) for figures in found)
        p99 = statistics.median(max(each.p99 for each in figures) for figures in found)
        errors = sum(each.errors for figures in found for each in figures)
        digits = 0 if rate >= 10 else 1
        yield title, f"{rate:,.{digits}f}/s ({p99:.1f})" + (f" {errors} errors" if errors else "")


@contextmanager
def _sites(folder: Path, only: str) -> Iterator[tuple[list[Site], dict[str, str]]]:
    """Start every server, with the content in each database."""
    if find_tool("versitygw") is None:
        message = "no S3 server: .ci/tools versitygw"
        raise RuntimeError(message)
    with ExitStack() as stack:
        cluster = stack.enter_context(run_postgresql(_CONNECTIONS))
        store = stack.enter_context(versity_server("--keep-alive"))
        started: list[Site] = []
        for encryption in _OPTIONS:
            for site in _start(stack, folder, cluster, store, encryption, only):
                if len(site.targets) > 1:
                    started.append(replace(site, targets=site.targets[:1]))
                started.append(site)
        digests = {name: content.digest_of(_content(name)) for name in content.BLOB_SIZES}
        yield sorted(started, key=lambda site: _NAMES.index(site.name)), digests


def _start(
    stack: ExitStack, folder: Path, cluster: Cluster, store: S3Server, encryption: str, only: str
) -> Iterator[Site]:
    """Start the sites that keep content so."""
    common = [_OPTIONS[encryption]]
    if _NAMES[0].startswith(only):
        name = f"embedded-{encryption}"
        target, ecr = stack.enter_context(openecr(folder, name=name, options=common))
        _fill(target, ecr)
        yield Site(name=_NAMES[0], encryption=encryption, targets=[target])
    shared = [*common, f"--keys={folder / 'keys'}"]
    for kind, title in zip(("files", "s3"), _NAMES[1:], strict=True):
        if not title.startswith(only):
            continue
        database = f"{kind}_{encryption}"
        cluster.run(f"CREATE DATABASE {database};")
        options = [*shared, f"--database={cluster.dsn(database)}"]
        environment: dict[str, str] = {}
        if kind == "files":
            options.append(f"--blobs={folder / f'blobs-{encryption}'}")
        else:
            settings = store.settings(store.make_bucket())
            environment = {f"OPENECR_{key.upper()}": value for key, value in settings.items()}
        targets = _two(stack, folder, database, options, environment)
        yield Site(name=title, encryption=encryption, targets=targets)
        if kind == "s3" and encryption == "clear":  # what is sealed is never redirected
            options.append("--s3-redirect")
            targets = _two(stack, folder, f"{database}_redirect", options, environment, is_filled=True)
            yield Site(name=title, encryption=encryption, targets=targets, is_redirecting=True)


def _two(
    stack: ExitStack,
    folder: Path,
    name: str,
    options: Sequence[str],
    environment: Mapping[str, str],
    *,
    is_filled: bool = False,
) -> list[Target]:
    """Start two servers over one database, and fill it."""
    targets: list[Target] = []
    for number in (1, 2):
        target, ecr = stack.enter_context(
            openecr(folder, name=f"{name}-{number}", options=options, environment=environment)
        )
        if number == 1 and not is_filled:
            _fill(target, ecr)
        targets.append(target)
    return targets


def _content(name: str) -> bytes:
    return random.Random(name).randbytes(content.BLOB_SIZES[name])


def _fill(target: Target, ecr: Any) -> None:
    pusher = content.Pusher(target)
    for name in (content.BLOBS, UPLOADS, *content.repository_names()[:_IMAGES]):
        ecr.create_repository(repositoryName=name)
    for name in content.BLOB_SIZES:
        pusher.blob(content.BLOBS, _content(name))
    for name in content.repository_names()[:_IMAGES]:
        pusher.image(name, "v1")


if __name__ == "__main__":
    main()
