"""Thousands of malformed requests to each face, and those that are known to break servers.

`OPENECR_FUZZ_REQUESTS` sets how many requests each face gets, `OPENECR_FUZZ_SEED` the seed of their numbers.
`make fuzz` sends 200,000.
"""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openecr.web.messages import Response
from tests.fuzz.dice import Dice
from tests.fuzz.judge import Verdict, content_of, judge
from tests.fuzz.range import FACES, Range, shooting_range
from tests.fuzz.requests import Shot

REQUESTS = int(os.environ.get("OPENECR_FUZZ_REQUESTS", "5000"))
SEED = os.environ.get("OPENECR_FUZZ_SEED", "1")
TIDY_EVERY = 2_000
SHOWN = 5
NAMED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("seeds").joinpath("named.json").read_text()
)


@pytest.fixture
async def shooting(tmp_path: Path) -> AsyncIterator[Range]:
    async with shooting_range(tmp_path) as opened:
        yield opened


def shot_of(face: str, number: int) -> Shot:
    """Make the request of a number."""
    return FACES[face](Dice(f"{face} {SEED} {number}"))


@pytest.mark.timeout(max(120, REQUESTS // 50))
@pytest.mark.parametrize("face", FACES)
async def test_no_request_fails_the_server_or_harms_what_is_kept(shooting: Range, face: str) -> None:
    failures: list[str] = []
    statuses: Counter[int] = Counter()

    for number in range(REQUESTS):
        shot = shot_of(face, number)
        try:
            statuses[(await shooting.fire(shot)).status] += 1
        except Exception as error:  # noqa: BLE001 - whatever comes out of the server is a finding
            failures.append(f"{face} {SEED} {number}: {error!r}\n    {json.dumps(shot.kept())[:2_000]}")
        if number % TIDY_EVERY == TIDY_EVERY - 1:
            await shooting.tidy()
    await shooting.tidy()
    await shooting.check_kept()
    await shooting.check_nothing_is_left()
    await shooting.check_kept()

    print(f"{face}, seed {SEED}: {REQUESTS} requests, {dict(sorted(statuses.items()))}")
    assert not failures, f"{len(failures)} findings:\n" + "\n".join(failures[:SHOWN])
    assert statuses[200] > REQUESTS // 50, "too few requests get as far as to succeed"


async def test_what_is_known_to_break_servers_is_answered(shooting: Range) -> None:
    failures: dict[str, str] = {}

    for name, kept in NAMED.items():
        try:
            await shooting.fire(Shot.of(kept))
        except Exception as error:  # noqa: BLE001 - whatever comes out of the server is a finding
            failures[name] = repr(error)
    await shooting.check_kept()

    assert failures == {}


async def test_a_number_always_makes_the_same_request() -> None:
    for face in FACES:
        assert shot_of(face, 7).kept() == shot_of(face, 7).kept()
        assert shot_of(face, 7).kept() != shot_of(face, 8).kept()


_GOOD = Response(
    status=404,
    headers=(("docker-distribution-api-version", "registry/2.0"), ("content-type", "application/json")),
    body=b'{"errors":[{"code":"NAME_UNKNOWN","message":"no"}]}',
)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 500},
        {"status": 100},
        {"headers": _GOOD.headers[1:]},
        {"headers": _GOOD.headers[:1]},
        {"headers": (*_GOOD.headers, ("x", "a\r\nb: c"))},
        {"headers": (*_GOOD.headers, ("x", "\u00e4"))},
        {"headers": (*_GOOD.headers, ("content-length", "1"))},
        {"body": b"Not found"},
        {"body": b'{"errors":[]}'},
        {"body": b'{"errors":[{"code":"SOMETHING","message":"no"}]}'},
        {"status": 401},
    ],
)
async def test_the_judge_sees_what_is_out_of_form(changes: dict[str, Any]) -> None:
    shot = Shot(method="GET", target="/v2/kept/app/tags/list")
    judge(shot, _GOOD, await content_of(_GOOD))
    bad = replace(_GOOD, **changes)

    with pytest.raises((Verdict, ValueError, LookupError)):
        judge(shot, bad, await content_of(bad))
