"""How much room a repository has below a quota, remembered between pushes: counting costs a step for each row."""

from collections import OrderedDict

REPOSITORIES_KEPT = 4096
ROOM_MICROSECONDS = 10_000_000
"""How long a count is believed: other processes push too."""


class Rooms:
    """What may still be added before it must be counted again.

    Half of the room that was counted is given out, so that two processes, each of which counts for itself, stay within
    the quota; near it every push counts. Of N processes that count the same room at once, all but two may each add half
    of it beyond the quota, and pushes that are under way at the same moment count each other nowhere. Deletions make
    more room than is known here.
    """

    def __init__(self) -> None:
        self._rooms: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def take(self, repository_id: int, now: int) -> bool:
        """Use one place, if there is one that is known."""
        room, until = self._rooms.get(repository_id, (0, 0))
        if room <= 0 or now >= until:
            return False
        self._rooms[repository_id] = room - 1, until
        self._rooms.move_to_end(repository_id)
        return True

    def count(self, repository_id: int, room: int, now: int) -> None:
        """Note how much room was counted, before the addition that asked for it."""
        self._rooms[repository_id] = room // 2, now + ROOM_MICROSECONDS
        self._rooms.move_to_end(repository_id)
        while len(self._rooms) > REPOSITORIES_KEPT:
            self._rooms.popitem(last=False)
