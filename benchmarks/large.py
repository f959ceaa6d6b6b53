"""A registry of 10,000 repositories and 1,000,000 images beside a small one: `python -m benchmarks.large`.

Both are databases of one PostgreSQL, each with a server of its own, background work included, and filled by SQL. The
same requests are sent to both in alternating rounds, by one client: what is compared is how long each takes.
"""

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials

from benchmarks import loads
from benchmarks.clusters import Cluster, run_postgresql
from benchmarks.content import MANIFEST_TYPE, digest_of
from benchmarks.loads import Figures, Generator, Load
from benchmarks.servers import Target, clean_up_when_told_to_end, openecr
from benchmarks.signing import sign_all

IMAGES_EACH = 100
"""Of a repository, in both registries: a page is as long."""

_GOAL = 2.0
_PAGE = 100
_SMALL = 10
"""Repositories of the small one; a page of them is as long in both."""

_SAMPLE = 200
_DELETIONS = 40
"""Of each kind, in each round."""

_LAYER_BYTES = 10 << 10
_MONTH_US = 30 * 24 * 3600 * 1_000_000

_FILL = f"""
SET session_replication_role = replica;  -- what is stored here refers to what is there
BEGIN;  -- collection is awake, and takes links that no image needs
INSERT INTO repositories (id, registry_id, name, created_at, tag_mutability, exclusion_filters, scan_on_push,
                          encryption_type, kms_key)
SELECT 1000 + number, registry_id, 'bench/app-' || lpad(number::text, 5, '0'), created_at, tag_mutability,
       exclusion_filters, scan_on_push, encryption_type, kms_key
FROM repositories, generate_series(0, :repositories - 1) AS number WHERE name = 'bench/template';

-- Pushes to different repositories come one after the other, so that none has its rows side by side.
CREATE UNLOGGED TABLE layers AS
SELECT number, 1000 + number % :repositories AS repository_id, 1000 + number AS blob_id,
       'sha256:' || encode(sha256(convert_to(rpad('layer ' || number || ' ', {_LAYER_BYTES}, '.'), 'UTF8')), 'hex')
       AS digest
FROM generate_series(0, :repositories * {IMAGES_EACH // 10} - 1) AS number;

CREATE UNLOGGED TABLE configs AS
SELECT number, 1000 + number % :repositories AS repository_id, 2000000 + number AS blob_id,
       format('{{"architecture":"amd64","os":"linux","number":%s}}', number) AS content,
       number % :repositories + (number / :repositories / 10) * :repositories AS layer
FROM generate_series(0, :repositories * {IMAGES_EACH} - 1) AS number;
ALTER TABLE configs ADD digest text;
UPDATE configs SET digest = 'sha256:' || encode(sha256(convert_to(content, 'UTF8')), 'hex');

CREATE UNLOGGED TABLE made AS
SELECT configs.number, configs.repository_id, configs.digest AS config, layers.digest AS layer,
       length(configs.content) AS config_bytes,
       convert_to(format('{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}",'
       '"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s}},'
       '"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":{_LAYER_BYTES}}}]}}',
       configs.digest, length(configs.content), layers.digest), 'UTF8') AS content
FROM configs JOIN layers ON layers.number = configs.layer ORDER BY configs.number;

INSERT INTO blobs (id, region, digest, size_bytes, location, created_at)
SELECT blob_id, 'us-east-1', digest, {_LAYER_BYTES}, md5(digest), :now FROM layers
UNION ALL SELECT blob_id, 'us-east-1', digest, length(content), md5(digest), :now FROM configs;
INSERT INTO links (repository_id, digest, blob_id, grace_until)
SELECT repository_id, digest, blob_id, :now + number FROM layers
UNION ALL SELECT repository_id, digest, blob_id, :now + number FROM configs;
INSERT INTO images (id, repository_id, digest, media_type, size_bytes, manifest_size_bytes, pushed_at)
SELECT 1000 + number, repository_id, 'sha256:' || encode(sha256(content), 'hex'), '{MANIFEST_TYPE}',
       config_bytes + {_LAYER_BYTES}, length(content), :now + number FROM made;
INSERT INTO manifests (image_id, content) SELECT 1000 + number, content FROM made;
INSERT INTO image_blobs (image_id, digest, repository_id, media_type)
SELECT 1000 + number, config, repository_id, 'application/vnd.oci.image.config.v1+json' FROM made
UNION ALL SELECT 1000 + number, layer, repository_id, 'application/vnd.oci.image.layer.v1.tar' FROM made;
INSERT INTO image_tags (repository_id, tag, image_id, tagged_at)
SELECT repository_id, format('v%s-%s', lpad(number::text, 7, '0'), each), 1000 + number, :now + number
FROM made, generate_series(0, 1) AS each;
DROP TABLE layers, configs, made;
SELECT setval(pg_get_serial_sequence(name, 'id'), 10000000) FROM unnest(ARRAY['repositories', 'blobs', 'images'])
AS name;
COMMIT;
VACUUM ANALYZE;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """One of the two: its server, and what is in it."""

    name: str
    repositories: int
    cluster: Cluster
    target: Target
    credentials: Credentials
    folder: Path

    @property
    def images(self) -> int:
        """Return how many there were in the beginning."""
        return self.repositories * IMAGES_EACH

    def repository(self, number: int) -> str:
        """Return the name of an image's repository."""
        return f"bench/app-{number % self.repositories:05}"

    def digests(self, numbers: Sequence[int]) -> list[str]:
        """Return the digests of images."""
        ids = ", ".join(f"({place}, {1000 + number})" for place, number in enumerate(numbers))
        asked = f"(VALUES {ids}) AS asked (place, image_id)"
        statement = f"SELECT digest FROM images JOIN {asked} ON id = image_id ORDER BY place"
        return self.cluster.run(statement, database=self.name).split()


