"""The audit trail on both databases: with its effect or not at all, once, in order, and no longer than it is kept."""

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from openecr.application import audit_trail
from openecr.application.audit import audited, note
from openecr.application.audit_lookup import EXAMINED_MAX, AuditLookup, Lookup, Search
from openecr.application.audit_trail import DAY, AuditTrail
from openecr.domain.audit import Attribute, AuditEvent, event_id
from openecr.domain.callers import Root
from openecr.domain.decisions import (
    AuditedCall,
    AuditRecord,
    Decision,
    Grant,
    Outcome,
    Requirement,
    Verdict,
)
from openecr.domain.errors import RepositoryNotFound, Unavailable
from openecr.domain.pages import PageRequest
from openecr.domain.registries import RegistryId
from openecr.store import audit_pending, server_state
from openecr.store.connections import Connection
from openecr.store.database import Database, T, Work
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases
from tests.contract.failing_databases import FailingOnce
from tests.contract.galleries import CONTEXT, NOW

ACCOUNT, OTHER = "111111111111", "222222222222"
PULL = AuditedCall(source="ecr.amazonaws.com", name="BatchGetImage", is_read_only=True, reference="imageId")
PUSH = AuditedCall(source="ecr.amazonaws.com", name="PutImage", is_read_only=False, commits=True)
EVERYTHING = PageRequest(limit=10_000)


def record(number: int = 0, *, call: AuditedCall = PULL, owner: str = ACCOUNT, **changes: Any) -> AuditRecord:
    registry = RegistryId(account_id=owner, region=CONTEXT.region)
    made = AuditRecord(
        call=call,
        context=replace(CONTEXT, requested_at=NOW + number, request_id=f"request-{number}"),
        caller=Root(account_id=ACCOUNT, access_key_id="AKIA"),
        requirements=(Requirement(actions=("x",), registry=registry, repository_name=f"app{number}"),),
        parameters={},
        reference="v1",
    )
    return replace(made, **changes)


def grant_of(made: AuditRecord | None = None, *, account_id: str = ACCOUNT) -> Grant:
    caller = Root(account_id=account_id, access_key_id="AKIA")
    registry = RegistryId(account_id=account_id, region=CONTEXT.region)
    return Grant(
        caller=caller,
        context=CONTEXT,
        requirement=Requirement(actions=("cloudtrail:LookupEvents",), registry=registry),
        verdict=Verdict(decision=Decision.ALLOW),
        record=made,
    )


def outcome(made: AuditRecord | None, *, caller: Root | None = None) -> Outcome:
    return Outcome(
        door="a door",
        context=CONTEXT,
        caller=caller if made is None else made.caller,
        requirements=(),
        decision=None,
        status=200,
        error_code=None,
        duration_microseconds=1,
        record=made,
    )


@dataclass
class House:
    """A trail, and what was streamed of it."""

    metadata: Database
    activity: Database
    trail: AuditTrail
    lookup: AuditLookup
    clock: MovableClock
    lines: list[bytes]

    def note(self, *records: AuditRecord) -> None:
        for each in records:
            self.trail.record(outcome(each))

    async def commit(self, *records: AuditRecord) -> None:
        for each in records:
            await self.metadata.write(audited(grant_of(each), lambda _: None))

    async def look_up(
        self, *, account_id: str = ACCOUNT, limit: int = 10_000, after: str | None = None, **wanted: Any
    ) -> tuple[list[AuditEvent], str | None]:
        page = await self.lookup.look_up(
            grant_of(account_id=account_id), Lookup(**wanted), PageRequest(limit=limit, after=after)
        )
        return list(page.items), page.after

    async def ids(self, **wanted: Any) -> list[str]:
        return [event.request_id for event in (await self.look_up(**wanted))[0]]


def trail_over(metadata: Database, activity: Database, clock: MovableClock, lines: list[bytes]) -> AuditTrail:
    return AuditTrail(
        metadata=metadata, activity=activity, clock=clock, retention_days=90, stream=lines.append
    )


@pytest.fixture
def house(databases: Databases) -> House:
    clock, lines = MovableClock(NOW), list[bytes]()
    trail = trail_over(databases.metadata, databases.activity, clock, lines)
    return House(databases.metadata, databases.activity, trail, trail.lookup, clock, lines)


# --- with the effect ---


async def pending(database: Database) -> list[str]:
    rows = await database.read(lambda connection: audit_pending.list_oldest(connection, limit=100))
    return [key.partition("-")[2] for key, _ in rows]


