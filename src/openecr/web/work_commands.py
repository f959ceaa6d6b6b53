"""What the operator asks of background work: what there is to do, what failed, what collection and scrubbing found."""

from collections.abc import Collection as Group
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from openecr.application.collection import Collection
from openecr.application.jobs import Jobs
from openecr.domain.errors import OperatorError
from openecr.domain.jobs import JobStatus

REMOVE_ORPHANS = "remove-orphans"


class WorkCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`job` is for the commands on one job, `kinds` for those on all of some kinds."""

    command: Literal["list", "retry", "cancel", "run", "garbage", "remove-orphans"]
    job: int = 0
    kinds: tuple[str, ...] = ()


class WorkCommands:
    """Obeys them."""

    def __init__(self, *, jobs: Jobs, kinds: Group[str], collection: Collection) -> None:
        """`kinds` of jobs are those that are done here: an earlier start, of other settings, may have left others."""
        self._jobs = jobs
        self._kinds = frozenset(kinds)
        self._collection = collection

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
            case "remove-orphans":
                await self._jobs.enqueue(REMOVE_ORPHANS, unique_key="operator")
        return {}

    async def _run(self, kinds: Sequence[str]) -> None:
        schedules = {status.kind for status in await self._jobs.list() if status.every_seconds is not None}
        known = schedules & self._kinds
        unknown = [kind for kind in kinds if kind not in known]
        if unknown:
            raise OperatorError(
                message=f"no kind of work is called {unknown[0]}: there are {', '.join(sorted(known))}"
            )
        await self._jobs.run_now(kinds)


def _told(status: JobStatus) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(status)
    return told
