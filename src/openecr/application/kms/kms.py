"""KMS: everything about keys, each made once."""

from openecr.application.authorization import Authorizer
from openecr.application.kms.aliases import Aliases
from openecr.application.kms.ciphers import Ciphers
from openecr.application.kms.deletions import KeyDeletions
from openecr.application.kms.grants import Grants
from openecr.application.kms.key_policies import KeyPolicies
from openecr.application.kms.key_tags import KeyTags
from openecr.application.kms.keyed_repositories import KeyedRepositories
from openecr.application.kms.keys import Keys
from openecr.application.kms.materials import Materials
from openecr.application.kms.repository_keys import RepositoryKeys
from openecr.application.kms.rotations import KeyRotations
from openecr.application.kms.vaults import Vaults
from openecr.application.limits import Limits
from openecr.application.repositories import Repositories
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import ServerKeyRing
from openecr.store.database import Database


class Kms:
    """The use cases of keys, aliases, grants and ciphertexts."""

    def __init__(
        self,
        *,
        database: Database,
        authorizer: Authorizer,
        keys: ServerKeyRing,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        repositories: Repositories,
    ) -> None:
        materials = Materials(keys=keys, ids=ids)
        self.key_policies = KeyPolicies(database=database, authorizer=authorizer)
        self.keys = Keys(
            database=database,
            policies=self.key_policies,
            materials=materials,
            clock=clock,
            ids=ids,
            limits=limits,
        )
        self.aliases = Aliases(database=database, clock=clock, limits=limits)
        self.key_tags = KeyTags(database=database)
        self.ciphers = Ciphers(database=database, materials=materials, ids=ids)
        self.rotations = KeyRotations(database=database, materials=materials, clock=clock, limits=limits)
        self.grants = Grants(database=database, clock=clock, ids=ids, limits=limits)
        self.deletions = KeyDeletions(database=database, clock=clock)
        self.repository_keys = RepositoryKeys(
            database=database,
            authorizer=authorizer,
            materials=materials,
            clock=clock,
            ids=ids,
            limits=limits,
        )
        self.vaults = Vaults(database=database, keys=self.repository_keys, ids=ids)
        self.repositories = KeyedRepositories(repositories=repositories, keys=self.repository_keys)
