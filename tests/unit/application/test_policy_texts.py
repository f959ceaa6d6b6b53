"""Policy texts as ECR echoes them, and what it takes for one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.application.policy_texts import checked, laid_out
from openecr.domain.errors import InvalidParameter
from openecr.engines.iam import DocumentKind, MalformedPolicy, validate

STATEMENT: dict[str, Any] = {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
ACCOUNT = "000000000000"

texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    """A policy as somebody writes it."""
    return json.dumps({"Version": version, "Statement": list(statements)})


def of_repository(**more: Any) -> str:
    """A policy of one statement."""
    return document({**STATEMENT, **more})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{ }"),
        ([], "[ ]"),
        (["a", 1, None, True], '[ "a", 1, null, true ]'),
        ({"a": []}, '{\n  "a" : [ ]\n}'),
        ([{"a": "b"}, {}], '[ {\n  "a" : "b"\n}, { } ]'),
        ({"a": {"b": 1}, "c": "é"}, '{\n  "a" : {\n    "b" : 1\n  },\n  "c" : "é"\n}'),
    ],
)
def test_json_is_laid_out_as_ecr_does(value: object, text: str) -> None:
    assert laid_out(value) == text


@given(values)
def test_the_layout_changes_nothing_of_the_meaning(value: object) -> None:
    assert json.loads(laid_out(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        of_repository(Sid="中"),
        of_repository(Sid="\ud800"),
        of_repository(Condition={"NumericEquals": {"aws:EpochTime": 5}}).replace("5", "1e999"),
        of_repository(Condition={"NumericEquals": {"aws:EpochTime": 5}}).replace("5", "9" * 5000),
        of_repository(Action="s3:GetObject"),
        of_repository(Action=["ecr:BatchGetImage", "ecr-public:PutImage"]),
        of_repository(Action=None),
        json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "NotAction": "iam:*"}}),
    ],
    ids=range(11),
)
def test_what_could_not_be_read_again_or_is_about_others_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        checked(text, DocumentKind.REPOSITORY)
    assert str(refused.value).endswith("'Invalid repository policy provided'")


@pytest.mark.parametrize("action", ["*", "ecr:*", "ECR:batchgetimage", ["ecr:Get*", "ecr:List*"]])
def test_actions_of_ecr_are_taken_in_any_letter_case(action: object) -> None:
    assert json.loads(checked(of_repository(Action=action), DocumentKind.REPOSITORY))


def test_statements_may_have_the_same_sid() -> None:
    same = {**STATEMENT, "Sid": "pull"}
    assert checked(document(same, same), DocumentKind.REPOSITORY).count('"Sid" : "pull"') == 2


@pytest.mark.parametrize("element", ["Principal", "NotPrincipal"])
def test_an_accounts_number_becomes_the_arn_of_its_root(element: str) -> None:
    statement = {"Effect": "Deny", element: {"AWS": [ACCOUNT, "*"]}, "Action": "ecr:*"}
    condition = {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}
    found = json.loads(checked(document({**statement, "Condition": condition}), DocumentKind.REPOSITORY))
    assert found["Statement"][0][element] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root", "*"]}
    assert found["Statement"][0]["Condition"] == condition


@given(st.dictionaries(st.sampled_from(["Sid", "Action", "Condition", "Resource"]), values, max_size=3))
def test_a_text_that_is_kept_is_valid_and_stays_as_it_is(more: dict[str, Any]) -> None:
    try:
        kept = checked(of_repository(**more), DocumentKind.REPOSITORY)
    except InvalidParameter:
        return
    try:
        validate(kept, DocumentKind.REPOSITORY)
    except MalformedPolicy as error:  # pragma: no cover
        pytest.fail(f"what was kept is no policy: {error.message}")
    assert checked(kept, DocumentKind.REPOSITORY) == kept
