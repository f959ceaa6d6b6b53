"""What holds of every policy: denies never lose, allows take nothing away, order never matters."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.decisions import Decision, PolicyKind
from openecr.engines.iam import (
    DocumentKind,
    MalformedPolicy,
    PolicySet,
    Principal,
    PrincipalType,
    Question,
    compile_policy,
    decide,
    principals_of,
    validate,
)
from openecr.engines.iam.patterns import Template

ACCOUNT = "111111111111"
ACTIONS = ("ecr:PutImage", "ecr:BatchGetImage", "s3:GetObject")
RESOURCES = (
    f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app",
    f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/team/app",
)
USER = Principal(
    account_id=ACCOUNT, type=PrincipalType.USER, arn=f"arn:aws:iam::{ACCOUNT}:user/dev", unique_id="AIDADEV"
)

conditions: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "Condition": st.dictionaries(
                st.sampled_from(["StringEquals", "StringNotLike", "ForAllValues:StringLike", "Null"]),
                st.dictionaries(
                    st.sampled_from(["aws:x", "aws:y"]), st.sampled_from(["true", "a", "a*"]), min_size=1
                ),
                min_size=1,
                max_size=2,
            )
        }
    ),
)
bodies = st.fixed_dictionaries(
    {
        "Action": st.sampled_from([*ACTIONS, "*", "ecr:*", "ecr:P*"]),
        "Resource": st.sampled_from([*RESOURCES, "*", "arn:aws:ecr:*:*:repository/a*"]),
    }
)
statements = st.builds(
    lambda effect, body, condition: {"Effect": effect, **body, **condition},
    st.sampled_from(["Allow", "Deny"]),
    bodies,
    conditions,
)
orders_of_statements = st.lists(statements, max_size=5).flatmap(
    lambda each: st.tuples(st.just(each), st.permutations(each))
)
contexts = st.dictionaries(
    st.sampled_from(["aws:x", "aws:y"]), st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1).map(tuple)
)
questions = st.builds(
    lambda action, resource, context: Question(
        principal=USER,
        action=action,
        resource=resource,
        resource_account_id=ACCOUNT,
        context=context,
    ),
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    contexts,
)


def decided(question: Question, written: list[dict[str, Any]]) -> Decision:
    text = json.dumps({"Version": "2012-10-17", "Statement": written})
    policy = compile_policy(text, kind=PolicyKind.IDENTITY, source="own")
    return decide(question, PolicySet(identity=(policy,))).decision


@given(questions, st.lists(statements, max_size=5))
def test_a_deny_never_loses(question: Question, written: list[dict[str, Any]]) -> None:
    denial = {"Effect": "Deny", "Action": question.action, "Resource": question.resource}
    assert decided(question, [*written, denial]) is Decision.EXPLICIT_DENY


@given(questions, st.lists(statements, max_size=5), statements)
def test_another_allow_never_takes_access_away(
    question: Question, written: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    before = decided(question, written)
    after = decided(question, [*written, more | {"Effect": "Allow"}])
    assert after is before or (before, after) == (Decision.IMPLICIT_DENY, Decision.ALLOW)


@given(questions, orders_of_statements)
def test_the_order_of_statements_never_matters(
    question: Question, orders: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    assert decided(question, orders[0]) is decided(question, orders[1])


@given(questions, st.lists(statements, max_size=4), st.lists(statements, max_size=4))
def test_a_boundary_never_gives(
    question: Question, written: list[dict[str, Any]], edge: list[dict[str, Any]]
) -> None:
    def policy(kind: PolicyKind, those: list[dict[str, Any]]) -> Any:
        text = json.dumps({"Version": "2012-10-17", "Statement": those})
        return compile_policy(text, kind=kind, source=kind.value)

    identity = (policy(PolicyKind.IDENTITY, written),)
    bounded = PolicySet(identity=identity, boundary=policy(PolicyKind.BOUNDARY, edge))
    if decide(question, bounded).decision is Decision.ALLOW:
        assert decide(question, PolicySet(identity=identity)).decision is Decision.ALLOW
        assert decided(question, edge) is Decision.ALLOW


# --- wildcards -------------------------------------------------------------------------------------------------------


def naive(pattern: str, text: str) -> bool:
    """Whether a pattern fits, by a table of all beginnings of both."""
    fits = [[False] * (len(text) + 1) for _ in range(len(pattern) + 1)]
    fits[0][0] = True
    for row, wanted in enumerate(pattern, start=1):
        fits[row][0] = wanted == "*" and fits[row - 1][0]
        for column, character in enumerate(text, start=1):
            if wanted == "*":
                fits[row][column] = fits[row - 1][column] or fits[row][column - 1]
            else:
                fits[row][column] = fits[row - 1][column - 1] and wanted in {"?", character}
    return fits[-1][-1]


def matches(pattern: str, text: str) -> bool:
    glob = Template(pattern, has_variables=False, has_wildcards=True).fixed
    assert glob is not None
    return glob.matches(text)


@given(st.text("ab*?.", max_size=12), st.text("ab*?.", max_size=16))
def test_wildcards_agree_with_a_naive_table(pattern: str, text: str) -> None:
    assert matches(pattern, text) is naive(pattern, text)


def test_a_pattern_of_nothing_but_wildcards_comes_to_an_end() -> None:
    assert not matches("*a" * 1_000 + "b", "a" * 10_000)
    assert not matches("*?a" * 1_000 + "b", "a" * 10_000)
    assert matches("*" * 1_000, "a" * 10_000)


# --- documents -------------------------------------------------------------------------------------------------------

names = st.sampled_from(
    [
        "Version",
        "Id",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "Resource",
        "Condition",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Allow", "Deny", "ecr:*", "*", "2012-10-17", "arn:aws:s3:::b", "StringEquals", "AWS"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | st.text(max_size=3) | st.just("StringEquals"), inner, max_size=4)
    ),
    max_leaves=12,
)


def ask(text: str) -> None:
    policy = compile_policy(text, kind=PolicyKind.IDENTITY, source="own")
    question = Question(
        principal=USER, action="ecr:PutImage", resource="*", resource_account_id=ACCOUNT, context={}
    )
    decide(question, PolicySet(identity=(policy,), resource=(policy,)))


def is_valid(text: str, kind: DocumentKind) -> bool:
    try:
        validate(text, kind)
    except MalformedPolicy:
        return False
    return True


def try_all(text: str) -> None:
    """Nothing else may be raised; and what is valid can be compiled and asked."""
    valid = [kind for kind in DocumentKind if is_valid(text, kind)]
    if valid:
        ask(text)
    for read in (principals_of, ask):
        with suppress(MalformedPolicy):
            read(text)


@given(st.dictionaries(names, values, max_size=4) | values)
def test_no_document_makes_anything_but_a_malformed_policy(document: Any) -> None:
    try_all(json.dumps(document))


@given(st.dictionaries(names, values, min_size=1, max_size=6))
def test_no_statement_makes_anything_but_a_malformed_policy(statement: dict[str, Any]) -> None:
    try_all(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":1,"a":2}', "\x00", "{}\u2028", "NaN", '"Allow"']
)
def test_no_text_makes_anything_but_a_malformed_policy(text: str) -> None:
    try_all(text)
