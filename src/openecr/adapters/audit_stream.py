"""Events of the audit trail as lines of JSON, to a file or to standard output, as they are written.

A thread of its own writes, so that a reader that does not read holds nothing up: what it has no room for is lost here,
and counted; the trail in the database has it all the same.
"""

import os
import queue
import sys
import threading
from pathlib import Path

import structlog

from openecr.domain.errors import CannotStart

_LOG = structlog.get_logger(__name__)

STANDARD_OUTPUT = "-"
CHUNKS_MAX = 256
"""So many batches of lines may wait."""

_CLOSE_SECONDS = 5
_MODE = 0o600


class AuditStream:
    """Takes lines, and writes them in order. A file is opened anew for each batch, so that it may be rotated."""

    def __init__(self, destination: str) -> None:
        """`destination` is a path, or `-` for standard output. Raises CannotStart where it cannot be written to."""
        self._path = None if destination == STANDARD_OUTPUT else Path(destination)
        try:
            self._write(b"")
        except OSError as error:
            raise CannotStart(
                message=f"cannot write audit events to {destination}: {error.strerror}"
            ) from error
        self._chunks: queue.Queue[bytes | None] = queue.Queue(CHUNKS_MAX)
        self.lost_lines = 0
        self._thread = threading.Thread(target=self._write_all, name="audit-stream", daemon=True)
        self._thread.start()

    def __call__(self, lines: bytes) -> None:
        """Take lines to be written; where too many wait they are lost. Never blocks."""
        try:
            self._chunks.put_nowait(lines)
        except queue.Full:
            self._lose(lines, "the reader is too slow")

    def close(self) -> None:
        """Write what waits, for as long as a shutdown can wait for it."""
        try:
            self._chunks.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def _write_all(self) -> None:
        while (lines := self._chunks.get()) is not None:
            try:
                self._write(lines)
            except OSError as error:
                self._lose(lines, str(error))

    def _write(self, lines: bytes) -> None:
        if self._path is None:
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            view = memoryview(lines)
            while view:
                view = view[file.write(view) :]

    def _lose(self, lines: bytes, why: str) -> None:
        self.lost_lines += lines.count(b"\n")
        _LOG.error("audit events could not be streamed", reason=why, lost_lines=self.lost_lines)
