"""The sealed format of blobs, version 1: encrypted in segments, so that any range is read by itself.

Pure: keys and nonces come from outside, bytes go in and come out. The format is written down in
`docs/sealed-format.md`, with vectors in `tests/unit/engines/sealing/vectors.json`.
"""

from openecr.engines.sealing.contents import Damaged, SealedContent, StreamOpener, wanted
from openecr.engines.sealing.envelopes import ENVELOPE_OVERHEAD_BYTES, close_envelope, open_envelope
from openecr.engines.sealing.headers import EXTENTS_MAX, HEADER_MAX_BYTES, UnknownFormat, decode, encode
from openecr.engines.sealing.layouts import (
    NONCE_BYTES,
    OVERHEAD_BYTES,
    SEGMENT_BYTES,
    Extent,
    Layout,
    Segment,
    stored_size,
)
from openecr.engines.sealing.sealer import KEY_BYTES, ExtentSealer

__all__ = [
    "ENVELOPE_OVERHEAD_BYTES",
    "EXTENTS_MAX",
    "HEADER_MAX_BYTES",
    "KEY_BYTES",
    "NONCE_BYTES",
    "OVERHEAD_BYTES",
    "SEGMENT_BYTES",
    "Damaged",
    "Extent",
    "ExtentSealer",
    "Layout",
    "SealedContent",
    "Segment",
    "StreamOpener",
    "UnknownFormat",
    "close_envelope",
    "decode",
    "encode",
    "open_envelope",
    "stored_size",
    "wanted",
]
