"""What operations of IAM require of callers of each kind, and where their lists go on."""

from typing import Any

import pytest

from openecr.domain.callers import Caller, RequestContext, RoleSession, Root, Session, User
from openecr.domain.decisions import Requirement
from openecr.domain.iam import AccessKeyOwner, EntityKind, EntityName
from openecr.domain.iam_errors import IamValidationError
from openecr.domain.pages import Page
from openecr.web.aws.call import Call
from openecr.web.aws.iam.outputs import encoded
from openecr.web.aws.iam.pages import page_request, paged
from openecr.web.aws.operations import ROWS_BY_NAME

ACCOUNT = "111111111111"
CONTEXT = RequestContext(
    requested_at=0,
    request_id="",
    region="eu-west-1",
    source_address="",
    is_secure_transport=False,
    user_agent="",
)
SESSION = Session(issued_at=0, expires_at=1, name="s")
ROOT = Root(account_id=ACCOUNT, access_key_id="AKIA")
ALICE = User(account_id=ACCOUNT, access_key_id="AKIA", unique_id="AIDA", name="alice", path="/team/")
ROLE = RoleSession(
    account_id=ACCOUNT, access_key_id="ASIA", unique_id="AROA", role_name="ci", session=SESSION
)


def required(name: str, caller: Caller = ROOT, **parameters: Any) -> list[Requirement]:
    return list(ROWS_BY_NAME["iam", name].requires(caller, CONTEXT, parameters))


def call(**parameters: Any) -> Call:
    return Call(operation="ListUsers", caller=ROOT, context=CONTEXT, parameters=parameters, grants=())


def test_a_user_who_names_nobody_means_itself() -> None:
    (own,) = required("CreateAccessKey", ALICE)
    (named,) = required("CreateAccessKey", ALICE, UserName="bob")

    assert own.entity == EntityName(kind=EntityKind.USER, name="alice")
    assert own.resource == f"arn:aws:iam::{ACCOUNT}:user/alice"
    assert named.entity == EntityName(kind=EntityKind.USER, name="bob")


def test_a_root_who_names_nobody_means_itself() -> None:
    (own,) = required("CreateAccessKey", ROOT)

    assert (own.entity, own.resource) == (None, f"arn:aws:iam::{ACCOUNT}:root")


@pytest.mark.parametrize("name", ["GetUser", "CreateAccessKey", "ListAccessKeys", "ListMFADevices"])
def test_a_role_has_to_name_a_user(name: str) -> None:
    with pytest.raises(IamValidationError, match="Must specify userName when calling with non-User"):
        required(name, ROLE)
    (named,) = required(name, ROLE, UserName="bob")

    assert named.actions == (f"iam:{name}",)


def test_a_renamed_entity_is_decided_on_as_it_is_and_as_it_would_be() -> None:
    before, after = required("UpdateUser", UserName="alice", NewUserName="bob", NewPath="/team/")

    assert before.entity == EntityName(kind=EntityKind.USER, name="alice")
    assert after.entity == EntityName(kind=EntityKind.USER, name="alice", new_name="bob", new_path="/team/")
    assert after.resource == f"arn:aws:iam::{ACCOUNT}:user/team/bob"
    assert len(required("UpdateGroup", GroupName="builders")) == 1


def test_the_use_of_a_key_is_decided_on_its_user() -> None:
    (requirement,) = required("GetAccessKeyLastUsed", AccessKeyId="AKIAX")

    assert requirement.entity == AccessKeyOwner(access_key_id="AKIAX")


@pytest.mark.parametrize("after", ["alice", "ünïcode", "a" * 128, "x?y"])
def test_a_marker_goes_on_where_the_page_ended(after: str) -> None:
    output = paged("Users", Page(items=("a", "b"), after=after), str.upper)

    assert output["Users"] == ["A", "B"]
    assert output["IsTruncated"] is True
    assert len(output["Marker"]) <= 320
    assert page_request(call(Marker=output["Marker"], MaxItems=7)).after == after
    assert page_request(call(Marker=output["Marker"], MaxItems=7)).limit == 7


def test_the_last_page_has_no_marker() -> None:
    output = paged("Users", Page(items=()), str)

    assert (output["IsTruncated"], output["Marker"]) == (False, None)
    assert page_request(call()).limit == 100


@pytest.mark.parametrize("marker", ["no marker", "é", "a", "AA==", "AGE", "_w"])
def test_a_marker_that_no_list_gave_is_refused(marker: str) -> None:
    with pytest.raises(IamValidationError, match="Invalid Marker"):
        page_request(call(Marker=marker))


def test_documents_are_encoded_but_for_what_is_never_reserved() -> None:
    assert encoded('{"a": "%~-._é"}') == "%7B%22a%22%3A%20%22%25~-._%C3%A9%22%7D"
