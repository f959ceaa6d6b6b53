"""SQLite: one writer thread with group commit, readers beside it.

The writer drains its queue into one transaction, a savepoint per unit, and answers after the shared commit. It is the
only connection that checkpoints, which keeps clear of the WAL-reset fault of SQLite before 3.51.3.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from openecr.domain.errors import StorageFull, Unavailable
from openecr.store.connections import SqliteConnection
from openecr.store.database import DatabaseFailed, Work

T = TypeVar("T")

BATCH_UNITS = 64
READER_THREADS = 3
_BUSY_TIMEOUT_SECONDS = 10
_CHECKPOINT_PAGES = 4000


@dataclass(slots=True, kw_only=True)
class _Job:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """Open a raw connection with the settings that durability and correctness need.

    All connections are of this process, and `unix-excl` holds it to that: it locks the file against every other
    process and keeps the index of the WAL in memory, which saves each read four locking calls (sqlite.org, vfs.html).
    """
    raw = sqlite3.connect(
        f"{path.absolute().as_uri()}?vfs=unix-excl",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_TIMEOUT_SECONDS,
        cached_statements=512,
    )
    if writes:
        raw.execute("PRAGMA auto_vacuum=INCREMENTAL")
        raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("PRAGMA foreign_keys=ON")
    raw.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES if writes else 0}")
    raw.execute("PRAGMA cache_size=-32768")
    raw.execute("PRAGMA temp_store=MEMORY")
    if not writes:
        raw.execute("PRAGMA query_only=ON")
    return raw


class SqliteDatabase:
    """One SQLite file. Made and used in one event loop; `on_failure` is called once when it can be trusted no more."""

    def __init__(self, path: Path, *, on_failure: Callable[[BaseException], None]) -> None:
        self._path = path
        self._on_failure = on_failure
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failed: BaseException | None = None
        self._closed = False
        self._writer_raw = connect(path, writes=True)
        self._inline = SqliteConnection(connect(path, writes=False))
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="sqlite-reader")
        self._local = threading.local()
        self._reader_raws: list[sqlite3.Connection] = []
        self._writer = threading.Thread(target=self._write_batches, name="sqlite-writer", daemon=True)
        self._writer.start()

    async def read(self, work: Work[T]) -> T:
        """Run bounded point reads inline, in the event loop's thread."""
        self._check_open()
        return work(self._inline)

    async def scan(self, work: Work[T]) -> T:
        """Run longer reads in one snapshot, in a reader thread."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._scan, work)

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work in the writer thread; return after the commit that it shares with its neighbours."""
        self._check_open()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        answer.add_done_callback(_retrieve)
        self._jobs.put(_Job(work=work, loop=loop, answer=answer))
        # A caller that goes away must not make the outcome unknown to the unit's other effects.
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """Let what is queued finish, then close every connection."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for raw in (*self._reader_raws, self._inline.raw, self._writer_raw):
            raw.close()

    def _check_open(self) -> None:
        if self._failed is not None:
            raise DatabaseFailed(str(self._failed))
        if self._closed:
            message = "the database is closed"
            raise DatabaseFailed(message)

    def _scan(self, work: Work[T]) -> T:
        raw: sqlite3.Connection | None = getattr(self._local, "raw", None)
        if raw is None:
            raw = connect(self._path, writes=False)
            self._local.raw = raw
            self._reader_raws.append(raw)
        raw.execute("BEGIN")
        try:
            return work(SqliteConnection(raw))
        finally:
            if raw.in_transaction:
                raw.execute("ROLLBACK")

    def _write_batches(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            batch = [job]
            while len(batch) < BATCH_UNITS:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._run_batch(batch)
                    return
                batch.append(following)
            self._run_batch(batch)

    def _run_batch(self, batch: list[_Job]) -> None:
        try:
            results: list[tuple[Any, BaseException | None]] = self._run_units(batch)
        except BaseException as error:  # noqa: BLE001 -- whatever broke the batch is told to everyone in it
            results = [(None, self._undo(error))] * len(batch)
        _answer(batch, results)

    def _run_units(self, batch: list[_Job]) -> list[tuple[Any, BaseException | None]]:
        if self._failed is not None:
            raise self._failed
        raw = self._writer_raw
        connection = SqliteConnection(raw)
        raw.execute("BEGIN IMMEDIATE")
        results = [self._run_unit(connection, job.work) for job in batch]
        raw.execute("COMMIT")
        return results

    def _run_unit(self, connection: SqliteConnection, work: Work[Any]) -> tuple[Any, BaseException | None]:
        raw = connection.raw
        raw.execute("SAVEPOINT unit")
        try:
            result: Any = work(connection)
        except Exception as error:  # given back to the caller of this unit
            if _is_fatal(error) or not raw.in_transaction:
                raise  # SQLite has ended the transaction (a full disk, say): nothing of the batch is stored
            raw.execute("ROLLBACK TO unit")
            raw.execute("RELEASE unit")
            return None, error
        raw.execute("RELEASE unit")
        return result, None

    def _undo(self, error: BaseException) -> BaseException:
        """Undo the batch; return what its callers are told. What does not pass stops the server."""
        passing = _passing(error)
        if passing is not None:
            try:
                if self._writer_raw.in_transaction:
                    self._writer_raw.rollback()
            except sqlite3.Error as second:
                error = second
            else:
                return passing
        if self._failed is None:
            self._failed = error
            self._on_failure(error)
        return DatabaseFailed(str(error))


def _passing(error: BaseException) -> Unavailable | None:
    """Return what to tell of a failure that leaves the database as good as it was."""
    if not isinstance(error, sqlite3.Error):
        return None
    match getattr(error, "sqlite_errorcode", None):
        case sqlite3.SQLITE_FULL:
            return StorageFull(context=str(error))
        case sqlite3.SQLITE_BUSY:  # a lock could not be had in time
            return Unavailable(message="The registry is busy. Try again.", context=str(error))
        case _:
            return None


_FATAL_CODES = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FULL}
)
_PRIMARY_CODE = 0xFF


def _is_fatal(error: BaseException) -> bool:
    """Tell whether the file itself failed, so that no later statement can be trusted."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & _PRIMARY_CODE in _FATAL_CODES


def _retrieve(answer: "asyncio.Future[Any]") -> None:
    """Mark the outcome as seen: its caller may have gone away."""
    if not answer.cancelled():
        answer.exception()


def _answer(batch: list[_Job], results: list[tuple[Any, BaseException | None]]) -> None:
    """Wake every caller; callers of one loop by one call."""
    loops = {id(job.loop): job.loop for job in batch}
    for key, loop in loops.items():
        mine = [(job, result) for job, result in zip(batch, results, strict=True) if id(job.loop) == key]
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:
            continue  # the loop has closed: nobody waits any more


def _resolve(answers: list[tuple[_Job, tuple[Any, BaseException | None]]]) -> None:
    for job, (result, error) in answers:
        if job.answer.cancelled():
            continue
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)
