"""The control socket: private, bounded, and a way to every command."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.accounts import FIRST_ACCOUNT_ID, Accounts
from openecr.application.audit_lookup import AuditLookup
from openecr.application.authorization import Authorizer
from openecr.application.collection import Collection
from openecr.application.explanations import Explanations
from openecr.application.jobs import Jobs
from openecr.application.limits import Limits
from openecr.application.rewrapping import Rewrapping
from openecr.cli.control import ask
from openecr.domain.accounts import RootKey
from openecr.domain.errors import OperatorError
from openecr.domain.jobs import Schedule
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.web.control import (
    ACCOUNTS_PER_PAGE,
    LINE_MAX_BYTES,
    Command,
    ControlServer,
    Question,
    short_address,
)
from openecr.web.work_commands import WorkCommand, WorkCommands

ACCOUNT = "111111111111"


@dataclass
class Heard:
    """What the server told the rest of the program."""

    data: Path
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    keys: list[RootKey] = field(default_factory=list)

    async def ask(self, **command: Any) -> dict[str, Any] | None:
        return await anyio.to_thread.run_sync(lambda: ask(self.data, Command(**command)))


async def add_key() -> dict[str, Any]:
    """What stands for the place of the master keys."""
    return {"number": 2, "made": "another"}


@pytest.fixture
async def heard(tmp_path: Path) -> AsyncIterator[Heard]:
    # Deeper than a socket's address may be long.
    data = tmp_path / ("deep" * 20) / ("er" * 40)
    data.mkdir(parents=True)
    metadata = data / "metadata.sqlite"
    migrate_sqlite(metadata, data / "activity.sqlite")
    failures: list[BaseException] = []
    database = SqliteDatabase(metadata, on_failure=failures.append)
    keys = MasterKeyRing({1: bytes(32)})
    accounts = Accounts(database=database, keys=keys, clock=SystemClock(), ids=SystemIds())
    await accounts.ensure()
    told = Heard(data)
    lookup = AuditLookup(metadata=database, activity=database)
    jobs = Jobs(database=database, clock=SystemClock())
    await jobs.ensure([Schedule(kind="seal-blobs", every_seconds=1)], is_alone=True)
    server = ControlServer(
        data / "control.sock",
        accounts=accounts,
        stop=told.stopped.set,
        key_changed=told.keys.append,
        audit=lookup,
        explanations=Explanations(
            database=database,
            authorizer=Authorizer(database=database),
            lookup=lookup,
            clock=SystemClock(),
            region="us-east-1",
        ),
        work=WorkCommands(
            jobs=jobs,
            kinds=(),
            collection=Collection(
                database=database,
                activity=database,
                blobs=FileBlobStore(data / "blobs", min_free_bytes=0, min_free_ratio=0),
                clock=SystemClock(),
                limits=Limits(),
            ),
            rewrapping=Rewrapping(database=database, keys=keys),
            keys=keys,
            add_key=add_key,
        ),
        status=lambda: {"pid": "7"},
    )
    with socket.socket(socket.AF_UNIX) as dead, short_address(data / "control.sock") as address:
        dead.bind(address)  # what a killed server leaves behind
    await server.start()
    yield told
    await server.close()
    await database.close()
    assert failures == []


async def test_master_keys_are_counted_and_added(heard: Heard) -> None:
    told = await heard.ask(command="work", work=WorkCommand(command="keys"))
    assert told is not None
    assert told["keys"]["sealing"] == 1
    assert told["keys"]["keys"] == [{"number": 1, "is_known": True, "rows": 1}]
    assert {"column": "access_keys.sealed_secret", "number": 1, "rows": 1} in told["keys"]["columns"]
    added = await heard.ask(command="work", work=WorkCommand(command="add-key"))
    assert added == {"key": {"number": 2, "made": "another"}}


async def test_accounts_are_made_listed_and_given_new_keys(heard: Heard) -> None:
    made = await heard.ask(command="account-create", account=ACCOUNT)
    assert made is not None
    assert (made["account"], len(made["secret_access_key"])) == (ACCOUNT, 40)
    rotated = await heard.ask(command="account-rotate-key", account=ACCOUNT)
    assert rotated is not None
    assert [key.access_key_id for key in heard.keys] == [rotated["access_key_id"]]
    listed = await heard.ask(command="account-list")
    assert listed is not None
    found = [(item["account"], item["is_default"], item["access_key_ids"]) for item in listed["accounts"]]
    assert found[1] == (ACCOUNT, False, [rotated["access_key_id"]])
    assert found[0][:2] == ("000000000000", True)


async def test_a_long_list_comes_in_pages(heard: Heard) -> None:
    for number in range(1, ACCOUNTS_PER_PAGE + 1):
        await heard.ask(command="account-create", account=f"{number:012}")
    first = await heard.ask(command="account-list")
    assert first is not None
    assert (len(first["accounts"]), first["after"]) == (ACCOUNTS_PER_PAGE, f"{ACCOUNTS_PER_PAGE - 1:012}")
    second = await heard.ask(command="account-list", after=first["after"])
    assert second is not None
    assert [account["account"] for account in second["accounts"]] == [f"{ACCOUNTS_PER_PAGE:012}"]


async def test_a_mistake_is_told_in_a_line(heard: Heard) -> None:
    with pytest.raises(OperatorError, match="twelve digits"):
        await heard.ask(command="account-create", account="1")
    with pytest.raises(OperatorError, match="there is no account"):
        await heard.ask(command="account-rotate-key", account=ACCOUNT)
    assert heard.keys == []


async def test_status_and_stop(heard: Heard) -> None:
    assert await heard.ask(command="status") == {"pid": "7"}
    assert not heard.stopped.is_set()
    assert await heard.ask(command="stop") == {}
    assert heard.stopped.is_set()


async def test_the_socket_is_its_owners_only(heard: Heard) -> None:
    assert stat.S_IMODE((heard.data / "control.sock").stat().st_mode) == 0o600


async def speak(data: Path, sent: bytes) -> bytes:
    """Send bytes as they are and return all that comes back."""
    folder = os.open(data, os.O_RDONLY)
    try:
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/control.sock")
    finally:
        os.close(folder)
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"{}\n",
        b'{"command":"format-disk"}\n',
        b'{"command":"status","x":1}\n',
        b"[]\n",
        b"\xff\n",
        b"\n",
    ],
)
async def test_what_is_no_command_is_refused_and_the_next_one_obeyed(heard: Heard, line: bytes) -> None:
    answers = (await speak(heard.data, line + b'{"command":"status"}\n')).splitlines()
    assert "does not know this command" in json.loads(answers[0])["error"]
    assert json.loads(answers[1]) == {"result": {"pid": "7"}}


async def test_a_line_without_end_is_not_kept(heard: Heard) -> None:
    assert await speak(heard.data, b"x" * (LINE_MAX_BYTES + 10)) == b""
    assert await heard.ask(command="status") == {"pid": "7"}


async def test_too_many_connections_are_closed(heard: Heard) -> None:
    folder = os.open(heard.data, os.O_RDONLY)
    address = f"/proc/self/fd/{folder}/control.sock"
    kept = [await asyncio.open_unix_connection(address) for _ in range(8)]
    for _, writer in kept:  # each has been accepted once it was answered
        writer.write(b'{"command":"status"}\n')
    for reader, _ in kept:
        assert await reader.readline() != b""
    reader, extra = await asyncio.open_unix_connection(address)
    async with asyncio.timeout(10):  # at once, that is: a silent one that was let in lasts longer
        assert await reader.read() == b""
    for writer in (extra, *(writer for _, writer in kept)):
        writer.close()
        await writer.wait_closed()
    os.close(folder)


async def test_behind_a_dead_servers_socket_nobody_answers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert await anyio.to_thread.run_sync(lambda: ask(tmp_path, Command(command="status"))) is None


async def test_where_no_server_runs_nobody_answers(tmp_path: Path) -> None:
    assert ask(tmp_path, Command(command="status")) is None
    assert ask(tmp_path / "absent", Command(command="status")) is None


async def test_whether_somebody_may_do_a_thing_is_explained(heard: Heard) -> None:
    root = f"arn:aws:iam::{FIRST_ACCOUNT_ID}:root"
    told = await heard.ask(
        command="explain", question=Question(principal=root, action="ecr:PutImage", context={"aws:x": ["1"]})
    )
    assert told is not None
    assert (told["decision"], told["principal"], told["action"], told["resource"]) == (
        "ALLOW",
        root,
        "ecr:PutImage",
        "*",
    )
    assert told["context"]["aws:x"] == ["1"]
    arn = "arn:aws:ecr:us-east-1:999999999999:repository/app"
    told = await heard.ask(
        command="explain", question=Question(principal=root, action="ecr:PutImage", resource=arn)
    )
    assert told is not None
    assert (told["decision"], told["missing"]) == ("IMPLICIT_DENY", "resource-based")


@pytest.mark.parametrize(
    "question",
    [
        Question(request_id="never"),
        Question(principal="nobody", action="ecr:PutImage"),
        Question(principal=f"arn:aws:iam::{FIRST_ACCOUNT_ID}:user/nobody", action="ecr:PutImage"),
        Question(principal=f"arn:aws:iam::{FIRST_ACCOUNT_ID}:root", action="ecr:PutImage", resource="app"),
    ],
)
async def test_what_cannot_be_explained_is_said_in_a_line(heard: Heard, question: Question) -> None:
    with pytest.raises(OperatorError):
        await heard.ask(command="explain", question=question)


async def test_principals_that_are_not_there_are_told(heard: Heard) -> None:
    here, nowhere = f"arn:aws:iam::{FIRST_ACCOUNT_ID}:root", f"arn:aws:iam::{FIRST_ACCOUNT_ID}:user/nobody"
    told = await heard.ask(command="principals", principals=(here, nowhere, "999999999999", "*"))
    assert told == {"unknown": [nowhere, "999999999999"]}


async def test_work_that_another_server_does_is_refused_here(heard: Heard) -> None:
    with pytest.raises(OperatorError, match="no kind of work is called seal-blobs"):
        await heard.ask(command="work", work=WorkCommand(command="run", kinds=("seal-blobs",)))
