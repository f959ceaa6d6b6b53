"""Obeying a command where no server runs here: the database is opened for just that long."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from openecr.adapters.clocks import SystemClock
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.env_file import read_environment, write_environment
from openecr.adapters.ids import SystemIds
from openecr.adapters.logs import configure_logging
from openecr.application.accounts import Accounts
from openecr.domain.accounts import RootKey
from openecr.domain.errors import CannotStart
from openecr.server import keys
from openecr.server.databases import open_databases
from openecr.settings import Settings
from openecr.web.control import AccountCommands, Command


def obey(settings: Settings, command: Command) -> dict[str, Any]:
    """Do what a server would. Raises OperatorError."""
    _require_data(settings)
    _log_beside_the_answer(settings)
    with DataFolder.acquire(settings.data) as folder:
        return asyncio.run(_obey(settings, folder, command))


def add_key(settings: Settings) -> dict[str, Any]:
    """Make the next master key, as a server would. Raises OperatorError."""
    if not settings.keys_kms_keys and not _has_database(settings):
        return asyncio.run(keys.add_key(settings, None, None))
    _require_data(settings)
    _log_beside_the_answer(settings)
    with DataFolder.acquire(settings.data) as folder:
        return asyncio.run(_add_key(settings, folder))


async def _add_key(settings: Settings, folder: DataFolder) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        databases = await open_databases(
            settings, folder, stack, clock=SystemClock(), on_failure=lambda _: None
        )
        return await keys.add_key(settings, databases.metadata, databases.master_keys)


async def _obey(settings: Settings, folder: DataFolder, command: Command) -> dict[str, Any]:
    failures: list[BaseException] = []
    async with AsyncExitStack() as stack:
        databases = await open_databases(
            settings, folder, stack, clock=SystemClock(), on_failure=failures.append
        )
        accounts = Accounts(
            database=databases.metadata, keys=databases.keys, clock=SystemClock(), ids=SystemIds()
        )
        default = await accounts.find_default()

        def follow(key: RootKey) -> None:
            if key.account_id == default:
                follow_key(folder.path, key)

        return await AccountCommands(accounts, key_changed=follow).obey(command)


def _log_beside_the_answer(settings: Settings) -> None:
    """Leave standard output to what was asked for: a script reads it."""
    configure_logging(log_format=settings.log_format, level=settings.log_level)


def _require_data(settings: Settings) -> None:
    if not _has_database(settings):
        raise CannotStart(
            message=f"no server was ever started on {settings.data}: run `openecr serve`, "
            "or give --data or --database"
        )


def _has_database(settings: Settings) -> bool:
    return settings.database is not None or (settings.data / "metadata.sqlite").exists()


def follow_key(data: Path, key: RootKey) -> None:
    """Put the default account's new root key into the `env` file, where there is one."""
    try:
        environment = read_environment(data)
    except CannotStart:
        return  # the next start writes it
    write_environment(data, replace(environment, access_key_id=key.access_key_id, secret=key.secret))
