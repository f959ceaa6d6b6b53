"""Who did what is told afterwards: to the account through CloudTrail's API, to the operator whole."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openecr.adapters.clocks import SystemClock
from openecr.application.audit_lookup import Search
from openecr.domain.audit import AuditEvent
from openecr.domain.pages import PageRequest
from openecr.testing.clocks import MovableClock
from openecr.web.aws.audit import audited_row
from openecr.web.aws.operations import ROWS
from openecr.web.oci.routes import ROUTES
from tests.running import plain_environment, running_server
from tests.scenario.audit_story import IMAGE, NEVER_SUCCEED, STEPS, Day
from tests.scenario.drivers import ACCOUNT, InProcessDriver, authorization, in_process_driver
from tests.scenario.images import MANIFEST_TYPE, Registry, SmallImage, digest_of
from tests.scenario.storages import Flags

STRANGER = "111122223333"
EVERYTHING = PageRequest(limit=10_000)
WITHIN_SECONDS = 20.0


class TickingClock(MovableClock):
    """A clock that is a little later each time: no two requests come at the same instant."""

    def now(self) -> int:
        self.move(seconds=1e-6)
        return super().now()


@pytest.fixture(scope="module")
def server(storage: Flags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessDriver]:
    folder = tmp_path_factory.mktemp("audit")
    regions = ("us-east-1", "eu-west-1")
    clock = TickingClock(SystemClock().now())
    with in_process_driver(folder, regions=regions, clock=clock, flags=storage) as driver:
        yield driver


@pytest.fixture(scope="module")
def stranger(server: InProcessDriver) -> tuple[str, str]:
    key = server.call(server.server.parts.accounts.create, STRANGER)
    return key.access_key_id, key.secret


def response_of(raised: pytest.ExceptionInfo[ClientError]) -> dict[str, Any]:
    """What botocore read of an error."""
    response: Any = raised.value.response
    return dict(response)


def flush(server: InProcessDriver) -> None:
    server.call(server.server.parts.trail.flush)


def stored(server: InProcessDriver) -> dict[str, AuditEvent]:
    """What is in the databases, by the request."""
    page = server.call(server.server.parts.trail.lookup.search, Search(since=0), EVERYTHING)
    return {received.event.request_id: received.event for received in page.items}


def written(server: InProcessDriver) -> dict[str, AuditEvent]:
    """What is in the databases once nothing waits to be written."""
    flush(server)
    return stored(server)


def registry_of(server: InProcessDriver, repository: str) -> Registry:
    ecr = server.client()
    ecr.create_repository(repositoryName=repository)
    return Registry(server, authorization(ecr), repository)


def names_since(server: InProcessDriver, before: dict[str, AuditEvent]) -> list[str]:
    return [event.name for request_id, event in written(server).items() if request_id not in before]


# --- with the effect ---


def test_every_operation_that_changes_something_stores_its_record_with_the_change(
    server: InProcessDriver,
) -> None:
    changing = {(row.service, row.name) for row in ROWS if audited_row(row).commits}
    assert changing <= {(step.service, step.operation) for step in STEPS} | NEVER_SUCCEED
    day = Day()
    for step in STEPS:
        client = server.client(step.service)
        method = client.meta.method_to_api_mapping
        (name,) = (python for python, operation in method.items() if operation == step.operation)
        answer = getattr(client, name)(**step.parameters(day))
        day.answers[step.operation] = answer

        # Nothing is written later here, so what is found was stored by the call itself.
        found = stored(server).get(answer["ResponseMetadata"]["RequestId"])
        if (step.service, step.operation) in changing:
            assert found is not None, step
            assert (found.name, found.source) == (step.operation, f"{step.service}.amazonaws.com")
            assert (found.error_code, found.is_read_only) == (None, False)
        else:
            assert found is None


def test_every_route_that_changes_something_stores_its_record_with_the_change(
    server: InProcessDriver,
) -> None:
    server.client().put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    source, target = registry_of(server, "route/source"), registry_of(server, "route/target")
    digest = source.push(IMAGE, "v1")
    loose = target.push_blob(b"loose")
    layer = digest_of(IMAGE.layer)
    before = written(server)
    made = {
        "PUT manifest": source.call("PUT", "/manifests/v2", IMAGE.manifest(), content_type=MANIFEST_TYPE),
        "DELETE manifest": source.call("DELETE", "/manifests/v2"),
        "DELETE blob": target.call("DELETE", f"/blobs/{loose}"),
        "POST upload, mount": target.call("POST", f"/blobs/uploads/?mount={layer}&from=route/source"),
    }

    assert made.keys() == {route.door for route in ROUTES if route.audited and route.audited.commits}
    assert [answer.status for answer in made.values()] == [201, 202, 202, 201]
    events = [event for request_id, event in stored(server).items() if request_id not in before]
    assert [(event.name, event.parameters) for event in events] == [
        (
            "PutImage",
            {"registryId": ACCOUNT, "repositoryName": "route/source", "imageId": {"imageTag": "v2"}},
        ),
        (
            "BatchDeleteImage",
            {"registryId": ACCOUNT, "repositoryName": "route/source", "imageId": {"imageTag": "v2"}},
        ),
        ("BatchDeleteImage", {"registryId": ACCOUNT, "repositoryName": "route/target", "layerDigest": loose}),
        (
            "MountLayer",
            {
                "registryId": ACCOUNT,
                "repositoryName": "route/target",
                "layerDigest": layer,
                "sourceRepositoryName": "route/source",
            },
        ),
    ]
    assert source.call("HEAD", f"/manifests/{digest}").status == 200


def test_a_change_that_fails_is_told_as_a_failure(server: InProcessDriver) -> None:
    registry = registry_of(server, "fails/app")
    before = written(server)
    assert registry.call("DELETE", "/manifests/nothing").status == 404
    assert registry.call("PUT", "/manifests/v1", b"{}", content_type=MANIFEST_TYPE).status == 400
    with pytest.raises(ClientError):
        server.client().create_repository(repositoryName="fails/app")
    assert stored(server) == before

    events = [event for request_id, event in written(server).items() if request_id not in before]
    codes = [(event.name, event.error_code) for event in events if event.error_code is not None]
    assert codes == [
        ("BatchDeleteImage", "ImageNotFoundException"),
        ("PutImage", "InvalidManifestException"),
        ("CreateRepository", "RepositoryAlreadyExistsException"),
    ]


# --- the names of docker's calls ---


def test_a_login_a_push_a_pull_and_a_deletion_are_told_as_ecrs_operations(server: InProcessDriver) -> None:
    before = written(server)
    registry = registry_of(server, "docker/app")
    image = SmallImage.named("told")
    assert registry.call("HEAD", f"/blobs/{digest_of(image.layer)}").status == 404
    digest = registry.push(image, "v1")
    upload = registry.start_upload()
    assert registry.call("PATCH", upload, b"part").status == 202
    assert registry.call("GET", upload).status == 204
    assert registry.call("DELETE", upload).status == 204
    for path in ("/manifests/v1", f"/blobs/{digest_of(image.layer)}", "/tags/list", f"/referrers/{digest}"):
        assert registry.call("GET", path).status == 200
    assert registry.call("POST", "/blobs/uploads/?mount=sha256:00&from=docker/app").status == 202
    assert server.http("GET", "/v2/").status == 401
    assert registry.call("DELETE", f"/manifests/{digest}").status == 202

    assert names_since(server, before) == [
        "CreateRepository",
        "GetAuthorizationToken",
        "BatchCheckLayerAvailability",
        *("InitiateLayerUpload", "CompleteLayerUpload") * 2,
        "PutImage",
        "InitiateLayerUpload",
        *("UploadLayerPart",) * 3,
        "BatchGetImage",
        "GetDownloadUrlForLayer",
        "ListImages",
        "ListImageReferrers",
        "InitiateLayerUpload",
        "BatchDeleteImage",
    ]


def test_who_is_unknown_is_counted_and_a_known_ping_is_neither(server: InProcessDriver) -> None:
    trail = server.server.parts.trail
    token = authorization(server.client())
    before, counted = written(server), trail.unauthenticated
    assert server.http("GET", "/v2/").status == 401
    assert server.http("GET", "/v2/", headers={"authorization": token}).status == 200
    with pytest.raises(ClientError):
        server.client(key=("AKIAAAAAAAAAAAAAAAAA", "wrong")).describe_repositories()
    with pytest.raises(ClientError):
        server.client(key=(server.server.root_key[0], "wrong")).describe_repositories()
    flush(server)

    assert stored(server) == before
    assert trail.unauthenticated - counted == 3


# --- denials ---


def explanation(server: InProcessDriver, request_id: str) -> Any:
    return server.call(server.server.parts.trail.lookup.find_explanation, request_id)


def test_a_denial_is_told_to_both_accounts_and_explained_to_the_operator(
    server: InProcessDriver, stranger: tuple[str, str]
) -> None:
    with pytest.raises(ClientError) as raised:
        server.client(key=stranger).describe_images(repositoryName="any/app", registryId=ACCOUNT)
    flush(server)
    request_id = response_of(raised)["ResponseMetadata"]["RequestId"]
    attributes = [{"AttributeKey": "EventName", "AttributeValue": "DescribeImages"}]

    told = [
        json.loads(event["CloudTrailEvent"])
        for key in (None, stranger)
        for event in server.client("cloudtrail", key=key).lookup_events(LookupAttributes=attributes)["Events"]
    ]

    assert [event["requestID"] for event in told] == [request_id, request_id]
    assert [event["recipientAccountId"] for event in told] == [ACCOUNT, STRANGER]
    assert len({event["sharedEventID"] for event in told}) == 1
    assert len({event["eventID"] for event in told}) == 2
    assert {event["errorCode"] for event in told} == {"AccessDenied"}
    assert told[1]["errorMessage"] == response_of(raised)["Error"]["Message"]
    assert told[0]["userIdentity"] == {
        "type": "AWSAccount",
        "principalId": STRANGER,
        "accountId": STRANGER,
    }
    assert f"arn:aws:iam::{STRANGER}" not in json.dumps(told[0])
    assert "IMPLICIT_DENY" not in json.dumps(told)
    assert explanation(server, request_id)["missing"] == "resource-based"
    assert explanation(server, request_id)["principal"] == f"arn:aws:iam::{STRANGER}:root"


def test_a_denial_of_docker_is_explained_too(server: InProcessDriver, stranger: tuple[str, str]) -> None:
    before = written(server)
    token = authorization(server.client(key=stranger))
    refused = Registry(server, token, "any/app").call("GET", "/manifests/v1")
    flush(server)
    (event,) = [
        event
        for request_id, event in stored(server).items()
        if request_id not in before and event.error_code is not None
    ]

    assert refused.status == 403
    assert (event.name, event.error_code) == ("BatchGetImage", "AccessDenied")
    assert event.accounts == [STRANGER, ACCOUNT]
    assert explanation(server, event.request_id)["actions"] == ["ecr:BatchGetImage"]


# --- LookupEvents ---


def test_events_are_looked_up_by_attributes_times_and_pages(server: InProcessDriver) -> None:
    began = datetime.now(UTC) - timedelta(hours=1)
    for number in range(5):
        server.client().create_repository(repositoryName=f"look/up{number}")
    flush(server)
    cloudtrail = server.client("cloudtrail")

    def found(key: str, value: str, **more: Any) -> list[dict[str, Any]]:
        attributes = [{"AttributeKey": key, "AttributeValue": value}]
        pages = cloudtrail.get_paginator("lookup_events").paginate(
            LookupAttributes=attributes, PaginationConfig={"PageSize": 2}, **more
        )
        return [event for page in pages for event in page["Events"]]

    (event,) = found("ResourceName", "look/up3")
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/look/up3"
    assert event["EventName"] == "CreateRepository"
    assert event["Username"] == "root"
    assert event["ReadOnly"] == "false"
    assert event["EventSource"] == "ecr.amazonaws.com"
    assert event["AccessKeyId"] == server.server.root_key[0]
    assert event["Resources"] == [{"ResourceType": "AWS::ECR::Repository", "ResourceName": arn}]
    assert json.loads(event["CloudTrailEvent"])["eventID"] == event["EventId"]
    assert found("EventId", event["EventId"]) == [event]
    assert found("EventId", "nothing") == []
    created = found("EventName", "CreateRepository", StartTime=began)
    assert [each["Resources"][0]["ResourceName"][-1] for each in created[:5]] == list("43210")
    assert found("EventName", "CreateRepository", EndTime=began) == []
    assert len(found("ReadOnly", "false")) >= 5
    assert cloudtrail.lookup_events(MaxResults=1, EventCategory="insight")["Events"] == []


def test_events_are_of_the_callers_region(server: InProcessDriver) -> None:
    server.client(region="eu-west-1").create_repository(repositoryName="europe/app")
    flush(server)
    attributes = [{"AttributeKey": "ResourceName", "AttributeValue": "europe/app"}]

    found = [
        len(server.client("cloudtrail", region=region).lookup_events(LookupAttributes=attributes)["Events"])
        for region in ("us-east-1", "eu-west-1")
    ]

    assert found == [0, 1]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (
            {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "x"}] * 2},
            "InvalidLookupAttributesException",
        ),
        (
            {"StartTime": datetime(2026, 1, 2, tzinfo=UTC), "EndTime": datetime(2026, 1, 1, tzinfo=UTC)},
            "InvalidTimeRangeException",
        ),
        ({"NextToken": "nonsense"}, "InvalidNextTokenException"),
    ],
)
def test_what_cannot_be_looked_up_is_told(server: InProcessDriver, given: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        server.client("cloudtrail").lookup_events(**given)

    assert response_of(raised)["Error"]["Code"] == code


def test_who_has_no_policy_may_not_look_events_up(server: InProcessDriver) -> None:
    iam = server.client("iam")
    iam.create_user(UserName="nosy")
    key = iam.create_access_key(UserName="nosy")["AccessKey"]
    with pytest.raises(ClientError) as raised:
        server.client("cloudtrail", key=(key["AccessKeyId"], key["SecretAccessKey"])).lookup_events()

    assert response_of(raised)["Error"]["Message"] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/nosy is not authorized to perform: cloudtrail:LookupEvents "
        "on resource: * because no identity-based policy allows the cloudtrail:LookupEvents action"
    )


# --- nothing secret ---


def test_no_secret_token_manifest_or_layer_is_kept(
    server: InProcessDriver, stranger: tuple[str, str]
) -> None:
    registry = registry_of(server, "secret/app")
    token = authorization(server.client())
    image = SmallImage(config=b'{"about":"config-bytes-7f3a"}', layer=b"layer-bytes-7f3a")
    registry.push(image, "v1", annotations={"about": "manifest-bytes-7f3a"})
    ecr = server.client()
    ecr.put_image(
        repositoryName="secret/app", imageTag="v2", imageManifest=image.manifest(about="again-7f3a").decode()
    )
    broken = Registry(server, token, "secret/app").call(
        "PUT", "/manifests/v3", b'{"schemaVersion":"broken-7f3a"}', content_type=MANIFEST_TYPE
    )
    link = ecr.get_download_url_for_layer(repositoryName="secret/app", layerDigest=digest_of(image.layer))
    path = link["downloadUrl"].partition("5050")[2]
    assert (broken.status, server.http("GET", path).status) == (400, 200)
    key = server.client("iam").create_user(UserName="secretive") and server.client("iam").create_access_key(
        UserName="secretive"
    )
    flush(server)
    kept = "".join(
        json.dumps([event.parameters, event.identity, event.error_message, event.user_agent])
        for event in stored(server).values()
    )

    secrets = [
        "7f3a",
        token.removeprefix("Basic "),
        path.rpartition("/")[2],
        server.server.root_key[1],
        stranger[1],
        key["AccessKey"]["SecretAccessKey"],
    ]
    assert [secret for secret in secrets if secret in kept] == []
    assert "secretive" in kept


# --- the operator ---


def openecr(*arguments: str, data: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "openecr", *arguments, "--data", str(data)],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines_within_seconds(path: Path, count: int) -> list[dict[str, Any]]:
    """Wait until a file has so many lines."""
    deadline = time.monotonic() + WITHIN_SECONDS
    lines: list[str] = []
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        time.sleep(0.05)
    raise AssertionError(f"{path.name} has {len(lines)} lines")


def test_the_operator_reads_the_trail_of_a_running_server_and_of_one_that_was_killed(tmp_path: Path) -> None:
    stream = tmp_path / "audit.ndjson"
    with running_server(tmp_path / "data", options=["--audit-stream", str(stream)]) as running:
        ecr = running.client("ecr")
        ecr.create_repository(repositoryName="team/app")
        ecr.describe_images(repositoryName="team/app")
        first = lines_within_seconds(stream, 2)
        stream.rename(tmp_path / "rotated")
        ecr.create_repository(repositoryName="team/last")
        running.kill()  # at once: what committed with its effect is told all the same
        running.start()
        second = lines_within_seconds(stream, 1)
        told = [json.loads(line) for line in openecr("audit", "--json", data=running.data).splitlines()]
        by_repository = openecr("audit", "--repository", "team/last", "--since", "1h", data=running.data)
        status = openecr("status", data=running.data)

    assert sorted(event["eventName"] for event in first) == ["CreateRepository", "DescribeImages"]
    assert [event["requestParameters"]["repositoryName"] for event in second] == ["team/last"]
    assert [event["eventName"] for event in told] == [
        "CreateRepository",
        "DescribeImages",
        "CreateRepository",
    ]
    assert [event["eventID"] for event in told[:2]] == sorted(event["eventID"] for event in first)
    (line,) = by_repository.splitlines()
    assert f"arn:aws:iam::{ACCOUNT}:root  CreateRepository" in line
    assert "audit_lost: 0" in status.splitlines()
