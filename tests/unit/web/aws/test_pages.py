"""Paging tokens: opaque, bound to their list, and nothing that a client writes breaks them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.callers import RequestContext, Root
from openecr.domain.decisions import Decision, Grant, Requirement, Verdict
from openecr.domain.errors import InvalidParameter
from openecr.domain.pages import Page
from openecr.domain.registries import RegistryId
from openecr.web.aws.call import Call
from openecr.web.aws.pages import next_token, page_request, refuse_paging


def call(
    operation: str = "ListImages",
    *,
    account: str = "111111111111",
    region: str = "us-east-1",
    **parameters: Any,
) -> Call:
    caller = Root(account_id=account, access_key_id="AKIA")
    context = RequestContext(
        requested_at=0,
        request_id="",
        region=region,
        source_address="",
        is_secure_transport=False,
        user_agent="",
    )
    requirement = Requirement(
        actions=("ecr:ListImages",), registry=RegistryId(account_id=account, region=region)
    )
    grant = Grant(
        caller=caller, context=context, requirement=requirement, verdict=Verdict(decision=Decision.ALLOW)
    )
    return Call(operation=operation, caller=caller, context=context, parameters=parameters, grants=(grant,))


def token_after(after: str, given_call: Call) -> str:
    token = next_token(given_call, Page[str](items=("x",), after=after))
    assert token is not None
    return token


@given(after=st.text(st.characters(codec="utf-8"), max_size=300), limit=st.none() | st.integers(1, 1000))
def test_a_token_leads_to_where_the_page_ended(after: str, limit: int | None) -> None:
    token = token_after(after, call(repositoryName="app"))
    paging: dict[str, Any] = {"nextToken": token} | ({} if limit is None else {"maxResults": limit})

    request = page_request(call(repositoryName="app", **paging))

    assert request.after == after
    assert request.limit == (limit or 100)
    assert token.isascii()
    assert "=" not in token


def test_the_last_page_has_no_token() -> None:
    assert next_token(call(), Page[str](items=("x",))) is None
    assert page_request(call()).after is None


def test_naming_the_own_registry_makes_no_other_list() -> None:
    token = token_after("x", call(repositoryName="app"))

    request = page_request(call(repositoryName="app", registryId="111111111111", nextToken=token))

    assert request.after == "x"


@pytest.mark.parametrize(
    "other",
    [
        call("DescribeImages", repositoryName="app"),
        call(repositoryName="other"),
        call(repositoryName="app", filter={"tagStatus": "TAGGED"}),
        call(repositoryName="app", account="222222222222"),
        call(repositoryName="app", region="eu-west-1"),
    ],
)
def test_a_token_of_another_list_is_refused(other: Call) -> None:
    token = token_after("x", other)

    with pytest.raises(InvalidParameter) as raised:
        page_request(call(repositoryName="app", nextToken=token))

    assert raised.value.parameter == "nextToken"


def forged(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "?",
        "é",
        "A",
        "AAAA" * 2000,
        forged(None),
        forged([]),
        forged([1, "00", "x"]),
        forged([1, "00"]),
        forged({"version": 1}),
        forged([2, "00", "x"]),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"[" * 2000).decode(),
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid parameter at 'nextToken'"):
        page_request(call(nextToken=token))


@given(token=st.text(max_size=60))
def test_no_text_breaks_the_reader(token: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid parameter at 'nextToken'"):
        page_request(call(nextToken=token))


@pytest.mark.parametrize("paging", [{"maxResults": 1}, {"nextToken": "x"}])
def test_paging_beside_names_is_refused(paging: dict[str, Any]) -> None:
    refuse_paging(call(), "imageIds")
    with pytest.raises(InvalidParameter) as raised:
        refuse_paging(call(**paging), "imageIds")

    assert raised.value.parameter == next(iter(paging))
