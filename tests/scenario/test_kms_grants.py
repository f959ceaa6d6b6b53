"""Grants on keys: what principals may do by them, who ends them, and how they are listed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openecr.store import kms_grants
from openecr.store.connections import Connection
from openecr.store.database import Database, Work
from openecr.store.statements import Statement
from tests.contract.fronts import Front
from tests.scenario.drivers import ACCOUNT, in_process_driver
from tests.scenario.kms_keys import CONTEXT, KeyHouse, deny, refused
from tests.scenario.storages import Flags

DENIED = "AccessDeniedException"


def grant(keys: KeyHouse, key: str, grantee: str, *operations: str, **more: Any) -> dict[str, Any]:
    """Make a grant as the account's root."""
    made: dict[str, Any] = keys.root().create_grant(
        KeyId=key, GranteePrincipal=grantee, Operations=list(operations), **more
    )
    return made


def ids_of(listed: dict[str, Any]) -> list[str]:
    """The ids of listed grants."""
    return [each["GrantId"] for each in listed["Grants"]]


def test_a_grant_is_retired_by_its_retiring_principal_and_by_nobody_else(keys: KeyHouse) -> None:
    key, grantee, retiring, other = keys.key(), keys.user(), keys.user(), keys.user()
    made = grant(keys, key, grantee.arn, "Encrypt", RetiringPrincipal=retiring.arn)
    assert grantee.client().encrypt(KeyId=key, Plaintext=b"x")["KeyId"] == key

    named = {"KeyId": key, "GrantId": made["GrantId"]}
    for user in (grantee, other):
        assert refused(user.client().retire_grant, **named)[0] == DENIED
    retiring.client().retire_grant(**named)

    assert refused(grantee.client().encrypt, KeyId=key, Plaintext=b"x")[0] == DENIED
    assert keys.root().list_grants(KeyId=key)["Grants"] == []
    assert refused(keys.root().retire_grant, **named)[0] == "NotFoundException"


def test_a_grantee_who_may_retire_ends_his_own_grant_and_a_token_names_it_too(keys: KeyHouse) -> None:
    key, grantee = keys.key(), keys.user()
    first = grant(keys, key, grantee.arn, "Encrypt", "RetireGrant")
    second = grant(keys, key, grantee.arn, "Decrypt", RetiringPrincipal=grantee.arn)

    grantee.client().retire_grant(KeyId=key, GrantId=first["GrantId"])
    grantee.client().retire_grant(GrantToken=second["GrantToken"])

    assert keys.root().list_grants(KeyId=key)["Grants"] == []


@pytest.mark.parametrize("page", [1, 2, 100])
def test_retirable_grants_are_listed_in_pages_whatever_other_regions_hold(keys: KeyHouse, page: int) -> None:
    """Grants of every region are of one account, and ids are random: a page holds those of its own region alone."""
    retiring = keys.user()
    elsewhere = keys.driver.client("kms", region="eu-west-1", key=keys.keys[ACCOUNT])
    key, far = keys.key(), elsewhere.create_key()["KeyMetadata"]["Arn"]
    expected: set[str] = set()
    for _ in range(6):
        made = grant(keys, key, retiring.arn, "Encrypt", RetiringPrincipal=retiring.arn)
        expected.add(made["GrantId"])
        elsewhere.create_grant(
            KeyId=far,
            GranteePrincipal=retiring.arn,
            RetiringPrincipal=retiring.arn,
            Operations=["Encrypt"],
        )

    listed, given = list[str](), dict[str, Any]()
    while True:
        answer = keys.root().list_retirable_grants(RetiringPrincipal=retiring.arn, Limit=page, **given)
        found = ids_of(answer)
        assert len(found) <= page
        listed += found
        if not answer["Truncated"]:
            break
        given = {"Marker": answer["NextMarker"]}

    assert set(listed) == expected
    assert len(listed) == len(expected)


def test_a_dry_run_makes_no_difference_between_a_new_grant_and_one_that_is_there(keys: KeyHouse) -> None:
    key, grantee = keys.key(), keys.user()
    given = {
        "KeyId": key,
        "GranteePrincipal": grantee.arn,
        "Operations": ["Encrypt"],
        "Name": "the-one",
    }
    kms, dry_run = keys.root(), "DryRunOperationException"
    assert refused(kms.create_grant, **given, DryRun=True)[0] == dry_run

    made = kms.create_grant(**given)["GrantId"]

    assert refused(kms.create_grant, **given, DryRun=True)[0] == dry_run
    assert kms.create_grant(**given)["GrantId"] == made
    assert ids_of(kms.list_grants(KeyId=key)) == [made]


