"""Everything of IAM in one place."""

from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.iam.access_keys import AccessKeys
from openecr.application.iam.account_details import AccountDetailLists
from openecr.application.iam.account_summary import AccountSummary
from openecr.application.iam.attachments import Attachments
from openecr.application.iam.groups import Groups
from openecr.application.iam.inline_policies import InlinePolicies
from openecr.application.iam.managed_policies import ManagedPolicies
from openecr.application.iam.oidc_providers import OidcProviders
from openecr.application.iam.roles import Roles
from openecr.application.iam.simulations import Simulations
from openecr.application.iam.tags import IamTags
from openecr.application.iam.users import Users
from openecr.application.limits import Limits
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import KeyRing
from openecr.store.database import Database


class Iam:
    """The use cases of IAM, by noun."""

    def __init__(
        self,
        *,
        database: Database,
        keys: KeyRing,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        key_uses: AccessKeyUses,
    ) -> None:
        self.users = Users(database=database, clock=clock, ids=ids, limits=limits)
        self.groups = Groups(database=database, clock=clock, ids=ids, limits=limits)
        self.access_keys = AccessKeys(
            database=database, keys=keys, clock=clock, ids=ids, limits=limits, uses=key_uses
        )
        self.account_summary = AccountSummary(database=database, limits=limits)
        self.inline_policies = InlinePolicies(database=database, limits=limits)
        self.managed_policies = ManagedPolicies(database=database, clock=clock, ids=ids, limits=limits)
        self.attachments = Attachments(database=database, limits=limits)
        self.roles = Roles(database=database, clock=clock, ids=ids, limits=limits)
        self.oidc_providers = OidcProviders(database=database, clock=clock, limits=limits)
        self.tags = IamTags(database=database)
        self.simulations = Simulations(database=database, clock=clock)
        self.account_details = AccountDetailLists(database=database)
