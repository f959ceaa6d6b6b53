"""What is remembered of a quota between two counts."""

from openecr.application.rooms import REPOSITORIES_KEPT, Rooms


def test_half_of_the_room_that_was_counted_is_given_out_before_the_next_count() -> None:
    rooms = Rooms()
    assert not rooms.take(1)
    rooms.count(1, 5)
    assert [rooms.take(1) for _ in range(3)] == [True, True, False]
    assert not rooms.take(2)


def test_near_the_quota_and_beyond_it_each_addition_is_counted() -> None:
    rooms = Rooms()
    for room in (1, 0, -3):
        rooms.count(1, room)
        assert not rooms.take(1)


def test_what_is_remembered_has_a_bound() -> None:
    rooms = Rooms()
    for repository in range(REPOSITORIES_KEPT + 1):
        rooms.count(repository, 2)
    assert not rooms.take(0)
    assert rooms.take(1)
