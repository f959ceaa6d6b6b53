"""The vectors of the documentation: written once, and true for ever."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from openecr.engines.sealing import ExtentSealer, SealedContent, decode

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))[
    "vectors"
]
PERIOD = bytes(range(251))


def content_of(size_bytes: int) -> bytes:
    """The content of every vector: bytes 0 to 250, again and again."""
    return (PERIOD * (size_bytes // len(PERIOD) + 1))[:size_bytes]


def sealed(vector: dict[str, Any]) -> bytes:
    nonces = iter(bytes.fromhex(nonce) for nonce in vector["nonces"])
    content, stored = content_of(sum(each["size_bytes"] for each in vector["extents"])), b""
    for extent in vector["extents"]:
        sealer = ExtentSealer(
            bytes.fromhex(vector["key"]), bytes.fromhex(extent["id"]), lambda _: next(nonces)
        )
        stored += b"".join([*sealer.update([content[: extent["size_bytes"]]]), *sealer.end()])
        content = content[extent["size_bytes"] :]
    return stored


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_vector_is_sealed_and_opened(vector: dict[str, Any]) -> None:
    stored = sealed(vector)
    layout = decode(bytes.fromhex(vector["header"]))
    opener = SealedContent(layout, bytes.fromhex(vector["key"]))
    opened = b"".join(
        opener.open(segment, stored[segment.stored_start : segment.stored_stop])
        for segment in layout.segments(0, layout.size_bytes)
    )

    assert len(stored) == vector["stored_size_bytes"] == layout.stored_size_bytes
    assert hashlib.sha256(stored).hexdigest() == vector["stored_sha256"]
    assert stored.hex() == vector.get("stored", stored.hex())
    assert [(each.id.hex(), each.size_bytes) for each in layout.extents] == [
        (extent["id"], extent["size_bytes"]) for extent in vector["extents"]
    ]
    assert opened == content_of(layout.size_bytes)
