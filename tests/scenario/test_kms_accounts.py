"""Keys of other accounts: used, granted and looked at where both accounts allow it, managed by their owner alone.

KMS developer guide, "Allowing users in other accounts to use a KMS key".
"""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.scenario.drivers import ACCOUNT
from tests.scenario.kms_keys import CONTEXT, OTHER, KeyHouse, account, allow, refused

DENIED = "AccessDeniedException"
TAGS = [{"TagKey": "a", "TagValue": "b"}]
MANAGING: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("cancel_key_deletion", {}),
    ("disable_key", {}),
    ("disable_key_rotation", {}),
    ("enable_key", {}),
    ("enable_key_rotation", {}),
    ("get_key_policy", {}),
    ("list_key_policies", {}),
    ("list_key_rotations", {}),
    ("list_resource_tags", {}),
    ("put_key_policy", {"Policy": "{}", "BypassPolicyLockoutSafetyCheck": True}),
    ("rotate_key_on_demand", {}),
    ("schedule_key_deletion", {}),
    ("tag_resource", {"Tags": TAGS}),
    ("untag_resource", {"TagKeys": ["a"]}),
    ("update_key_description", {"Description": "theirs"}),
)
"""What only the account of a key may do with it, whatever its policy says."""


@pytest.fixture
def shared(keys: KeyHouse) -> str:
    """A key whose policy lets the other account do everything."""
    return keys.key(allow("kms:*", Principal=account()), allow("kms:*", Principal=account(OTHER)))


@pytest.mark.parametrize(("name", "given"), MANAGING, ids=[name for name, _ in MANAGING])
def test_another_account_manages_no_key_whatever_policies_say(
    keys: KeyHouse, shared: str, name: str, given: Mapping[str, Any]
) -> None:
    before = keys.root().describe_key(KeyId=shared)["KeyMetadata"]
    action = "kms:" + "".join(word.capitalize() for word in name.split("_"))

    for client in (keys.root(account_id=OTHER), keys.user(allow("kms:*"), account_id=OTHER).client()):
        code, message = refused(getattr(client, name), KeyId=shared, **given)
        assert code == DENIED
        assert message.endswith(
            f"to perform: {action} on resource: {shared} because no resource-based policy allows the {action} action"
        )

    assert keys.root().describe_key(KeyId=shared)["KeyMetadata"] == before
    assert keys.root().list_resource_tags(KeyId=shared)["Tags"] == []


def test_what_the_operator_is_told_of_another_account_is_what_the_server_does(open_house: KeyHouse) -> None:
    shared = open_house.key(allow("kms:*", Principal=account()), allow("kms:*", Principal=account(OTHER)))
    driver, root = open_house.inside, account(OTHER)["AWS"]

    def told(action: str) -> object:
        return driver.call(driver.server.parts.explanations.explain, root, action, shared, {})["decision"]

    assert (told("kms:DescribeKey"), told("kms:ReEncryptTo")) == ("ALLOW", "ALLOW")
    assert "ALLOW" not in {told("kms:DisableKey"), told("kms:disablekey"), told("kms:PutKeyPolicy")}


def test_an_alias_names_no_key_of_another_account(keys: KeyHouse, shared: str) -> None:
    theirs, own = keys.root(account_id=OTHER), keys.key(account_id=OTHER)
    theirs.create_alias(AliasName="alias/theirs", TargetKeyId=own)

    assert refused(theirs.create_alias, AliasName="alias/shared", TargetKeyId=shared)[0] == DENIED
    assert refused(theirs.update_alias, AliasName="alias/theirs", TargetKeyId=shared)[0] == DENIED

    assert theirs.describe_key(KeyId="alias/theirs")["KeyMetadata"]["Arn"] == own
    theirs.delete_alias(AliasName="alias/theirs")


