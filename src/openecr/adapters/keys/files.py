"""Master keys in private files of a folder: `master-<number>.key`, one line of 64 hexadecimal digits each."""

import os
import re
from pathlib import Path

from openecr.adapters.keys.ring import MASTER_KEY_BYTES, MasterKeyRing
from openecr.adapters.private_files import (
    create_private_file,
    ensure_private_folder,
    others_may_read,
    sync_folder,
)
from openecr.domain.errors import CannotStart

_FILE_NAME = re.compile(r"master-([0-9]{1,9})\.key", re.ASCII)
_KEY_LINE = re.compile(rb"[0-9a-f]{64}\n", re.ASCII)


def read_master_keys(folder: Path, *, may_create: bool) -> dict[int, bytes]:
    """Read the keys of a folder by their numbers; where it has none yet and `may_create`, make the first one.

    `may_create` is for an empty database: with a full one, a new key could open nothing that is sealed in it. Of
    servers that start together on one folder one makes the key, and all read it.

    Raises CannotStart where keys are missing, malformed or readable by others.
    """
    ensure_private_folder(folder)
    files = _key_files(folder)
    if not files and not may_create:
        raise CannotStart(
            message=f"the master key is missing from {folder}: put master-*.key back from your backup, "
            "or say where the keys are (--keys, --keys-kms-key)"
        )
    if not files:
        _add(folder, 1)
        files = _key_files(folder)
    else:
        _sync(folder)
    return {number: _read(path) for number, path in files.items()}


def open_key_ring(folder: Path, *, may_create: bool) -> MasterKeyRing:
    """Return the ring of `read_master_keys`."""
    return MasterKeyRing(read_master_keys(folder, may_create=may_create))


def add_master_key(folder: Path, *, after: int = 0) -> tuple[int, Path]:
    """Make a new master key, which seals from the next start on; the older ones still open.

    `after` is the highest number that was ever used, if that is known. Returns its number and file.

    Raises CannotStart where there is no key that it could follow.
    """
    newest = max(_key_files(folder), default=0) if folder.is_dir() else 0
    if newest == 0:
        raise CannotStart(message=f"{folder} holds no master key that another could follow")
    number = max(newest, after) + 1
    return number, _add(folder, number)


def _add(folder: Path, number: int) -> Path:
    path = folder / f"master-{number:06}.key"
    try:
        create_private_file(path, os.urandom(MASTER_KEY_BYTES).hex().encode() + b"\n")
    except OSError as error:
        raise CannotStart(message=f"cannot write {path}: {error.strerror}") from error
    return path


def _sync(folder: Path) -> None:
    """Make keys durable before anything is sealed with them: who made them may have been killed before that."""
    try:
        sync_folder(folder)
    except OSError as error:
        raise CannotStart(message=f"cannot use the folder {folder}: {error.strerror}") from error


def _key_files(folder: Path) -> dict[int, Path]:
    """Raises CannotStart for two files of one number."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            continue
        other = found.setdefault(int(match[1]), path)
        if other != path:  # one of them would be used, and nobody knows which is the right one
            raise CannotStart(
                message=f"{other.name} and {path.name} in {folder} are both master key {int(match[1])}: "
                "leave the right one"
            )
    return found


def _read(path: Path) -> bytes:
    try:
        if others_may_read(path):
            raise CannotStart(message=f"others may read {path}: chmod 600 {path}")
        content = path.read_bytes()
    except OSError as error:
        raise CannotStart(message=f"cannot read {path}: {error.strerror}") from error
    if _KEY_LINE.fullmatch(content) is None:
        raise CannotStart(message=f"{path} is no master key: put it back from your backup")
    return bytes.fromhex(content.decode())
