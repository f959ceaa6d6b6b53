"""Repositories: made, described, changed and deleted."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence

from openecr.application.audit import audited
from openecr.application.collection import PURGE
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.errors import (
    InvalidTagParameter,
    LimitExceeded,
    RepositoryAlreadyExists,
    RepositoryNotEmpty,
    TooManyTags,
)
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.repositories import Repository, RepositorySettings, TagMutabilitySetting
from openecr.ports.clock import Clock
from openecr.store import accounts, jobs, repositories
from openecr.store.connections import Connection
from openecr.store.database import Database

Also = Callable[[Connection, Repository], None]
"""What is done in the unit of work that makes or deletes a repository."""

_KEY_MAX_CHARACTERS = 128
_VALUE_MAX_CHARACTERS = 256
_RESERVED_PREFIX = "aws:"
_TAG_PUNCTUATION = frozenset(" _.:/=+-@")


class Repositories:
    """The use cases of repositories and their resource tags."""

    def __init__(self, *, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits

    async def create(
        self,
        grant: Grant,
        settings: RepositorySettings,
        resource_tags: Mapping[str, str],
        *,
        also: Also | None = None,
    ) -> Repository:
        """Create the repository that the grant names, with its tags, or nothing. `also` is done in the same unit.

        Raises RepositoryAlreadyExists, LimitExceeded, InvalidTagParameter, TooManyTags.
        """
        registry = grant.registry
        name = grant.requirement.repository_name or ""
        tags = dict(resource_tags)
        self._check_tags(tags)
        now = self._clock.now()
        # Counted outside the unit: an exact count would make every creation wait for every other one.
        count = await self._database.scan(lambda connection: repositories.count(connection, registry))
        if count >= self._limits.repositories_per_registry:
            raise LimitExceeded(
                message=f"The registry with id '{registry.account_id}' already has the maximum allowed "
                f"number of repositories which is '{self._limits.repositories_per_registry}'"
            )

        def unit(connection: Connection) -> Repository:
            if repositories.find(connection, registry, name) is not None:
                raise RepositoryAlreadyExists(repository_name=name, registry_id=registry.account_id)
            repository = repositories.add(connection, registry, name, settings, created_at=now)
            self._put_tags(connection, repository, tags)
            if also is not None:
                also(connection, repository)
            return repository

        return await self._database.write(audited(grant, unit))

    async def describe(self, grants: Sequence[Grant]) -> list[Repository]:
        """Return the repositories that the grants name, each once. Raises RepositoryNotFound for the first missing."""
        found = {grant.require_repository().id: grant.require_repository() for grant in grants}
        return list(found.values())

    async def list(self, grant: Grant, page: PageRequest) -> Page[Repository]:
        """Return a page of the registry's repositories by name."""

        def scan(connection: Connection) -> list[Repository]:
            return repositories.list_after(
                connection, grant.registry, after=page.after or "", limit=page.limit + 1
            )

        found = await self._database.scan(scan)
        return cut_page(found, page.limit, lambda repository: repository.name)

    async def delete(self, grant: Grant, *, force: bool, also: Also | None = None) -> Repository:
        """Delete the repository; its name is free at once. `also` is done in the same unit.

        Raises RepositoryNotFound, RepositoryNotEmpty.
        """
        repository = grant.require_repository()
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            if not force and repositories.has_image(connection, repository):
                raise RepositoryNotEmpty(
                    repository_name=repository.name, registry_id=repository.registry.account_id
                )
            repositories.mark_deleted(connection, repository)
            if also is not None:
                also(connection, repository)
            jobs.enqueue(connection, PURGE, now=now, unique_key=str(repository.id))

        await self._database.write(audited(grant, unit))
        return repository

    async def set_tag_mutability(self, grant: Grant, setting: TagMutabilitySetting) -> Repository:
        """Replace the mutability of tags, for future pushes. Raises RepositoryNotFound."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            repositories.set_tag_mutability(connection, repository, setting)

        await self._database.write(audited(grant, unit))
        return repository

    async def set_scan_on_push(self, grant: Grant, *, scan_on_push: bool) -> Repository:
        """Store the scanning setting. Raises RepositoryNotFound."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            repositories.set_scan_on_push(connection, repository, scan_on_push=scan_on_push)

        await self._database.write(audited(grant, unit))
        return repository

    async def tag_resource(self, grant: Grant, tags: Mapping[str, str]) -> None:
        """Merge resource tags. Raises RepositoryNotFound, InvalidTagParameter, TooManyTags."""
        repository = grant.require_repository()
        given = dict(tags)
        self._check_tags(given)

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            self._put_tags(connection, repository, given)
            accounts.raise_epoch(connection, repository.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def untag_resource(self, grant: Grant, keys: Sequence[str]) -> None:
        """Remove resource tags; unknown keys are fine. Raises RepositoryNotFound."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            repositories.remove_resource_tags(connection, repository, [*keys])
            accounts.raise_epoch(connection, repository.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def list_resource_tags(self, grant: Grant) -> dict[str, str]:
        """Return the resource tags by key. Raises RepositoryNotFound."""
        repository = grant.require_repository()
        return await self._database.read(
            lambda connection: repositories.list_resource_tags(connection, repository)
        )

    def _put_tags(self, connection: Connection, repository: Repository, tags: dict[str, str]) -> None:
        merged = {**repositories.list_resource_tags(connection, repository), **tags}
        if len(merged) > self._limits.resource_tags_per_repository:
            raise TooManyTags(
                message=f"A repository may have at most {self._limits.resource_tags_per_repository} tags"
            )
        _check_letter_case(merged, tags)
        repositories.put_resource_tags(connection, repository, tags)

    def _check_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if not 1 <= len(key) <= _KEY_MAX_CHARACTERS or not _is_tag_text(key):
                raise InvalidTagParameter(message=f"The tag key '{key[:_KEY_MAX_CHARACTERS]}' is invalid")
            if key.lower().startswith(_RESERVED_PREFIX):
                raise InvalidTagParameter(message="Tag keys that start with 'aws:' are reserved")
            if len(value) > _VALUE_MAX_CHARACTERS or not _is_tag_text(value):
                raise InvalidTagParameter(message=f"The value of the tag '{key}' is invalid")


def _check_letter_case(merged: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Policies know tag keys without letter case: one of two that differ in nothing else would hide the other."""
    for key in given:
        if any(other != key and other.lower() == key.lower() for other in merged):
            raise InvalidTagParameter(
                message=f"The tag key '{key}' differs from another one in letter case only"
            )


def _is_tag_text(text: str) -> bool:
    """Letters, digits and spaces of any script, and `_.:/=+-@` (AWS tagging guide)."""
    return all(
        character in _TAG_PUNCTUATION or unicodedata.category(character)[0] in "LNZ" for character in text
    )
