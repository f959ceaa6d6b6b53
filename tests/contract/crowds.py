"""Repositories of very many images, stored row by row without a push, and units of work whose changes are counted."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Table, insert
from sqlalchemy.util import await_only

from openecr.domain.digests import Digest
from openecr.domain.manifests import OCI_MANIFEST
from openecr.domain.repositories import Repository
from openecr.store.connections import Connection, PostgresConnection, Row, SqliteConnection
from openecr.store.database import Database, Work
from openecr.store.statements import Statement
from openecr.store.tables import BLOBS, IMAGE_BLOBS, IMAGE_TAGS, IMAGES, LINKS, MANIFESTS
from tests.contract.fronts import Front
from tests.contract.galleries import CONFIG_TYPE, LAYER_TYPE, NOW, REGISTRY

T = TypeVar("T")
Values = Mapping[str, Any]

HOW_MANY = 100_000
"""As many as ECR allows in one repository."""

TAGS_EACH = 2
SHARED_LAYERS = 10

_FIRST_ID = 10_000_000
"""Far from what the databases would give themselves."""

_PIECE = 5_000


def digest_of(what: str, number: int) -> str:
    """The digest of one thing of the crowd."""
    return str(Digest.of(f"{what} {number}".encode()))


def tag_of(number: int) -> str:
    """The first tag of an image."""
    return f"v{number:06}-0"


async def store_crowd(database: Database, repository: Repository, count: int) -> None:
    """Store `count` images, each with a config of its own, a layer that many share, and two tags."""
    layers = [digest_of("layer", number) for number in range(SHARED_LAYERS)]
    await _store(
        database,
        _blobs(layers, _FIRST_ID - SHARED_LAYERS),
        _links(layers, _FIRST_ID - SHARED_LAYERS, repository),
    )
    for start in range(0, count, _PIECE):
        numbers = range(start, min(start + _PIECE, count))
        configs = [digest_of("config", number) for number in numbers]
        await _store(
            database,
            _blobs(configs, _FIRST_ID + start),
            _links(configs, _FIRST_ID + start, repository),
            *_images(numbers, repository),
        )


async def _store(database: Database, *tables: tuple[Table, Sequence[Values]]) -> None:
    def unit(connection: Connection) -> None:
        for table, rows in tables:
            statement = Statement(insert(table), columns=list(rows[0]))
            match connection:
                case SqliteConnection():
                    connection.raw.executemany(statement.sqlite_text, rows)
                case PostgresConnection():
                    asked = statement.postgresql
                    await_only(connection.raw.executemany(asked.text, [asked.bind(row) for row in rows]))
                case _:
                    raise TypeError(connection)

    await database.write(unit)


def _blobs(digests: Sequence[str], first_id: int) -> tuple[Table, Sequence[Values]]:
    return BLOBS, [
        {
            "id": blob_id,
            "region": REGISTRY.region,
            "digest": digest,
            "size_bytes": 10,
            "location": digest.removeprefix("sha256:"),
            "created_at": NOW,
        }
        for blob_id, digest in enumerate(digests, first_id)
    ]


def _links(digests: Sequence[str], first_id: int, repository: Repository) -> tuple[Table, Sequence[Values]]:
    return LINKS, [
        {"repository_id": repository.id, "digest": digest, "blob_id": blob_id, "grace_until": NOW}
        for blob_id, digest in enumerate(digests, first_id)
    ]


def _images(numbers: range, repository: Repository) -> list[tuple[Table, Sequence[Values]]]:
    ids = {number: _FIRST_ID + number for number in numbers}
    made = [
        {
            "id": image_id,
            "repository_id": repository.id,
            "digest": digest_of("image", number),
            "media_type": OCI_MANIFEST,
            "size_bytes": 20,
            "manifest_size_bytes": 300,
            "pushed_at": NOW + number,
        }
        for number, image_id in ids.items()
    ]
    tags = [
        {
            "repository_id": repository.id,
            "tag": f"{tag_of(number)[:-1]}{each}",
            "image_id": image_id,
            "tagged_at": NOW + number,
        }
        for number, image_id in ids.items()
        for each in range(TAGS_EACH)
    ]
    named = [
        {"image_id": image_id, "digest": digest, "repository_id": repository.id, "media_type": media_type}
        for number, image_id in ids.items()
        for digest, media_type in (
            (digest_of("config", number), CONFIG_TYPE),
            (digest_of("layer", number % SHARED_LAYERS), LAYER_TYPE),
        )
    ]
    manifests = [{"image_id": image_id, "content": b"{}".ljust(300)} for image_id in ids.values()]
    return [(IMAGES, made), (MANIFESTS, manifests), (IMAGE_BLOBS, named), (IMAGE_TAGS, tags)]


class CountingDatabase(Front):
    """A database that remembers how many rows each unit of work changed, cascades and all where it can tell."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.rows_of_units: list[int] = []

    async def write(self, work: Work[T]) -> T:
        changed = 0

        def counted(connection: Connection) -> T:
            nonlocal changed
            counting = _CountingConnection(connection)
            result = work(counting)
            changed = counting.rows()
            return result

        result = await super().write(counted)
        self.rows_of_units.append(changed)
        return result


class _CountingConnection:
    """Counts the rows that statements report and, where SQLite knows more, what it knows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reported = 0
        self._before = self._total()

    def rows(self) -> int:
        """How many rows were changed until now."""
        return max(self._reported, self._total() - self._before)

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        row = self._connection.fetch_one(statement, **parameters)
        self._reported += row is not None and not getattr(statement.element, "is_select", False)
        return row

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._connection.fetch_all(statement, **parameters)

    def execute(self, statement: Statement, **parameters: Any) -> int:
        changed = self._connection.execute(statement, **parameters)
        self._reported += changed
        return changed

    def _total(self) -> int:
        return self._connection.raw.total_changes if isinstance(self._connection, SqliteConnection) else 0
