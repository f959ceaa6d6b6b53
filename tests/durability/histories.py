"""What clients were promised: every change they asked for, whether it was acknowledged, and what may be there now.

A key names one thing that a client can look up; only one client changes it, one request at a time. What must be found
under it is what the last acknowledged request left there, or what the one request after it, which was not
acknowledged, would have left.
"""

import http
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.clients.images import digest_of

Key = tuple[str, ...]
"""`("repository", name)`, or kind (tag, manifest, blob, upload), repository, and tag, digest or id of the upload."""

Ticket = tuple[int, int]
"""Which answer acknowledges a change: the client's port, and how many answers came there before."""

LIVE = b"live"
NOBODY: Ticket = (0, 0)
"""Stands for an answer that no client got."""

_PATIENCE_SECONDS = 300.0


@dataclass(slots=True, kw_only=True, eq=False)
class Change:
    """One request that changes something. None: it is not there."""

    values: Mapping[Key, bytes | None] = field(repr=False)
    ticket: Ticket | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client has read the answer."""
        return self.ticket is not None


@dataclass(slots=True)
class History:
    """All changes of all clients."""

    changes: dict[Key, list[Change]] = field(default_factory=dict)
    acknowledged: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, values: Mapping[Key, bytes | None]) -> Change:
        """Note a request before it is sent."""
        change = Change(values=dict(values))
        with self._lock:
            for key in values:
                self.changes.setdefault(key, []).append(change)
        return change

    def acknowledge(self, change: Change, ticket: Ticket) -> None:
        """Note that a request was answered as it should be."""
        with self._lock:
            change.ticket = ticket
            self.acknowledged += 1
            self._lock.notify_all()

    def wait_for(self, count: int) -> None:
        """Come back when so many changes were acknowledged in all."""
        with self._lock:
            enough = self._lock.wait_for(lambda: self.acknowledged >= count, _PATIENCE_SECONDS)
        assert enough, "the clients got nowhere"

    def settle(self, found: Mapping[Key, bytes | str | None]) -> None:
        """Note what became of requests that were never answered."""
        with self._lock:
            for key, value in found.items():
                if not self.changes[key][-1].is_acknowledged and not isinstance(value, str):
                    self.changes[key].append(Change(values={key: value}, ticket=NOBODY))

    def keys_of(self, repository_name: str) -> list[Key]:
        """Everything that was ever in a repository."""
        with self._lock:
            return [key for key in self.changes if key[0] != "repository" and key[1] == repository_name]

    def last(self, key: Key) -> bytes | None:
        """What the latest request would leave under a key."""
        with self._lock:
            changes = self.changes.get(key)
            return None if not changes else changes[-1].values[key]

    def expected(self, is_acknowledged: Callable[[Change], bool]) -> dict[Key, tuple[bytes | None, ...]]:
        """What may be found under every key."""
        with self._lock:
            return {
                key: _allowed(key, changes, is_acknowledged) for key, changes in sorted(self.changes.items())
            }


def _allowed(
    key: Key, changes: list[Change], is_acknowledged: Callable[[Change], bool]
) -> tuple[bytes | None, ...]:
    acknowledged = [number for number, change in enumerate(changes) if is_acknowledged(change)]
    last = acknowledged[-1] if acknowledged else -1
    found = changes[last].values[key] if acknowledged else None
    return (found, *(change.values[key] for change in changes[last + 1 : last + 2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a server answered to a question."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


Ask = Callable[[str], Found]
"""GET of a path, by somebody who may read everything."""


def observed(keys: Iterable[Key], ask: Ask) -> dict[Key, bytes | str | None]:
    """What stands under each key; in words what is wrong with it, whatever was expected."""
    return {key: _value_of(key, ask(_path_of(key))) for key in keys}


def differences(
    expected: Mapping[Key, tuple[bytes | None, ...]], found: Mapping[Key, bytes | str | None]
) -> list[str]:
    """Compare what a server holds with what it may hold; a line for each difference."""
    wrong: list[str] = []
    for key, value in found.items():
        if isinstance(value, str):
            wrong.append(f"{key}: {value}")
        elif value not in expected[key]:
            wanted = " or ".join(map(_described, expected[key]))
            wrong.append(f"{key}: {_described(value)} instead of {wanted}")
    return wrong


def _path_of(key: Key) -> str:
    match key:
        case ("repository", name):
            return f"/v2/{name}/tags/list"
        case ("tag" | "manifest", name, reference):
            return f"/v2/{name}/manifests/{reference}"
        case ("blob", name, digest):
            return f"/v2/{name}/blobs/{digest}"
        case ("upload", name, identifier):
            return f"/v2/{name}/blobs/uploads/{identifier}"
        case _:
            raise AssertionError(key)


def _value_of(key: Key, found: Found) -> bytes | str | None:
    match found.status:
        case http.HTTPStatus.NOT_FOUND:
            return None
        case http.HTTPStatus.NO_CONTENT if key[0] == "upload":
            return found.headers["range"].partition("-")[2].encode()
        case http.HTTPStatus.OK if key[0] == "repository":
            return LIVE
        case http.HTTPStatus.OK:
            named = key[2] if key[0] != "tag" else found.headers["docker-content-digest"]
            return found.body if digest_of(found.body) == named else f"bytes that are not {named}"
        case status:
            return f"answered with {status}: {found.body[:200]!r}"


def _described(value: bytes | None) -> str:
    if value is None:
        return "nothing"
    return value.decode() if len(value) < 24 and value.isascii() else f"{len(value)} bytes"
