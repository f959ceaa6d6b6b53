"""The private control socket: how an operator's commands reach a live server. It is no network door.

A Unix socket in the data folder, for its owner only: a line of JSON asks, a line answers. Every bound is small.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from openecr.application.accounts import Accounts
from openecr.application.audit_lookup import AuditLookup, Search
from openecr.application.explanations import Explanations
from openecr.domain.accounts import RootKey
from openecr.domain.errors import OperatorError, Unavailable
from openecr.domain.pages import PageRequest
from openecr.web.audit_commands import page_of_events
from openecr.web.work_commands import WorkCommand, WorkCommands

LINE_MAX_BYTES = 64 * 1024
ACCOUNTS_PER_PAGE = 100

_CONNECTIONS = 8
_IDLE_SECONDS = 30
_CLOSE_SECONDS = 2

_LOG = structlog.get_logger(__name__)


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be explained: a denial by its request's id, or whether a principal may do a thing now."""

    request_id: str = ""
    principal: str = ""
    action: str = ""
    resource: str = "*"
    context: dict[str, list[str]] = {}


class Command(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One question. `account` is for the commands on one account, `after` continues a list.

    `principals` are those of which it is asked whether they are known. `since` and `until` (instants), `principal` and
    `repository` say which events of the audit trail are wanted. `work` is about background work.
    """

    command: Literal[
        "account-create",
        "account-list",
        "account-rotate-key",
        "audit",
        "explain",
        "principals",
        "status",
        "stop",
        "work",
    ]
    account: str = ""
    after: str | None = None
    since: int = 0
    until: int | None = None
    principal: str | None = None
    repository: str | None = None
    question: Question = Question()
    principals: tuple[str, ...] = ()
    work: WorkCommand = WorkCommand(command="list")

    @property
    def search(self) -> Search:
        """Return which events are wanted."""
        return Search(
            since=self.since,
            until=self.until,
            account_id=self.account or None,
            principal=self.principal,
            repository=self.repository,
        )


class Answer(msgspec.Struct, omit_defaults=True):
    """`error` is a line for the operator; without one, `result` is what was asked for."""

    result: dict[str, Any] = {}
    error: str | None = None


@contextmanager
def short_address(path: Path) -> Generator[str]:
    """Yield an address of a socket's path that fits into the 107 bytes which the kernel allows."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class AccountCommands:
    """The commands on accounts, which a command line also obeys by itself where no server runs."""

    def __init__(self, accounts: Accounts, *, key_changed: Callable[[RootKey], None]) -> None:
        """`key_changed` hears of a rotated root key."""
        self._accounts = accounts
        self._key_changed = key_changed

    async def obey(self, command: Command) -> dict[str, Any]:
        """Do it, and return what is told. Raises OperatorError."""
        match command.command:
            case "account-create":
                return _told(await self._accounts.create(command.account))
            case "account-rotate-key":
                key = await self._accounts.rotate_key(command.account)
                self._key_changed(key)
                return _told(key)
            case "account-list":
                return await self._list(command.after)
            case "audit" | "explain" | "principals" | "status" | "stop" | "work":
                raise OperatorError(message="no server runs on this data folder")

    async def _list(self, after: str | None) -> dict[str, Any]:
        page = await self._accounts.list(PageRequest(limit=ACCOUNTS_PER_PAGE, after=after))
        found = await self._accounts.find_default()
        return {
            "accounts": [
                {
                    "account": account.account_id,
                    "created_at": account.created_at,
                    "is_default": account.account_id == found,
                    "access_key_ids": account.access_key_ids,
                }
                for account in page.items
            ],
            "after": page.after,
        }


class ControlServer:
    """Answers commands from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        *,
        accounts: Accounts,
        stop: Callable[[], None],
        key_changed: Callable[[RootKey], None],
        audit: AuditLookup,
        explanations: Explanations,
        work: WorkCommands,
        status: Callable[[], Mapping[str, str]],
    ) -> None:
        """`stop` ends the server, `key_changed` hears of a rotated root key, `status` says what is told of it."""
        self._path = path
        self._commands = AccountCommands(accounts, key_changed=key_changed)
        self._stop = stop
        self._audit = audit
        self._explanations = explanations
        self._work = work
        self._status = status
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen. The caller holds the data folder, so a socket that lies there is a dead server's."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_address(self._path) as address:
            listener.bind(address)
        self._path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._converse, sock=listener, limit=LINE_MAX_BYTES)

    async def close(self) -> None:
        """Stop listening, and end the conversations."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        tasks = tuple(self._connections)
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            if len(self._connections) <= _CONNECTIONS:
                await self._answer_lines(reader, writer)
        except (OSError, ValueError, TimeoutError) as error:  # gone, a line too long, or silent for too long
            _LOG.debug("control connection ended", error=repr(error))
        finally:
            del self._connections[task]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self._server is not None and self._server.is_serving():
            line = await asyncio.wait_for(reader.readline(), _IDLE_SECONDS)
            if not line:
                return
            writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
            await asyncio.wait_for(writer.drain(), _IDLE_SECONDS)

    async def _answer(self, line: bytes) -> Answer:
        try:
            return Answer(result=await self._result(msgspec.json.decode(line, type=Command)))
        except msgspec.MsgspecError:
            return Answer(error="the server does not know this command: is it of another version?")
        except (OperatorError, Unavailable) as error:
            return Answer(error=error.message)
        except Exception:  # noqa: BLE001 -- a bug ends the command, not the server
            _LOG.exception("control command failed")
            return Answer(error="the command failed: see the server's log")

    async def _result(self, command: Command) -> dict[str, Any]:
        match command.command:
            case "status":
                return dict(self._status())
            case "audit":
                return await page_of_events(self._audit, command.search, command.after)
            case "explain":
                return dict(await self._explain(command.question))
            case "work":
                return await self._work.obey(command.work)
            case _:
                return await self._short(command)

    async def _short(self, command: Command) -> dict[str, Any]:
        match command.command:
            case "principals":
                return {"unknown": await self._explanations.unknown_principals(command.principals)}
            case "stop":
                self._stop()
                return {}
            case _:
                return await self._commands.obey(command)

    async def _explain(self, question: Question) -> Mapping[str, object]:
        if question.request_id:
            return await self._explanations.of_request(question.request_id)
        keys = {name: tuple(values) for name, values in question.context.items()}
        return await self._explanations.explain(question.principal, question.action, question.resource, keys)


def _told(key: RootKey) -> dict[str, Any]:
    return {"account": key.account_id, "access_key_id": key.access_key_id, "secret_access_key": key.secret}
