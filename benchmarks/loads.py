"""Runs the load generator and reads what it measured."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.content import MANIFEST_TYPE
from benchmarks.servers import Target

_SOURCE = Path(__file__).parent / "load"
_WARM_SECONDS = 3.0
_LONG_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run does: `mode` and `paths` as the generator takes them; by time, or `count` units."""

    mode: str
    paths: Sequence[str]
    clients: int = 1
    size_bytes: int = 0
    count: int = 0
    byte_range: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run measured; latencies in milliseconds."""

    per_second: float
    bytes_per_second: float
    p50: float
    p99: float
    errors: int


def build(folder: Path) -> Path:
    """Build the load generator."""
    binary = folder / "load"
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=_SOURCE, check=True)
    return binary


class Generator:
    """The built load generator; `seconds` is how long a run by time lasts."""

    def __init__(self, binary: Path, seconds: float) -> None:
        self._binary = binary
        self.seconds = seconds

    def run(self, target: Target, load: Load) -> Figures:
        """Run once."""
        with self.started(target, load, self.seconds) as process:
            return figures(target, process)

    @contextmanager
    def probing(self, target: Target, path: str) -> Iterator[list[Figures]]:
        """Ask for a path every few milliseconds until the block ends, in a process that goes before the load's.

        What was measured is put into the list that is yielded.
        """
        found: list[Figures] = []
        load = Load(mode="probe", paths=[path])
        with self.started(target, load, _LONG_SECONDS, niceness=-10) as process:
            yield found
            process.send_signal(signal.SIGINT)
            found.append(figures(target, process))

    @contextmanager
    def beside(self, target: Target, load: Load) -> Iterator[None]:
        """Keep a load running until the block ends."""
        with self.started(target, load, _LONG_SECONDS):
            time.sleep(_WARM_SECONDS)
            yield

    @contextmanager
    def started(
        self, target: Target, load: Load, seconds: float, niceness: int = 0
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start the generator; it ends with the block."""
        command = ["nice", f"--adjustment={niceness}", *self._command(target, load, seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _command(self, target: Target, load: Load, seconds: float) -> list[str]:
        options = {
            "base": target.base,
            "auth": target.authorization,
            "accept": MANIFEST_TYPE,
            "range": load.byte_range,
            "mode": load.mode,
            "paths": ",".join(load.paths),
            "clients": load.clients,
            "seconds": seconds,
            "count": load.count,
            "size": load.size_bytes,
        }
        return [str(self._binary), *(f"-{name}={value}" for name, value in options.items())]


def together(generator: Generator, targets: Sequence[Target], load: Load) -> list[Figures]:
    """Run one load on some servers at once, its clients and units shared out among them."""
    share = replace(load, clients=load.clients // len(targets), count=load.count // len(targets))
    with ExitStack() as stack:
        started = [stack.enter_context(generator.started(each, share, generator.seconds)) for each in targets]
        return [figures(each, process) for each, process in zip(targets, started, strict=True)]


def figures(target: Target, process: "subprocess.Popen[str]") -> Figures:
    """Wait for a run's end and read what it printed. What failed is told on stderr and counted."""
    output, failures = process.communicate()
    if failures:
        print(f"{target.name}: {failures.strip()}", file=sys.stderr)
    result = json.loads(output)
    return Figures(
        per_second=result["per_second"],
        bytes_per_second=result["bytes"] / max(result["seconds"], 1e-9),
        p50=result["p50_ms"],
        p99=result["p99_ms"],
        errors=result["errors"],
    )
