"""A program to be traced: every adapter that promises durability keeps its promise once, and says so.

`python -m tests.durability.every_adapter FOLDER` writes a line after each promise.
"""

import asyncio
import sys
from pathlib import Path

from openecr.adapters import tls
from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.blobs.part_writer import BATCH_BYTES
from openecr.adapters.clocks import SystemClock
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.env_file import ClientEnvironment, write_environment
from openecr.adapters.keys.files import add_master_key, open_key_ring


def say(promise: str) -> None:
    """Tell that something is durable now."""
    sys.stdout.write(f"{promise}\n")
    sys.stdout.flush()


async def keep_blobs(root: Path) -> None:
    """Write parts, put them together, remove them, also where they are gone already."""
    store = FileBlobStore(root, min_free_bytes=0, min_free_ratio=0)
    say("the folders of the blobs are made")
    locations = [f"{number:02x}" * 16 for number in (1, 2)]
    for location in locations:
        writer = await store.create_part(location)
        for _ in range(3):
            await writer.write(location.encode() * 200)
        await writer.finish()
        say("a part is finished")
    await store.assemble(locations, "03" * 16)
    say("a blob is put together")
    await store.remove(locations)
    say("parts are removed")
    left = await store.create_part("04" * 16)
    await left.write(bytes(BATCH_BYTES))
    await left.abort()
    await store.remove(["04" * 16])
    say("a part is removed that was dropped before")
    await store.close()


def main() -> None:
    """Make a data folder as a first start does."""
    path = Path(sys.argv[1])
    with DataFolder.acquire(path) as folder:
        say("the data folder is made")
        open_key_ring(folder.keys, may_create=True)
        say("there is a master key")
        add_master_key(folder.keys)
        say("there is another master key")
        tls.ensure_certificate(folder.path, ("localhost",), now_at=SystemClock().now())
        say("there is a certificate")
        for secret in ("one", "two"):
            environment = ClientEnvironment(
                access_key_id="AKIA", secret=secret, region="us-east-1", endpoint_url="http://localhost"
            )
            write_environment(folder.path, environment)
            say("clients are told what they need")
        asyncio.run(keep_blobs(folder.blobs))


if __name__ == "__main__":
    main()
