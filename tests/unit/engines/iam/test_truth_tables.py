"""The truth tables: `decisions.toml` and `conditions.toml` beside this file, for people who know IAM."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from openecr.domain.decisions import Decision, PolicyKind
from openecr.engines.iam import (
    UNDECIDED,
    Policy,
    PolicySet,
    Principal,
    PrincipalType,
    Question,
    compile_policy,
    decide,
)

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = tomllib.loads((HERE / "decisions.toml").read_text())["case"]
CONDITIONS: list[Any] = tomllib.loads((HERE / "conditions.toml").read_text())["holds"]
OWN, STRANGE = "111111111111", "222222222222"
RESOURCE = f"arn:aws:ecr:us-east-1:{OWN}:repository/app"


class Keys:
    """The keys of a request, by their names in lower case."""

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values

    def get(self, key: str) -> tuple[str, ...] | None:
        return self._values.get(key)


def caller(name: str) -> Principal:
    account = STRANGE if name.startswith("strange ") else OWN
    kind = name.removeprefix("strange ")
    of = {
        "root": (PrincipalType.ROOT, f"arn:aws:iam::{account}:root", account, None),
        "user": (PrincipalType.USER, f"arn:aws:iam::{account}:user/dev", "AIDADEV", None),
        "session": (
            PrincipalType.ASSUMED_ROLE,
            f"arn:aws:sts::{account}:assumed-role/ci/run",
            "AROACI",
            f"arn:aws:iam::{account}:role/team/ci",
        ),
        "federated": (
            PrincipalType.FEDERATED_USER,
            f"arn:aws:sts::{account}:federated-user/bob",
            f"{account}:bob",
            None,
        ),
        "service": (PrincipalType.SERVICE, "replication.ecr.amazonaws.com", "replication.ecr", None),
    }
    type_, arn, unique_id, role_arn = of[kind]
    is_federated = kind == "federated"
    return Principal(
        account_id=account,
        type=type_,
        arn=arn,
        unique_id=unique_id,
        role_arn=role_arn,
        user_arn=f"arn:aws:iam::{account}:user/dev" if is_federated else None,
        user_id="AIDADEV" if is_federated else None,
    )


def policy(case: Mapping[str, Any], statements: list[dict[str, Any]], kind: PolicyKind) -> Policy:
    written: list[dict[str, Any]] = []
    for statement in statements:
        whole = {"Effect": "Allow", **statement}
        if "NotAction" not in statement:
            whole.setdefault("Action", "ecr:PutImage")
        if "NotResource" not in statement and kind not in {PolicyKind.RESOURCE, PolicyKind.TRUST}:
            whole.setdefault("Resource", "*")
        written.append(whole)
    text = json.dumps({"Version": case.get("version", "2012-10-17"), "Statement": written})
    return compile_policy(text, kind=kind, source=kind.value, principals=case.get("ids", {}))


def policies(case: Mapping[str, Any]) -> PolicySet:
    def of(name: str, kind: PolicyKind) -> tuple[Policy, ...]:
        return (policy(case, case[name], kind),) if name in case else ()

    def levels(name: str, kind: PolicyKind) -> tuple[tuple[Policy, ...], ...]:
        return tuple((policy(case, level, kind),) for level in case.get(name, ()))

    boundary = of("boundary", PolicyKind.BOUNDARY)
    return PolicySet(
        identity=of("identity", PolicyKind.IDENTITY),
        boundary=boundary[0] if boundary else None,
        session=of("session", PolicyKind.SESSION) if "session" in case else None,
        resource=of("resource", PolicyKind(case.get("resource_kind", "resource-based"))),
        service_control=levels("service_control", PolicyKind.SERVICE_CONTROL),
        resource_control=levels("resource_control", PolicyKind.RESOURCE_CONTROL),
        resource_must_allow=case.get("must_allow", False),
        root_escapes_resource_denies=case.get("root_escapes", False),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_decisions(case: dict[str, Any]) -> None:
    keys = {name: tuple(values) for name, values in case.get("context", {}).items()}
    question = Question(
        principal=caller(case["caller"]),
        action=case.get("action", "ecr:PutImage"),
        resource=case.get("on", RESOURCE),
        resource_account_id=OWN,
        context=Keys(keys | dict.fromkeys(case.get("undecided", ()), UNDECIDED)),
    )
    verdict = decide(question, policies(case))
    missing = "" if verdict.missing is None else verdict.missing.value
    words = {Decision.ALLOW: "allow", Decision.EXPLICIT_DENY: "deny", Decision.IMPLICIT_DENY: missing}
    assert words[verdict.decision] == case["expect"]
    assert (verdict.statement is not None) or verdict.decision is not Decision.EXPLICIT_DENY


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "holds"), CONDITIONS, ids=lambda value: str(value)[:40]
)
def test_conditions(operator: str, wanted: Any, given: Any, holds: bool) -> None:
    case = {"identity": [{"Condition": {operator: {"Test:Key": wanted}}}]}
    values = {} if given == "absent" else {"test:key": tuple(given)}
    question = Question(
        principal=caller("user"),
        action="ecr:PutImage",
        resource=RESOURCE,
        resource_account_id=OWN,
        context=Keys(values),
    )
    assert (decide(question, policies(case)).decision is Decision.ALLOW) is holds


def test_no_two_cases_have_one_name() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))
