"""A file system that forgets what was not synced: it follows a trace and knows what may be left after a loss of power.

The promises are POSIX's and no more. `fsync` and `fdatasync` of a file keep the file's bytes, not the name that leads
to it; of a folder they keep its names. Everything else may be there after the loss, or not, in any combination: a
write whole or in sectors, a new name without the bytes of its file, a name that was removed. A rename within one folder
happens whole or not at all.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from tests.durability.traces import Call

SECTOR_BYTES = 512
_O_FLAGS = re.compile(r"\bO_\w+")
_SYNCS = frozenset({"fsync", "fdatasync"})
_UNKNOWN = frozenset({"splice", "truncate", "symlink", "fallocate", "pwritev", "pwritev2"})
"""Calls that nothing uses on our files; the model would have to learn them first."""

Content = TypeVar("Content")
Ignores = Callable[[Path, Call], bool]
"""Whether the disk is to lie about a sync of this path, as if the program had left it out."""


class Chance(Protocol):
    """Decides what the loss of power left."""

    def keeps(self) -> bool:
        """Whether a change that nobody synced is there."""
        ...

    def keeps_sector(self) -> bool | None:
        """Whether a sector of an unsynced write is there; None: this write is not torn."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """Nothing that was not synced is left, or all of it is."""

    kept: bool

    def keeps(self) -> bool:
        """The same answer each time."""
        return self.kept

    def keeps_sector(self) -> bool | None:
        """Nothing is torn."""
        return None


class Dice:
    """Some changes are left, some are not; some writes are torn."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._share = self._random.choice((0.1, 0.5, 0.9))

    def keeps(self) -> bool:
        """By chance."""
        return self._random.random() < self._share

    def keeps_sector(self) -> bool | None:
        """By chance, half of the time."""
        return self._random.random() < self._share if self._random.random() < 0.5 else None


@dataclass(slots=True, kw_only=True)
class _Pending:
    serial: int


@dataclass(slots=True, kw_only=True)
class _Write(_Pending):
    offset: int
    data: bytes


@dataclass(slots=True, kw_only=True)
class _Resize(_Pending):
    size_bytes: int


@dataclass(slots=True, kw_only=True)
class _Rename(_Pending):
    """A change of a folder: names that go and names that come."""

    gone: tuple[str, ...] = ()
    come: "dict[str, File | Folder]" = field(default_factory=dict)


@dataclass(slots=True)
class File:
    """The bytes of a file: as programs see them, as the disk has them, and what lies between."""

    live: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    pending: list[_Write | _Resize] = field(default_factory=list)

    def change(self, change: _Write | _Resize) -> None:
        """Do it, without keeping it."""
        _apply(self.live, change)
        self.pending.append(change)

    def sync(self, serial: int) -> None:
        """Keep every change up to a number."""
        for change in self.pending:
            if change.serial <= serial:
                _apply(self.kept, change)
        self.pending = [change for change in self.pending if change.serial > serial]

    def after_loss(self, chance: Chance) -> bytes:
        """What may be read after a loss of power."""
        found = bytearray(self.kept)
        for change in self.pending:
            if chance.keeps():
                _apply(found, change)
            elif isinstance(change, _Write):
                for piece in _torn(change, chance):
                    _apply(found, piece)
        return bytes(found)


def _torn(change: _Write, chance: Chance) -> Iterator[_Write]:
    """The sectors of a write that reached the disk."""
    if chance.keeps_sector() is None:
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if chance.keeps_sector():
            data = change.data[start - change.offset : stop - change.offset]
            yield _Write(serial=change.serial, offset=start, data=data)
        start = stop


