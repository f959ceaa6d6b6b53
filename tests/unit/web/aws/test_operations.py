"""Every operation of the AWS face and what it requires, and every one that is missing, as lists that are reviewed.

With `OPENECR_UPDATE_GOLDEN=1` the lists are written anew; the list of what is missing may only shrink.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from openecr.application.blobs import DownloadLink
from openecr.domain.callers import RequestContext, Root
from openecr.domain.decisions import Requirement
from openecr.domain.errors import DomainError, InvalidParameter
from openecr.domain.registries import RegistryId
from openecr.engines.kms import RANDOM_BYTES, Origin, encrypt, grant_token
from openecr.web.aws import downloads
from openecr.web.aws.model import load_service, read_published_model
from openecr.web.aws.operations import ROWS, ROWS_BY_NAME
from openecr.web.aws.rows import Row

GOLDEN = Path(__file__).parents[3] / "golden"
DOORS = GOLDEN / "aws_doors.txt"
NOT_IMPLEMENTED = GOLDEN / "aws_not_implemented.txt"
UPDATE = os.environ.get("OPENECR_UPDATE_GOLDEN") == "1"

CALLER = Root(account_id="111111111111", access_key_id="AKIA")
CONTEXT = RequestContext(
    requested_at=0,
    request_id="",
    region="us-east-1",
    source_address="",
    is_secure_transport=False,
    user_agent="",
)
ARN = "arn:aws:ecr:us-east-1:222222222222:repository/app"
TAGS = [{"Key": "team", "Value": "a"}]
KEY = "0b1c2d3e-0000-4000-8000-123456789abc"
OTHER_KEY = "arn:aws:kms:us-east-1:222222222222:key/0b1c2d3e-0000-4000-8000-123456789abd"
SEALED_BY = Origin(
    registry=RegistryId(account_id="222222222222", region="us-east-1"), key_id=KEY, material_id="ab" * 32
)
CONTEXT_OF_KEY = {"team": "a"}
SAMPLES: dict[str, Any] = {
    "AliasName": "alias/app",
    "CiphertextBlob": encrypt(SEALED_BY, bytes(32), b"x", {}, random=bytes(RANDOM_BYTES)),
    "DestinationKeyId": "alias/other",
    "GrantId": "ab" * 32,
    "GranteePrincipal": "arn:aws:iam::111111111111:user/alice",
    "KeyId": KEY,
    "Operations": ["Decrypt"],
    "TargetKeyId": KEY,
    "repositoryName": "app",
    "resourceArn": ARN,
    "UserName": "alice",
    "GroupName": "builders",
    "RoleName": "ci",
    "AccessKeyId": "AKIAQAAAAAAAAAAAAAAA",
    "PolicyName": "push",
    "RoleArn": "arn:aws:iam::222222222222:role/ci",
    "RoleSessionName": "build",
    "PolicyArn": "arn:aws:iam::111111111111:policy/push",
    "PolicySourceArn": "arn:aws:iam::111111111111:user/alice",
    "OpenIDConnectProviderArn": "arn:aws:iam::111111111111:oidc-provider/ci.example.com",
    "Url": "https://ci.example.com",
    "AWSServiceName": "replication.ecr.amazonaws.com",
    "DeletionTaskId": "task/aws-service-role/ecr.amazonaws.com/Role/AROAQAAAAAAAAAAAAAAAA",
    "InstanceProfileName": "machines",
    "Name": "fred",
    "name": "BLOB_MOUNTING",
}
VARIANTS: dict[str, dict[str, Any]] = {
    " with tags": {"tags": TAGS},
    " with tag keys": {"tagKeys": ["team"]},
    " with names": {"repositoryNames": ["app", "other"]},
    " with a registry": {"registryId": "222222222222"},
    " with IAM's tags": {"Tags": TAGS},
    " with IAM's tag keys": {"TagKeys": ["team"]},
    " with KMS's tags": {"Tags": [{"TagKey": "team", "TagValue": "a"}]},
    " with an ARN": {"KeyId": OTHER_KEY},
    " with an alias": {"KeyId": "alias/app"},
    " of a ciphertext": {"KeyId": None},
    " with a context": {"EncryptionContext": CONTEXT_OF_KEY},
    " with contexts": {
        "SourceEncryptionContext": CONTEXT_OF_KEY,
        "DestinationEncryptionContext": CONTEXT_OF_KEY,
    },
    " with constraints": {"Constraints": {"EncryptionContextSubset": CONTEXT_OF_KEY}},
    " with a token": {"GrantToken": grant_token(SEALED_BY.registry, KEY, "ab" * 32)},
    " with a window": {"PendingWindowInDays": 7},
    " with a period": {"RotationPeriodInDays": 90},
    " with a path": {"Path": "/team/"},
    " with a path prefix": {"PathPrefix": "/team/"},
    " with a boundary": {"PermissionsBoundary": "arn:aws:iam::111111111111:policy/edge"},
    " with a new user name": {"NewUserName": "bob"},
    " with a new group name": {"NewGroupName": "makers"},
    " with a new path": {"NewPath": "/team/"},
    " of the caller": {"UserName": None},
    " with an external id": {"ExternalId": "contract-1"},
    " with a source identity": {"SourceIdentity": "ana"},
    " with transitive tags": {"TransitiveTagKeys": ["team"]},
}


def required(row: Row, **more: Any) -> list[Requirement]:
    members = row.model.input.members
    given = {name: value for name, value in (SAMPLES | more).items() if value is not None}
    parameters = {name: value for name, value in given.items() if name in members}
    return list(row.requires(CALLER, CONTEXT, parameters))


def told(requirements: list[Requirement]) -> str:
    """What is required, with the condition keys that a policy may ask for."""
    if not requirements:
        return "credentials"
    return "; ".join(
        f"{' and '.join(each.actions)} on {each.resource}"
        + (f" [{', '.join(name for name, _ in each.context_keys)}]" if each.context_keys else "")
        + (" in the caller's account" if each.within_account else "")
        for each in requirements
    )


def told_or_refused(row: Row, more: dict[str, Any]) -> str:
    """What is required, or why it cannot be told what is."""
    try:
        return told(required(row, **more))
    except DomainError as error:
        return f"refused: {error.message}"


def lines_of(row: Row) -> list[str]:
    plain = told(required(row))
    lines = [f"{row.service}:{row.name} (body up to {row.body_max_bytes >> 20} MiB): {plain}"]
    for suffix, more in VARIANTS.items():
        if {name for name, value in more.items() if value is None} & set(row.model.input.required):
            continue
        is_other_services = ("IAM's" if row.service == "kms" else "KMS's") in suffix
        if is_other_services or not more.keys() <= row.model.input.members.keys():
            continue
        variant = told_or_refused(row, more)
        if variant != plain:
            lines.append(f"{row.service}:{row.name}{suffix}: {variant}")
    return lines


def download_line() -> str:
    link = DownloadLink(
        version=2,
        account_id="222222222222",
        region="us-east-1",
        repository_name="app",
        repository_id=1,
        digest="sha256:0",
        caller_account_id="111111111111",
        caller_principal_id="111111111111",
        caller_access_key_id="AKIA",
        caller_session=None,
        expires_at=0,
    )
    return f"{downloads.DOOR}: {told([downloads.requirement_of(link)])}"


def test_the_doors_are_those_of_the_golden_file() -> None:
    lines = [*(line for row in ROWS for line in lines_of(row)), download_line()]
    if UPDATE:
        DOORS.write_text("\n".join(lines) + "\n")

    assert DOORS.read_text().splitlines() == lines


def test_what_is_missing_is_in_the_golden_file_which_only_shrinks() -> None:
    missing = [
        f"{service}:{name}"
        for service in ("ecr", "sts", "kms")
        for name in sorted(load_service(service).operations)
        if (service, name) not in ROWS_BY_NAME
    ]
    if UPDATE and (not NOT_IMPLEMENTED.exists() or set(missing) <= set(NOT_IMPLEMENTED.read_text().split())):
        NOT_IMPLEMENTED.write_text("\n".join(missing) + "\n")

    assert NOT_IMPLEMENTED.read_text().splitlines() == missing


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.door)
def test_each_row_is_an_operation_of_the_model_and_needs_only_what_that_has(row: Row) -> None:
    assert row.name in load_service(row.service).operations
    assert ROWS_BY_NAME[row.service, row.name] is row
    assert required(row) or row.service == "sts"
    if row.service == "ecr" and "registryId" in row.model.input.members:
        assert "registryId" in row.needs


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.door)
def test_requirements_read_nothing_that_is_validated_only_later(row: Row) -> None:
    """Requirements see the members that the row says it needs, and work without the others."""

    class Watched(dict[str, Any]):
        read: frozenset[str] = frozenset()

        def __getitem__(self, name: str) -> Any:
            self.read |= {name}
            return super().__getitem__(name)

        def get(self, name: str, default: Any = None) -> Any:
            self.read |= {name}
            return super().get(name, default)

    watched = Watched(SAMPLES)
    row.requires(CALLER, CONTEXT, watched)

    assert watched.read & row.model.input.members.keys() <= row.needs


@pytest.mark.parametrize("row", [row for row in ROWS if row.service == "kms"], ids=lambda row: row.door)
def test_keys_of_other_accounts_are_for_the_operations_of_which_kms_says_so(row: Row) -> None:
    """The published model tells of each operation: cross-account use, yes or no."""
    published = json.loads(read_published_model("kms"))["operations"][row.name]["documentation"]
    told = re.search(r"Cross-account use</b>:? *(Yes|No\b)", published)

    crosses = not any(each.within_account for each in required(row, KeyId=OTHER_KEY, AliasName="alias/app"))

    # It says neither of two: GenerateRandom knows no key, and ListRetirableGrants names a principal of the caller's.
    if told is not None:
        assert crosses is (told[1] == "Yes")
    else:
        assert row.name in {"GenerateRandom", "ListRetirableGrants"}


def test_a_registry_id_names_another_account_of_the_same_region() -> None:
    (requirement,) = required(ROWS_BY_NAME["ecr", "PutImage"], registryId="222222222222")

    assert requirement.registry == RegistryId(account_id="222222222222", region="us-east-1")
    assert requirement.resource == ARN


def test_tags_of_a_request_are_condition_keys() -> None:
    (created,) = required(ROWS_BY_NAME["ecr", "CreateRepository"], tags=TAGS)
    (untagged,) = required(ROWS_BY_NAME["ecr", "UntagResource"], tagKeys=["team", "stage"])

    assert created.actions == ("ecr:CreateRepository", "ecr:TagResource")
    assert created.context_keys == (("aws:RequestTag/team", ("a",)), ("aws:TagKeys", ("team",)))
    assert untagged.context_keys == (("aws:TagKeys", ("team", "stage")),)


def test_an_arn_of_another_region_is_invalid_here() -> None:
    with pytest.raises(InvalidParameter, match="Invalid ARN"):
        required(ROWS_BY_NAME["ecr", "TagResource"], resourceArn=ARN.replace("us-east-1", "eu-west-1"))
