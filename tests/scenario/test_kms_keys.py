"""Keys are made, named, used, rotated and let go, as boto3 does it."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import bindparam, update

from openecr.domain.kms import KeyState
from openecr.domain.kms_errors import CIPHERTEXT_DENIED
from openecr.store import kms_grants, kms_keys
from openecr.store.connections import Connection
from openecr.store.kms_tables import KMS_MATERIALS
from openecr.store.statements import Statement
from tests.scenario.drivers import ACCOUNT, InProcessDriver
from tests.scenario.kms_keys import CONTEXT, KeyHouse, refused

DAY = 86_400

AGE_MATERIALS = Statement(
    update(KMS_MATERIALS)
    .where(KMS_MATERIALS.c.key_id == bindparam("the_key"))
    .values(created_at=bindparam("then"))
)


def test_a_key_encrypts_and_decrypts_under_its_context(keys: KeyHouse) -> None:
    kms = keys.root()
    made = kms.create_key(Description="ours")["KeyMetadata"]
    assert (made["KeyState"], made["Enabled"], made["KeyManager"]) == ("Enabled", True, "CUSTOMER")
    assert (made["AWSAccountId"], made["Description"], made["Origin"]) == (ACCOUNT, "ours", "AWS_KMS")
    assert made["Arn"] == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{made['KeyId']}"
    assert kms.describe_key(KeyId=made["Arn"])["KeyMetadata"] == made

    closed = kms.encrypt(KeyId=made["KeyId"], Plaintext=b"secret", EncryptionContext=CONTEXT | {"b": "c"})
    opened = kms.decrypt(CiphertextBlob=closed["CiphertextBlob"], EncryptionContext={"b": "c"} | CONTEXT)

    assert (opened["Plaintext"], opened["KeyId"]) == (b"secret", made["Arn"])
    assert opened["KeyMaterialId"] == made["CurrentKeyMaterialId"]
    invalid = ("InvalidCiphertextException", "")
    blob = closed["CiphertextBlob"]
    for given in (
        {"CiphertextBlob": blob, "EncryptionContext": CONTEXT},
        {"CiphertextBlob": blob[:-1] + bytes([blob[-1] ^ 1]), "EncryptionContext": CONTEXT | {"b": "c"}},
        {"CiphertextBlob": b"what"},
    ):
        assert refused(kms.decrypt, **given) == invalid


def test_data_keys_come_in_clear_and_encrypted(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    other = kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=10)

    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["Plaintext"]
    assert len(made["Plaintext"]) == 32
    assert "Plaintext" not in other
    assert len(kms.decrypt(CiphertextBlob=other["CiphertextBlob"])["Plaintext"]) == 10
    assert refused(kms.generate_data_key, KeyId=key)[0] == "ValidationException"
    both = {"KeySpec": "AES_128", "NumberOfBytes": 1}
    assert refused(kms.generate_data_key, KeyId=key, **both)[0] == "ValidationException"
    assert len(kms.generate_random(NumberOfBytes=12)["Plaintext"]) == 12


def test_a_ciphertext_is_moved_to_another_key_without_being_seen(keys: KeyHouse) -> None:
    kms, one, other = keys.root(), keys.key(), keys.key()
    closed = kms.encrypt(KeyId=one, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]

    moved = kms.re_encrypt(
        CiphertextBlob=closed,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=other,
        DestinationEncryptionContext={"now": "here"},
    )

    assert (moved["SourceKeyId"], moved["KeyId"]) == (one, other)
    assert (
        kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"now": "here"})["Plaintext"]
        == b"x"
    )
    wrong = {"CiphertextBlob": closed, "EncryptionContext": CONTEXT, "KeyId": other}
    assert refused(kms.decrypt, **wrong) == (
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )


def test_aliases_name_keys_and_are_pointed_elsewhere(keys: KeyHouse) -> None:
    kms, one, other = keys.root(), keys.key(), keys.key()
    kms.create_alias(AliasName="alias/app", TargetKeyId=one)
    blob = kms.encrypt(KeyId="alias/app", Plaintext=b"x")["CiphertextBlob"]
    arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/app"
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["Arn"] == one
    assert refused(kms.create_alias, AliasName="alias/app", TargetKeyId=other) == (
        "AlreadyExistsException",
        f"An alias with the name {arn} already exists",
    )

    kms.update_alias(AliasName="alias/app", TargetKeyId=other)

    assert kms.decrypt(CiphertextBlob=blob)["KeyId"] == one
    assert refused(kms.decrypt, CiphertextBlob=blob, KeyId="alias/app")[0] == "IncorrectKeyException"
    (listed,) = kms.list_aliases(KeyId=other)["Aliases"]
    assert (listed["AliasName"], listed["AliasArn"]) == ("alias/app", arn)
    assert listed["TargetKeyId"] == other.rpartition("/")[2]
    kms.delete_alias(AliasName="alias/app")
    assert refused(kms.encrypt, KeyId="alias/app", Plaintext=b"x") == (
        "NotFoundException",
        f"Alias {arn} is not found.",
    )
    assert refused(kms.delete_alias, AliasName="alias/app")[0] == "NotFoundException"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("app", "ValidationException"),
        ("alias/aws/app", "InvalidAliasNameException"),
        ("alias/a:b", "InvalidAliasNameException"),
    ],
)
def test_some_names_are_no_aliases(keys: KeyHouse, name: str, code: str) -> None:
    assert refused(keys.root().create_alias, AliasName=name, TargetKeyId=keys.key())[0] == code


def test_a_disabled_key_is_used_by_nobody_until_it_is_enabled(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    disabled = ("DisabledException", f"{key} is disabled.")
    grantee = f"arn:aws:iam::{ACCOUNT}:root"

    assert refused(kms.decrypt, CiphertextBlob=blob) == disabled
    assert refused(kms.encrypt, KeyId=key, Plaintext=b"x") == disabled
    assert refused(kms.generate_data_key, KeyId=key, KeySpec="AES_256") == disabled
    grant = {"KeyId": key, "GranteePrincipal": grantee, "Operations": ["Decrypt"]}
    assert refused(kms.create_grant, **grant) == disabled
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_a_key_that_waits_for_its_end_can_be_kept_and_is_disabled_then(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    told = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (told["KeyId"], told["KeyState"], told["PendingWindowInDays"]) == (key, "PendingDeletion", 7)
    pending = ("KMSInvalidStateException", f"{key} is pending deletion.")

    assert refused(kms.decrypt, CiphertextBlob=blob) == pending
    assert refused(kms.enable_key, KeyId=key) == pending
    assert refused(kms.schedule_key_deletion, KeyId=key) == pending
    assert refused(kms.create_alias, AliasName="alias/late", TargetKeyId=key) == pending
    assert refused(kms.tag_resource, KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]) == pending
    assert kms.get_key_policy(KeyId=key)["PolicyName"] == "default"
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == key
    assert refused(kms.cancel_key_deletion, KeyId=key) == (
        "KMSInvalidStateException",
        f"{key} is not pending deletion.",
    )
    assert refused(kms.decrypt, CiphertextBlob=blob)[0] == "DisabledException"
    assert refused(kms.schedule_key_deletion, KeyId=key, PendingWindowInDays=6)[0] == "ValidationException"


def test_a_key_whose_time_has_come_is_gone(open_house: KeyHouse) -> None:
    kms, key, driver = open_house.root(), open_house.key(), open_house.inside
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.create_alias(AliasName="alias/gone", TargetKeyId=key)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    grantee = f"arn:aws:iam::{ACCOUNT}:root"
    kms.create_grant(KeyId=key, GranteePrincipal=grantee, Operations=["Decrypt"])
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    deletions = driver.server.parts.kms.deletions
    driver.server.clock.move(seconds=7 * DAY - 60)
    assert driver.call(deletions.delete_due) == 0
    driver.server.clock.move(seconds=120)
    assert driver.call(deletions.delete_due) == 1
    driver.server.clock.move(seconds=-7 * DAY - 60)

    assert refused(kms.describe_key, KeyId=key) == ("NotFoundException", f"Key '{key}' does not exist")
    assert refused(kms.decrypt, CiphertextBlob=blob) == ("AccessDeniedException", CIPHERTEXT_DENIED)
    assert refused(kms.describe_key, KeyId="alias/gone")[0] == "NotFoundException"


def test_a_rotated_key_still_decrypts_what_its_older_materials_encrypted(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    old = kms.encrypt(KeyId=key, Plaintext=b"old")["CiphertextBlob"]
    first = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]

    assert kms.rotate_key_on_demand(KeyId=key)["KeyId"] == key

    new = kms.encrypt(KeyId=key, Plaintext=b"new")["CiphertextBlob"]
    second = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    opened = [kms.decrypt(CiphertextBlob=blob) for blob in (old, new)]
    assert [each["Plaintext"] for each in opened] == [b"old", b"new"]
    assert [each["KeyMaterialId"] for each in opened] == [first, second]
    (rotation,) = kms.list_key_rotations(KeyId=key)["Rotations"]
    assert (rotation["RotationType"], rotation["KeyMaterialId"]) == ("ON_DEMAND", second)
    every = kms.list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert [each["KeyMaterialState"] for each in every] == ["NON_CURRENT", "CURRENT"]
    for _ in range(24):
        kms.rotate_key_on_demand(KeyId=key)
    assert refused(kms.rotate_key_on_demand, KeyId=key)[0] == "LimitExceededException"
    seen: list[Any] = []
    for page in kms.get_paginator("list_key_rotations").paginate(
        KeyId=key, PaginationConfig={"PageSize": 10}
    ):
        seen += page["Rotations"]
    assert len({each["KeyMaterialId"] for each in seen}) == 25


def test_a_key_is_rotated_by_itself_where_it_shall_be(keys: KeyHouse) -> None:
    kms, key, driver = keys.root(), keys.key(), keys.driver
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 90)
    created = kms.describe_key(KeyId=key)["KeyMetadata"]["CreationDate"]
    assert (status["NextRotationDate"] - created).days == 90
    if isinstance(driver, InProcessDriver):
        rotations = driver.server.parts.kms.rotations
        driver.server.clock.move(seconds=91 * DAY)
        assert driver.call(rotations.rotate_due) == 1
        assert driver.call(rotations.rotate_due) == 0
        driver.server.clock.move(seconds=-91 * DAY)
        (rotation,) = kms.list_key_rotations(KeyId=key)["Rotations"]
        assert rotation["RotationType"] == "AUTOMATIC"
    kms.disable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False


def test_a_key_that_waits_for_its_end_is_not_rotated_and_goes_on_with_it_when_it_is_kept(
    keys: KeyHouse,
) -> None:
    """KMS API, GetKeyRotationStatus: false while a deletion is pending, and as before once that is cancelled."""
    kms, key = keys.root(), keys.key()
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    before = kms.get_key_rotation_status(KeyId=key)
    kms.schedule_key_deletion(KeyId=key)

    status = kms.get_key_rotation_status(KeyId=key)

    assert status["KeyRotationEnabled"] is False
    assert "NextRotationDate" not in status
    kms.cancel_key_deletion(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    assert kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == before["RotationPeriodInDays"]


def test_an_alias_may_name_again_the_key_that_it_names_however_many_that_has(keys: KeyHouse) -> None:
    kms, key, other = keys.root(), keys.key(), keys.key()
    for number in range(50):
        kms.create_alias(AliasName=f"alias/many/{number}", TargetKeyId=key)
    kms.create_alias(AliasName="alias/many/other", TargetKeyId=other)

    kms.update_alias(AliasName="alias/many/0", TargetKeyId=key)

    limit = "LimitExceededException"
    assert refused(kms.update_alias, AliasName="alias/many/other", TargetKeyId=key)[0] == limit
    assert refused(kms.create_alias, AliasName="alias/many/50", TargetKeyId=key)[0] == limit
    assert len(kms.list_aliases(KeyId=key)["Aliases"]) == 50


def test_tags_are_put_listed_and_removed(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key(Tags=[{"TagKey": "a", "TagValue": "1"}])
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "b", "TagValue": "2"}, {"TagKey": "a", "TagValue": "3"}])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [
        {"TagKey": "a", "TagValue": "3"},
        {"TagKey": "b", "TagValue": "2"},
    ]
    kms.untag_resource(KeyId=key, TagKeys=["a", "none"])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "b", "TagValue": "2"}]
    twice = [{"TagKey": "a", "TagValue": "1"}] * 2
    assert refused(kms.tag_resource, KeyId=key, Tags=twice) == ("TagException", "Duplicate tag keys")
    reserved = [{"TagKey": "aws:x", "TagValue": "1"}]
    assert refused(kms.tag_resource, KeyId=key, Tags=reserved)[1] == "Tags beginning with aws: are reserved"
    many = [{"TagKey": f"k{number}", "TagValue": ""} for number in range(50)]
    assert refused(kms.tag_resource, KeyId=key, Tags=many) == ("TagException", "Too many tags")


def test_keys_and_aliases_are_listed_in_pages(keys: KeyHouse) -> None:
    kms = keys.root()
    made = {keys.key() for _ in range(3)}
    for number, key in enumerate(sorted(made)):
        kms.create_alias(AliasName=f"alias/page/{number}", TargetKeyId=key)

    listed: list[str] = []
    for page in kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1}):
        listed += [each["KeyArn"] for each in page["Keys"]]
    aliases: list[str] = []
    for page in kms.get_paginator("list_aliases").paginate(PaginationConfig={"PageSize": 2}):
        aliases += [each["AliasName"] for each in page["Aliases"]]

    assert made <= set(listed)
    assert len(listed) == len(set(listed))
    assert {f"alias/page/{number}" for number in range(3)} <= set(aliases)
    assert refused(kms.list_keys, Marker="?")[0] == "InvalidMarkerException"


@pytest.mark.parametrize(
    "number", ["9" * 5, "9" * 19, "9" * 30, "9" * 300, "-1", "1_0", "\u0661", " 1", "x", ""]
)
def test_a_number_in_a_marker_that_no_list_gave_is_invalid(keys: KeyHouse, number: str) -> None:
    marker = base64.urlsafe_b64encode(number.encode()).decode().rstrip("=")
    if number == "9" * 5:  # a number that a list might give, of a rotation that never was
        assert keys.root().list_key_rotations(KeyId=keys.key(), Marker=marker)["Rotations"] == []
    elif marker:
        told = refused(keys.root().list_key_rotations, KeyId=keys.key(), Marker=marker)
        assert told[0] == "InvalidMarkerException"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"KeySpec": "RSA_2048"}, "UnsupportedOperationException"),
        ({"KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException"),
        ({"MultiRegion": True}, "UnsupportedOperationException"),
        ({"Origin": "EXTERNAL"}, "UnsupportedOperationException"),
        ({"Policy": "{}"}, "MalformedPolicyDocumentException"),
    ],
)
def test_other_kinds_of_keys_are_refused(keys: KeyHouse, given: dict[str, Any], code: str) -> None:
    assert refused(keys.root().create_key, **given)[0] == code


@pytest.mark.parametrize(
    ("key_id", "code", "message"),
    [
        ("what", "NotFoundException", "Invalid keyId 'what'"),
        (
            "0b1c2d3e-0000-4000-8000-123456789abc",
            "NotFoundException",
            f"Key 'arn:aws:kms:us-east-1:{ACCOUNT}:key/0b1c2d3e-0000-4000-8000-123456789abc' does not exist",
        ),
        ("arn:aws:kms:eu-west-1:000000000000:key/x", "NotFoundException", "Invalid arn eu-west-1"),
        ("arn:aws:s3:::what-is-this", "InvalidArnException", "Invalid arn arn:aws:s3:::what-is-this"),
    ],
)
def test_a_key_that_is_not_there_is_told_so(keys: KeyHouse, key_id: str, code: str, message: str) -> None:
    assert refused(keys.root().describe_key, KeyId=key_id) == (code, message)


def test_a_dry_run_says_that_it_would_have_succeeded_and_does_nothing(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    would = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    grant = {"KeyId": key, "GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:root", "Operations": ["Decrypt"]}

    assert refused(kms.encrypt, KeyId=key, Plaintext=b"x", DryRun=True) == would
    assert refused(kms.create_grant, **grant, DryRun=True) == would
    assert kms.list_grants(KeyId=key)["Grants"] == []


def test_a_key_is_of_one_region_alone(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    elsewhere = keys.driver.client("kms", region="eu-west-1")
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]

    assert refused(elsewhere.describe_key, KeyId=key.rpartition("/")[2])[0] == "NotFoundException"
    assert refused(elsewhere.decrypt, CiphertextBlob=blob)[0] == "AccessDeniedException"


def test_a_key_whose_deletion_has_begun_cannot_be_kept(open_house: KeyHouse) -> None:
    """Its grants go first, a bounded number at a time: a key without some, or without material, would be there."""
    kms, key, driver = open_house.root(), open_house.key(), open_house.inside
    key_id, grantee = key.rpartition("/")[2], open_house.user()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    made = kms.create_grant(KeyId=key, GranteePrincipal=grantee.arn, Operations=["Decrypt"])
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    parts, now = driver.server.parts, driver.server.clock.now()

    def add_grants_and_let_its_time_come(connection: Connection) -> None:
        found = kms_grants.find(connection, key_id, made["GrantId"])
        assert found is not None
        for number in range(500):
            kms_grants.add(connection, replace(found, grant_id=f"{number:064x}"))
        kms_keys.set_state(connection, key_id, KeyState.PENDING_DELETION, deletion_at=now)

    driver.call(parts.scrubbing._database.write, add_grants_and_let_its_time_come)

    assert driver.call(parts.kms.deletions._delete_some, key_id, now) is None, "there is more"
    assert refused(kms.cancel_key_deletion, KeyId=key) == (
        "KMSInvalidStateException",
        f"{key} is being deleted.",
    )
    assert driver.call(parts.kms.deletions.delete_due) == 1
    assert refused(kms.describe_key, KeyId=key)[0] == "NotFoundException"
    assert refused(kms.decrypt, CiphertextBlob=blob) == ("AccessDeniedException", CIPHERTEXT_DENIED)


def test_an_old_key_is_rotated_one_period_after_that_was_switched_on(open_house: KeyHouse) -> None:
    """KMS API, EnableKeyRotation: the period counts from the day on which rotation was enabled."""
    kms, key, driver = open_house.root(), open_house.key(), open_house.inside
    key_id, parts = key.rpartition("/")[2], driver.server.parts
    years_ago = driver.server.clock.now() - 1_000 * DAY * 1_000_000

    def age(connection: Connection) -> int:
        return connection.execute(AGE_MATERIALS, the_key=key_id, then=years_ago)

    assert driver.call(parts.scrubbing._database.write, age) == 1

    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)

    assert driver.call(parts.kms.rotations.rotate_due) == 0
    next_at = kms.get_key_rotation_status(KeyId=key)["NextRotationDate"].timestamp()
    assert next_at == pytest.approx(driver.server.clock.now() / 1_000_000 + 90 * DAY, abs=1)
    assert kms.list_key_rotations(KeyId=key)["Rotations"] == []
