"""A whole server in this process, over a real data folder, with a clock that the test moves."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from openecr.adapters.clocks import SystemClock
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.ids import SystemIds
from openecr.server import Parts, compose
from openecr.settings import load
from openecr.testing.clocks import MovableClock
from openecr.web.messages import Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessServer:
    """A server without a port."""

    parts: Parts
    clock: MovableClock
    folder: Path

    @property
    def handle(self) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers requests."""
        return self.parts.web.handle

    @property
    def root_key(self) -> tuple[str, str]:
        """Return id and secret of the default account's root key."""
        return self.parts.root_key.access_key_id, self.parts.root_key.secret


@asynccontextmanager
async def in_process(
    folder: Path,
    *,
    regions: Sequence[str] = ("us-east-1",),
    limits: Mapping[str, int] | None = None,
    clock: MovableClock | None = None,
    flags: Mapping[str, object] | None = None,
) -> AsyncGenerator[InProcessServer]:
    """Open a server over `folder`, and close it on the way out. Raises what made it fail.

    `flags` are more settings by their names.
    """
    failures: list[BaseException] = []
    settings = replace(
        load({"data": str(folder), "regions": tuple(regions), **(flags or {})}, {}), limits=dict(limits or {})
    )
    used = clock or MovableClock(SystemClock().now())  # clients sign with the real time
    with DataFolder.acquire(folder) as data:
        async with compose(settings, data, clock=used, ids=SystemIds(), on_failure=failures.append) as parts:
            yield InProcessServer(parts=parts, clock=used, folder=folder)
    if failures:
        raise failures[0]
