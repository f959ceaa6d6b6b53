"""Background work: what is to be done, once or again and again, by whichever worker comes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

ATTEMPTS_MAX = 10
"""What is done once, and failed so often, waits for an operator."""

TAKEN_OVER_AT_ONCE = 2
"""So many attempts may end with the death of their worker before the job rests: it may be what kills them."""

LONGEST_PAUSE_SECONDS = 3600
"""No job rests for longer after a failure."""

_INTERVALS_MAX = 4
"""A schedule that failed rests for so many of its intervals at most: what it needs may soon be back."""


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
    run_at: int
    """As it was at the claim: where it is another at the end, somebody has asked for one more run meanwhile."""
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
    lease_until: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Work that begins again `every_seconds` after its end, first after `first_seconds`."""

    kind: str
    every_seconds: int
    first_seconds: int = 0


def pause_seconds(attempts: int, every_seconds: int | None) -> float:
    """Return how long a job rests that failed so often in succession: twice as long each time, up to a bound."""
    bound = LONGEST_PAUSE_SECONDS
    if every_seconds is not None:
        bound = min(bound, max(every_seconds * _INTERVALS_MAX, 1))
    return min(2.0 ** min(attempts, LONGEST_PAUSE_SECONDS.bit_length()), bound)


def is_given_up(attempts: int, every_seconds: int | None) -> bool:
    """Tell whether a job that failed so often is left to an operator."""
    return every_seconds is None and attempts >= ATTEMPTS_MAX
