"""Runs the load generator and reads what it measured."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content import MANIFEST_TYPE
from benchmarks.servers import Target

_SOURCE = Path(__file__).parent / "load"
_WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run does: `mode` and `paths` as the generator takes them; by time, or `count` units."""

    mode: str
    paths: Sequence[str]
    clients: int = 1
    size_bytes: int = 0
    count: int = 0
    byte_range: str = ""
    probe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run measured; latencies in milliseconds, the probe's of single requests beside the load."""

    per_second: float
    bytes_per_second: float
    p50: float
    p99: float
    probe_p99: float
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
        self._seconds = seconds

    def run(self, target: Target, load: Load) -> Figures:
        """Run once. What failed is told on stderr and counted."""
        command = self._command(target, load, self._seconds)
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        if finished.stderr:
            print(f"{target.name}: {finished.stderr.strip()}", file=sys.stderr)
        result = json.loads(finished.stdout)
        return Figures(
            per_second=result["per_second"],
            bytes_per_second=result["bytes"] / max(result["seconds"], 1e-9),
            p50=result["p50_ms"],
            p99=result["p99_ms"],
            probe_p99=result["probe_p99_ms"],
            errors=result["errors"],
        )

    @contextmanager
    def beside(self, target: Target, load: Load) -> Iterator[None]:
        """Keep a load running until the block ends."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(self._command(target, load, 600), stdout=output)
            try:
                time.sleep(_WARM_SECONDS)
                yield
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
            "probe": load.probe,
            "clients": load.clients,
            "seconds": seconds,
            "count": load.count,
            "size": load.size_bytes,
        }
        return [str(self._binary), *(f"-{name}={value}" for name, value in options.items())]