def test_constraints_say_under_which_contexts_a_grant_counts(keys: KeyHouse) -> None:
    """Keys of contexts are compared without letter case, values with it."""
    kms, key = keys.root(), keys.key()
    subset, equals = keys.user(), keys.user()
    grant(keys, key, subset.arn, "Encrypt", Constraints={"EncryptionContextSubset": CONTEXT})
    grant(keys, key, equals.arn, "Encrypt", Constraints={"EncryptionContextEquals": CONTEXT})
    more = CONTEXT | {"also": "this"}

    def may(user: Any, context: dict[str, str]) -> bool:
        given = {"KeyId": key, "Plaintext": b"x", "EncryptionContext": context}
        code = refused(user.client().encrypt, **given)[0]
        assert code in {"", DENIED}
        return code == ""

    assert [may(subset, each) for each in (CONTEXT, more, {"Team": "build"})] == [True, True, True]
    assert [may(equals, each) for each in (CONTEXT, more, {"Team": "build"})] == [True, False, True]
    for user in (subset, equals):
        for context in ({}, {"also": "this"}, {"team": "Build"}):
            assert not may(user, context)
    told = {each["GranteePrincipal"]: each["Constraints"] for each in kms.list_grants(KeyId=key)["Grants"]}
    assert told == {
        subset.arn: {"EncryptionContextSubset": CONTEXT},
        equals.arn: {"EncryptionContextEquals": CONTEXT},
    }
    both = {"EncryptionContextSubset": CONTEXT, "EncryptionContextEquals": CONTEXT}
    given = {"KeyId": key, "GranteePrincipal": subset.arn, "Operations": ["Encrypt"], "Constraints": both}
    assert refused(kms.create_grant, **given)[0] == "ValidationException"


def test_a_context_with_one_key_more_is_not_the_one_that_a_grant_equals(keys: KeyHouse) -> None:
    """Even where another key of it is the same letter by letter, once letter case is folded: a long s."""
    kms, key, user, third = keys.root(), keys.key(), keys.user(), keys.user()
    wanted = {"secret": "build"}
    grant(keys, key, user.arn, "Encrypt", "CreateGrant", Constraints={"EncryptionContextEquals": wanted})
    more = wanted | {"\u017fecret": "anything"}
    encrypt = {"KeyId": key, "Plaintext": b"x"}

    assert refused(user.client().encrypt, **encrypt, EncryptionContext=more)[0] == DENIED
    given = {"KeyId": key, "GranteePrincipal": third.arn, "Operations": ["Encrypt"]}
    wider = {"Constraints": {"EncryptionContextEquals": more}}
    assert refused(user.client().create_grant, **given, **wider)[0] == DENIED

    user.client().encrypt(**encrypt, EncryptionContext={"SECRET": "build"})
    kms.encrypt(**encrypt, EncryptionContext=more)


def test_who_may_make_grants_by_a_grant_gives_no_more_than_that_one(keys: KeyHouse) -> None:
    key, delegate, third = keys.key(), keys.user(), keys.user()
    constraints = {"EncryptionContextEquals": CONTEXT}
    grant(keys, key, delegate.arn, "Encrypt", "Decrypt", "CreateGrant", Constraints=constraints)
    given = {"KeyId": key, "GranteePrincipal": third.arn}
    create = delegate.client().create_grant

    for refusal in (
        {"Operations": ["GenerateDataKey"], "Constraints": constraints},
        {"Operations": ["Encrypt"]},
        {"Operations": ["Encrypt"], "Constraints": {"EncryptionContextSubset": CONTEXT}},
        {"Operations": ["Encrypt"], "Constraints": {"EncryptionContextEquals": {"team": "other"}}},
    ):
        assert refused(create, **given, **refusal)[0] == DENIED, refusal
    made = create(**given, Operations=["Encrypt"], Constraints=constraints)

    encrypt = {"KeyId": key, "Plaintext": b"x", "EncryptionContext": CONTEXT}
    closed = third.client().encrypt(**encrypt)["CiphertextBlob"]
    opened = {"CiphertextBlob": closed, "EncryptionContext": CONTEXT}
    assert refused(third.client().decrypt, **opened)[0] == DENIED
    assert delegate.client().decrypt(**opened)["Plaintext"] == b"x"
    keys.root().revoke_grant(KeyId=key, GrantId=made["GrantId"])
    assert refused(third.client().encrypt, **encrypt)[0] == DENIED


