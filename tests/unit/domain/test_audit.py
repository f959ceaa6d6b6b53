"""Events of the audit trail: bounded, and in the form that CloudTrail writes."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.audit import (
    ITEMS_MAX,
    MESSAGE_MAX_CHARACTERS,
    TEXT_MAX_CHARACTERS,
    Attribute,
    AuditEvent,
    clean,
    cloudtrail_form,
    event_id,
    event_of,
    explanation_of,
    has_attribute,
    instant_of,
)
from openecr.domain.callers import Caller, RequestContext, RoleSession, Root, Service, Session, User
from openecr.domain.decisions import (
    AuditedCall,
    AuditRecord,
    Decision,
    Grant,
    PolicyKind,
    Requirement,
    StatementReference,
    Verdict,
)
from openecr.domain.registries import RegistryId

ACCOUNT, OTHER = "111111111111", "222222222222"
NOW = 1_900_000_000_123_456
ARN = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/team/app"
CONTEXT = RequestContext(
    requested_at=NOW,
    request_id="6f1d0a3c-3f0e-4c57-9f43-0a4d5b0f9a11",
    region="us-east-1",
    source_address="192.0.2.7",
    is_secure_transport=True,
    user_agent="docker/29",
)
ROOT = Root(account_id=ACCOUNT, access_key_id="AKIAQAAAAAAAAAAAAAAA")
PULL = AuditedCall(source="ecr.amazonaws.com", name="BatchGetImage", is_read_only=True, reference="imageId")


def requirement(account_id: str = ACCOUNT, name: str = "team/app") -> Requirement:
    registry = RegistryId(account_id=account_id, region="us-east-1")
    return Requirement(actions=("ecr:BatchGetImage",), registry=registry, repository_name=name)


def record(caller: Caller = ROOT, **changes: Any) -> AuditRecord:
    made = AuditRecord(
        call=PULL,
        context=CONTEXT,
        caller=caller,
        requirements=(requirement(),),
        parameters={},
        reference="v1",
    )
    return replace(made, **changes)


def identity(caller: Caller) -> dict[str, Any]:
    found: Any = cloudtrail_form(event_of(record(caller)), caller.account_id)["userIdentity"]
    return dict(found)


def test_a_pull_has_the_form_of_cloudtrail() -> None:
    event = event_of(record())

    assert cloudtrail_form(event, ACCOUNT) == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "Root",
            "principalId": ACCOUNT,
            "arn": f"arn:aws:iam::{ACCOUNT}:root",
            "accountId": ACCOUNT,
            "accessKeyId": "AKIAQAAAAAAAAAAAAAAA",
        },
        "eventTime": "2030-03-17T17:46:40Z",
        "eventSource": "ecr.amazonaws.com",
        "eventName": "BatchGetImage",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.7",
        "userAgent": "docker/29",
        "requestParameters": {
            "registryId": ACCOUNT,
            "repositoryName": "team/app",
            "imageId": {"imageTag": "v1"},
        },
        "responseElements": None,
        "requestID": CONTEXT.request_id,
        "eventID": event_id(event, ACCOUNT),
        "readOnly": True,
        "resources": [{"accountId": ACCOUNT, "type": "AWS::ECR::Repository", "ARN": ARN}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }


def test_a_failure_has_its_code_and_message_and_a_digest_is_no_tag() -> None:
    digest = f"sha256:{'0' * 64}"
    event = event_of(record(error_code="AccessDenied", error_message="no", reference=digest))

    form = cloudtrail_form(event, ACCOUNT)

    assert (form["errorCode"], form["errorMessage"]) == ("AccessDenied", "no")
    assert event.parameters["imageId"] == {"imageDigest": digest}


def test_users_sessions_and_services_are_told_apart() -> None:
    user = User(account_id=ACCOUNT, access_key_id="AKIA", unique_id="AIDAX", name="ann", path="/team/")
    session = Session(issued_at=NOW, expires_at=NOW, name="job-7", source_identity="ann")
    role = RoleSession(
        account_id=ACCOUNT, access_key_id="ASIA", unique_id="AROAX", role_name="ci", session=session
    )

    assert identity(user) == {
        "type": "IAMUser",
        "principalId": "AIDAX",
        "arn": f"arn:aws:iam::{ACCOUNT}:user/team/ann",
        "accountId": ACCOUNT,
        "accessKeyId": "AKIA",
        "userName": "ann",
    }
    assert identity(role) == {
        "type": "AssumedRole",
        "principalId": "AROAX:job-7",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/job-7",
        "accountId": ACCOUNT,
        "accessKeyId": "ASIA",
        "sessionContext": {
            "attributes": {"creationDate": "2030-03-17T17:46:40Z", "mfaAuthenticated": "false"},
            "sessionIssuer": {
                "type": "Role",
                "principalId": "AROAX",
                "arn": f"arn:aws:iam::{ACCOUNT}:role/ci",
                "accountId": ACCOUNT,
                "userName": "ci",
            },
            "sourceIdentity": "ann",
        },
    }
    assert identity(replace(user, session=session))["sessionContext"]["attributes"]["mfaAuthenticated"] == (
        "false"
    )
    assert identity(Service(account_id=ACCOUNT, name="replication.ecr")) == {
        "type": "AWSService",
        "accountId": ACCOUNT,
        "invokedBy": "replication.ecr.amazonaws.com",
    }
    assert [event_of(record(caller)).user_name for caller in (ROOT, user, role)] == ["root", "ann", "job-7"]


def test_an_event_across_accounts_is_both_accounts_with_ids_of_their_own() -> None:
    event = event_of(record(requirements=(requirement(OTHER),)))
    own, owners = (cloudtrail_form(event, account_id) for account_id in (ACCOUNT, OTHER))

    assert event.accounts == [ACCOUNT, OTHER]
    assert own["sharedEventID"] == owners["sharedEventID"]
    assert len({own["eventID"], owners["eventID"], own["sharedEventID"]}) == 3
    assert (own["recipientAccountId"], owners["recipientAccountId"]) == (ACCOUNT, OTHER)


def test_the_owner_learns_which_account_called_and_no_name_in_it() -> None:
    user = User(account_id=ACCOUNT, access_key_id="AKIA", unique_id="AIDAX", name="ann")
    denied = record(
        user,
        requirements=(requirement(OTHER),),
        error_code="AccessDenied",
        error_message=f"User: {user.arn} is not authorized",
    )
    event = event_of(denied)
    form = cloudtrail_form(event, OTHER)

    assert form["userIdentity"] == {"type": "AWSAccount", "principalId": "AIDAX", "accountId": ACCOUNT}
    assert form["errorCode"] == "AccessDenied"
    assert "ann" not in msgspec.json.encode(form).decode()
    assert "AKIA" not in msgspec.json.encode(form).decode()
    for attribute, value in ((Attribute.USER_NAME, "ann"), (Attribute.ACCESS_KEY_ID, "AKIA")):
        assert has_attribute(event, ACCOUNT, attribute, value)
        assert not has_attribute(event, OTHER, attribute, value)


def test_an_events_id_is_a_uuid_that_tells_when_it_was() -> None:
    event = event_of(record())

    assert instant_of(event_id(event, ACCOUNT)) == NOW
    assert event_id(event, ACCOUNT)[14] == "8"
    assert [len(part) for part in event_id(event, ACCOUNT).split("-")] == [8, 4, 4, 4, 12]
    assert event.id < event_of(record(context=replace(CONTEXT, requested_at=NOW + 1))).id


@pytest.mark.parametrize("text", ["", "x", "event", "-" * 36, "\0" * 36])
def test_what_is_no_id_tells_no_instant(text: str) -> None:
    assert instant_of(text) is None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (Attribute.EVENT_NAME, "BatchGetImage"),
        (Attribute.READ_ONLY, "true"),
        (Attribute.USER_NAME, "root"),
        (Attribute.RESOURCE_TYPE, "AWS::ECR::Repository"),
        (Attribute.RESOURCE_NAME, ARN),
        (Attribute.RESOURCE_NAME, "team/app"),
        (Attribute.EVENT_SOURCE, "ecr.amazonaws.com"),
        (Attribute.ACCESS_KEY_ID, "AKIAQAAAAAAAAAAAAAAA"),
    ],
)
def test_events_are_found_by_their_attributes(attribute: Attribute, value: str) -> None:
    event = event_of(record())

    assert has_attribute(event, ACCOUNT, attribute, value)
    assert not has_attribute(event, ACCOUNT, attribute, value + "x")


texts = st.text(max_size=3_000)


@given(agent=texts, address=texts, reference=texts, message=texts, name=texts)
def test_whatever_a_request_says_an_event_is_bounded_and_can_be_stored(
    agent: str, address: str, reference: str, message: str, name: str
) -> None:
    context = replace(CONTEXT, user_agent=agent, source_address=address)
    requirements = tuple(requirement(name=f"{name}{number}") for number in range(30))
    event = event_of(
        record(context=context, reference=reference, error_message=message, requirements=requirements)
    )
    encoded = msgspec.json.encode(event)

    assert len(event.resources) <= ITEMS_MAX
    assert len(event.user_agent) <= TEXT_MAX_CHARACTERS
    assert len(event.error_message or "") <= MESSAGE_MAX_CHARACTERS
    assert b"\\u0000" not in encoded
    assert msgspec.json.decode(encoded, type=AuditEvent) == event


@pytest.mark.parametrize("text", ["\0", "a\nb", "\ud800", "\x1b[31m", "\u202e"])
def test_what_no_database_or_terminal_takes_is_replaced(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(text).encode()


def test_an_explanation_names_the_statement_that_denied() -> None:
    statement = StatementReference(
        kind=PolicyKind.IDENTITY, source="arn:aws:iam::aws:policy/P", index=2, sid="No"
    )
    grant = Grant(
        caller=ROOT,
        context=CONTEXT,
        requirement=replace(requirement(), context_keys=(("aws:RequestTag/team", ("a",)),)),
        verdict=Verdict(decision=Decision.EXPLICIT_DENY, statement=statement),
    )

    assert explanation_of(grant) == {
        "decision": "EXPLICIT_DENY",
        "statement": {
            "kind": "identity-based",
            "source": "arn:aws:iam::aws:policy/P",
            "index": 2,
            "sid": "No",
        },
        "missing": None,
        "action": "ecr:BatchGetImage",
        "actions": ["ecr:BatchGetImage"],
        "mode": "ALL_OF",
        "resource": ARN,
        "principal": f"arn:aws:iam::{ACCOUNT}:root",
        "context": {
            "aws:SourceIp": "192.0.2.7",
            "aws:SecureTransport": "true",
            "aws:RequestedRegion": "us-east-1",
            "aws:CurrentTime": "2030-03-17T17:46:40Z",
            "aws:RequestTag/team": ["a"],
        },
    }
