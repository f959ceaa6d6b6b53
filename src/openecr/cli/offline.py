"""Obeying a command where no server runs: the folder is taken, and its database opened, for just that long."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from openecr.adapters.clocks import SystemClock
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.env_file import read_environment, write_environment
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import open_key_ring
from openecr.application.accounts import Accounts
from openecr.domain.accounts import RootKey
from openecr.domain.errors import CannotStart
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.web.control import AccountCommands, Command


def obey(data: Path, command: Command) -> dict[str, Any]:
    """Do what a server would. Raises OperatorError."""
    if not (data / "metadata.sqlite").exists():
        raise CannotStart(
            message=f"no server was ever started on {data}: run `openecr serve`, or give --data"
        )
    with DataFolder.acquire(data) as folder:
        return asyncio.run(_obey(folder, command))


async def _obey(folder: DataFolder, command: Command) -> dict[str, Any]:
    keys = open_key_ring(folder.path, may_create=False)
    migrate_sqlite(folder.database, folder.activity)
    failures: list[BaseException] = []
    database = SqliteDatabase(folder.database, on_failure=failures.append)
    try:
        accounts = Accounts(database=database, keys=keys, clock=SystemClock(), ids=SystemIds())
        default = await accounts.find_default()

        def follow(key: RootKey) -> None:
            if key.account_id == default:
                follow_key(folder.path, key)

        return await AccountCommands(accounts, key_changed=follow).obey(command)
    finally:
        await database.close()


def follow_key(data: Path, key: RootKey) -> None:
    """Put the default account's new root key into the `env` file, where there is one."""
    try:
        environment = read_environment(data)
    except CannotStart:
        return  # the next start writes it
    write_environment(data, replace(environment, access_key_id=key.access_key_id, secret=key.secret))
