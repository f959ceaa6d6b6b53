"""Clients that work through every fault: what they were promised is written down, what they do not know is left alone.

A request that was not answered may have been carried out, or may still be. What it was about is *uncertain* from then
on: its client neither changes it nor relies on it until the fault has passed and it was looked at.
"""

import http
import json
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tests.chaos.wires import Unanswered, Wires
from tests.durability.callers import Caller, Unexpected
from tests.durability.histories import Change, History, Key

_REST_SECONDS = 0.05
"""After a request that nobody answered."""


SETTLED = (-1, 0)
"""The ticket of what was found after every fault had passed."""


class Skipped(Exception):
    """What was to be done is about something uncertain."""


class Actor(Caller):
    """A caller whose servers come and go. `uncertain` is what it does not know."""

    def __init__(
        self,
        wires: Wires,
        history: History,
        name: str,
        *,
        seed: str,
        largest_bytes: int,
        grace_seconds: float,
        encrypted: bool,
    ) -> None:
        """Work in the repositories `<name>/...`; where they are `encrypted`, under a key of KMS.

        What no image needs may be gone `grace_seconds` after it was pushed.
        """
        super().__init__(wires, history, name, seed=seed, largest_bytes=largest_bytes)
        self._encrypted = encrypted
        self._grace_seconds = grace_seconds
        self._pushing_since = 0.0
        self._deletes = False
        self.uncertain: set[Key] = set()
        self.unanswered = 0
        self.done = 0

    def begin(self) -> None:
        """Make both repositories, before anything goes wrong: without one that is certain there is nothing to do."""
        self._repository()
        self._remake_repository()

    def work(self, is_over: Callable[[], bool]) -> None:
        """Take steps until it is over. Raises Unexpected where a server breaks a promise."""
        try:
            while not is_over():
                try:
                    self.step()
                    self.done += 1
                except Skipped:
                    continue
                except Unanswered:
                    self.unanswered += 1
                    time.sleep(_REST_SECONDS)  # a client that backs off; nothing waits for it
        finally:
            self.close()

    # --- what is uncertain is not touched ---

    def _ask(
        self,
        values: Mapping[Key, bytes | None],
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        expected: int,
    ) -> None:
        ask = super()._ask
        self._attempt(values, lambda: ask(values, method, path, body, headers, expected=expected))

    def _call(self, values: Mapping[Key, bytes | None], operation: str, **parameters: Any) -> None:
        if operation == "CreateRepository" and self._encrypted:
            parameters["encryptionConfiguration"] = {"encryptionType": "KMS"}
        call = super()._call
        self._attempt(values, lambda: call(values, operation, **parameters))

    def _attempt(self, values: Mapping[Key, bytes | None], send: Callable[[], None]) -> None:
        if self.uncertain.intersection(values) and not _ends_a_repository(values):
            raise Skipped
        if any(("repository", key[1]) in self.uncertain for key in values if key[0] != "repository"):
            raise Skipped
        try:
            send()
        except Unanswered:
            self.uncertain.update(values)
            raise

    def _delete_image(self) -> None:
        self._only_where_certain("tag")
        super()._delete_image()

    def _delete_tag(self) -> None:
        self._only_where_certain("tag")
        super()._delete_tag()

    def _delete_blob(self) -> None:
        self._only_where_certain("manifest")
        self._deletes = True
        try:
            super()._delete_blob()
        except Unexpected as error:
            if http.HTTPStatus.NOT_FOUND not in error.args:
                raise
            raise Skipped from error  # it was collected
        finally:
            self._deletes = False

    def _push(self) -> None:
        self._pushing_since = time.monotonic()
        try:
            super()._push()
        except Unexpected:
            if time.monotonic() - self._pushing_since < self._grace_seconds:
                raise
            raise Skipped from None  # what it had pushed first was collected

    def _remake_repository(self) -> None:
        if ("repository", f"{self._name}/short") in self.uncertain:
            raise Skipped
        super()._remake_repository()

    def _repository(self) -> str:
        name = super()._repository()
        if ("repository", name) in self.uncertain:
            raise Skipped
        return name

    def _some(self, kind: str) -> tuple[Key, bytes] | None:
        found = super()._some(kind)
        if found is not None and kind == "blob" and not self._deletes and not self._is_kept(found[0]):
            raise Skipped  # it may have been collected
        if found is not None and (
            found[0] in self.uncertain or ("repository", found[0][1]) in self.uncertain
        ):
            raise Skipped
        return found

    def _is_kept(self, blob: Key) -> bool:
        """Tell whether an image that is surely there needs a blob."""
        keys = (key for key in self._history.keys_of(blob[1]) if key[0] == "manifest")
        manifests = (self._history.last(key) for key in keys if key not in self.uncertain)
        return any(manifest is not None and blob[2].encode() in manifest for manifest in manifests)

    def _only_where_certain(self, kind: str) -> None:
        """Deletions depend on what else is there: a tag that may name an image, an image that may need a blob."""
        if any(key[0] == kind for key in self.uncertain):
            raise Skipped

    def _blob_by_aws(
        self, repository_name: str, values: Mapping[Key, bytes], digest: str, content: bytes
    ) -> None:
        (key,) = values
        may_be_collected = self._history.last(key) is not None and not self._is_kept(key)
        if key in self.uncertain or may_be_collected:
            raise Skipped  # whether it is there is not known: this way pushes only what is not
        super()._blob_by_aws(repository_name, values, digest, content)


def _ends_a_repository(values: Mapping[Key, bytes | None]) -> bool:
    return any(key[0] == "repository" and value is None for key, value in values.items())


def allowed(history: History, keys: Collection[Key]) -> dict[Key, tuple[bytes | None, ...]]:
    """What may be found under each key: what was acknowledged last, or any unanswered request since would leave.

    A blob that no image needs may have been collected.
    """
    found = {key: _allowed(key, history.changes[key]) for key in keys}
    manifests = [
        (key[1], manifest)
        for key, changes in history.changes.items()
        if key[0] == "manifest" and None not in (values := _allowed(key, changes))
        for manifest in values
        if manifest is not None
    ]
    needed = {(name, digest) for name, manifest in manifests for digest in blobs_of(manifest)}
    return {
        key: (*values, None) if key[0] == "blob" and (key[1], key[2]) not in needed else values
        for key, values in found.items()
    }


def blobs_of(manifest: bytes) -> list[str]:
    """The digests of config and layers."""
    document = json.loads(manifest)
    return [each["digest"] for each in (document["config"], *document["layers"])]


def _allowed(key: Key, changes: list[Change]) -> tuple[bytes | None, ...]:
    acknowledged = [number for number, change in enumerate(changes) if change.is_acknowledged]
    last = changes[acknowledged[-1]].values[key] if acknowledged else None
    settled = [number for number, change in enumerate(changes) if change.ticket == SETTLED]
    since = changes[settled[-1] + 1 :] if settled else changes
    return (last, *(change.values[key] for change in since if not change.is_acknowledged))


def settle(history: History, found: Mapping[Key, bytes | str | None]) -> None:
    """Note what is there now that nothing is uncertain any more."""
    for key, value in found.items():
        if not isinstance(value, str):
            history.changes[key].append(Change(values={key: value}, ticket=SETTLED))
