"""How long work rests."""

import pytest

from openecr.application.pacing import rest_seconds


@pytest.mark.parametrize("took_seconds", [0.0, 0.001, 0.1, 0.2])
def test_work_has_a_tenth_of_the_machine_and_the_half_where_it_is_urgent(took_seconds: float) -> None:
    assert rest_seconds(took_seconds, is_urgent=False) == pytest.approx(9 * took_seconds)
    assert rest_seconds(took_seconds, is_urgent=True) == pytest.approx(took_seconds)


@pytest.mark.parametrize("is_urgent", [False, True])
def test_no_step_is_so_long_that_work_rests_for_more_than_two_seconds(is_urgent: bool) -> None:
    assert rest_seconds(60.0, is_urgent=is_urgent) == 2.0
