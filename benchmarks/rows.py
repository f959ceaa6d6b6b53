"""The rows of the table, each with what it has to reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import content
from benchmarks.loads import Figures, Generator, Load
from benchmarks.servers import Target

GIB = 1 << 30
UPLOADS = "bench/uploads"
PROBE = "/v2/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One load on both servers; `goal` is what the ratio of the rates has to reach."""

    name: str
    load: Load
    goal: float
    is_tls: bool = False


def rows(digests: dict[str, str]) -> list[Row]:
    """Return every row that compares rates."""
    manifests = [f"/v2/{name}/manifests/v1" for name in content.repository_names()]
    blobs = {name: [f"/v2/{content.BLOBS}/blobs/{digest}"] for name, digest in digests.items()}
    return [*_reads(manifests, blobs), *_downloads(blobs), *_uploads(), *_lists()]


def _reads(manifests: Sequence[str], blobs: dict[str, list[str]]) -> list[Row]:
    return [
        Row(
            name="GET manifest by tag, 1,000 repositories, 16 clients",
            load=Load(mode="get", paths=manifests, clients=16),
            goal=2,
        ),
        Row(name="HEAD manifest, 16 clients", load=Load(mode="head", paths=manifests, clients=16), goal=2),
        Row(name="HEAD blob, 16 clients", load=Load(mode="head", paths=blobs["1 MiB"], clients=16), goal=2),
        *(
            Row(
                name=f"GET {size} blob, 16 clients",
                load=Load(mode="get", paths=blobs[size], clients=16),
                goal=5,
            )
            for size in ("1 KiB", "10 KiB")
        ),
    ]


def _downloads(blobs: dict[str, list[str]]) -> list[Row]:
    found: list[Row] = []
    for is_tls, goal in ((False, 1.0), (True, 1.3)):
        wire = ", TLS" if is_tls else ""
        for size, clients in (("1 MiB", 4), ("100 MiB", 1), ("100 MiB", 4)):
            load = Load(mode="get", paths=blobs[size], clients=clients)
            found.append(
                Row(name=f"GET {size} blob, {clients} clients{wire}", load=load, goal=goal, is_tls=is_tls)
            )
        load = Load(mode="get", paths=blobs["100 MiB"], clients=4, byte_range="bytes=50000000-51048575")
        found.append(
            Row(name=f"GET 1 MiB of a 100 MiB blob, 4 clients{wire}", load=load, goal=goal, is_tls=is_tls)
        )
    return found


def _uploads() -> list[Row]:
    large = content.BLOB_SIZES["100 MiB"]
    found = [
        Row(
            name=f"PUT 100 MiB blob, {clients} clients",
            load=Load(mode="put", paths=[UPLOADS], clients=clients, size_bytes=large, count=12),
            goal=goal,
        )
        for clients, goal in ((1, 1.2), (4, 1.0))
    ]
    for clients in (1, 8):
        load = Load(mode="push", paths=[UPLOADS], clients=clients, size_bytes=1024)
        found.append(Row(name=f"push of a small image, {clients} clients", load=load, goal=1))
    return found


def _lists() -> list[Row]:
    return [
        Row(
            name=f"tags/list of {count:,} tags, the last 100, 4 clients",
            load=Load(
                mode="get",
                paths=[f"/v2/{content.tagged(count)}/tags/list?n=100&last=tag-{count - 101:06d}"],
                clients=4,
            ),
            goal=5,
        )
        for count in content.TAGS
    ]


def compare(generator: Generator, row: Row, targets: Sequence[Target], rounds: int) -> None:
    """Measure a row in alternating rounds, so that drift of the machine hits both, and print its line."""
    runs: dict[str, list[Figures]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            runs[target.name].append(generator.run(target, row.load))
    ours, theirs = (middle(runs[target.name], lambda each: each.per_second) for target in targets)
    ratio = ours.per_second / theirs.per_second
    line = (
        f"| {row.name} | {_rate(ours)} | {_rate(theirs)} | **{ratio:.2f}x** | {row.goal:g}x "
        f"| {ours.p50:.1f} / {ours.p99:.1f} | {theirs.p50:.1f} / {theirs.p99:.1f} |"
    )
    errors = ours.errors + theirs.errors
    print(f"{line} {errors} errors" if errors else line, flush=True)


def tiny_beside_uploads(generator: Generator, targets: Sequence[Target], rounds: int) -> None:
    """Print how long a tiny request takes beside uploads of 100 MiB."""
    for clients in (1, 4):
        load = Load(
            mode="patch", paths=[UPLOADS], clients=clients, size_bytes=content.BLOB_SIZES["100 MiB"], count=16
        )
        probes: list[Figures] = []
        for target in targets:
            runs: list[Figures] = []
            for _ in range(rounds):
                with generator.probing(target, PROBE) as found:
                    generator.run(target, load)
                runs += found
            probes.append(middle(runs, lambda figures: figures.p99))
        ours, theirs = probes
        print(
            f"| tiny requests beside uploads of 100 MiB, {clients} clients: p99 "
            f"| {ours.p99:.1f} ms | {theirs.p99:.1f} ms | **{ours.p99 / theirs.p99:.2f}x** | at most 0.5x | | |",
            flush=True,
        )


def beside_uploads(generator: Generator, targets: Sequence[Target], rounds: int) -> None:
    """Print how far small requests slow down while four clients upload a gibibyte each."""
    manifest = Load(mode="get", paths=[f"/v2/{content.repository_names()[0]}/manifests/v1"])
    push = Load(mode="push", paths=[UPLOADS], size_bytes=1024)
    uploads = Load(mode="patch", paths=[UPLOADS], clients=4, size_bytes=GIB)
    for name, load in (("GET manifest", manifest), ("push of a small image", push)):
        cells: list[str] = []
        for target in targets:
            idle = [generator.run(target, load) for _ in range(rounds)]
            with generator.beside(target, uploads):
                busy = [generator.run(target, load) for _ in range(rounds)]
            before, after = (middle(each, lambda figures: figures.p99).p99 for each in (idle, busy))
            cells.append(f"{before:.1f} to {after:.1f} ms, {after / before:.1f}x")
        print(
            f"| {name}, p99, while 4 clients upload 1 GiB each | {cells[0]} | {cells[1]} | | at most 3x | | |",
            flush=True,
        )
    ours, theirs = targets
    with generator.beside(ours, uploads):
        control = middle(
            [generator.run(theirs, manifest) for _ in range(rounds)], lambda figures: figures.p99
        )
    print(
        f"| the same uploads to OpenECR, GET manifest of the idle peer, p99 | | {control.p99:.1f} ms | | | | |",
        flush=True,
    )


def middle(runs: Sequence[Figures], key: Callable[[Figures], float]) -> Figures:
    """Return the run that is the middle one by some figure."""
    return sorted(runs, key=key)[len(runs) // 2]


def _rate(figures: Figures) -> str:
    gigabytes = figures.bytes_per_second / 1e9
    if gigabytes > 0.1:
        return f"{figures.per_second:,.0f}/s, {gigabytes:.2f} GB/s"
    return f"{figures.per_second:,.0f}/s"
