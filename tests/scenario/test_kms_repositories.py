"""Repositories under keys of KMS: made with grants on the key, by whoever may, and deleted with them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openecr.domain.kms import KeyState
from openecr.store import kms_grants, kms_keys
from openecr.store.connections import Connection
from tests.scenario.drivers import ACCOUNT, in_process_driver
from tests.scenario.kms_keys import OTHER, KeyHouse, OwnUse, account, allow, deny, refused

ECR = "ecr.us-east-1.amazonaws.com"
CREATOR = ("kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant")


def arn_of(name: str) -> str:
    return f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{name}"


def create(ecr: Any, name: str, key: str | None, kind: str = "KMS") -> dict[str, Any]:
    """Make a repository under a key; None: under ECR's own."""
    encryption = {"encryptionType": kind} | ({} if key is None else {"kmsKey": key})
    made: dict[str, Any] = ecr.create_repository(repositoryName=name, encryptionConfiguration=encryption)[
        "repository"
    ]
    return made


def kms_error(call: Callable[..., Any], **given: Any) -> tuple[str, str, str]:
    """What ECR tells of KMS: the code, KMS's code and the message."""
    with pytest.raises(ClientError) as raised:
        call(**given)
    told: Any = raised.value.response
    return told["Error"]["Code"], told.get("kmsError", ""), told["Error"]["Message"]


@pytest.mark.parametrize("kind", ["KMS", "KMS_DSSE"])
def test_a_repository_under_a_key_has_two_grants_on_it_and_leaves_none(keys: KeyHouse, kind: str) -> None:
    kms, ecr, key = keys.root(), keys.root("ecr"), keys.key()
    kms.create_alias(AliasName=f"alias/images-{kind}", TargetKeyId=key)

    made = create(ecr, "team/app", f"alias/images-{kind}", kind)

    assert made["encryptionConfiguration"] == {"encryptionType": kind, "kmsKey": key}
    (described,) = ecr.describe_repositories(repositoryNames=["team/app"])["repositories"]
    assert described["encryptionConfiguration"] == made["encryptionConfiguration"]
    grants = kms.list_grants(KeyId=key)["Grants"]
    assert len(grants) == 2
    for grant in grants:
        assert (grant["GranteePrincipal"], grant["RetiringPrincipal"]) == (ECR, ECR)
        assert sorted(grant["Operations"]) == ["Decrypt", "GenerateDataKey"]
        assert grant["Constraints"] == {"EncryptionContextSubset": {"aws:ecr:arn": arn_of("team/app")}}
        assert grant["IssuingAccount"] == f"arn:aws:iam::{ACCOUNT}:root"
    ecr.delete_repository(repositoryName="team/app")
    assert kms.list_grants(KeyId=key)["Grants"] == []


def test_without_a_key_ecr_has_one_of_its_own_which_is_made_once(keys: KeyHouse) -> None:
    kms, ecr = keys.root(), keys.root("ecr")
    user = keys.user(allow("ecr:*"))

    first = create(user.client("ecr"), "own/first", None)["encryptionConfiguration"]["kmsKey"]
    second = create(ecr, "own/second", "alias/aws/ecr")["encryptionConfiguration"]["kmsKey"]

    assert first == second
    described = kms.describe_key(KeyId="alias/aws/ecr")["KeyMetadata"]
    assert (described["Arn"], described["KeyManager"]) == (first, "AWS")
    assert kms.get_key_rotation_status(KeyId=first)["KeyRotationEnabled"] is True
    for call in (kms.disable_key, kms.schedule_key_deletion, kms.enable_key_rotation):
        assert refused(call, KeyId=first)[0] == "AccessDeniedException"
    assert refused(kms.encrypt, KeyId=first, Plaintext=b"x")[0] == "AccessDeniedException"
    # Whoever deletes needs kms:RetireGrant, here too; without it the repository is gone all the same.
    code, inner, message = kms_error(user.client("ecr").delete_repository, repositoryName="own/first")
    assert (code, inner) == ("KmsException", "AccessDeniedException")
    assert message == (
        "The repository [own/first] has been deleted successfully but the grants created by the kmsKey "
        f"[{first}] failed to be retired"
    )
    assert (
        refused(ecr.describe_repositories, repositoryNames=["own/first"])[0] == "RepositoryNotFoundException"
    )
    ecr.delete_repository(repositoryName="own/second")