def put(connection: Connection) -> None:
    server_state.put(connection, "effect", "there")


async def test_a_record_commits_with_its_effect(house: House) -> None:
    made = record(1, call=PUSH)
    await house.metadata.write(audited(grant_of(made), put))

    assert await house.metadata.read(lambda connection: server_state.find(connection, "effect")) == "there"
    assert await pending(house.metadata) == ["request-1"]
    assert made.is_stored


async def test_a_record_of_a_run_that_was_undone_does_not_count(house: House) -> None:
    """PostgreSQL runs a unit again that it could not serialize, and the second run may fail, or find nothing to do."""

    def fail(connection: Connection) -> None:
        raise RepositoryNotFound(repository_name="app", registry_id=ACCOUNT)

    made = record(1, call=PUSH)
    await house.metadata.write(audited(grant_of(made), put))
    with pytest.raises(RepositoryNotFound):
        await house.metadata.write(audited(grant_of(made), fail))
    assert not made.is_stored


async def test_a_unit_that_fails_leaves_neither(house: House) -> None:
    def fail(connection: Connection) -> None:
        put(connection)
        raise RepositoryNotFound(repository_name="app", registry_id=ACCOUNT)

    def fail_after_noting(connection: Connection) -> None:
        note(connection, grant_of(record(2, call=PUSH)))
        fail(connection)

    for unit in (audited(grant_of(record(1, call=PUSH)), fail), fail_after_noting):
        with pytest.raises(RepositoryNotFound):
            await house.metadata.write(unit)

    assert await house.metadata.read(lambda connection: server_state.find(connection, "effect")) is None
    assert await pending(house.metadata) == []


async def test_a_record_that_cannot_be_written_undoes_its_effect(house: House) -> None:
    broken = record(1, call=PUSH, parameters={"name": object()})
    with pytest.raises(TypeError):
        await house.metadata.write(audited(grant_of(broken), put))

    assert await house.metadata.read(lambda connection: server_state.find(connection, "effect")) is None


async def test_a_call_of_several_units_has_one_record_and_a_job_has_none(house: House) -> None:
    made = record(1, call=PUSH)
    await house.commit(made, made)
    await house.metadata.write(audited(grant_of(None), put))

    assert await pending(house.metadata) == ["request-1"]


async def test_what_was_stored_is_not_noted_again_but_a_failure_after_it_is_no_second_event(
    house: House,
) -> None:
    first, second = record(1, call=PUSH), record(2, call=PUSH)
    await house.commit(first, second)
    second.error_code = "InternalFailure"
    house.note(first, second)
    await house.trail.flush()

    events, _ = await house.look_up()
    assert [(event.request_id, event.error_code) for event in events] == [
        ("request-2", None),
        ("request-1", None),
    ]


# --- noted, written, moved ---


async def test_pushes_are_found_before_and_after_they_are_taken_to_the_trail(house: House) -> None:
    await house.commit(record(1, call=PUSH), record(3, call=PUSH))
    house.note(record(2))
    assert await house.ids() == ["request-3", "request-1"]
    await house.trail.write()
    assert await house.ids() == ["request-3", "request-2", "request-1"]
    await house.trail.flush()
    assert await house.ids() == ["request-3", "request-2", "request-1"]
    assert await pending(house.metadata) == []
    assert len(b"".join(house.lines).splitlines()) == 3


async def test_what_was_taken_but_not_removed_when_the_server_died_is_taken_again_and_is_there_once(
    house: House,
) -> None:
    await house.commit(*(record(number, call=PUSH, owner=OTHER) for number in range(3)))
    dying = FailingOnce(house.metadata, RuntimeError("killed"))
    with pytest.raises(RuntimeError, match="killed"):
        await trail_over(dying, house.activity, house.clock, []).move()
    assert await house.ids() == ["request-2", "request-1", "request-0"]
    await house.trail.move()

    assert await house.ids() == ["request-2", "request-1", "request-0"]
    assert await house.ids(account_id=OTHER) == ["request-2", "request-1", "request-0"]
    assert await pending(house.metadata) == []


