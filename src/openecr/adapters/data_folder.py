"""The data folder: private, in one format, and used by one process at a time.

The process that opens SQLite holds the lock itself, so that two writers can never be, whichever process is killed: the
kernel drops the lock with its holder.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from openecr.adapters.private_files import create_private_file, ensure_private_folder
from openecr.domain.errors import CannotStart

FORMAT = "1"
"""Raised when a newer version lays the folder out differently."""

_PID_MAX_CHARACTERS = 20
_MARKER = "format"
_MAY_LIE_THERE = frozenset({"openecr.toml", "lost+found", "lock"})
"""What a folder may hold before its first use: settings, what a fresh volume has, the trace of a failed start."""


class DataFolderBusy(CannotStart):
    """Another process holds the folder."""


class DataFolder:
    """An exclusive hold on a data folder, from `acquire` to `release` (or the end of the process)."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Make the folder where it is missing and take it. Raises DataFolderBusy, CannotStart."""
        _refuse_strange(path)
        ensure_private_folder(path)
        descriptor = _lock(path / "lock")
        try:
            _check_format(path)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    @property
    def is_new(self) -> bool:
        """Tell whether there is no database yet, so that keys may be made."""
        return not self.database.exists()

    @property
    def database(self) -> Path:
        """Return the file of the metadata."""
        return self.path / "metadata.sqlite"

    @property
    def activity(self) -> Path:
        """Return the file of pull times."""
        return self.path / "activity.sqlite"

    @property
    def keys(self) -> Path:
        """Return the folder of the master keys."""
        return self.path / "keys"

    @property
    def blobs(self) -> Path:
        """Return the folder of the blobs."""
        return self.path / "blobs"

    @property
    def control_socket(self) -> Path:
        """Return the socket through which commands reach the live server."""
        return self.path / "control.sock"

    def release(self) -> None:
        """Give the folder back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def is_strange(path: Path) -> bool:
    """Tell whether a folder holds other things than ours, a home or /tmp, say. Raises OSError."""
    if not path.exists() or (path / _MARKER).exists():
        return False
    names = (entry.name for entry in path.iterdir())
    return any(name not in _MAY_LIE_THERE and not name.startswith(f".{_MARKER}.") for name in names)


def _refuse_strange(path: Path) -> None:
    """Keep hands off folders of other programs: ours is closed to everyone else."""
    try:
        strange = is_strange(path)
    except OSError as error:
        raise CannotStart(message=f"cannot use the folder {path}: {error.strerror}") from error
    if strange:
        raise CannotStart(
            message=f"{path} holds other things than OpenECR's data: give --data a folder that is new or empty"
        )


def _lock(path: Path) -> int:
    """Lock the file and write our process id into it, for the message that another process shows."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(message=f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, _PID_MAX_CHARACTERS, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise DataFolderBusy(
            message=f"the data folder {path.parent} is in use by process {holder or 'unknown'}: "
            "stop it, or give another folder with --data"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise CannotStart(message=f"cannot lock {path}: {error.strerror}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _check_format(path: Path) -> None:
    marker = path / _MARKER
    try:
        if not marker.exists():
            create_private_file(marker, f"{FORMAT}\n".encode())
        found = marker.read_text("ascii", "replace").strip()
    except OSError as error:
        raise CannotStart(message=f"cannot write to {path}: {error.strerror}") from error
    if found != FORMAT:
        raise CannotStart(
            message=f"{path} has format {found[:_PID_MAX_CHARACTERS]!r}, and this version reads {FORMAT}: "
            "use the version of OpenECR that made it, or a newer one"
        )
