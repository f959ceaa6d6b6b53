"""A program that waits at its start for another's migration, and is told to stop: it ends at once, and cleanly."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from openecr.store.migrating import version_table
from openecr.store.postgres_migrating import ALONE, SchemaState, examine_postgresql, migrate_postgresql
from tests.contract.databases import postgres_server
from tests.running import START_SECONDS, free_port, plain_environment
from tests.scenario.drivers import variables

NAME = "older"
STOP_SECONDS = 15
"""Half of what a stop may take: nothing is to be waited for."""

_OLDER = f"UPDATE {version_table('metadata')} SET version_num = '0001'"
_WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
 WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()
"""


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_server() as postgres:
        postgres.create(NAME)
        yield postgres.dsn(NAME)


async def wait_for_a_waiter(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with asyncio.timeout(START_SECONDS):
        while not await connection.fetchval(_WAITING):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_program_that_waits_for_another_migration_stops(
    url: str, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    await migrate_postgresql(url)
    other = await asyncpg.connect(url)
    await other.execute(_OLDER)
    settings = {"database": url, "keys": str(tmp_path / "keys"), "blobs": str(tmp_path / "blobs")}
    port = ["--port", str(free_port())] if command == "serve" else []
    async with other.transaction():
        await other.execute(ALONE)
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openecr", command, "--data", str(tmp_path / "data"), "--migrate", *port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=plain_environment() | variables(settings) | {"OPENECR_LOG_LEVEL": "info"},
        )
        try:
            await wait_for_a_waiter(other)
            program.send_signal(number)
            async with asyncio.timeout(STOP_SECONDS):
                told, _ = await program.communicate()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
    await other.close()

    assert program.returncode == 0, told
    assert b"stopped before the start was over" in told
    assert b"Traceback" not in told
    assert await examine_postgresql(url) is SchemaState.OLDER
