"""One and two servers over PostgreSQL beside the peer, with what a request costs each of them in processor time."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import content, loads, servers
from benchmarks.clusters import Cluster, processor_seconds, run_postgresql
from benchmarks.loads import Figures, Generator, Load
from benchmarks.servers import Target

_CLIENTS = 32
_PUSHERS = 8
_HEADER = """
| over PostgreSQL | 1 process | 2 processes | peer | ratios | p50 / p99 ms | CPU us, servers | with PostgreSQL |
|---|---|---|---|---|---|---|---|"""


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
        cluster = stack.enter_context(run_postgresql())
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
    before, before_database = sum(map(processor_seconds, processes)), cluster.seconds()
    figures = loads.together(generator, targets, load)
    requests = sum(each.per_second for each in figures) * generator.seconds
    return Cost(
        figures=figures,
        server_us=(sum(map(processor_seconds, processes)) - before) / requests * 1e6,
        database_us=(cluster.seconds() - before_database) / requests * 1e6,
    )


def _servers(stack: ExitStack, folder: Path, cluster: Cluster) -> list[Target]:
    """Run two servers over one database, with the content in it."""
    options = (
        f"--database={cluster.dsn()}",
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
