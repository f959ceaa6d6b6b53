"""The work that is done beside requests: jobs, once on all machines together, and routines, in every process."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial

from openecr.application.scrubbing import Scrubbing, resumed
from openecr.jobs.routines import Routine
from openecr.jobs.worker import Handler, Kind, Run
from openecr.server.composition import Parts
from openecr.web.work_commands import REMOVE_ORPHANS

_AUDIT_SECONDS = 0.5
"""What was noted for the trail is written within a second."""

_FLUSH_SECONDS = 5
_RARE = 60
"""What is rarely worth it is done once in so many intervals of collection."""

_DAY_SECONDS = 24 * 60 * 60
_RETENTION_SECONDS = 600
_KEYS_SECONDS = 600
"""Keys are deleted and rotated to the day; nobody waits for the minute."""


def routines_of(parts: Parts) -> tuple[Routine, ...]:
    """Return what a process does for itself: it writes down what it has noted in its own memory."""
    audit = Routine(name="audit", run=parts.trail.flush, interval_seconds=_AUDIT_SECONDS)
    pull_times = Routine(name="pull times", run=parts.pull_times.flush, interval_seconds=_FLUSH_SECONDS)
    key_uses = Routine(name="key uses", run=parts.key_uses.flush, interval_seconds=_FLUSH_SECONDS)
    return audit, pull_times, key_uses


def kinds_of(parts: Parts) -> tuple[Kind, ...]:
    """Return the kinds of jobs, each with how often it begins again."""
    interval = parts.limits.collection_interval_seconds
    scrub_seconds = parts.limits.scrub_interval_seconds
    collection = (
        Kind(name=name, run=_until_done(step), every_seconds=interval * factor, first_seconds=interval)
        for steps, factor in ((parts.collection.steps, 1), (parts.collection.rare_steps, _RARE))
        for name, step in steps.items()
    )
    return (
        *collection,
        Kind(
            name="end-leftovers",
            run=_alone(parts.collection.end_leftovers),
            every_seconds=_DAY_SECONDS,
            first_seconds=_DAY_SECONDS,
        ),
        Kind(name="audit-retention", run=_alone(parts.trail.expire), every_seconds=_RETENTION_SECONDS),
        Kind(
            name="scrub",
            run=_scrub(parts.scrubbing),
            every_seconds=scrub_seconds,
            first_seconds=scrub_seconds,
        ),
        Kind(
            name="audit-blobs",
            run=_audit(parts.scrubbing),
            every_seconds=scrub_seconds,
            first_seconds=scrub_seconds,
        ),
        Kind(
            name="kms-deletion", run=_until_done(parts.kms.deletions.delete_due), every_seconds=_KEYS_SECONDS
        ),
        Kind(
            name="kms-rotation", run=_until_done(parts.kms.rotations.rotate_due), every_seconds=_KEYS_SECONDS
        ),
        Kind(name=REMOVE_ORPHANS, run=_alone(partial(parts.scrubbing.audit, remove_orphans=True))),
    )


def _until_done(step: Callable[[], Awaitable[int]]) -> Handler:
    """Repeat a step that does a bounded piece and tells whether there may be more."""

    async def handle(run: Run) -> None:
        while not run.is_lost and await step():
            pass

    return handle


def _alone(work: Callable[[], Awaitable[object]]) -> Handler:
    async def handle(run: Run) -> None:
        del run
        await work()

    return handle


def _scrub(scrubbing: Scrubbing) -> Handler:
    """Go on where the last attempt was interrupted; what was found stays in the payload until the next run."""

    async def handle(run: Run) -> None:
        report = resumed(run.payload)
        more = True
        while more:
            more = await scrubbing.step(report)
            report.is_done = not more
            run.payload = asdict(report)
            if not await run.save():
                return

    return handle


def _audit(scrubbing: Scrubbing) -> Handler:
    """What was found stays in the payload until the next run."""

    async def handle(run: Run) -> None:
        run.payload = asdict(await scrubbing.audit(remove_orphans=False))

    return handle