def test_a_grant_counts_at_once_with_its_token_or_without(keys: KeyHouse) -> None:
    key, grantee = keys.key(), keys.user()
    made = grant(keys, key, grantee.arn, "Encrypt")
    encrypt, given = grantee.client().encrypt, {"KeyId": key, "Plaintext": b"x"}

    assert encrypt(**given, GrantTokens=[made["GrantToken"]])["KeyId"] == key
    assert encrypt(**given)["KeyId"] == key
    assert refused(encrypt, **given, GrantTokens=["what"])[0] == "InvalidGrantTokenException"
    keys.root().revoke_grant(KeyId=key, GrantId=made["GrantId"])
    assert refused(encrypt, **given, GrantTokens=[made["GrantToken"]])[0] == DENIED


def test_a_grant_counts_however_many_others_its_grantee_has(open_house: KeyHouse) -> None:
    """A principal has as many as the quota of each of his names allows, and an operator may set that higher."""
    keys, key, grantee = open_house, open_house.key(), open_house.user()
    made = grant(keys, key, grantee.arn, "DescribeKey")
    key_id, last = key.rpartition("/")[2], "f" * 64

    def gather(connection: Connection) -> None:
        found = kms_grants.find(connection, key_id, made["GrantId"])
        assert found is not None
        for number in range(1_000):
            kms_grants.add(connection, replace(found, grant_id=f"{number:064x}"))
        kms_grants.add(connection, replace(found, grant_id=last, operations=("Encrypt",)))

    keys.inside.call(keys.inside.server.parts.scrubbing._database.write, gather)

    assert grantee.client().encrypt(KeyId=key, Plaintext=b"x")["KeyId"] == key
    keys.root().revoke_grant(KeyId=key, GrantId=last)
    assert refused(grantee.client().encrypt, KeyId=key, Plaintext=b"x")[0] == DENIED


class _Watched(Front):
    """A database that tells what its units of work ask."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked: list[Statement] = []

    async def write(self, work: Work[Any]) -> Any:
        return await self._database.write(lambda connection: work(_Listening(connection, self.asked)))


class _Listening:
    def __init__(self, connection: Connection, asked: list[Statement]) -> None:
        self._connection, self._asked = connection, asked

    def fetch_one(self, statement: Statement, **parameters: Any) -> Any:
        self._asked.append(statement)
        return self._connection.fetch_one(statement, **parameters)

    def fetch_all(self, statement: Statement, **parameters: Any) -> Any:
        self._asked.append(statement)
        return self._connection.fetch_all(statement, **parameters)

    def execute(self, statement: Statement, **parameters: Any) -> int:
        self._asked.append(statement)
        return self._connection.execute(statement, **parameters)


@pytest.mark.parametrize("storage", ["SQLite", "PostgreSQL"], indirect=True)
def test_a_key_has_so_many_grants_and_no_unit_of_work_counts_them_all(storage: Flags, tmp_path: Path) -> None:
    """On PostgreSQL a unit that has read them all meets every other that makes or ends one."""
    with in_process_driver(tmp_path, limits={"kms_grants_per_key": 2}, flags=storage) as driver:
        kms, grants = driver.client("kms"), driver.server.parts.kms.grants
        watched = grants._database = _Watched(grants._database)
        given = {
            "KeyId": kms.create_key()["KeyMetadata"]["Arn"],
            "GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:root",
            "Operations": ["Encrypt"],
        }
        made = [kms.create_grant(**given, Name=name)["GrantId"] for name in ("first", "second")]

        assert refused(kms.create_grant, **given, Name="third")[0] == "LimitExceededException"

        assert kms.create_grant(**given, Name="first")["GrantId"] == made[0]
        assert kms_grants.ADD in watched.asked
        assert kms_grants.COUNT not in watched.asked


def test_an_explicit_deny_beats_a_grant(keys: KeyHouse) -> None:
    key, grantee = keys.key(), keys.user()
    grant(keys, key, grantee.arn, "Encrypt")
    grantee.may(deny("kms:Encrypt"))

    assert refused(grantee.client().encrypt, KeyId=key, Plaintext=b"x")[0] == DENIED
