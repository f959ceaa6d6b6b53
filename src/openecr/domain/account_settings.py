"""Settings of a registry that GetAccountSetting and PutAccountSetting name."""

import enum


class AccountSetting(enum.Enum):
    """ECR API: the names of account settings."""

    BASIC_SCAN_TYPE_VERSION = "BASIC_SCAN_TYPE_VERSION"
    REGISTRY_POLICY_SCOPE = "REGISTRY_POLICY_SCOPE"
    BLOB_MOUNTING = "BLOB_MOUNTING"

    @property
    def values(self) -> tuple[str, ...]:
        """Return the accepted values, the default one first."""
        match self:
            case AccountSetting.BASIC_SCAN_TYPE_VERSION:
                return ("AWS_NATIVE",)
            case AccountSetting.REGISTRY_POLICY_SCOPE:
                return ("V2", "V1")
            case AccountSetting.BLOB_MOUNTING:
                return ("DISABLED", "ENABLED")
