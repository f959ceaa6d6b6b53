"""What a data folder holds after a loss: the real program opens it, without any repair, and answers."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import open_key_ring
from openecr.application.data_keys import DataKeys
from openecr.domain.digests import Digest
from openecr.engines.sealing import Damaged, SealedContent, decode
from tests.clients.images import OCI_MANIFEST, digest_of
from tests.durability.histories import Found, Key, differences, observed
from tests.scenario.drivers import InProcessDriver, in_process_driver

_LOCATIONS = " UNION ALL ".join(
    f"SELECT location FROM {table}" for table in ("blobs", "upload_parts", "doomed")
)


def losses(
    data: Path,
    expected: Mapping[Key, tuple[bytes | None, ...]],
    *,
    authorization: str,
    root_key: tuple[str, str],
) -> list[str]:
    """Open a data folder with today's program; a line for everything that is not as promised."""
    try:
        with in_process_driver(data) as driver:
            found = [] if driver.server.root_key == root_key else ["the root key is another one"]
            found += differences(expected, observed(expected, lambda path: _get(driver, path, authorization)))
    except Exception as error:  # noqa: BLE001 - whatever keeps it from opening is what the test wants to know
        return [f"it does not open: {error!r}"]
    return found + damages(data)


def _get(driver: InProcessDriver, path: str, authorization: str) -> Found:
    headers = {"authorization": authorization, "accept": OCI_MANIFEST}
    answer = driver.http("GET", path, headers=headers)
    return Found(status=answer.status, headers=answer.headers, body=answer.body)


def opened(data: Path, digest: str, stored: bytes, *, header: bytes, sealed_key: bytes) -> bytes | None:
    """The content of a sealed blob, or None: it is not what the row says."""
    keys = DataKeys(keys=open_key_ring(data / "keys", may_create=False), ids=SystemIds(), encrypts=True)
    layout = decode(header)
    sealed = SealedContent(layout, keys.of_blob(Digest.parse(digest), header, sealed_key))
    segments = layout.segments(0, layout.size_bytes)
    try:
        content = [sealed.open(each, stored[each.stored_start : each.stored_stop]) for each in segments]
    except Damaged:
        return None
    return b"".join(content) if len(stored) == layout.stored_size_bytes else None


def damages(data: Path) -> list[str]:
    """What is wrong below: in the database, or between it and the files. Nobody may have the folder open."""
    found: list[str] = []
    with closing(sqlite3.connect(data / "metadata.sqlite")) as database:
        found += [
            f"integrity: {line}" for (line,) in database.execute("PRAGMA integrity_check") if line != "ok"
        ]
        found += [f"a row refers to nothing: {row}" for row in database.execute("PRAGMA foreign_key_check")]
        rows = database.execute(
            "SELECT digest, size_bytes, location, header, sealed_key FROM blobs WHERE state = 'stored'"
        )
        for digest, size_bytes, location, header, sealed_key in rows:
            file = data / "blobs" / location[:2] / location
            stored = file.read_bytes() if file.exists() else None
            content = (
                stored
                if stored is None or header is None
                else opened(data, digest, stored, header=header, sealed_key=sealed_key)
            )
            if content is None or len(content) != size_bytes or digest_of(content) != digest:
                found.append(f"the row of {digest} leads to other bytes")
        for digest, content in database.execute(
            "SELECT digest, content FROM manifests JOIN images ON images.id = manifests.image_id"
        ):
            if digest_of(content) != digest:
                found.append(f"the manifest {digest} is another one")
        known = {location for (location,) in database.execute(_LOCATIONS)}
    stored = {file.name for file in (data / "blobs").glob("*/*")}
    found += [f"no row knows the file {name}" for name in sorted(stored - known)]
    return found
