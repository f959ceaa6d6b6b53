"""Small file systems that a test may fill to the last byte.

A tmpfs by default. With `OPENECR_SMALL_DISK=ext4` an image on a loop device, which is nearer to what people run and
needs more of the machine.
"""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.requirements import lack, require_root, require_tool

_PIECE_BYTES = 64 * 1024


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Generator[Path]:
    """Mount a file system of about this size for as long as the block lasts; only root can."""
    require_root()
    mount, umount = require_tool("mount"), require_tool("umount")
    place = folder / "disk"
    place.mkdir(parents=True)
    command = [mount, *_what(folder, size_bytes), str(place)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode != 0:
        lack(f"this machine mounts nothing: {answer.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([umount, "--lazy", str(place)], timeout=60, check=True)


def _what(folder: Path, size_bytes: int) -> list[str]:
    if os.environ.get("OPENECR_SMALL_DISK") != "ext4":
        return ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs"]
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    make = require_tool("mkfs.ext4", package="e2fsprogs")
    subprocess.run([make, "-q", "-m", "0", str(image)], timeout=60, check=True)
    return ["-o", "loop", str(image)]


def free_bytes(place: Path) -> int:
    """What is free."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def fill(file: Path, *, leave_bytes: int = 0) -> None:
    """Write a file until only so much is left; 0: not another byte can be written."""
    with file.open("ab", buffering=0) as ballast:
        while free_bytes(file.parent) > leave_bytes + _PIECE_BYTES:
            ballast.write(b"\0" * _PIECE_BYTES)
        if leave_bytes:
            return
        piece_bytes = _PIECE_BYTES
        while piece_bytes:
            try:
                if ballast.write(b"\0" * piece_bytes) < piece_bytes:
                    piece_bytes //= 2
            except OSError:
                piece_bytes //= 2
        os.fsync(ballast.fileno())
