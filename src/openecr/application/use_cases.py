"""The use cases behind both faces, each made once over the same parts."""

from collections.abc import Awaitable, Callable, Collection

from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.account_settings import AccountSettings
from openecr.application.authentication import Authenticator
from openecr.application.authorization import Authorizer
from openecr.application.authorization_tokens import AuthorizationTokens, TokenEnd
from openecr.application.blobs import Blobs
from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.application.iam.iam import Iam
from openecr.application.images import Images
from openecr.application.keyed_blobs import KeyedBlobs
from openecr.application.kms.kms import Kms
from openecr.application.limits import Limits
from openecr.application.losses import Losses, any_store
from openecr.application.pull_times import PullTimes
from openecr.application.registry_policies import RegistryPolicies
from openecr.application.repositories import Repositories
from openecr.application.repository_policies import RepositoryPolicies
from openecr.application.sessions import Sessions
from openecr.application.sts import Sts
from openecr.application.uploads import Uploads
from openecr.application.web_identities import WebIdentities
from openecr.ports.blobs import BlobStore
from openecr.ports.clock import Clock
from openecr.ports.identity_providers import IdentityProviders
from openecr.ports.ids import Ids
from openecr.ports.keys import ServerKeyRing
from openecr.store.database import Database


class UseCases:
    """The application's classes, each made once."""

    def __init__(
        self,
        *,
        database: Database,
        store: BlobStore,
        check_store: Callable[[], Awaitable[None]] = any_store,
        pull_times: PullTimes,
        key_uses: AccessKeyUses,
        keys: ServerKeyRing,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        encrypt_at_rest: bool,
        token_end: TokenEnd,
        identity_providers: IdentityProviders,
        issuers: Collection[str],
    ) -> None:
        self.limits = limits
        self.sessions = Sessions(
            database=database,
            keys=keys,
            clock=clock,
            carried_seconds=max(limits.authorization_token_seconds, limits.download_link_seconds),
        )
        self.tokens = AuthorizationTokens(
            keys=keys, clock=clock, lifetime_seconds=limits.authorization_token_seconds, end=token_end
        )
        self.authenticator = Authenticator(
            database=database, keys=keys, clock=clock, tokens=self.tokens, sessions=self.sessions
        )
        self.authorizer = Authorizer(database=database)
        self.account_settings = AccountSettings(database=database)
        self.repositories = Repositories(database=database, clock=clock, limits=limits)
        self.kms = Kms(
            database=database,
            authorizer=self.authorizer,
            keys=keys,
            clock=clock,
            ids=ids,
            limits=limits,
            repositories=self.repositories,
        )
        self.repository_policies = RepositoryPolicies(database=database, authorizer=self.authorizer)
        self.registry_policies = RegistryPolicies(database=database)
        keyed = KeyedBlobs(database=database, vaults=self.kms.vaults, clock=clock, ids=ids)
        self.images = Images(
            database=database,
            pull_times=pull_times,
            check_space=store.check_space,
            vaults=self.kms.vaults,
            clock=clock,
            limits=limits,
        )
        self.data_keys = DataKeys(keys=keys, ids=ids, encrypts=encrypt_at_rest)
        self.contents = Contents(store=store, data_keys=self.data_keys)
        self.losses, self.blobs, self.uploads = _of_blobs(
            database=database,
            store=store,
            check_store=check_store,
            contents=self.contents,
            data_keys=self.data_keys,
            keyed=keyed,
            keys=keys,
            clock=clock,
            ids=ids,
            limits=limits,
        )
        self.iam = Iam(database=database, keys=keys, clock=clock, ids=ids, limits=limits, key_uses=key_uses)
        self.sts = Sts(database=database, sessions=self.sessions, clock=clock, ids=ids)
        self.web_identities = WebIdentities(database=database, providers=identity_providers, issuers=issuers)


def _of_blobs(
    *,
    database: Database,
    store: BlobStore,
    check_store: Callable[[], Awaitable[None]],
    contents: Contents,
    data_keys: DataKeys,
    keyed: KeyedBlobs,
    keys: ServerKeyRing,
    clock: Clock,
    ids: Ids,
    limits: Limits,
) -> tuple[Losses, Blobs, Uploads]:
    """Make what reads and writes blobs."""
    losses = Losses(database=database, store=store, contents=contents, check_store=check_store)
    blobs = Blobs(
        database=database,
        contents=contents,
        keyed=keyed,
        losses=losses,
        keys=keys,
        clock=clock,
        limits=limits,
    )
    uploads = Uploads(
        database=database,
        blobs=store,
        contents=contents,
        data_keys=data_keys,
        keyed=keyed,
        losses=losses,
        clock=clock,
        ids=ids,
        limits=limits,
    )
    return losses, blobs, uploads