def test_a_user_of_another_account_encrypts_and_decrypts_where_both_accounts_allow_it(
    keys: KeyHouse, shared: str
) -> None:
    user, closed = keys.user(account_id=OTHER), keys.key(account_id=OTHER)
    kms, sealed = user.client(), {"EncryptionContext": CONTEXT}
    assert refused(kms.encrypt, KeyId=shared, Plaintext=b"x", **sealed)[0] == DENIED
    user.may(allow("kms:*"))

    blob = kms.encrypt(KeyId=shared, Plaintext=b"x", **sealed)["CiphertextBlob"]

    opened = kms.decrypt(CiphertextBlob=blob, **sealed)
    assert (opened["Plaintext"], opened["KeyId"]) == (b"x", shared)
    assert keys.root().decrypt(CiphertextBlob=blob, **sealed)["Plaintext"] == b"x"
    made = kms.generate_data_key(KeyId=shared, KeySpec="AES_256", **sealed)
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"], **sealed)["Plaintext"] == made["Plaintext"]
    moved = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, DestinationKeyId=closed)
    assert (moved["SourceKeyId"], moved["KeyId"]) == (shared, closed)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"x"
    assert kms.describe_key(KeyId=shared)["KeyMetadata"]["AWSAccountId"] == ACCOUNT
    assert kms.get_key_rotation_status(KeyId=shared)["KeyRotationEnabled"] is False
    assert refused(keys.root().decrypt, CiphertextBlob=moved["CiphertextBlob"])[0] == DENIED


def test_a_key_whose_policy_names_no_other_account_is_used_by_none(keys: KeyHouse) -> None:
    key, kms = keys.key(), keys.root(account_id=OTHER)
    blob = keys.root().encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]

    assert refused(kms.encrypt, KeyId=key, Plaintext=b"x")[0] == DENIED
    assert refused(kms.decrypt, CiphertextBlob=blob)[0] == DENIED
    assert refused(kms.describe_key, KeyId=key)[0] == DENIED


def test_another_account_makes_lists_and_ends_grants(keys: KeyHouse, shared: str) -> None:
    theirs, grantee = keys.root(account_id=OTHER), keys.user(allow("kms:Encrypt"), account_id=OTHER)

    made = theirs.create_grant(
        KeyId=shared, GranteePrincipal=grantee.arn, RetiringPrincipal=grantee.arn, Operations=["Encrypt"]
    )

    (listed,) = theirs.list_grants(KeyId=shared)["Grants"]
    assert (listed["GrantId"], listed["IssuingAccount"]) == (made["GrantId"], f"arn:aws:iam::{OTHER}:root")
    assert keys.root().list_grants(KeyId=shared)["Grants"] == [listed]
    theirs.revoke_grant(KeyId=shared, GrantId=made["GrantId"])
    again = theirs.create_grant(KeyId=shared, GranteePrincipal=grantee.arn, Operations=["Encrypt"])
    theirs.retire_grant(KeyId=shared, GrantId=again["GrantId"])
    assert keys.root().list_grants(KeyId=shared)["Grants"] == []


def test_a_grant_lets_a_user_of_another_account_in_whom_his_own_account_lets_out(keys: KeyHouse) -> None:
    key, grantee = keys.key(), keys.user(account_id=OTHER)
    made = keys.root().create_grant(
        KeyId=key, GranteePrincipal=grantee.arn, RetiringPrincipal=grantee.arn, Operations=["Encrypt"]
    )
    encrypt = {"KeyId": key, "Plaintext": b"x"}
    assert refused(grantee.client().encrypt, **encrypt)[0] == DENIED
    grantee.may(allow("kms:Encrypt", "kms:RetireGrant", "kms:Decrypt", "kms:DisableKey"))

    blob = grantee.client().encrypt(**encrypt)["CiphertextBlob"]

    assert keys.root().decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    assert refused(grantee.client().decrypt, CiphertextBlob=blob)[0] == DENIED
    assert refused(grantee.client().disable_key, KeyId=key)[0] == DENIED
    grantee.client().retire_grant(GrantToken=made["GrantToken"])
    assert refused(grantee.client().encrypt, **encrypt)[0] == DENIED
