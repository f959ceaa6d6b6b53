"""What a valid policy says that its author can hardly have meant."""

import json
from typing import Any

import pytest

from openecr.engines.iam import KnownActions, lint

KNOWN = KnownActions(
    names={"ecr:PutImage", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "iam:CreateUser"},
    without_resource={"ecr:GetAuthorizationToken"},
)
APP = "arn:aws:ecr:us-east-1:111111111111:repository/app"


def warnings(**statement: Any) -> list[str]:
    whole = {"Effect": "Allow", **statement}
    if "NotAction" not in whole:
        whole.setdefault("Action", "ecr:PutImage")
    return lint(json.dumps({"Version": "2012-10-17", "Statement": [whole]}), KNOWN)


@pytest.mark.parametrize(
    "statement",
    [
        {"Resource": APP},
        {"Action": ["ecr:*", "ECR:batch*"], "Resource": APP},
        {"Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {"Resource": APP, "Condition": {"Null": {"aws:x": "true"}, "StringNotEquals": {"aws:x": "a"}}},
    ],
)
def test_what_is_sensible_gives_no_warning(statement: dict[str, Any]) -> None:
    assert warnings(**statement) == []


@pytest.mark.parametrize(
    ("statement", "warning"),
    [
        ({"Action": "ecr:PutImages", "Resource": APP}, "ecr:PutImages: there is no such action"),
        (
            {"Action": "s3:GetObject", "Resource": "*"},
            "s3:GetObject: this server has no service s3, so it never matters here",
        ),
        (
            {"Resource": "arn:aws:ecr::111111111111:repository/app"},
            "arn:aws:ecr::111111111111:repository/app names no region, and matches nothing",
        ),
        (
            {"Action": "ecr:GetAuthorizationToken", "Resource": APP},
            "ecr:GetAuthorizationToken knows no resource: it is asked on * alone, and never matches here",
        ),
        (
            {"NotPrincipal": {"AWS": "111111111111"}, "Resource": APP},
            "Allow with NotPrincipal lets in everybody else there is: name who may",
        ),
        (
            {"NotAction": "iam:*", "Resource": APP},
            "Allow with NotAction allows what is yet to come as well: name the actions",
        ),
        ({"Action": "*", "Resource": "*"}, "everything is allowed on everything"),
        (
            {"Resource": APP, "Condition": {"Null": {"aws:x": "true"}, "StringEquals": {"aws:x": "a"}}},
            "aws:x has to be absent and to have a value: the statement never matches",
        ),
    ],
)
def test_what_nobody_means_is_warned_of(statement: dict[str, Any], warning: str) -> None:
    assert warnings(**statement, Sid="Odd") == [f"statement Odd: {warning}"]
    assert warnings(**statement) == [f"statement number 1: {warning}"]
