"""The system calls of a real program, in order, as strace saw them.

A call has two instants, the lines of the trace at which it began and ended: what other threads did in between is
neither before nor after it. strace holds a thread at both ends of each call, so what caused something comes first.
"""

import functools
import os
import re
import select
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.requirements import require_tool

TRACED = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,truncate,ftruncate,"
    "fallocate,rename,renameat,renameat2,link,linkat,symlink,unlink,unlinkat,mkdir,mkdirat,rmdir,copy_file_range,"
    "splice,sendfile,sendto,sendmsg,lseek"
)
"""Everything that changes files, makes them durable, or sends."""

_STRING_MAX_BYTES = 64 * 1024 * 1024
_WAIT_MILLISECONDS = 30_000
_HEX = r"(?:\\x[0-9a-f]{2})*"
_HEX_START = re.compile(r"(?:\\x[0-9a-f]{2})+")
_LINE = re.compile(r"(?P<thread>\d+) +(?P<text>.*)", re.DOTALL)
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_QUOTED = re.compile(rf'"(?P<hex>{_HEX})"')
_DESCRIPTOR = re.compile(r"(?P<number>-?\d+|AT_FDCWD)(?:<(?P<of>(?:->|[^>])*)>)?")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (?P<status>[0-9]{3}) ")
_TCP = re.compile(r"TCP(?:v6)?:\[.*:(?P<near>\d+)->.*:(?P<far>\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One system call that succeeded. `began` and `ended` are lines of the trace."""

    thread: int
    name: str
    arguments: str = field(repr=False)
    result: int
    began: int
    ended: int

    @property
    def strings(self) -> list[bytes]:
        """What stands between quotes among the arguments: paths, or the bytes that were written."""
        return [_bytes(match["hex"]) for match in _QUOTED.finditer(self.arguments)]

    @property
    def words(self) -> list[str]:
        """The arguments between commas; strings have none in them, since they are in hexadecimal digits."""
        return self.arguments.split(", ")

    def descriptor(self, position: int = 0) -> int:
        """The number of a descriptor among the arguments; -1 for the working folder."""
        match = _DESCRIPTOR.match(self.words[position])
        assert match is not None, self.arguments[:200]
        return -1 if match["number"] == "AT_FDCWD" else int(match["number"])

    def described(self, position: int = 0) -> str:
        """What strace says a descriptor is: a path, or a connection's two ends."""
        match = _DESCRIPTOR.match(self.words[position])
        of = match["of"] if match is not None else None
        if of is None:
            return ""
        path = _HEX_START.match(of)
        return _bytes(path[0]).decode() if path is not None else of

    @property
    def peer_port(self) -> int | None:
        """The client's port, where the first argument is a connection."""
        match = _TCP.fullmatch(self.described())
        return None if match is None else int(match["far"])

    @property
    def written(self) -> bytes:
        """The bytes that a write or a send took."""
        return b"".join(self.strings)[: self.result]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def steps(calls: Iterable[Call]) -> list[tuple[int, Call, bool]]:
    """Begins and ends in the order of the trace: line, call, and whether it ends there."""
    found = [(line, call, ends) for call in calls for line, ends in ((call.began, False), (call.ended, True))]
    return sorted(found, key=lambda step: (step[0], step[2]))


def answers(calls: Iterable[Call]) -> dict[tuple[int, int], tuple[int, int]]:
    """Every HTTP/1.1 answer: the client's port and the number of the answer there, to its status and its line.

    An answer counts from where its sending begins: from then on a client may know of it.
    """
    found: dict[tuple[int, int], tuple[int, int]] = {}
    counts: Counter[int] = Counter()
    for call in sorted(calls, key=lambda call: call.began):
        port = call.peer_port
        if port is None:
            continue
        status = _STATUS_LINE.match(call.written)
        if status is not None:
            found[port, counts[port]] = (int(status["status"]), call.began)
            counts[port] += 1
    return found


def calls_of(lines: Sequence[str]) -> Iterator[Call]:
    """Every call that succeeded, by its end."""
    unfinished: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        assert match is not None, line[:200]
        thread, text, began = int(match["thread"]), match["text"], number
        if text.endswith(_UNFINISHED):
            unfinished[thread] = (number, text.removesuffix(_UNFINISHED))
            continue
        resumed = _RESUMED.match(text)
        if resumed is not None:
            began, start = unfinished.pop(thread)
            text = start + resumed["rest"]
        call = _CALL.match(text)
        if call is None or int(call["result"]) < 0:
            continue  # a signal, an end, a failure
        yield Call(
            thread=thread,
            name=call["name"],
            arguments=call["arguments"],
            result=int(call["result"]),
            began=began,
            ended=number,
        )


@dataclass(frozen=True, slots=True)
class Tracer:
    """strace around a program: put `command` before it, and read the calls when the program has ended."""

    file: Path

    @property
    def command(self) -> list[str]:
        """What to put before the command. The program stays the process that was started; strace is its grandchild."""
        return [
            require_tool("strace"),
            *("--follow-forks", "-DD", "--seccomp-bpf", "-yy", "-xx", "-v"),
            *("--string-limit", str(_STRING_MAX_BYTES), "--output", str(self.file), "--trace", TRACED),
        ]

    def watch(self, process: int) -> Callable[[], list[Call]]:
        """Find the tracer of a process that runs; calling the answer waits for the tracer's end and gives the calls."""
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        tracer = int(status.partition("TracerPid:")[2].split(maxsplit=1)[0])
        assert tracer > 0, f"{process} is not traced"
        return functools.partial(self._read_when_ended, os.pidfd_open(tracer))

    def _read_when_ended(self, tracer: int) -> list[Call]:
        try:
            waiting = select.poll()
            waiting.register(tracer, select.POLLIN)
            assert waiting.poll(_WAIT_MILLISECONDS), "strace has not ended"
        finally:
            os.close(tracer)
        return self.read()

    def read(self) -> list[Call]:
        """The calls of a program that has ended."""
        return list(calls_of(self.file.read_text(encoding="ascii").splitlines()))
