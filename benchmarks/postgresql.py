"""One and two servers over PostgreSQL beside the peer, with what a request costs each of them in processor time."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import content, loads, servers
from benchmarks.loads import Figures, Generator, Load
from benchmarks.servers import Target

_CLIENTS = 32
_PUSHERS = 8
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_HEADER = """
| over PostgreSQL | 1 process | 2 processes | peer | ratios | p50 / p99 ms | CPU us, servers | with PostgreSQL |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running PostgreSQL."""

    socket_folder: Path
    process_id: int

    def seconds(self) -> float:
        """Return the processor time of all its processes, those that have ended too."""
        found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        family = [self.process_id, *(each for each in found if _parent(each) == self.process_id)]
        return sum(map(_seconds, family)) + _seconds_of_ended(self.process_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run: what the clients saw, and microseconds of processor time that a request took."""

    figures: Sequence[Figures]
    server_us: float
    database_us: float

    @property
    def per_second(self) -> float:
        """Return the rate of all servers together."""
        return sum(each.per_second for each in self.figures)

    @property
    def latency(self) -> str:
        """Return p50 / p99 of the slower server."""
        return f"{max(each.p50 for each in self.figures):.1f} / {max(each.p99 for each in self.figures):.1f}"


def measure(generator: Generator, folder: Path, rounds: int) -> None:
    """Print the rows."""
    folder.mkdir()
    with ExitStack() as stack:
        cluster = stack.enter_context(_postgresql())
        ours = _servers(stack, folder, cluster)
        theirs = stack.enter_context(servers.peer(folder))
        digest = next(iter(content.fill_blobs(theirs, lambda _: None).values()))
        content.fill_images(theirs, lambda _: None)
        manifests = [f"/v2/{name}/manifests/v1" for name in content.repository_names()]
        print(_HEADER, flush=True)
        for name, load in (
            ("GET manifest by tag, 1,000 repositories", Load(mode="get", paths=manifests, clients=_CLIENTS)),
            ("HEAD manifest", Load(mode="head", paths=manifests, clients=_CLIENTS)),
            (
                "HEAD blob",
                Load(mode="head", paths=[f"/v2/{content.BLOBS}/blobs/{digest}"], clients=_CLIENTS),
            ),
            (
                "push of a small image into one repository",
                Load(mode="push", paths=[content.BLOBS], clients=_PUSHERS, size_bytes=1024),
            ),
        ):
            groups = (ours[:1], ours, [theirs])
            runs: list[list[Cost]] = [[], [], []]
            for _ in range(rounds):
                for group, found in zip(groups, runs, strict=True):
                    found.append(_run(generator, group, load, cluster))
            _tell(f"{name}, {load.clients} clients", *(_middle(found) for found in runs))


def _tell(name: str, one: Cost, two: Cost, peer: Cost) -> None:
    errors = sum(figures.errors for cost in (one, two, peer) for figures in cost.figures)
    totals = [cost.server_us + cost.database_us for cost in (one, two)]
    print(
        f"| {name} | {one.per_second:,.0f}/s | {two.per_second:,.0f}/s | {peer.per_second:,.0f}/s "
        f"| **{one.per_second / peer.per_second:.2f}x**, {two.per_second / peer.per_second:.2f}x "
        f"| {one.latency}, {two.latency}, {peer.latency} "
        f"| {one.server_us:.0f}, {two.server_us:.0f}: {two.server_us / one.server_us:.2f}x "
        f"| {totals[0]:.0f}, {totals[1]:.0f}: {totals[1] / totals[0]:.2f}x |"
        + (f" {errors} errors" if errors else ""),
        flush=True,
    )


def _middle(runs: Sequence[Cost]) -> Cost:
    return sorted(runs, key=lambda cost: cost.per_second)[len(runs) // 2]


def _run(generator: Generator, targets: Sequence[Target], load: Load, cluster: Cluster) -> Cost:
    """Run one load on some servers at once, its clients shared out among them."""
    processes = [target.process_id for target in targets]
    before, before_database = sum(map(_seconds, processes)), cluster.seconds()
    share = Load(
        mode=load.mode,
        paths=load.paths,
        clients=load.clients // len(targets),
        size_bytes=load.size_bytes,
    )
    with ExitStack() as stack:
        started = [stack.enter_context(generator.started(each, share, generator.seconds)) for each in targets]
        figures = [loads.figures(each, process) for each, process in zip(targets, started, strict=True)]
    requests = sum(each.per_second for each in figures) * generator.seconds
    return Cost(
        figures=figures,
        server_us=(sum(map(_seconds, processes)) - before) / requests * 1e6,
        database_us=(cluster.seconds() - before_database) / requests * 1e6,
    )


def _servers(stack: ExitStack, folder: Path, cluster: Cluster) -> list[Target]:
    """Run two servers over one database, with the content in it."""
    options = (
        f"--database=postgresql://openecr@/postgres?host={cluster.socket_folder}",
        f"--keys={folder / 'keys'}",
        f"--blobs={folder / 'blobs'}",
    )
    first, ecr = stack.enter_context(servers.openecr(folder, name="first", options=options))
    second, _ = stack.enter_context(servers.openecr(folder, name="second", options=options))

    def create(name: str) -> None:
        ecr.create_repository(repositoryName=name)

    fill: Sequence[Callable[[Target, Callable[[str], None]], object]] = (
        content.fill_blobs,
        content.fill_images,
    )
    for each in fill:
        each(first, create)
    return [first, second]


@contextmanager
def _postgresql() -> Iterator[Cluster]:
    """Run PostgreSQL as it comes, every commit synced, on a Unix socket in a temporary folder."""
    folder = Path(subprocess.check_output(["mktemp", "-d", "-t", "openecr-pg-XXXXXX"], text=True).strip())
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, user=user, stdout=subprocess.DEVNULL, timeout=120)

    try:
        run("initdb", "-D", str(data), "-U", "openecr", "-A", "trust", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses=''"
        run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            yield Cluster(socket_folder=folder, process_id=int(lines[0]))
        finally:
            run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fields(process_id: int) -> list[str]:
    """Return what /proc tells of a process, from its state on (proc(5))."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []  # it has ended


def _parent(process_id: int) -> int:
    fields = _fields(process_id)
    return int(fields[1]) if fields else 0


def _seconds(process_id: int) -> float:
    fields = _fields(process_id)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND if fields else 0


def _seconds_of_ended(process_id: int) -> float:
    fields = _fields(process_id)
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_SECOND if fields else 0
