"""What the operator asks of background work: what there is to do, what failed, what collection and scrubbing found."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from openecr.application.collection import Collection
from openecr.application.jobs import Jobs
from openecr.application.rewrapping import Rewrapping, totals
from openecr.domain.errors import OperatorError
from openecr.domain.jobs import JobStatus
from openecr.ports.keys import ServerKeyRing

REMOVE_ORPHANS = "remove-orphans"
REWRAP_KEYS = "rewrap-keys"


class WorkCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`job` is for the commands on one job, `kinds` for those on all of some kinds."""

    command: Literal["list", "retry", "cancel", "run", "garbage", "remove-orphans", "keys", "add-key"]
    job: int = 0
    kinds: tuple[str, ...] = ()


class WorkCommands:
    """Obeys them."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        collection: Collection,
        rewrapping: Rewrapping,
        keys: ServerKeyRing,
        add_key: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        """`add_key` makes the next master key, and says which."""
        self._jobs = jobs
        self._collection = collection
        self._rewrapping = rewrapping
        self._keys = keys
        self._add_key = add_key

    async def obey(self, command: WorkCommand) -> dict[str, Any]:
        """Do it, and return what is told. Raises OperatorError."""
        match command.command:
            case "list":
                return {"jobs": [_told(status) for status in await self._jobs.list()]}
            case "retry":
                await self._jobs.retry(command.job)
            case "cancel":
                await self._jobs.cancel(command.job)
            case "run":
                await self._run(command.kinds)
            case "garbage":
                return {"garbage": msgspec.to_builtins(await self._collection.preview())}
            case "keys":
                return {"keys": await self._key_status()}
            case "add-key":
                return {"key": await self._add_key()}
            case "remove-orphans":
                await self._jobs.enqueue(REMOVE_ORPHANS, unique_key="operator")
        return {}

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

    async def _run(self, kinds: Sequence[str]) -> None:
        known = {status.kind for status in await self._jobs.list() if status.every_seconds is not None}
        unknown = [kind for kind in kinds if kind not in known]
        if unknown:
            raise OperatorError(
                message=f"no kind of work is called {unknown[0]}: there are {', '.join(sorted(known))}"
            )
        await self._jobs.run_now(kinds)


def _told(status: JobStatus) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(status)
    return told
