"""Files and folders that only their owner may read, written so that a crash leaves the old or the new content."""

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from openecr.domain.errors import CannotStart

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_OTHERS = 0o077
_CANNOT_LINK = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})


def ensure_private_folder(path: Path) -> None:
    """Make a folder, with its parents, durably, that only its owner may enter. Raises CannotStart."""
    try:
        _make_parents(path.parent)
        try:
            path.mkdir(mode=FOLDER_MODE)
        except FileExistsError:
            # Somebody who was killed may have made it just before. Where we may not look, we did not make it.
            with suppress(PermissionError):
                sync_folder(path.parent)
        else:
            sync_folder(path.parent)
        if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            path.chmod(FOLDER_MODE)
    except OSError as error:
        raise CannotStart(message=f"cannot use the folder {path}: {error.strerror}") from error


def _make_parents(path: Path) -> None:
    if path.exists():
        return
    _make_parents(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def write_private_file(path: Path, content: bytes) -> None:
    """Replace a file's content, durably."""
    temporary = _write_beside(path, content)
    temporary.replace(path)
    sync_folder(path.parent)


def create_private_file(path: Path, content: bytes) -> bool:
    """Make a file, durably, unless it is there; tell whether it was made. Of two makers one wins."""
    temporary = _write_beside(path, content)
    try:
        rename_to_new(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    return True


def rename_to_new(file: Path, name: Path, *, link: Callable[[Path, Path], None] = os.link) -> None:
    """Give a file a name that no file has. Raises FileExistsError, and whatever else the system says.

    Where the file system has no hard links, of two that come at the same moment the later one wins.
    """
    try:
        link(file, name)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        if name.exists():
            raise FileExistsError(errno.EEXIST, "there is such a file", str(name)) from error
        file.rename(name)
    else:
        file.unlink()


def others_may_read(path: Path) -> bool:
    """Tell whether group or others have any right to a file or folder."""
    return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
