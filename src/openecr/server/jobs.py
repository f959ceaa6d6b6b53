"""The work that is done beside requests: jobs, once on all machines together, and routines, in every process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import TypeVar

from openecr.application.pacing import rest_seconds
from openecr.application.rewrapping import RewrapReport
from openecr.application.scrubbing import Scrubbing, ScrubReport, resumed
from openecr.application.sealing import Sealing, SealReport
from openecr.application.sealing import resumed as resumed_sealing
from openecr.jobs.routines import Routine
from openecr.jobs.worker import Handler, Kind, Run
from openecr.server.composition import Parts
from openecr.web.work_commands import REMOVE_ORPHANS, REWRAP_KEYS

R = TypeVar("R", RewrapReport, ScrubReport, SealReport)

_AUDIT_SECONDS = 0.5
"""What was noted for the trail is written within a second."""

_FLUSH_SECONDS = 5
_RARE = 60
"""What is rarely worth it is done once in so many intervals of collection."""

_DAY_SECONDS = 24 * 60 * 60
_RETENTION_SECONDS = 600
_FIRST_SEAL_SECONDS = 60
"""A server that has just started has other things to do."""

_KEYS_SECONDS = 600
"""Keys are deleted and rotated to the day; nobody waits for the minute."""

_REWRAP_SECONDS = 7 * 24 * 3600
"""What an operator forgets to ask for after a rotation is done within a week."""


def routines_of(parts: Parts) -> tuple[Routine, ...]:
    """Return what a process does for itself: it writes down what it has noted in its own memory."""
    audit = Routine(name="audit", run=parts.trail.flush, interval_seconds=_AUDIT_SECONDS)
    pull_times = Routine(name="pull times", run=parts.pull_times.flush, interval_seconds=_FLUSH_SECONDS)
    key_uses = Routine(name="key uses", run=parts.key_uses.flush, interval_seconds=_FLUSH_SECONDS)
    found = (audit, pull_times, key_uses)
    keys = parts.master_keys
    if keys is None:
        return found
    return (*found, Routine(name="master keys", run=keys.look, interval_seconds=keys.look_seconds))


def kinds_of(parts: Parts) -> tuple[Kind, ...]:
    """Return the kinds of jobs, each with how often it begins again."""
    interval = parts.limits.collection_interval_seconds
    scrub_seconds = parts.limits.scrub_interval_seconds
    collection = parts.collection
    making_room = (
        Kind(
            name=name,
            run=_until_done(step, collection.is_urgent),
            every_seconds=interval,
            first_seconds=interval,
        )
        for name, step in collection.steps.items()
    )
    pruning = (
        Kind(name=name, run=_until_done(step), every_seconds=interval * _RARE, first_seconds=interval)
        for name, step in collection.rare_steps.items()
    )
    return (
        *making_room,
        *pruning,
        Kind(
            name="end-leftovers",
            run=_alone(collection.end_leftovers),
            every_seconds=_DAY_SECONDS,
            first_seconds=_DAY_SECONDS,
        ),
        Kind(name="audit-retention", run=_until_done(parts.trail.expire), every_seconds=_RETENTION_SECONDS),
        Kind(
            name="scrub",
            run=_walk(_at_once(resumed), parts.scrubbing.step),
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
        Kind(
            name=REWRAP_KEYS,
            run=_walk(parts.rewrapping.resumed, parts.rewrapping.step),
            every_seconds=_REWRAP_SECONDS,
            first_seconds=_REWRAP_SECONDS,
        ),
        Kind(name=REMOVE_ORPHANS, run=_alone(partial(parts.scrubbing.audit, remove_orphans=True))),
        *_sealing_kinds(parts.sealing),
    )


def _sealing_kinds(sealing: Sealing | None) -> Iterator[Kind]:
    if sealing is not None:
        yield Kind(
            name="seal-blobs",
            run=_walk(_at_once(resumed_sealing), sealing.step),
            every_seconds=_DAY_SECONDS,
            first_seconds=_FIRST_SEAL_SECONDS,
        )


async def _never() -> bool:
    return False


def _until_done(
    step: Callable[[], Awaitable[int]], is_urgent: Callable[[], Awaitable[bool]] = _never
) -> Handler:
    """Repeat a step that does a bounded piece and tells whether there may be more, with a rest after each."""

    async def handle(run: Run) -> None:
        began = time.monotonic()
        while not run.is_lost and await step():
            took_seconds = time.monotonic() - began
            await asyncio.sleep(rest_seconds(took_seconds, is_urgent=await is_urgent()))
            began = time.monotonic()

    return handle


def _alone(work: Callable[[], Awaitable[object]]) -> Handler:
    async def handle(run: Run) -> None:
        del run
        await work()

    return handle


def _walk(
    resume: Callable[[Mapping[str, object]], Awaitable[R]], step: Callable[[R], Awaitable[bool]]
) -> Handler:
    """Go on where the last attempt was interrupted; what was found or done stays in the payload until the next run."""

    async def handle(run: Run) -> None:
        report = await resume(run.payload)
        more = True
        while more:
            more = await step(report)
            report.is_done = not more
            run.payload = asdict(report)
            if not await run.save():
                return

    return handle


def _at_once(resume: Callable[[Mapping[str, object]], R]) -> Callable[[Mapping[str, object]], Awaitable[R]]:
    async def resumed_at_once(payload: Mapping[str, object]) -> R:
        return resume(payload)

    return resumed_at_once


def _audit(scrubbing: Scrubbing) -> Handler:
    """What was found stays in the payload until the next run."""

    async def handle(run: Run) -> None:
        run.payload = asdict(await scrubbing.audit(remove_orphans=False))

    return handle
