"""A start that ends when the process is told to stop: it may wait for another process's migration for an hour."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

import structlog

T = TypeVar("T")

_LOG = structlog.get_logger(__name__)


@asynccontextmanager
async def started(starting: AbstractAsyncContextManager[T], stop: asyncio.Event) -> AsyncGenerator[T | None]:
    """Enter a context and leave it in the end; None where `stop` came first: what was entered is left again."""
    limit = asyncio.timeout(None)

    async def end() -> None:
        await stop.wait()
        limit.reschedule(asyncio.get_running_loop().time())

    async with AsyncExitStack() as stack:
        entered: T | None = None
        try:
            async with limit:
                ending = asyncio.create_task(end())  # noqa: TID251 -- ended below
                try:
                    entered = await stack.enter_async_context(starting)
                finally:
                    ending.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            _LOG.info("stopped before the start was over")
        yield entered
