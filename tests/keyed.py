"""What use cases of repositories under keys of KMS are made of, for tests without a whole server."""

from openecr.adapters.ids import SystemIds
from openecr.application.authorization import Authorizer
from openecr.application.keyed_blobs import KeyedBlobs
from openecr.application.kms.materials import Materials
from openecr.application.kms.repository_keys import RepositoryKeys
from openecr.application.kms.vaults import Vaults
from openecr.application.limits import Limits
from openecr.ports.clock import Clock
from openecr.ports.keys import ServerKeyRing
from openecr.store.database import Database


def vaults_of(database: Database, keys: ServerKeyRing, clock: Clock) -> Vaults:
    """The vaults of the repositories in a database."""
    ids = SystemIds()
    repository_keys = RepositoryKeys(
        database=database,
        authorizer=Authorizer(database=database),
        materials=Materials(keys=keys, ids=ids),
        clock=clock,
        ids=ids,
        limits=Limits(),
    )
    return Vaults(database=database, keys=repository_keys, ids=ids)


def keyed_blobs_of(database: Database, keys: ServerKeyRing, clock: Clock) -> KeyedBlobs:
    """The blobs of repositories under keys."""
    vaults = vaults_of(database, keys, clock)
    return KeyedBlobs(database=database, vaults=vaults, clock=clock, ids=SystemIds())
