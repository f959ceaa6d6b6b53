"""What is remembered of a quota between two counts."""

from openecr.application.rooms import REPOSITORIES_KEPT, ROOM_MICROSECONDS, Rooms

NOW = 5


def test_half_of_the_room_that_was_counted_is_given_out_before_the_next_count() -> None:
    rooms = Rooms()
    assert not rooms.take(1, NOW)
    rooms.count(1, 5, NOW)
    assert [rooms.take(1, NOW) for _ in range(3)] == [True, True, False]
    assert not rooms.take(2, NOW)


def test_near_the_quota_and_beyond_it_each_addition_is_counted() -> None:
    rooms = Rooms()
    for room in (1, 0, -3):
        rooms.count(1, room, NOW)
        assert not rooms.take(1, NOW)


def test_what_is_remembered_has_a_bound() -> None:
    rooms = Rooms()
    for repository in range(REPOSITORIES_KEPT + 1):
        rooms.count(repository, 2, NOW)
    assert not rooms.take(0, NOW)
    assert rooms.take(1, NOW)


def test_a_count_is_believed_for_a_while() -> None:
    rooms = Rooms()
    rooms.count(1, 100, NOW)
    assert rooms.take(1, NOW + ROOM_MICROSECONDS - 1)
    assert not rooms.take(1, NOW + ROOM_MICROSECONDS)