Make = Callable[[Registry, Sequence[int]], Load]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of request; `make` makes it of images, which are others in each round where it `deletes` them."""

    name: str
    make: Make
    deletes: bool = False


def _signed(operation: str, given: Callable[[str, str], Mapping[str, Any]], *, count: int = 0) -> Make:
    def make(registry: Registry, numbers: Sequence[int]) -> Load:
        asked = [
            given(registry.repository(number), digest)
            for number, digest in zip(numbers, registry.digests(numbers), strict=True)
        ]
        folder = registry.folder / "requests"
        paths = sign_all(folder, registry.target, registry.credentials, operation, asked)
        return Load(mode="signed", paths=paths, count=count)

    return make


def _paths(mode: str, path: Callable[[Registry, int], str]) -> Make:
    return lambda registry, numbers: Load(mode=mode, paths=[path(registry, number) for number in numbers])


def _delete(registry: Registry, numbers: Sequence[int]) -> Load:
    paths = [
        f"/v2/{registry.repository(number)}/manifests/{digest}"
        for number, digest in zip(numbers, registry.digests(numbers), strict=True)
    ]
    return Load(mode="delete", paths=paths, count=len(paths))


def _layer_text(registry: Registry, number: int) -> bytes:
    """Return the bytes of an image's layer, which ten images of its repository share."""
    layer = number % registry.repositories + number // registry.repositories // 10 * registry.repositories
    return f"layer {layer} ".encode().ljust(_LAYER_BYTES, b".")


def _pull_layers(registry: Registry, numbers: Sequence[int]) -> Load:
    """Give those layers that are pulled their bytes."""
    paths: list[str] = []
    for number in numbers:
        text = _layer_text(registry, number)
        digest = digest_of(text)
        location = md5(digest.encode()).hexdigest()
        (registry.folder / "blobs" / location[:2] / location).write_bytes(text)
        paths.append(f"/v2/{registry.repository(number)}/blobs/{digest}")
    return Load(mode="get", paths=paths)


ROWS = (
    Row(
        name=f"DescribeRepositories of {_SMALL}",
        make=_signed("DescribeRepositories", lambda *_: {"maxResults": _SMALL}),
    ),
    Row(
        name=f"ListImages of {_PAGE}",
        make=_signed("ListImages", lambda name, _: {"repositoryName": name, "maxResults": _PAGE}),
    ),
    Row(
        name=f"DescribeImages of {_PAGE}",
        make=_signed("DescribeImages", lambda name, _: {"repositoryName": name, "maxResults": _PAGE}),
    ),
    Row(
        name=f"tags/list of {_PAGE}",
        make=_paths("get", lambda registry, number: f"/v2/{registry.repository(number)}/tags/list?n={_PAGE}"),
    ),
    Row(
        name="DescribeImages of one",
        make=_signed(
            "DescribeImages",
            lambda name, digest: {"repositoryName": name, "imageIds": [{"imageDigest": digest}]},
        ),
    ),
    Row(
        name="GET manifest by tag",
        make=_paths(
            "get",
            lambda registry, number: f"/v2/{registry.repository(number)}/manifests/v{number:07}-0",
        ),
    ),
    Row(name="GET 10 KiB blob", make=_pull_layers),
    Row(
        name="push of a small image",
        make=lambda registry, numbers: Load(
            mode="push", paths=[registry.repository(number) for number in numbers], size_bytes=1024
        ),
    ),
    Row(
        name="BatchDeleteImage of one",
        make=_signed(
            "BatchDeleteImage",
            lambda name, digest: {"repositoryName": name, "imageIds": [{"imageDigest": digest}]},
            count=_DELETIONS,
        ),
        deletes=True,
    ),
    Row(name="DELETE manifest", make=_delete, deletes=True),
)


