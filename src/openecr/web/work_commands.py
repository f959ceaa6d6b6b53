"""What the operator asks of background work: what there is to do, what failed, what collection and scrubbing found."""

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Collection as Group
from typing import Any, Literal

import msgspec

from openecr.application.collection import Collection
from openecr.application.jobs import Jobs
from openecr.application.rewrapping import Rewrapping, totals
from openecr.domain.errors import OperatorError
from openecr.domain.jobs import JobState, JobStatus
from openecr.ports.keys import ServerKeyRing

REMOVE_ORPHANS = "remove-orphans"
REWRAP_KEYS = "rewrap-keys"


PAYLOAD_TOLD_MAX_BYTES = 2048
"""Longer ones are left out of lists: an answer is a line of bounded length."""

_PATIENCE_SECONDS = 10
"""So much longer than a lease it may take until somebody works on what is due."""


class WorkCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`job` is for the commands on one job, `kinds` for those on all of some kinds; `state` and `after` page a list."""

    command: Literal[
        "list", "watch", "retry", "cancel", "run", "garbage", "remove-orphans", "keys", "add-key"
    ]
    job: int = 0
    kinds: tuple[str, ...] = ()
    state: Literal["ready", "running", "dead"] | None = None
    after: int = 0


class WorkCommands:
    """Obeys them."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        kinds: Group[str],
        collection: Collection,
        rewrapping: Rewrapping,
        keys: ServerKeyRing,
        add_key: Callable[[], Awaitable[dict[str, Any]]],
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """`kinds` of jobs are those that are done here: an earlier start, of other settings, may have left others.

        `add_key` makes the next master key, and says which. `patience_seconds` more than a lease it may take until
        somebody works on what is due.
        """
        self._jobs = jobs
        self._kinds = frozenset(kinds)
        self._collection = collection
        self._rewrapping = rewrapping
        self._keys = keys
        self._add_key = add_key
        self._patience_seconds = jobs.lease_seconds + patience_seconds

    async def obey(self, command: WorkCommand) -> dict[str, Any]:
        """Do it, and return what is told. Raises OperatorError."""
        match command.command:
            case "list":
                return {"jobs": await self._list(command)}
            case "watch":
                watched = await self._jobs.watch(command.kinds)
                return {"jobs": [_told(status) for status in watched.jobs], "holds": watched.holds}
            case "retry":
                await self._jobs.retry(command.job)
            case "cancel":
                await self._jobs.cancel(command.job)
            case "run":
                return await self._run(command.kinds)
            case _:
                return await self._of_what_is_stored(command)
        return {}

    async def _of_what_is_stored(self, command: WorkCommand) -> dict[str, Any]:
        match command.command:
            case "garbage":
                return {"garbage": msgspec.to_builtins(await self._collection.preview())}
            case "keys":
                return {"keys": await self._key_status()}
            case "add-key":
                return {"key": await self._add_key()}
            case _:
                await self._jobs.enqueue(REMOVE_ORPHANS)
                return await self._begun((REMOVE_ORPHANS,))

    async def _list(self, command: WorkCommand) -> list[dict[str, Any]]:
        state = None if command.state is None else JobState(command.state)
        told = [_told(status) for status in await self._jobs.list(state, after=command.after)]
        for job in told:
            if len(msgspec.json.encode(job["payload"])) > PAYLOAD_TOLD_MAX_BYTES:
                job["payload"] = None
        return told

    async def _key_status(self) -> dict[str, Any]:
        counts = await self._rewrapping.count()
        known, used = self._keys.numbers, totals(counts)
        return {
            "sealing": self._keys.sealing_number,
            "keys": [
                {"number": number, "is_known": number in known, "rows": used.get(number, 0)}
                for number in sorted({*known, *used})
            ],
            "columns": [
                {"column": column, "number": number, "rows": rows}
                for column, counted in counts.items()
                for number, rows in sorted(counted.items())
            ],
        }

    async def _run(self, kinds: Sequence[str]) -> dict[str, Any]:
        scheduled = await self._jobs.scheduled_kinds()
        if not scheduled:
            raise OperatorError(
                message="no worker has begun yet: `serve --worker` is one, and `openecr worker`"
            )
        known = [kind for kind in scheduled if kind in self._kinds]
        unknown = [kind for kind in kinds if kind not in known]
        if unknown:
            raise OperatorError(
                message=f"no kind of work is called {unknown[0]}: there are {', '.join(known)}"
            )
        if REWRAP_KEYS in kinds:
            await self._rewrapping.ask()
        return await self._begun(kinds)

    async def _begun(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Let it run; tell how it stood before, and after how long without a sign of work there is no worker."""
        before = await self._jobs.run_now(kinds)
        return {
            "jobs": [_told(status) for status in before],
            "patience_seconds": self._patience_seconds,
        }


def _told(status: JobStatus) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(status)
    return told
