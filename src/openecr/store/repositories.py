"""Repositories and their resource tags."""

import json
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, delete, func, insert, select, update

from openecr.domain.errors import RepositoryNotFound
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import (
    Encryption,
    Repository,
    RepositorySettings,
    TagMutability,
    TagMutabilitySetting,
)
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import IMAGES, REPOSITORIES, RESOURCE_TAGS
from openecr.store.tables import IS_LIVE as LIVE

_R = REPOSITORIES.c
COLUMNS = (
    _R.id,
    _R.name,
    _R.created_at,
    _R.tag_mutability,
    _R.exclusion_filters,
    _R.scan_on_push,
    _R.encryption_type,
    _R.kms_key,
)


def is_named(registry_id: BindParameter[str], name: BindParameter[str]) -> ColumnElement[bool]:
    """Return the condition that a repository is the live one of that name."""
    return and_(_R.registry_id == registry_id, _R.name == name, LIVE)


FIND_LIVE = Statement(select(*COLUMNS).where(is_named(bindparam("registry_id"), bindparam("name"))))
LIST_LIVE = Statement(
    select(*COLUMNS)
    .where(_R.registry_id == bindparam("registry_id"), LIVE, _R.name > bindparam("after"))
    .order_by(_R.name)
    .limit(bindparam("limit"))
)
IS_LIVE = Statement(select(_R.id).where(_R.id == bindparam("repository_id"), LIVE))
FIND_MUTABILITY = Statement(
    select(_R.tag_mutability, _R.exclusion_filters).where(_R.id == bindparam("repository_id"), LIVE)
)
ADD = Statement(
    insert(REPOSITORIES).returning(_R.id),
    columns=(
        "registry_id",
        "name",
        "created_at",
        "tag_mutability",
        "exclusion_filters",
        "scan_on_push",
        "encryption_type",
        "kms_key",
    ),
)
COUNT_LIVE = Statement(
    select(func.count()).select_from(REPOSITORIES).where(_R.registry_id == bindparam("registry_id"), LIVE)
)
MARK_DELETED = Statement(
    update(REPOSITORIES).where(_R.id == bindparam("repository_id"), LIVE).values(state="deleted")
)
SET_MUTABILITY = Statement(
    update(REPOSITORIES)
    .where(_R.id == bindparam("repository_id"), LIVE)
    .values(tag_mutability=bindparam("new_mutability"), exclusion_filters=bindparam("new_filters"))
)
SET_SCAN_ON_PUSH = Statement(
    update(REPOSITORIES)
    .where(_R.id == bindparam("repository_id"), LIVE)
    .values(scan_on_push=bindparam("new_scan_on_push"))
)
SET_SEALED_KEY = Statement(
    update(REPOSITORIES).where(_R.id == bindparam("repository_id")).values(sealed_key=bindparam("new_key"))
)
FIND_SEALED_KEY = Statement(
    select(_R.sealed_key).where(_R.id == bindparam("repository_id"), LIVE), is_shared=True
)
ANY_IMAGE = Statement(
    select(IMAGES.c.id).where(IMAGES.c.repository_id == bindparam("repository_id")).limit(1)
)

_T = RESOURCE_TAGS.c
LIST_TAGS = Statement(
    select(_T.key, _T.value).where(_T.repository_id == bindparam("repository_id")).order_by(_T.key)
)
PUT_TAG = insert_or_replace(
    RESOURCE_TAGS,
    conflict=("repository_id", "key"),
    columns=("repository_id", "key", "value"),
    replace=("value",),
)
REMOVE_TAGS = Statement(
    delete(RESOURCE_TAGS).where(_T.repository_id == bindparam("repository_id"), is_one_of(_T.key, "tag_keys"))
)


_SETTINGS_KEPT = 256


def _tag_mutability(mutability: str, filters: str) -> TagMutabilitySetting:
    return TagMutabilitySetting(mode=TagMutability(mutability), exclusion_filters=tuple(json.loads(filters)))


@lru_cache(_SETTINGS_KEPT)
def _settings(
    mutability: str, filters: str, scan_on_push: int, encryption_type: str, kms_key: str | None
) -> RepositorySettings:
    """Few combinations exist, and every request reads one."""
    return RepositorySettings(
        tag_mutability=_tag_mutability(mutability, filters),
        scan_on_push=bool(scan_on_push),
        encryption=Encryption(encryption_type=encryption_type, kms_key=kms_key),
    )


def from_row(registry: RegistryId, row: Row) -> Repository:
    """Return the repository whose `COLUMNS` these are."""
    identifier, name, created_at, *settings = row
    return Repository(
        id=identifier, registry=registry, name=name, created_at=created_at, settings=_settings(*settings)
    )


