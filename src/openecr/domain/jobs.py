"""Background work: what is to be done, once or again and again, by whichever worker comes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class JobState(Enum):
    """How a job stands."""

    READY = "ready"
    RUNNING = "running"
    DEAD = "dead"
    """It failed too often: an operator decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job as a worker holds it. `token` proves the hold; `attempts` counts this one."""

    id: int
    kind: str
    payload: Mapping[str, object]
    attempts: int
    token: int
    every_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job as an operator sees it."""

    id: int
    kind: str
    unique_key: str | None
    payload: Mapping[str, object]
    state: JobState
    attempts: int
    run_at: int
    every_seconds: int | None
    ended_at: int | None
    worker: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Work that begins again `every_seconds` after its end, first after `first_seconds`."""

    kind: str
    every_seconds: int
    first_seconds: int = 0
