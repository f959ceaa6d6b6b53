"""Where PostgreSQL is: of several hosts the one that takes changes, and what libpq's URL and environment say of it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from openecr.adapters.clocks import SystemClock
from openecr.adapters.tls import TlsFiles, ensure_certificate
from openecr.domain.errors import CannotStart
from openecr.store.postgres_connecting import Connector, RawConnection, read_url
from openecr.store.postgres_migrating import (
    SchemaState,
    examine_postgresql,
    find_weaknesses,
    migrate_postgresql,
)
from openecr.store.postgres_pool import PostgresPool
from openecr.store.postgresql import PostgresDatabase
from openecr.store.statements import Statement
from tests.contract.databases import Cluster, cluster
from tests.contract.questions import adding, names

_PASSWORD = "hunter2"
_HBA = """
local all all trust
local replication all trust
hostssl all secured 127.0.0.1/32 scram-sha-256
hostnossl all plain 127.0.0.1/32 scram-sha-256
"""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase.connect(url)
    try:
        yield database
    finally:
        await database.close()


# --- several hosts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A server, and one that follows it."""

    primary: Cluster
    standby: Cluster

    def url(self, *hosts: Path, more: str = "") -> str:
        listed = ",".join(map(str, hosts or (self.standby.folder, self.primary.folder)))
        return f"postgresql://openecr@/postgres?host={listed}{more}"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        primary, standby = stack.enter_context(cluster()), stack.enter_context(cluster())
        primary.make()
        asyncio.run(migrate_postgresql(primary.start().dsn("postgres")))
        standby.copy(primary.folder)
        standby.start()
        yield Pair(primary=primary, standby=standby)


async def test_nothing_is_read_from_a_standby_that_the_url_names_first(pair: Pair) -> None:
    async with opened(pair.url(pair.standby.folder)) as database:
        with pytest.raises(Exception, match="cannot be reached"):
            await database.read(names)
    assert await migrate_postgresql(pair.url()) is SchemaState.CURRENT
    async with opened(pair.url()) as database:
        await database.write(adding("a"))
        assert "a" in await database.read(names)
        assert "a" in await database.scan(names)
        standby = Statement(text("SELECT pg_is_in_recovery()"))
        for run in (database.read, database.scan, database.write):
            row = await run(lambda connection: connection.fetch_one(standby))
            assert row is not None
            assert row[0] is False


async def test_a_standby_that_takes_over_is_used_at_once(pair: Pair) -> None:
    async with opened(pair.url(pair.primary.folder, pair.standby.folder)) as database:
        await database.write(adding("a"))
        asked = await asyncpg.connect(pair.url(pair.standby.folder))
        while not await asked.fetchval("SELECT count(*) FROM server_state WHERE name = 'a'"):
            pass
        await asked.close()
        await asyncio.to_thread(pair.primary.stop)
        await asyncio.to_thread(pair.standby.promote)
        await database.write(adding("b"))
        assert {"a", "b"} <= {*await database.read(names)}


async def test_a_server_that_stops_taking_changes_is_left_for_one_that_does(pair: Pair) -> None:
    """A proxy before both may lead to either, and connections outlive the change."""
    async with opened(pair.url(pair.primary.folder, pair.standby.folder)) as database:
        await database.write(adding("a"))
        await asyncio.to_thread(pair.standby.promote)
        administrator = await asyncpg.connect(pair.url(pair.primary.folder))
        await administrator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await administrator.execute("SELECT pg_reload_conf()")
        while await administrator.fetchval("SHOW default_transaction_read_only") != "on":
            pass
        await administrator.close()
        await database.write(adding("b"))
        async with opened(pair.url(pair.standby.folder)) as other:
            assert "b" in await other.read(names)


async def test_a_host_that_never_answers_does_not_use_up_the_time_of_the_next(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as stack:
        silent = stack.enter_context(cluster()).folder
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(silent / ".s.PGSQL.5432"))
        listener.listen()
        folder = postgres_url.partition("host=")[2]
        connector = Connector(f"postgresql://openecr@/openecr?host={silent},{folder}&connect_timeout=1")
        connection = await connector.connect({})
        await connection.close()