class Processes:
    """Two processes of one database, each with a stream of its own."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.lines = {"left": list[bytes](), "right": list[bytes]()}
        self.left, self.right = (self.trail(name, house.activity) for name in self.lines)

    def trail(self, name: str, activity: Database) -> AuditTrail:
        house = self.house
        return AuditTrail(
            metadata=house.metadata,
            activity=activity,
            clock=house.clock,
            retention_days=90,
            stream=self.lines[name].append,
            process=name,
        )

    def told(self, name: str) -> list[str]:
        lines = b"".join(self.lines[name]).splitlines()
        return [json.loads(line)["requestID"] for line in lines]


async def test_what_was_stored_with_its_effect_is_streamed_by_one_of_several_processes(house: House) -> None:
    both = Processes(house)
    numbers = range(3 * audit_trail.BATCH_RECORDS)
    for start in (0, 1, 2):
        await house.commit(*(record(number, call=PUSH) for number in numbers[start::3]))
        await asyncio.gather(both.left.move(), both.right.move(), both.left.move())
    await both.left.move()
    await both.right.move()

    told = [*both.told("left"), *both.told("right")]
    assert sorted(set(told)) == sorted(f"request-{number}" for number in numbers)
    assert len(told) == len(numbers)
    assert await pending(house.metadata) == []


async def test_who_moves_events_hands_over_or_is_followed_when_it_is_gone(house: House) -> None:
    both = Processes(house)
    for number, (one, other) in enumerate(
        ((both.left, both.right), (both.right, both.left), (both.left, both.right))
    ):
        await house.commit(record(2 * number, call=PUSH))
        await one.move()
        await house.commit(record(2 * number + 1, call=PUSH))
        await other.move()
        assert len(await pending(house.metadata)) == 1, "the first one lives"
        if number:
            await one.hand_over()
        else:
            house.clock.move(seconds=audit_trail.MOVER_SECONDS)
        await other.move()
        assert await pending(house.metadata) == []
        await other.hand_over()

    assert both.told("left") == ["request-0", "request-3", "request-4"]
    assert both.told("right") == ["request-1", "request-2", "request-5"]


async def test_who_was_followed_meanwhile_streams_nothing(house: House) -> None:
    both = Processes(house)
    await house.commit(record(1, call=PUSH))

    class Paused(FailingOnce):
        """Between an event's being found and its being written to the trail others go on."""

        async def write(self, work: Work[T]) -> T:
            house.clock.move(seconds=audit_trail.MOVER_SECONDS)
            await both.right.move()
            return await house.activity.write(work)

    await both.trail("left", Paused(house.activity, RuntimeError())).move()

    assert both.told("left") == []
    assert both.told("right") == ["request-1"]
    assert await house.ids() == ["request-1"]


async def test_a_database_that_cannot_be_reached_gets_the_records_later(house: House) -> None:
    activity = FailingOnce(house.activity, Unavailable(message="busy"))
    trail = trail_over(house.metadata, activity, house.clock, house.lines)
    trail.record(outcome(record(1)))
    with pytest.raises(Unavailable):
        await trail.write()
    await trail.write()

    assert await house.ids() == ["request-1"]
    assert trail.lost == 0
    assert len(house.lines) == 1


async def test_records_that_cannot_be_written_at_all_are_counted(house: House) -> None:
    house.note(record(1, parameters={"name": object()}))
    with pytest.raises(TypeError):
        await house.trail.write()
    house.note(record(2))
    await house.trail.write()

    assert house.trail.counts()["audit_lost"] == "1"
    assert await house.ids() == ["request-2"]


async def test_too_many_records_are_counted_as_lost(house: House) -> None:
    made = outcome(record(1))
    for _ in range(audit_trail.WAITING_MAX + 3):
        house.trail.record(made)

    assert house.trail.counts() == {"audit_lost": "3", "unauthenticated_requests": "0"}


async def test_requests_of_nobody_knows_whom_are_counted_and_pings_are_not_told(house: House) -> None:
    house.trail.record(outcome(None))
    house.trail.record(outcome(None, caller=Root(account_id=ACCOUNT, access_key_id="AKIA")))
    await house.trail.flush()

    assert house.trail.counts()["unauthenticated_requests"] == "1"
    assert await house.ids() == []


async def test_records_that_come_while_others_are_written_are_kept(house: House) -> None:
    house.note(*(record(number) for number in range(600)))
    writing = asyncio.create_task(house.trail.write())
    await asyncio.sleep(0)
    house.note(record(600))
    await asyncio.gather(writing, house.trail.write())

    assert await house.ids() == [f"request-{number}" for number in range(600, -1, -1)]


# --- read ---


async def pages(house: House, limit: int, **wanted: Any) -> list[str]:
    found: list[str] = []
    after: str | None = None
    while True:
        events, after = await house.look_up(limit=limit, after=after, **wanted)
        assert len(events) <= limit
        found += [event.request_id for event in events]
        if after is None:
            return found