def main() -> None:
    """Fill both registries, measure and print the table."""
    clean_up_when_told_to_end()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repositories", type=int, default=10_000, help="of 100 images each")
    parser.add_argument("--folder", type=Path, default=None, help="where the servers keep their data")
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="openecr-bench-", dir=options.folder))
    try:
        generator = Generator(loads.build(folder), options.seconds)
        with run_postgresql() as cluster:
            measure(
                generator,
                folder,
                cluster,
                rounds=options.rounds,
                repositories=options.repositories,
                only=options.only,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(
    generator: Generator, folder: Path, cluster: Cluster, *, rounds: int, repositories: int, only: str
) -> None:
    """Print a line for each row."""
    with (
        registry(folder, cluster, "small", _SMALL) as small,
        registry(folder, cluster, "large", repositories) as large,
    ):
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
        print(
            f"| request | {small.images:,} images p50 / p99 ms | {large.images:,} images | p50 | p99 | to stay below |"
        )
        print("|---|---|---|---|---|---|", flush=True)
        for row in ROWS:
            if only in row.name:
                print(_compare(generator, row, (small, large), rounds), flush=True)


def _compare(generator: Generator, row: Row, registries: Sequence[Registry], rounds: int) -> str:
    runs: dict[str, list[Figures]] = {each.name: [] for each in registries}
    chosen = {each.name: _chosen(each, row) for each in registries}
    for number in range(rounds + 1):
        for each in registries if number % 2 else reversed(registries):
            figures = generator.run(each.target, row.make(each, next(chosen[each.name])))
            if number:  # the first one fills the caches of both
                runs[each.name].append(figures)
    (small_p50, small_p99), (large_p50, large_p99) = (
        [statistics.median(getattr(figures, name) for figures in found) for name in ("p50", "p99")]
        for found in runs.values()
    )
    ratios = (large_p50 / small_p50, large_p99 / small_p99)
    errors = sum(figures.errors for found in runs.values() for figures in found)
    marks = [f" **over {_GOAL:g}x**"] * (max(ratios) > _GOAL) + [f" {errors} errors"] * (errors > 0)
    return (
        f"| {row.name} | {small_p50:.2f} / {small_p99:.2f} | {large_p50:.2f} / {large_p99:.2f} "
        f"| {ratios[0]:.2f}x | {ratios[1]:.2f}x | {_GOAL:g}x |{''.join(marks)}"
    )


def _chosen(registry: Registry, row: Row) -> Iterator[list[int]]:
    """Choose images for each round: always the same of the older half to read, others of the newer half to delete."""
    half = registry.images // 2
    if not row.deletes:
        numbers = random.Random(row.name).sample(range(half), min(_SAMPLE, half))
        while True:
            yield numbers
    first = sum(1 for each in ROWS[: ROWS.index(row)] if each.deletes)
    kinds = sum(1 for each in ROWS if each.deletes)
    mixed = random.Random(registry.name).sample(range(half, registry.images), half)[first::kinds]
    while len(mixed) >= _DELETIONS:
        yield mixed[:_DELETIONS]
        mixed = mixed[_DELETIONS:]


@contextmanager
def registry(folder: Path, cluster: Cluster, name: str, repositories: int) -> Iterator[Registry]:
    """Run a server over a database of its own, and fill it while the server runs, as one that has grown."""
    cluster.run(f"CREATE DATABASE {name};")
    options = ("--no-storage-encrypt-at-rest", f"--database={cluster.dsn(name)}")
    with openecr(folder, name=name, options=options) as (target, ecr):
        ecr.create_repository(repositoryName="bench/template")
        values = {"repositories": repositories, "now": time.time_ns() // 1000 - _MONTH_US}
        began = time.monotonic()
        cluster.run("".join(f"\\set {key} {value}\n" for key, value in values.items()) + _FILL, database=name)
        print(f"{repositories * IMAGES_EACH:,} images stored in {time.monotonic() - began:.0f} s", flush=True)
        yield Registry(
            name=name,
            repositories=repositories,
            cluster=cluster,
            target=target,
            credentials=ecr._request_signer._credentials,
            folder=folder / name,
        )


if __name__ == "__main__":
    main()
