"""The work that a server does beside its requests."""

from functools import partial

from openecr.jobs.audit import audit_jobs
from openecr.jobs.routines import Routine
from openecr.server.composition import Parts

_FLUSH_SECONDS = 5
_RARE = 60
"""What is rarely worth it is done once in so many intervals of collection."""


def jobs_of(parts: Parts) -> tuple[Routine, ...]:
    """Return each kind of work with its interval."""
    interval = parts.limits.collection_interval_seconds
    collection = (
        Routine(name=name, run=partial(parts.collection.run, step), interval_seconds=interval * factor)
        for steps, factor in ((parts.collection.steps, 1), (parts.collection.rare_steps, _RARE))
        for name, step in steps.items()
    )
    pull_times = Routine(name="pull times", run=parts.pull_times.flush, interval_seconds=_FLUSH_SECONDS)
    key_uses = Routine(name="key uses", run=parts.key_uses.flush, interval_seconds=_FLUSH_SECONDS)
    return (*collection, *audit_jobs(parts.trail), pull_times, key_uses)