async def test_pages_of_both_sources_make_the_whole(house: House) -> None:
    house.note(*(record(number) for number in range(0, 30, 2)))
    await house.trail.flush()
    await house.commit(*(record(number, call=PUSH) for number in range(1, 30, 2)))
    whole = [f"request-{number}" for number in range(29, -1, -1)]

    for limit in (1, 7, 30, 50):
        assert await pages(house, limit) == whole
    assert await pages(house, 7, since=NOW + 10, until=NOW + 19) == whole[10:20]
    assert await pages(house, 3, attribute=(Attribute.READ_ONLY, "false")) == whole[::2]


async def test_a_reading_looks_at_so_many_and_says_where_to_go_on(house: House) -> None:
    house.note(*(record(number) for number in range(EXAMINED_MAX + 5)))
    await house.trail.flush()
    wanted = (Attribute.RESOURCE_NAME, "app1")
    events, after = await house.look_up(attribute=wanted)
    assert events == []
    assert after is not None
    events, after = await house.look_up(attribute=wanted, after=after)
    assert [event.request_id for event in events] == ["request-1"]
    assert after is None


async def test_an_event_is_found_by_its_id_without_looking_at_the_others(house: House) -> None:
    house.note(*(record(number) for number in range(EXAMINED_MAX + 5)))
    await house.trail.flush()
    ((event, *_), _) = await house.look_up(limit=1, until=NOW)

    found, after = await house.look_up(attribute=(Attribute.EVENT_ID, event_id(event, ACCOUNT)))

    assert (found, after) == ([event], None)


async def test_an_account_sees_its_own_events_and_those_that_others_made_in_it(house: House) -> None:
    house.note(record(1), record(2, owner=OTHER))
    await house.trail.flush()
    await house.commit(record(3, call=PUSH, owner=OTHER))

    assert await house.ids(account_id=ACCOUNT) == ["request-3", "request-2", "request-1"]
    assert await house.ids(account_id=OTHER) == ["request-3", "request-2"]
    assert await house.ids(account_id="333333333333") == []


async def searched(
    house: House, limit: int = 10_000, *, since: int = 0, **wanted: Any
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    after: str | None = None
    while True:
        page = await house.lookup.search(Search(since=since, **wanted), PageRequest(limit=limit, after=after))
        found += [(received.event.request_id, received.account_id) for received in page.items]
        after = page.after
        if after is None:
            return found


async def test_the_operator_sees_every_event_once_or_those_of_an_account(house: House) -> None:
    house.note(record(1), record(2, owner=OTHER))
    await house.trail.flush()
    await house.commit(record(3, call=PUSH, owner=OTHER))

    for limit in (1, 2, 10):
        assert await searched(house, limit) == [
            ("request-1", ACCOUNT),
            ("request-2", ACCOUNT),
            ("request-3", ACCOUNT),
        ]
        assert await searched(house, limit, account_id=OTHER) == [("request-2", OTHER), ("request-3", OTHER)]
    assert await searched(house, repository="app2") == [("request-2", ACCOUNT)]
    assert await searched(house, principal="AKIA", since=NOW + 2, until=NOW + 2) == [("request-2", ACCOUNT)]
    assert await searched(house, principal="nobody") == []


# --- explained and forgotten ---


async def test_a_denial_is_explained_to_the_operator_by_its_request(house: House) -> None:
    house.note(record(1, error_code="AccessDenied", explanation={"decision": "IMPLICIT_DENY"}))
    await house.trail.flush()

    assert await house.lookup.find_explanation("request-1") == {"decision": "IMPLICIT_DENY"}
    assert await house.lookup.find_explanation("request-2") is None
    ((event,), _) = await house.look_up()
    assert not hasattr(event, "explanation")


async def test_what_is_older_than_the_retention_is_forgotten(house: House) -> None:
    old = [record(number, explanation={"decision": "IMPLICIT_DENY"}) for number in range(1_200)]
    house.note(*old)
    await house.trail.flush()
    house.clock.move(seconds=90 * DAY // 1_000_000)
    assert await house.trail.expire() == 0
    assert len(await house.ids()) == 1_200
    house.clock.move(seconds=1)
    house.note(record(1_000_000_000))
    await house.trail.flush()
    removed = list[int]()
    while step := await house.trail.expire():
        removed.append(step)

    assert removed == [2_000, 400], "a bounded piece each time, told until nothing is left"
    assert await house.ids() == ["request-1000000000"]
    assert await house.lookup.find_explanation("request-1") is None
