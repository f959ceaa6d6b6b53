"""Repositories under keys of KMS: made with grants on the key, deleted with them."""

from collections.abc import Mapping
from dataclasses import replace

from openecr.application.kms.repository_keys import RepositoryKeys, repository_key, uses_key
from openecr.application.repositories import Repositories
from openecr.domain.decisions import Grant
from openecr.domain.repositories import AES256, Repository, RepositorySettings
from openecr.store import repositories as repository_rows
from openecr.store.connections import Connection


class KeyedRepositories:
    """CreateRepository and DeleteRepository, whatever encrypts the repository."""

    def __init__(self, *, repositories: Repositories, keys: RepositoryKeys) -> None:
        self._repositories = repositories
        self._keys = keys

    async def create(
        self, grant: Grant, settings: RepositorySettings, resource_tags: Mapping[str, str]
    ) -> Repository:
        """Create a repository; with a key of KMS also ECR's grants on it, in one transaction.

        Raises KmsFailed, and what `Repositories.create` raises.
        """
        encryption = settings.encryption
        if encryption.encryption_type == AES256:
            return await self._repositories.create(grant, settings, resource_tags)
        chosen = await self._keys.choose(grant, encryption.kms_key)
        settings = replace(settings, encryption=replace(encryption, kms_key=chosen.arn))
        await self._keys.retire_left(grant.registry, grant.requirement.repository_name or "", chosen.key_id)

        def bind(connection: Connection, repository: Repository) -> None:
            sealed_key = self._keys.bind(connection, chosen)
            repository_rows.set_sealed_key(connection, repository, sealed_key)

        return await self._repositories.create(grant, settings, resource_tags, also=bind)

    async def delete(self, grant: Grant, *, force: bool) -> Repository:
        """Delete a repository, and retire ECR's grants on its key.

        Raises RepositoryNotFound, RepositoryNotEmpty; KmsFailed where the repository is gone and the grants are not.
        """
        repository = grant.require_repository()
        if not uses_key(repository):
            return await self._repositories.delete(grant, force=force)
        failure = await self._keys.may_retire(grant, repository)
        deleted = await self._repositories.delete(
            grant, force=force, also=self._keys.retire if failure is None else None
        )
        if failure is not None:
            raise failure
        key_id = repository_key(repository).name.key_id
        await self._keys.retire_left(repository.registry, repository.name, key_id)
        return deleted
