"""Every bound of a registry, with ECR's defaults (ECR user guide, "Amazon ECR service quotas")."""

from dataclasses import dataclass

_MIB = 1024 * 1024
_DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Quotas and bounds; settings may change each of them."""

    repositories_per_registry: int = 100_000
    images_per_repository: int = 100_000
    tags_per_image: int = 1_000
    resource_tags_per_repository: int = 50
    manifest_max_bytes: int = 4 * _MIB
    manifest_references: int = 1_000
    referrers_page_bytes: int = 4 * _MIB
    layer_max_bytes: int = 52_000 * _MIB
    layer_parts: int = 4_200
    layer_part_min_bytes: int = 5 * _MIB
    layer_part_max_bytes: int = 20 * _MIB
    uploads_per_repository: int = 1_000
    upload_idle_seconds: int = _DAY_SECONDS
    link_grace_seconds: int = _DAY_SECONDS
    doomed_seconds: int = 2 * 60 * 60
    sealed_from_seconds: int = 7 * _DAY_SECONDS
    leftover_seconds: int = _DAY_SECONDS
    download_link_seconds: int = 60 * 60
    authorization_token_seconds: int = 12 * 60 * 60
    collection_interval_seconds: int = 60
    job_lease_seconds: int = 60
    scrub_interval_seconds: int = 30 * _DAY_SECONDS
    scrub_bytes_per_second: int = 50 * _MIB
    mount_candidates: int = 16
    # IAM (IAM user guide, "IAM and AWS STS quotas")
    users_per_account: int = 5_000
    groups_per_account: int = 300
    groups_per_user: int = 10
    access_keys_per_user: int = 2
    roles_per_account: int = 1_000
    policies_per_account: int = 1_500
    attached_policies: int = 20
    oidc_providers_per_account: int = 100
    user_inline_policy_characters: int = 2_048
    group_inline_policy_characters: int = 5_120
    role_inline_policy_characters: int = 10_240
    # KMS (KMS developer guide, "Resource quotas")
    kms_keys_per_account: int = 100_000
    kms_aliases_per_key: int = 50
    kms_grants_per_key: int = 50_000
    kms_grants_per_principal: int = 500
    kms_on_demand_rotations: int = 25


AT_LEAST_ONE = frozenset(
    {
        "authorization_token_seconds",
        "collection_interval_seconds",
        "download_link_seconds",
        "job_lease_seconds",
        "scrub_bytes_per_second",
        "scrub_interval_seconds",
        "upload_idle_seconds",
    }
)
"""Lifetimes, intervals and rates with which nothing works when they are 0. A quota or a grace may be."""
