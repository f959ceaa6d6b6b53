"""Doors that are opened and closed while others read through them: after an acknowledged refusal nobody gets in."""

import http
import json
import random
import time
from collections.abc import Callable
from typing import Protocol

from tests.chaos.wires import Unanswered, Wires
from tests.clients.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, canonical, descriptor, digest_of
from tests.durability.callers import Unexpected

_REST_SECONDS = 0.05
_READS = 6
_FIRST_TURNS = 2
"""One way and the other, before chance decides: a fault may leave time for no more."""

_LAYER = b"what only guests may read" * 100


class Door(Protocol):
    """Something that decides whether reads are let in."""

    def open(self) -> None:
        """Let reads in. Raises Unanswered."""
        ...

    def close(self) -> None:
        """Refuse reads. Raises Unanswered."""
        ...

    def disconnect(self) -> None:
        """Close connections."""
        ...

    def is_refusal(self, status: int) -> bool:
        """Tell whether an answer refuses as this door does."""
        ...


class PolicyDoor:
    """A repository policy that lets a user in, or does not."""

    def __init__(self, owner: Wires, repository_name: str, guest_arn: str) -> None:
        self._owner = owner
        self._repository_name = repository_name
        self._policy = json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": guest_arn},
                        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    }
                ],
            }
        )

    def open(self) -> None:
        """Set the policy."""
        self._owner.call("SetRepositoryPolicy", repositoryName=self._repository_name, policyText=self._policy)

    def close(self) -> None:
        """Delete it."""
        self._owner.call("DeleteRepositoryPolicy", repositoryName=self._repository_name)

    def disconnect(self) -> None:
        """Close connections."""
        self._owner.close()

    def is_refusal(self, status: int) -> bool:
        """Denied."""
        return status == http.HTTPStatus.FORBIDDEN


class KeyDoor:
    """The KMS key of a repository, enabled or not."""

    def __init__(self, owner: Wires, key_id: str) -> None:
        self._owner = owner
        self._key_id = key_id

    def open(self) -> None:
        """Enable the key."""
        self._owner.call("EnableKey", service="kms", KeyId=self._key_id)

    def close(self) -> None:
        """Disable it."""
        self._owner.call("DisableKey", service="kms", KeyId=self._key_id)

    def disconnect(self) -> None:
        """Close connections."""
        self._owner.close()

    def is_refusal(self, status: int) -> bool:
        """Any refusal that is the client's affair."""
        return status in {http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.FORBIDDEN}


class Gate:
    """Opens and closes a door, and reads after each."""

    def __init__(self, door: Door, reader: Wires, paths: dict[str, bytes], *, seed: str) -> None:
        """`paths` are what to read, with the bytes that an open door gives."""
        self._door = door
        self._reader = reader
        self._paths = paths
        self._random = random.Random(seed)
        self._is_certain = True
        self._turns = 0
        self.refused = 0
        self.let_in = 0

    def work(self, is_over: Callable[[], bool]) -> None:
        """Go on until it is over. Raises Unexpected where a read is let in that should not be, or the reverse."""
        try:
            while not is_over():
                self._try_turn()
        finally:
            self.close()

    @property
    def has_turned(self) -> bool:
        """Tell whether it was read through both ways since the last calm."""
        return self._turns >= _FIRST_TURNS

    def settle(self) -> None:
        """Begin anew after a calm."""
        self._door.open()
        self._is_certain = True
        self._turns = 0

    def prove(self) -> None:
        """Turn both ways in a calm, where every request is answered. What it reads is not counted."""
        let_in, refused = self.let_in, self.refused
        for is_open in (True, False):
            self._turn(is_open=is_open)
        self.close()
        assert (self.let_in, self.refused) == (let_in + _READS, refused + _READS)
        self.let_in, self.refused = let_in, refused

    def close(self) -> None:
        """Close every connection; they are made again where they are needed."""
        self._door.disconnect()
        self._reader.close()

    def _try_turn(self) -> None:
        if not self._is_certain:
            time.sleep(_REST_SECONDS)  # until it is over
            return
        try:
            self._turn(
                is_open=self._turns % 2 == 0 if self._turns < _FIRST_TURNS else self._random.random() < 0.5
            )
        except Unanswered:
            # The request may still be carried out: nothing is known of the door until the next calm.
            self._is_certain = False

    def _turn(self, *, is_open: bool) -> None:
        if is_open:
            self._door.open()
        else:
            self._door.open()  # a policy that is not there cannot be deleted
            self._door.close()
        for _ in range(_READS):
            self._read(is_open=is_open)
        self._turns += 1

    def _read(self, *, is_open: bool) -> None:
        path = self._random.choice(sorted(self._paths))
        try:
            found = self._reader.get(path)
        except Unanswered:
            return
        if is_open and (found.status, found.body) != (http.HTTPStatus.OK, self._paths[path]):
            raise Unexpected("refused at an open door", path, found.status, found.body[:200])
        if not is_open and not self._door.is_refusal(found.status):
            raise Unexpected("let in at a closed door", path, found.status, found.body[:200])
        if is_open:
            self.let_in += 1
        else:
            self.refused += 1


def furnish(owner: Wires, repository_name: str) -> dict[str, bytes]:
    """Push an image; give the paths of its manifest and layer, with their bytes."""
    config = canonical({"architecture": "amd64", "os": "linux"})
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config),
            "layers": [descriptor(OCI_LAYER, _LAYER)],
        }
    )
    octets = {"Content-Type": "application/octet-stream"}
    for content in (config, _LAYER):
        path = f"/v2/{repository_name}/blobs/uploads/?digest={digest_of(content)}"
        owner.ask("POST", path, content, octets)
    owner.ask("PUT", f"/v2/{repository_name}/manifests/v1", manifest, {"Content-Type": OCI_MANIFEST})
    return {
        f"/v2/{repository_name}/manifests/v1": manifest,
        f"/v2/{repository_name}/blobs/{digest_of(_LAYER)}": _LAYER,
    }
