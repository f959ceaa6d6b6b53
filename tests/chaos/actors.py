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
from tests.clients.images import OCI_INDEX, OCI_MANIFEST, canonical, digest_of
from tests.durability.callers import Caller, Unexpected
from tests.durability.histories import Change, History, Key

_REST_SECONDS = 0.05
"""After a request that nobody answered."""

_PAUSE_SECONDS = 0.001
"""After something that was not done."""

_LARGE_SHARE = 0.02
_LARGE_BYTES = range(9 * 2**20, 12 * 2**20)
"""More than a piece of a multipart upload has, and than two parts below S3's minimum; pulled through pipes."""

_OLD_CONTENTS = 20
_MISSING = ("LayersNotFoundException", "BLOB_UPLOAD_UNKNOWN", "BLOB_UNKNOWN")
"""How either face says that an image needs what is not there."""

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
        self._deletes = self._deletes_image = False
        self.uncertain: set[Key] = set()
        self._old = list[bytes]()
        self.unanswered = 0
        self.acknowledged = 0
        self.revived = 0
        """So many blobs were pushed again after they were deleted, or left without an image that needs them."""

    def begin(self) -> None:
        """Make both repositories, before anything goes wrong: without one that is certain there is nothing to do."""
        self._repository()
        self._remake_repository()
        self.acknowledged = 0

    def work(self, is_over: Callable[[], bool]) -> None:
        """Take steps until it is over. Raises Unexpected where a server breaks a promise."""
        try:
            while not is_over():
                try:
                    self.step()
                except Skipped:
                    time.sleep(_PAUSE_SECONDS)
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
        except (Unanswered, Unexpected):
            # What was refused stands in the history all the same, until it is looked at.
            self.uncertain.update(values)
            raise
        self.acknowledged += 1

    # --- more things to do than without faults ---

    def _choices(self) -> dict[Callable[[], None], int]:
        return {**super()._choices(), self._mount: 2, self._push_index: 1, self._revive: 3}

    def _revive(self) -> None:
        """Push again what was deleted, or what collection takes, has taken or is about to take."""
        repository_name = self._repository()
        blobs = (key for key in self._history.keys_of(repository_name) if key[0] == "blob")
        gone = [key for key in blobs if key not in self.uncertain and self._is_back(key)]
        if not gone:
            raise Skipped
        key = self._random.choice(gone)
        contents = (change.values[key] for change in self._history.changes[key])
        self._push_blob(repository_name, next(content for content in contents if content is not None))

    def _mount(self) -> None:
        """Let one repository have what another one has."""
        found = self._some("blob")
        if found is None:
            return
        (_, source, digest), content = found
        target = f"{self._name}/{'long' if source.endswith('short') else 'short'}"
        if self._history.last(("repository", target)) is None:
            raise Skipped
        key: Key = ("blob", target, digest)
        is_back = self._is_back(key)
        path = f"/v2/{target}/blobs/uploads/?mount={digest}&from={source}"
        self._ask({key: content}, "POST", path, expected=http.HTTPStatus.CREATED)
        self.revived += is_back

    def _push_index(self) -> None:
        """Push an index of an image, look at it, and take it away again: the image can be deleted once more."""
        found = self._some("manifest")
        if found is None:
            return
        (_, repository_name, digest), manifest = found
        if _is_index(manifest):
            raise Skipped
        entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(manifest)}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        index = canonical({**document, "annotations": {"made": f"{self._name} {self._number()}"}})
        self._put_manifest(repository_name, "index", index)
        path = f"/v2/{repository_name}/manifests/{digest_of(index)}"
        answer = self._wire.get(path)
        if (answer.status, answer.body) != (http.HTTPStatus.OK, index):
            raise Unexpected("index", path, answer.status, answer.body[:200])
        gone: dict[Key, bytes | None] = {("manifest", repository_name, digest_of(index)): None}
        gone |= dict.fromkeys(self._tags_of(repository_name, index))
        self._ask(gone, "DELETE", path, expected=http.HTTPStatus.ACCEPTED)

    def _content(self) -> bytes:
        """Now and then what was pushed some time ago: collection may be about to take it, or have taken it.

        And now and then a large one.
        """
        if self._old and self._random.random() < 0.3:
            return self._random.choice(self._old)
        is_large = self._random.random() < _LARGE_SHARE
        content = (
            self._random.randbytes(self._random.choice(_LARGE_BYTES)) if is_large else super()._content()
        )
        self._old = [*self._old, content][-_OLD_CONTENTS:]
        return content

    def _push_blob(self, repository_name: str, content: bytes) -> None:
        """Push as clients do that look first: what is there is not sent, and stays for the time of grace."""
        key: Key = ("blob", repository_name, digest_of(content))
        is_back = self._is_back(key)
        if not (self._history.last(key) is not None and self._coin() and self._is_there(key)):
            super()._push_blob(repository_name, content)
        self.revived += is_back

    def _is_there(self, blob: Key) -> bool:
        if blob in self.uncertain:
            raise Skipped
        found = self._wire.ask("HEAD", f"/v2/{blob[1]}/blobs/{blob[2]}")[0]
        if found.status == http.HTTPStatus.OK:
            return True
        if found.status != http.HTTPStatus.NOT_FOUND or self._is_kept(blob):
            raise Unexpected("HEAD", blob, found.status)
        return False

    def _is_back(self, blob: Key) -> bool:
        """Tell whether a blob was here that was deleted since, or that no image needs any more."""
        return blob in self._history.changes and not self._is_kept(blob)

    # --- what depends on other things ---

    def _delete_image(self) -> None:
        self._only_where_certain("tag")
        self._only_where_certain("manifest")  # an index may need it
        self._deletes_image = True
        try:
            super()._delete_image()
        finally:
            self._deletes_image = False

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
        except Unexpected as error:
            is_late = time.monotonic() - self._pushing_since >= self._grace_seconds
            if not is_late or not _says_that_a_blob_is_missing(error):
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
        if found is not None and self._deletes_image and self._is_kept(found[0]):
            raise Skipped  # an index whose own end was not reached
        return found

    def _is_kept(self, part: Key) -> bool:
        """Tell whether an image that is surely there needs a blob, or an index a manifest."""
        keys = (key for key in self._history.keys_of(part[1]) if key[0] == "manifest")
        manifests = (self._history.last(key) for key in keys if key not in self.uncertain)
        return any(manifest is not None and part[2].encode() in manifest for manifest in manifests)

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


def _says_that_a_blob_is_missing(error: Unexpected) -> bool:
    """Tell so of the answer to an image: another refusal is none that lateness explains."""
    what, *_, body = map(str, error.args)
    is_of_an_image = what == "PutImage" or "/manifests/" in str(error.args[1])
    return is_of_an_image and any(code in body for code in _MISSING)


def _is_index(manifest: bytes) -> bool:
    return bool(json.loads(manifest)["mediaType"] == OCI_INDEX)


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
    """The digests of config and layers; an index has none."""
    document = json.loads(manifest)
    if document["mediaType"] == OCI_INDEX:
        return []
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
