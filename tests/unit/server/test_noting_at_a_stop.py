"""What answered requests have left in memory is in the files of an embedded server after each orderly stop."""

import asyncio
from pathlib import Path

from openecr.store.pulls import BATCH_ROWS
from openecr.testing.server import in_process


async def test_a_stop_whose_time_is_used_up_still_writes_what_was_noted(tmp_path: Path) -> None:
    pulled = range(1, 2 * BATCH_ROWS + 1)
    async with in_process(tmp_path, flags={"shutdown_seconds": 1}) as server:
        for image_id in pulled:
            server.parts.pull_times.record(image_id)
        server.parts.stopping.for_requests()  # its time begins
        await asyncio.sleep(1)

    async with in_process(tmp_path) as server:
        assert (await server.parts.pull_times.find(pulled)).keys() == set(pulled)