# --- libpq's environment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A server that listens on TCP, with and without TLS."""

    port: int
    tls: TlsFiles


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with cluster() as server, socket.socket() as taken:
        server.make()
        files = ensure_certificate(tmp_path_factory.mktemp("tls"), ["127.0.0.1"], now_at=SystemClock().now())
        (server.data / "pg_hba.conf").write_text(_HBA)
        for name, file in (("server.crt", files.certificate), ("server.key", files.key)):
            server.keep(name, file.read_bytes())
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
        taken.close()
        url = server.start(f"-c listen_addresses=127.0.0.1 -p {port} -c ssl=on").dsn("postgres")
        asyncio.run(make_roles(f"{url}&port={port}"))
        yield Listening(port=port, tls=files)


async def make_roles(url: str) -> None:
    connection = await asyncpg.connect(url)
    for role in ("plain", "secured"):
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{_PASSWORD}'")
    await connection.close()


Environ = Callable[[Mapping[str, object]], None]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Environ:
    def fill(variables: Mapping[str, object]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return fill


async def whoami(url: str) -> tuple[str, bool]:
    connection = await Connector(url).connect({})
    row = await connection.fetchrow("SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await connection.close()
    assert row is not None
    return str(row[0]), bool(row[1])


async def test_what_the_url_leaves_out_is_taken_from_the_environment(
    postgres_url: str, environ: Environ
) -> None:
    folder = postgres_url.partition("host=")[2]
    environ({"PGHOST": folder, "PGUSER": "openecr", "PGDATABASE": "openecr"})
    assert await examine_postgresql("postgresql://") is SchemaState.CURRENT
    async with opened("postgresql://") as database:
        await database.read(names)


@pytest.mark.parametrize("by", ["PGPASSWORD", "PGPASSFILE"])
async def test_a_password_is_taken_from_the_environment(
    listening: Listening, environ: Environ, tmp_path: Path, by: str
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{listening.port}:postgres:plain:{_PASSWORD}\n")
    passfile.chmod(0o600)
    environ({"PGHOST": "127.0.0.1", "PGPORT": listening.port, "PGDATABASE": "postgres", "PGUSER": "plain"})
    environ({"PGSSLMODE": "disable"})
    environ({"PGPASSWORD": _PASSWORD} if by == "PGPASSWORD" else {"PGPASSFILE": passfile})
    assert await whoami("postgresql://") == ("plain", False)


async def test_tls_is_verified_with_the_authority_that_the_environment_names(
    listening: Listening, environ: Environ
) -> None:
    url = f"postgresql://secured:{_PASSWORD}@127.0.0.1:{listening.port}/postgres?sslmode=verify-full"
    environ({"PGSSLROOTCERT": listening.tls.authority})
    assert await whoami(url) == ("secured", True)
    environ({"PGSSLROOTCERT": listening.tls.certificate})
    with pytest.raises(CannotStart, match="certificate verify failed"):
        await examine_postgresql(url)
    other = url.replace("127.0.0.1", "localhost")
    environ({"PGSSLROOTCERT": listening.tls.authority})
    with pytest.raises(CannotStart, match=r"Hostname mismatch"):
        await examine_postgresql(other)


async def test_keys_that_only_libpq_knows_are_no_settings_of_the_server(postgres_url: str) -> None:
    url = postgres_url.replace("+asyncpg", "") + (
        "&connect_timeout=5&keepalives=1&keepalives_idle=30&tcp_user_timeout=10000&channel_binding=prefer"
        "&gssencmode=disable&client_encoding=utf8&load_balance_hosts=disable&fallback_application_name=x"
        "&application_name=mine&options=-c%20work_mem%3D5MB&target_session_attrs=primary"
    )
    connection = await Connector(url).connect({"application_name": "openecr"})
    assert await connection.fetchval("SHOW application_name") == "mine"
    assert await connection.fetchval("SHOW work_mem") == "5MB"
    await connection.close()


@pytest.mark.parametrize(
    "key",
    [
        "channel_binding=require",
        "gssencmode=require",
        "hostaddr=127.0.0.1",
        "require_auth=scram-sha-256",
        "requirepeer=postgres",
        "connect_timeout=soon",
        "target_session_attrs=standby",
    ],
)
async def test_a_promise_that_cannot_be_kept_is_told(postgres_url: str, key: str) -> None:
    with pytest.raises(CannotStart, match=f"{key} cannot be kept"):
        await examine_postgresql(f"{postgres_url.replace('+asyncpg', '')}&{key}")


@pytest.mark.parametrize(
    ("url", "environment", "hosts"),
    [
        ("postgresql://db/ecr", {}, ()),
        ("postgresql://one,two:1/ecr", {"PGPORT": "7"}, (("one", 7), ("two", 1))),
        ("postgresql://u@[::1]:1,two/ecr", {}, (("::1", 1), ("two", 5432))),
        ("postgresql:///ecr?host=/a,b&port=1,2", {}, (("/a", 1), ("b", 2))),
        ("postgresql://", {"PGHOST": "/a,b"}, (("/a", 5432), ("b", 5432))),
    ],
)
def test_hosts_are_read_as_libpq_does(
    url: str, environment: dict[str, str], hosts: tuple[tuple[str, int], ...]
) -> None:
    found = read_url(url, environment)
    assert (found.hosts, found.target) == (hosts, "read-write")
    assert read_url(url, {**environment, "PGTARGETSESSIONATTRS": "any"}).target == "any"


# --- what a server allows --------------------------------------------------------------------------------------------


async def test_where_the_server_lets_few_in_all_wait_for_those(databases: object, postgres_url: str) -> None:
    url = postgres_url.replace("+asyncpg", "")
    administrator = await asyncpg.connect(url)
    await administrator.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    try:
        pool = PostgresPool(Connector(url.replace("openecr@", "few@")), size=4, settings={})

        async def ask(raw: RawConnection) -> object:
            return await raw.fetchval("SELECT 1")

        assert await asyncio.gather(*(pool.use(ask) for _ in range(20))) == [1] * 20
        await pool.close()
    finally:
        await administrator.execute("DROP ROLE few")
        await administrator.close()


@pytest.mark.parametrize(("said", "used"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
async def test_a_commit_is_on_the_disk_whatever_database_and_role_say(
    databases: object, postgres_url: str, said: str, used: str
) -> None:
    url = postgres_url.replace("+asyncpg", "")
    administrator = await asyncpg.connect(url)
    await administrator.execute(f"ALTER ROLE openecr SET synchronous_commit = {said}")
    show = Statement(text("SELECT current_setting('synchronous_commit')"))
    try:
        async with opened(url) as database:
            row = await database.write(lambda connection: connection.fetch_one(show))
            assert row is not None
            assert row[0] == used
    finally:
        await administrator.execute("ALTER ROLE openecr RESET synchronous_commit")
        await administrator.close()


async def test_settings_that_lose_what_was_acknowledged_are_found(postgres_url: str) -> None:
    """The server of these tests is quick and forgetful."""
    assert await find_weaknesses(postgres_url.replace("+asyncpg", "")) == [
        "fsync=off",
        "full_page_writes=off",
    ]


@pytest.mark.parametrize("connections", [3, 4, 15])
async def test_a_process_keeps_to_its_connections(
    databases: object, postgres_url: str, connections: int
) -> None:
    url = postgres_url.replace("+asyncpg", "") + "&application_name=counted"
    sleep = Statement(text("SELECT pg_sleep(0.01)"))
    asked = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    database = PostgresDatabase.connect(url, connections=connections)
    runs = (database.read, database.scan, database.write)
    count = min(connections, 20) * 2
    await asyncio.gather(*(run(lambda each: each.fetch_one(sleep)) for run in runs for _ in range(count)))
    found = await asked.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'")
    await database.close()
    await asked.close()
    assert 3 <= found <= connections