def _apply(content: bytearray, change: _Write | _Resize) -> None:
    if isinstance(change, _Resize):
        del content[change.size_bytes :]
        content.extend(bytes(change.size_bytes - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


@dataclass(slots=True)
class Folder:
    """The names in a folder, in the same three states."""

    live: "dict[str, File | Folder]" = field(default_factory=dict)
    kept: "dict[str, File | Folder]" = field(default_factory=dict)
    pending: list[_Rename] = field(default_factory=list)

    def change(self, change: _Rename) -> None:
        """Do it, without keeping it."""
        _rename(self.live, change)
        self.pending.append(change)

    def sync(self, serial: int) -> None:
        """Keep every change up to a number."""
        for change in self.pending:
            if change.serial <= serial:
                _rename(self.kept, change)
        self.pending = [change for change in self.pending if change.serial > serial]

    def after_loss(self, chance: Chance) -> "dict[str, File | Folder]":
        """What may be found after a loss of power."""
        found = dict(self.kept)
        for change in self.pending:
            if chance.keeps():
                _rename(found, change)
        return found


def _rename(names: "dict[str, File | Folder]", change: _Rename) -> None:
    for name in change.gone:
        names.pop(name, None)
    names.update(change.come)


def _unsynced(folder: Folder, path: str) -> Iterator[str]:
    for change in folder.pending:
        yield from (f"{path}/{name}" for name in {*change.gone, *change.come})
    for name, node in folder.live.items():
        if isinstance(node, Folder):
            yield from _unsynced(node, f"{path}/{name}")
        elif node.pending:
            yield f"{path}/{name}"


@dataclass(slots=True)
class _Opened:
    node: File | Folder
    path: Path
    position: int = 0


class FileSystem:
    """What lies below `root`, followed call by call. `ignores` tells which syncs the disk lies about."""

    def __init__(self, root: Path, *, ignores: Ignores = lambda _path, _call: False) -> None:
        self._root_path = root
        self._root = Folder()
        self._ignores = ignores
        self._opened: dict[int, _Opened] = {}
        self._serial = 0
        self._captured: dict[int, int] = {}

    def begin(self, call: Call) -> None:
        """A call begins: a sync covers what was changed before this instant."""
        if call.name in _SYNCS:
            self._captured[call.began] = self._serial

    def end(self, call: Call) -> None:
        """A call has ended."""
        match call.name:
            case "open" | "openat" | "creat":
                self._open(call)
            case "write" | "writev" | "pwrite64" | "ftruncate" | "lseek" | "fsync" | "fdatasync":
                opened = self._opened_by(call)
                if opened is not None:
                    self._on_opened(call, opened)
            case "copy_file_range" | "sendfile":
                self._copy(call)
            case "mkdir" | "mkdirat":
                self._enter(call, _paths(call)[0], Folder())
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                self._lead(call)
            case "unlink" | "unlinkat" | "rmdir":
                self._remove(_paths(call)[0])
            case name:
                assert name not in _UNKNOWN or not self._concerns(call), call
                assert name in _UNKNOWN or name in {"sendto", "sendmsg", "sync_file_range"}, call

    def after_loss(self, target: Path, chance: Chance) -> None:
        """Write into an empty folder what may be found after a loss of power at this instant."""
        self._write_out(self._root, target, chance)

    def unsynced(self) -> list[str]:
        """The paths, below the root, of everything that a loss of power at this instant might take or change."""
        return sorted(set(_unsynced(self._root, "")))

    def _write_out(self, folder: Folder, target: Path, chance: Chance) -> None:
        for name, node in folder.after_loss(chance).items():
            path = target / name
            if isinstance(node, Folder):
                path.mkdir(mode=0o700)
                self._write_out(node, path, chance)
            else:
                path.touch(mode=0o600)
                path.write_bytes(node.after_loss(chance))

    # --- calls ---

    def _open(self, call: Call) -> None:
        path, flags = _paths(call)[0], set(_O_FLAGS.findall(call.arguments))
        self._opened.pop(call.result, None)
        if not path.is_relative_to(self._root_path):
            return
        node = self._find(path)
        if node is None and "O_CREAT" in flags:
            node = File()
            self._enter(call, path, node)
        if node is None:
            return  # the test's own, or a socket
        if "O_TRUNC" in flags and isinstance(node, File) and node.live:
            node.change(_Resize(serial=self._next(), size_bytes=0))
        assert "O_APPEND" not in flags, call
        self._opened[call.result] = _Opened(node, path)

    def _on_opened(self, call: Call, opened: _Opened) -> None:
        node = opened.node
        if call.name in _SYNCS:
            serial = self._captured.pop(call.began)
            if not self._ignores(opened.path, call):
                node.sync(serial)
            return
        assert isinstance(node, File), call
        match call.name:
            case "lseek":
                opened.position = call.result
            case "ftruncate":
                node.change(_Resize(serial=self._next(), size_bytes=int(call.words[1])))
            case "pwrite64":
                self._write(node, int(call.words[-1]), call.written)
            case _:
                self._write(node, opened.position, call.written)
                opened.position += call.result

    def _copy(self, call: Call) -> None:
        source = self._opened.get(call.descriptor(0))
        target = self._opened.get(call.descriptor(2))
        if call.name == "sendfile" or source is None or target is None:
            return  # sendfile goes to a connection
        assert isinstance(source.node, File), call
        assert isinstance(target.node, File), call
        data = bytes(source.node.live[source.position : source.position + call.result])
        source.position += call.result
        self._write(target.node, target.position, data)
        target.position += call.result

    def _write(self, file: File, offset: int, data: bytes) -> None:
        file.change(_Write(serial=self._next(), offset=offset, data=data))

    def _enter(self, _call: Call, path: Path, node: File | Folder) -> None:
        parent = self._find(path.parent) if path.is_relative_to(self._root_path) else None
        if isinstance(parent, Folder):
            parent.change(_Rename(serial=self._next(), come={path.name: node}))

    def _lead(self, call: Call) -> None:
        """Give a file another name, beside the old one or instead of it."""
        old, new = _paths(call)
        node = self._find(old)
        parent = self._find(new.parent)
        if node is None or not isinstance(parent, Folder):
            return
        assert old.parent == new.parent, call  # between folders it would be two changes
        gone = () if call.name.startswith("link") else (old.name,)
        parent.change(_Rename(serial=self._next(), gone=gone, come={new.name: node}))

    def _remove(self, path: Path) -> None:
        parent = self._find(path.parent) if path.is_relative_to(self._root_path) else None
        if isinstance(parent, Folder) and path.name in parent.live:
            parent.change(_Rename(serial=self._next(), gone=(path.name,)))

    # --- looking up ---

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _concerns(self, call: Call) -> bool:
        return str(self._root_path) in call.described() or any(
            path.is_relative_to(self._root_path) for path in _paths(call)
        )

    def _opened_by(self, call: Call) -> _Opened | None:
        """What a descriptor leads to, unless its number was given to something else since."""
        if not call.described().startswith(f"{self._root_path}"):
            return None
        return self._opened.get(call.descriptor())

    def _find(self, path: Path) -> File | Folder | None:
        node: File | Folder | None = self._root
        if not path.is_relative_to(self._root_path):
            return None
        for name in path.relative_to(self._root_path).parts:
            node = node.live.get(name) if isinstance(node, Folder) else None
        return node


def _paths(call: Call) -> list[Path]:
    """The paths among the arguments. A path below another folder than the root or the working one is not expected."""
    found = [Path(text.decode()) for text in call.strings]
    return [path if path.is_absolute() else Path(call.described()) / path for path in found]