def find(connection: Connection, registry: RegistryId, name: str) -> Repository | None:
    """Return the live repository of that name."""
    row = connection.fetch_one(FIND_LIVE, registry_id=str(registry), name=name)
    return None if row is None else from_row(registry, row)


def list_after(connection: Connection, registry: RegistryId, *, after: str, limit: int) -> list[Repository]:
    """Return live repositories by name, byte order, from the first after `after`."""
    rows = connection.fetch_all(LIST_LIVE, registry_id=str(registry), after=after, limit=limit)
    return [from_row(registry, row) for row in rows]


def count(connection: Connection, registry: RegistryId) -> int:
    """Return how many live repositories a registry has."""
    row = connection.fetch_one(COUNT_LIVE, registry_id=str(registry))
    assert row is not None
    return int(row[0])


def add(
    connection: Connection, registry: RegistryId, name: str, settings: RepositorySettings, *, created_at: int
) -> Repository:
    """Insert a repository. Raises ConstraintViolated where the name is taken."""
    parameters: dict[str, Any] = {
        "registry_id": str(registry),
        "name": name,
        "created_at": created_at,
        "tag_mutability": settings.tag_mutability.mode.value,
        "exclusion_filters": json.dumps(list(settings.tag_mutability.exclusion_filters)),
        "scan_on_push": int(settings.scan_on_push),
        "encryption_type": settings.encryption.encryption_type,
        "kms_key": settings.encryption.kms_key,
    }
    row = connection.fetch_one(ADD, **parameters)
    assert row is not None
    return Repository(id=row[0], registry=registry, name=name, created_at=created_at, settings=settings)


def is_live(connection: Connection, repository: Repository) -> bool:
    """Tell whether this very repository still lives."""
    return connection.fetch_one(IS_LIVE, repository_id=repository.id) is not None


def require_live(connection: Connection, repository: Repository) -> None:
    """Check inside a unit of work that this very repository still lives. Raises RepositoryNotFound."""
    if not is_live(connection, repository):
        raise _not_found(repository)


def require_mutability(connection: Connection, repository: Repository) -> TagMutabilitySetting:
    """Check as `require_live` does, and return which tags may be moved now. Raises RepositoryNotFound.

    What the request was authorized with may have been replaced since.
    """
    row = connection.fetch_one(FIND_MUTABILITY, repository_id=repository.id)
    if row is None:
        raise _not_found(repository)
    return _tag_mutability(*row)


def _not_found(repository: Repository) -> RepositoryNotFound:
    return RepositoryNotFound(repository_name=repository.name, registry_id=repository.registry.account_id)


def mark_deleted(connection: Connection, repository: Repository) -> None:
    """Free the name at once; a job purges what the repository held."""
    connection.execute(MARK_DELETED, repository_id=repository.id)


def has_image(connection: Connection, repository: Repository) -> bool:
    """Tell whether the repository has any image."""
    return connection.fetch_one(ANY_IMAGE, repository_id=repository.id) is not None


def set_tag_mutability(connection: Connection, repository: Repository, setting: TagMutabilitySetting) -> None:
    """Replace mode and filters together."""
    connection.execute(
        SET_MUTABILITY,
        repository_id=repository.id,
        new_mutability=setting.mode.value,
        new_filters=json.dumps(list(setting.exclusion_filters)),
    )


def set_scan_on_push(connection: Connection, repository: Repository, *, scan_on_push: bool) -> None:
    """Store the deprecated scanning setting."""
    connection.execute(SET_SCAN_ON_PUSH, repository_id=repository.id, new_scan_on_push=int(scan_on_push))


def set_sealed_key(connection: Connection, repository: Repository, sealed_key: bytes) -> None:
    """Keep the repository's own key, encrypted under its key of KMS."""
    connection.execute(SET_SEALED_KEY, repository_id=repository.id, new_key=sealed_key)


def find_sealed_key(connection: Connection, repository: Repository) -> bytes | None:
    """Return the repository's own key, encrypted under its key of KMS; None where it has none."""
    row = connection.fetch_one(FIND_SEALED_KEY, repository_id=repository.id)
    return None if row is None or row[0] is None else bytes(row[0])


def list_resource_tags(connection: Connection, repository: Repository) -> dict[str, str]:
    """Return the repository's resource tags by key."""
    return dict(map(tuple, connection.fetch_all(LIST_TAGS, repository_id=repository.id)))


def put_resource_tags(connection: Connection, repository: Repository, tags: dict[str, str]) -> None:
    """Add tags, replacing those of the same key."""
    for key, value in tags.items():
        connection.execute(PUT_TAG, repository_id=repository.id, key=key, value=value)


def remove_resource_tags(connection: Connection, repository: Repository, keys: list[str]) -> None:
    """Remove tags; keys that are not there are fine."""
    connection.execute(REMOVE_TAGS, repository_id=repository.id, tag_keys=as_list(keys))
