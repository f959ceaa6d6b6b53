"""Writing behind: the disk works on what was written while more of it arrives.

One large fsync at the end of an upload would stall every commit of the database beside it, and an fdatasync every few
mebibytes stops the upload itself until the disk has caught up. So each window of bytes is handed to the disk as soon as
it is full, and waited for only when the next one is (Linux, sync_file_range(2)). This makes nothing durable: the fsync
at the end does, and finds little left to do.
"""

import ctypes
import errno
import os
from collections.abc import Callable

_NOT_SERVED = frozenset({errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL})
"""What a sandbox or an unusual file system says of a call that it does not have."""

WINDOW_BYTES = 8 * 1024 * 1024

SyncRange = Callable[[int, int, int, int], None]
"""Descriptor, offset, length, flags. Raises OSError."""

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4


class WriteBehind:
    """What is still on its way to the disk, of one file that is written from its start to its end."""

    def __init__(self, descriptor: int, sync_range: SyncRange) -> None:
        """`sync_range` is `SYNC_RANGE`."""
        self._descriptor = descriptor
        self._sync_range = sync_range
        self._written = 0
        self._started = 0
        self._awaited = 0

    def wrote(self, size_bytes: int) -> None:
        """Count bytes that were appended. Raises OSError where the disk refused earlier ones."""
        self._written += size_bytes
        if self._written - self._started < WINDOW_BYTES:
            return
        try:
            self._start(self._sync_range)
        except OSError as error:
            if error.errno not in _NOT_SERVED:
                raise
            self._sync_range = _wait_for_all
            self._start(self._sync_range)

    def _start(self, sync_range: SyncRange) -> None:
        """Start what is new, then wait for what was started the last time: two windows at most are under way."""
        started = self._started
        sync_range(self._descriptor, started, self._written - started, _WRITE)
        self._started = self._written
        if started > self._awaited:
            whole = _WAIT_BEFORE | _WRITE | _WAIT_AFTER
            sync_range(self._descriptor, self._awaited, started - self._awaited, whole)
            self._awaited = started


def _wait_for_all(descriptor: int, offset: int, size_bytes: int, flags: int) -> None:
    """Do as much as there is a portable call for."""
    del offset, size_bytes
    if flags == _WRITE:
        os.fdatasync(descriptor)


def _find_sync_range() -> SyncRange:
    """Return the system call, or what stands for it where the system has none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (AttributeError, OSError):
        return _wait_for_all
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    function.restype = ctypes.c_int

    def sync_range(descriptor: int, offset: int, size_bytes: int, flags: int) -> None:
        if function(descriptor, offset, size_bytes, flags) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return sync_range


SYNC_RANGE = _find_sync_range()