def test_whoever_makes_a_repository_needs_permissions_on_the_key_through_ecr_alone(keys: KeyHouse) -> None:
    key = keys.key()
    user = keys.user(allow("ecr:*"))
    ecr = user.client("ecr")
    code, inner, message = kms_error(create, ecr=ecr, name="by/user", key=key)
    assert (code, inner) == ("KmsException", "AccessDeniedException")
    assert "kms:DescribeKey" in message

    through = {"StringEquals": {"kms:ViaService": ECR}}
    for_service = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    user.may(
        allow("ecr:*"),
        allow("kms:DescribeKey", Condition=through),
        allow("kms:CreateGrant", Condition=through | for_service),
    )
    create(ecr, "by/user", key)

    assert refused(user.client().describe_key, KeyId=key)[0] == "AccessDeniedException"
    user.may(allow("ecr:*"), allow("kms:RetireGrant", Condition=through))
    ecr.delete_repository(repositoryName="by/user")
    assert keys.root().list_grants(KeyId=key)["Grants"] == []


def test_a_key_that_cannot_be_used_makes_no_repository(keys: KeyHouse) -> None:
    kms, ecr, key = keys.root(), keys.root("ecr"), keys.key()
    elsewhere = key.replace("us-east-1", "eu-west-1")
    missing = "0b1c2d3e-0000-4000-8000-123456789abc"
    assert kms_error(create, ecr=ecr, name="no", key=elsewhere)[:2] == ("KmsException", "NotFoundException")
    assert kms_error(create, ecr=ecr, name="no", key=missing)[:2] == ("KmsException", "NotFoundException")
    assert kms_error(create, ecr=ecr, name="no", key="what")[:2] == ("KmsException", "NotFoundException")
    kms.disable_key(KeyId=key)
    code, inner, message = kms_error(create, ecr=ecr, name="no", key=key)
    assert (code, inner, message) == ("KmsException", "DisabledException", f"KMS error: {key} is disabled.")
    kms.schedule_key_deletion(KeyId=key)
    assert kms_error(create, ecr=ecr, name="no", key=key)[1] == "KMSInvalidStateException"
    assert refused(ecr.describe_repositories, repositoryNames=["no"])[0] == "RepositoryNotFoundException"


def test_the_key_may_be_another_accounts_where_both_allow_it(keys: KeyHouse) -> None:
    everything = allow("kms:*", Principal=account(OTHER))
    closed, open_ = (
        keys.key(account_id=OTHER),
        keys.key(everything, allow(*CREATOR, Principal=account()), account_id=OTHER),
    )
    ecr = keys.root("ecr")
    assert kms_error(create, ecr=ecr, name="far", key=closed)[1] == "AccessDeniedException"

    assert create(ecr, "far", open_)["encryptionConfiguration"]["kmsKey"] == open_

    assert len(keys.root(account_id=OTHER).list_grants(KeyId=open_)["Grants"]) == 2
    ecr.delete_repository(repositoryName="far")
    assert keys.root(account_id=OTHER).list_grants(KeyId=open_)["Grants"] == []


def test_ecr_uses_the_key_by_its_grants_for_as_long_as_they_and_the_key_are_there(
    open_house: KeyHouse,
) -> None:
    driver, keys = open_house.inside, open_house
    kms, ecr, key = keys.root(), keys.root("ecr"), keys.key()
    create(ecr, "used", key)
    ecrs = OwnUse(driver, "used")
    blob = ecrs.sealed()
    plaintext = ecrs.opened(blob)
    assert len(plaintext) == 32

    kms.disable_key(KeyId=key)
    assert ecrs.failure(blob) == "DisabledException"
    kms.enable_key(KeyId=key)
    assert ecrs.opened(blob) == plaintext
    kms.schedule_key_deletion(KeyId=key)
    assert ecrs.failure(blob) == "KMSInvalidStateException"
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    kms.rotate_key_on_demand(KeyId=key)
    assert ecrs.opened(blob) == plaintext

    mine = allow("kms:*", Principal=account())
    keys.put_policy(key, mine, deny("kms:Decrypt", Principal="*"))
    assert ecrs.failure(blob) == "AccessDeniedException"
    keys.put_policy(key, mine)
    assert ecrs.opened(blob) == plaintext

    first, second = kms.list_grants(KeyId=key)["Grants"]
    kms.revoke_grant(KeyId=key, GrantId=first["GrantId"])
    assert ecrs.opened(blob) == plaintext
    kms.revoke_grant(KeyId=key, GrantId=second["GrantId"])
    assert ecrs.failure(blob) == "AccessDeniedException"


