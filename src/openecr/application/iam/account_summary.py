"""What an account has of IAM, and how much of it it may have."""

from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam import EntityKind
from openecr.domain.managed_policies import VERSIONS_MAX
from openecr.store import iam_counts
from openecr.store.connections import Connection
from openecr.store.database import Database


class AccountSummary:
    """Counts and quotas, by IAM's names for them."""

    def __init__(self, *, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    async def get(self, grant: Grant) -> dict[str, int]:
        """Return the summary of the grant's account."""
        account_id = grant.registry.account_id

        def scan(connection: Connection) -> dict[str, int]:
            entities = iam_counts.entities(connection, account_id)
            return {
                "Users": entities.get(EntityKind.USER, 0),
                "Groups": entities.get(EntityKind.GROUP, 0),
                "Roles": entities.get(EntityKind.ROLE, 0),
                "Policies": iam_counts.managed_policies(connection, account_id),
                "PolicyVersionsInUse": iam_counts.attached_policies(connection, account_id),
                "Providers": iam_counts.providers(connection, account_id),
                "AccountAccessKeysPresent": int(iam_counts.root_keys(connection, account_id) > 0),
            }

        return {**await self._database.scan(scan), **self._quotas(), **_ABSENT}

    def _quotas(self) -> dict[str, int]:
        limits = self._limits
        return {
            "UsersQuota": limits.users_per_account,
            "GroupsQuota": limits.groups_per_account,
            "GroupsPerUserQuota": limits.groups_per_user,
            "AccessKeysPerUserQuota": limits.access_keys_per_user,
            "RolesQuota": limits.roles_per_account,
            "PoliciesQuota": limits.policies_per_account,
            "VersionsPerPolicyQuota": VERSIONS_MAX,
            **dict.fromkeys(
                (f"AttachedPoliciesPer{noun}Quota" for noun in ("User", "Group", "Role")),
                limits.attached_policies,
            ),
            "UserPolicySizeQuota": limits.user_inline_policy_characters,
            "GroupPolicySizeQuota": limits.group_inline_policy_characters,
            "RolePolicySizeQuota": limits.role_inline_policy_characters,
        }


_ABSENT = dict.fromkeys(
    (
        "AccountMFAEnabled",
        "AccountPasswordPresent",
        "AccountSigningCertificatesPresent",
        "InstanceProfiles",
        "MFADevices",
        "MFADevicesInUse",
        "ServerCertificates",
    ),
    0,
)
"""What no account of this server has."""
