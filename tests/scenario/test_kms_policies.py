"""Key policies: the root of authority over a key."""

from tests.scenario.kms_keys import KeyHouse, account, allow, document, refused

LOCKED_OUT = (
    "MalformedPolicyDocumentException",
    "The new key policy will not allow you to update the key policy in the future.",
)


def test_a_key_has_one_policy_which_is_listed_by_name(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key()
    user = keys.user()

    listed = kms.list_key_policies(KeyId=key)

    assert (listed["PolicyNames"], listed["Truncated"]) == (["default"], False)
    assert refused(user.client().list_key_policies, KeyId=key)[0] == "AccessDeniedException"
    user.may(allow("kms:ListKeyPolicies"))
    assert user.client().list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    missing = key[:-12] + "0" * 12
    assert refused(kms.list_key_policies, KeyId=missing)[0] == "NotFoundException"


def test_a_description_is_replaced_by_who_may(keys: KeyHouse) -> None:
    kms, key = keys.root(), keys.key(Description="first")
    user = keys.user(allow("kms:DescribeKey"))
    given = {"KeyId": key, "Description": "second"}
    assert refused(user.client().update_key_description, **given)[0] == "AccessDeniedException"
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "first"
    user.may(allow("kms:UpdateKeyDescription", "kms:DescribeKey"))

    user.client().update_key_description(**given)

    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "second"
    kms.schedule_key_deletion(KeyId=key)
    assert refused(kms.update_key_description, **given)[0] == "KMSInvalidStateException"


def test_a_policy_that_locks_its_author_out_is_refused_unless_he_insists(keys: KeyHouse) -> None:
    key, user = keys.key(), keys.user()
    user.may(allow("kms:PutKeyPolicy", "kms:CreateKey", "kms:GetKeyPolicy"))
    kms = user.client()
    before = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    others = document(allow("kms:*", Principal={"AWS": keys.user().arn}))
    reading = document(allow("kms:GetKeyPolicy", Principal={"AWS": user.arn}))

    for policy in (others, reading):
        assert refused(kms.put_key_policy, KeyId=key, Policy=policy) == LOCKED_OUT
        assert refused(kms.create_key, Policy=policy) == LOCKED_OUT
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == before
    for policy in (
        document(allow("kms:*", Principal={"AWS": user.arn})),
        document(allow("kms:*", Principal=account())),
    ):
        kms.put_key_policy(KeyId=key, Policy=policy)

    kms.put_key_policy(KeyId=key, Policy=others, BypassPolicyLockoutSafetyCheck=True)

    assert refused(kms.get_key_policy, KeyId=key, PolicyName="default")[0] == "AccessDeniedException"
    assert refused(kms.put_key_policy, KeyId=key, Policy=before)[0] == "AccessDeniedException"


def test_a_policy_that_names_nobody_who_is_there_is_refused(keys: KeyHouse) -> None:
    key, user = keys.key(), keys.user()
    nobody = {"AWS": f"{user.arn}-who-never-was"}

    told = refused(
        keys.root().put_key_policy,
        KeyId=key,
        Policy=document(allow("kms:*", Principal=account()), allow("kms:Encrypt", Principal=nobody)),
    )

    assert told == (
        "MalformedPolicyDocumentException",
        "Policy contains a statement with one or more invalid principals.",
    )