def test_what_is_encrypted_for_one_repository_opens_for_no_other(open_house: KeyHouse) -> None:
    driver, keys = open_house.inside, open_house
    ecr, key = keys.root("ecr"), keys.key()
    for name in ("one", "other"):
        create(ecr, name, key)
    one, other = OwnUse(driver, "one"), OwnUse(driver, "other")

    assert other.failure(one.sealed()) == "InvalidCiphertextException"
    assert one.opened(one.sealed()) != other.opened(other.sealed())


def test_what_a_former_repository_of_the_name_has_left_opens_nothing(keys: KeyHouse) -> None:
    """Whoever may not retire leaves grants behind at every deletion; the next repository is open by its own alone."""
    kms, key = keys.root(), keys.key()
    user = keys.user(allow("ecr:*", "kms:DescribeKey", "kms:CreateGrant"))
    ecr, seen = user.client("ecr"), set[str]()
    for _ in range(3):
        create(ecr, "again", key)
        left = {each["GrantId"] for each in kms.list_grants(KeyId=key)["Grants"]}
        assert len(left) == 2
        assert not left & seen
        seen |= left
        assert kms_error(ecr.delete_repository, repositoryName="again")[1] == "AccessDeniedException"
    create(ecr, "other", key)

    create(ecr, "again", key)

    for grant in kms.list_grants(KeyId=key)["Grants"]:
        if grant["Name"] == arn_of("again"):
            kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    assert kms_error(ecr.initiate_layer_upload, repositoryName="again")[1] == "AccessDeniedException"
    ecr.initiate_layer_upload(repositoryName="other")


def test_a_deletion_ends_all_grants_of_the_name_however_many_there_are(open_house: KeyHouse) -> None:
    kms, ecr, key, driver = open_house.root(), open_house.root("ecr"), open_house.key(), open_house.inside
    key_id = key.rpartition("/")[2]
    create(ecr, "many", key)
    create(ecr, "few", key)

    def gather(connection: Connection) -> None:
        found = kms_grants.list_named(connection, key_id, ECR, arn_of("many"), limit=1)
        for number in range(1_000):
            kms_grants.add(connection, replace(found[0], grant_id=f"{number:064x}"))

    driver.call(driver.server.parts.scrubbing._database.write, gather)

    ecr.delete_repository(repositoryName="many")

    assert {each["Name"] for each in kms.list_grants(KeyId=key)["Grants"]} == {arn_of("few")}


def test_a_repository_whose_key_is_gone_is_deleted_without_a_word_about_its_grants(
    open_house: KeyHouse,
) -> None:
    kms, key, driver = open_house.root(), open_house.key(), open_house.inside
    user = open_house.user(allow("ecr:*"))
    for name in ("keyless/one", "keyless/two"):
        create(open_house.root("ecr"), name, key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    parts, now = driver.server.parts, driver.server.clock.now()

    def let_its_time_come(connection: Connection) -> None:
        key_id = key.rpartition("/")[2]
        kms_keys.set_state(connection, key_id, KeyState.PENDING_DELETION, deletion_at=now)

    driver.call(parts.scrubbing._database.write, let_its_time_come)
    assert driver.call(parts.kms.deletions.delete_due) == 1

    open_house.root("ecr").delete_repository(repositoryName="keyless/one")
    user.client("ecr").delete_repository(repositoryName="keyless/two")


def test_ecrs_grants_count_among_those_that_a_key_may_have(tmp_path: Path) -> None:
    with in_process_driver(tmp_path, limits={"kms_grants_per_key": 3}) as driver:
        kms, ecr = driver.client("kms"), driver.client("ecr")
        key = kms.create_key()["KeyMetadata"]["Arn"]
        create(ecr, "first", key)

        told = kms_error(create, ecr=ecr, name="second", key=key)

        assert told[:2] == ("KmsException", "LimitExceededException")
        assert refused(ecr.describe_repositories, repositoryNames=["second"])[0] == (
            "RepositoryNotFoundException"
        )
