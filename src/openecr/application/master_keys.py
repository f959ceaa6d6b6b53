"""Master keys that an external KMS holds: kept in the database as it encrypted them, in clear in memory alone.

The KMS is asked when a server starts, and then at an interval, never for a request. A no closes the ring at once, a yes
opens it, and no answer leaves it as it is for a stated time after the last yes. So a key that is disabled there is used
here for no longer than the interval, the pause between two looks and the calls take; where the KMS cannot be reached,
for no longer than that time. A no about a master key that was never open here says nothing about those that are:
another server has added it under a key that this one is not told of yet.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from openecr.application.key_ring_proof import highest_proven
from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.clock import Clock
from openecr.ports.keys import KeyIsAnother, KeyRefused, KeyService
from openecr.store import server_state
from openecr.store.connections import Connection
from openecr.store.database import Database

_LOG = structlog.get_logger(__name__)

SECOND = 1_000_000
RETRY_SECONDS = 10
"""After anything but a yes the KMS is asked again so soon, where the interval is not shorter anyway."""

MASTER_KEYS_MAX = 1_000
_ATTEMPTS = 10


class OpenableRing(Protocol):
    """A ring that is opened and closed from outside."""

    def open(self, master_keys: Mapping[int, bytes], *, until: int) -> None:
        """Use these keys until an instant. Raises ValueError where the one that seals is missing."""
        ...

    def close(self, reason: str) -> None:
        """Forget the keys."""
        ...

    @property
    def closed_because(self) -> str | None:
        """Why it is closed; None: it is open."""
        ...


class MasterKeys:
    """Opens a ring with the master keys of a database, and keeps it open for as long as the KMS lets it."""

    def __init__(
        self,
        *,
        database: Database,
        service: KeyService,
        ring: OpenableRing,
        clock: Clock,
        check_seconds: int,
        trust_seconds: int,
        older: Mapping[int, bytes],
    ) -> None:
        """`older` are master keys from before the external KMS, which still open."""
        self._database = database
        self._service = service
        self._ring = ring
        self._clock = clock
        self._check_seconds = check_seconds
        self._trust_seconds = trust_seconds
        self._older = dict(older)
        self._asked_at = 0
        self._had = frozenset[int]()
        self._is_well = False

    async def start(self, *, may_create: bool) -> None:
        """Open the ring; make the first master key where there is none and `may_create`. Raises CannotStart.

        Of servers that start together on one database one makes the key, and all read it.
        """
        try:
            if not await self._database.read(_list):
                if not may_create:
                    raise CannotStart(
                        message="this database was used with other master keys than an external KMS's: "
                        "give those (--keys FOLDER, or OPENECR_MASTER_KEYS), or their folder as --keys-old too"
                    )
                await self._draw(await self._next_number(()))
            await self._ask()
        except KeyRefused as error:
            raise CannotStart(
                message=f"the external KMS does not let the master keys be used: {error}"
            ) from error
        except Unavailable as error:
            raise CannotStart(
                message=f"the master keys cannot be opened: {error.message} {error.context}".rstrip()
            ) from error
        except ValueError as error:
            raise CannotStart(message=f"the master keys cannot be used: {error}") from error
        self._is_well = True

    async def add(self) -> int:
        """Make another master key, which seals once a server starts that is not told another. Returns its number.

        Raises CannotStart.
        """
        try:
            for _ in range(_ATTEMPTS):
                found = await self._database.read(_list)
                if len(found) >= MASTER_KEYS_MAX:
                    raise CannotStart(message=f"there are {len(found)} master keys, which is the most")
                number = await self._next_number(found)
                if await self._draw(number):
                    return number
        except (KeyRefused, Unavailable) as error:
            raise CannotStart(message=f"the external KMS made no master key: {error}") from error
        raise CannotStart(message="others add master keys: try again")

    @property
    def look_seconds(self) -> int:
        """How often `look` is to be called."""
        return min(RETRY_SECONDS, self._check_seconds)

    async def look(self) -> None:
        """Ask the KMS again, if it is time. Raises DatabaseFailed alone."""
        waits = self._check_seconds if self._is_well else self.look_seconds
        if self._asked_at <= self._clock.now() < self._asked_at + waits * SECOND:
            return  # a clock that was set back is no reason to wait
        was_open = self._ring.closed_because is None
        try:
            await self._ask()
        except KeyRefused as error:
            self._close(f"the external KMS refused: {error}", was_open=was_open)
        except ValueError as error:
            self._close(str(error), was_open=was_open)
        except Unavailable as error:
            self._is_well = False
            _LOG.warning("the external KMS gave no answer", context=error.context or error.message)
            reason = self._ring.closed_because
            if reason is not None:
                self._close(reason, was_open=was_open)
        else:
            self._is_well = True
            if not was_open:
                _LOG.info("the key ring is open again")

    def _close(self, reason: str, *, was_open: bool) -> None:
        self._is_well = False
        self._ring.close(reason)
        if was_open:
            _LOG.error("the key ring is closed", reason=reason)

    async def _ask(self) -> None:
        """Open what the database has. Raises KeyRefused, Unavailable; ValueError where the ring takes no such keys."""
        self._asked_at = asked_at = self._clock.now()
        opened = dict(self._older)
        for number, ciphertext in (await self._database.read(_list)).items():
            if number in self._older:
                raise ValueError(f"master key {number} is both in the folder of old ones and with the KMS")
            try:
                opened[number] = await self._service.decrypt(number, ciphertext)
            except KeyIsAnother as error:
                if not self._had or number in self._had:
                    raise
                _LOG.error(
                    "a master key that others have added cannot be opened", number=number, reason=str(error)
                )
        self._had |= frozenset(opened)
        self._ring.open(opened, until=asked_at + self._trust_seconds * SECOND)

    async def _next_number(self, found: Iterable[int]) -> int:
        """Return the number after all that were ever used: also those whose keys are in no folder any more."""
        return max(*found, *self._older, await self._database.read(highest_proven), 0) + 1

    async def _draw(self, number: int) -> bool:
        """Have a master key drawn, and keep it unless another process was first. Raises KeyRefused, Unavailable."""
        drawn = (await self._service.generate(number)).ciphertext
        return await self._database.write(_keeping(number, drawn))


def is_kept(connection: Connection) -> bool:
    """Tell whether a database holds master keys of an external KMS."""
    return bool(_list(connection))


def _keeping(number: int, ciphertext: bytes) -> Callable[[Connection], bool]:
    name, value = f"{server_state.MASTER_KEY}{number:09}", base64.b64encode(ciphertext).decode()

    def unit(connection: Connection) -> bool:
        server_state.put_first(connection, name, value)
        return server_state.find(connection, name) == value

    return unit


def _list(connection: Connection) -> dict[int, bytes]:
    """Return the master keys as they are kept, by their numbers. Raises ValueError for what is none."""
    found = server_state.list_named(connection, server_state.MASTER_KEY, limit=MASTER_KEYS_MAX)
    try:
        return {
            int(name.removeprefix(server_state.MASTER_KEY)): base64.b64decode(value, validate=True)
            for name, value in found
        }
    except binascii.Error as error:
        raise ValueError("a master key in the database is damaged") from error
