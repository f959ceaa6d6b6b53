"""Clients that push, move, delete and pull at random on both faces, and write down what they were promised."""

import base64
import http
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.clients.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, canonical, descriptor, digest_of
from tests.durability.histories import LIVE, Found, History, Key, Ticket
from tests.running import REGION, RunningServer

_TARGET = "AmazonEC2ContainerRegistry_V20150921."
_SHARED_CONTENTS = 6
_OCTETS = {"Content-Type": "application/octet-stream"}


class Unexpected(AssertionError):
    """The server refused what it has to do."""


class Asks(Protocol):
    """A client's way to a server."""

    def close(self) -> None:
        """Close what is open."""
        ...

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Found, Ticket]:
        """Send one request to the OCI face and read the answer whole."""
        ...

    def get(self, path: str) -> Found:
        """Read something."""
        ...

    def call(self, operation: str, **parameters: Any) -> tuple[dict[str, Any], Ticket]:
        """Call an operation of the AWS face, which must succeed."""
        ...


class Wire:
    """One connection, never made again, so that an answer is known by its port and its number."""

    def __init__(self, server: RunningServer, authorization: str, credentials: Credentials) -> None:
        """Connect; `authorization` is for the OCI face, `credentials` sign for the other one."""
        self._connection = server.connection()
        self._connection.connect()
        self._connection.auto_open = False
        self._authorization = authorization
        self._credentials = credentials
        self._host = server.host
        self._port: int = self._connection.sock.getsockname()[1]
        self._answers = 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Found, Ticket]:
        """Send one request to the OCI face and read the answer whole."""
        fields = {"Authorization": self._authorization, "Host": self._host, **(headers or {})}
        return self._send(method, path, body, fields)

    def get(self, path: str) -> Found:
        """Read something."""
        return self.ask("GET", path)[0]

    def call(self, operation: str, **parameters: Any) -> tuple[dict[str, Any], Ticket]:
        """Call an operation of the AWS face, which must succeed."""
        body = json.dumps(parameters).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{_TARGET}{operation}",
            "Host": self._host,
        }
        request = AWSRequest(method="POST", url=f"http://{self._host}/", data=body, headers=headers)
        SigV4Auth(self._credentials, "ecr", REGION).add_auth(request)
        found, ticket = self._send("POST", "/", body, dict(request.headers.items()))
        if found.status != http.HTTPStatus.OK:
            raise Unexpected(operation, found.status, found.body)
        document: dict[str, Any] = json.loads(found.body)
        return document, ticket

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[Found, Ticket]:
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        found = Found(status=response.status, headers=fields, body=response.read())
        ticket = (self._port, self._answers)
        self._answers += 1
        return found, ticket


class Caller:
    """One client with repositories of its own. Every choice comes from the seed."""

    def __init__(self, wire: Asks, history: History, name: str, *, seed: str, largest_bytes: int) -> None:
        """Work in the repositories `<name>/...`; layers have up to `largest_bytes`."""
        self._wire = wire
        self._history = history
        self._name = name
        self._largest_bytes = largest_bytes
        self._random = random.Random(f"{seed}:{name}")
        self._shared = [
            random.Random(f"{seed}:{number}").randbytes(3000) for number in range(_SHARED_CONTENTS)
        ]
        self._count = 0

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def step(self) -> None:
        """Do one thing. Raises OSError or HTTPException where the server is gone, Unexpected where it refuses."""
        choices = self._choices()
        self._random.choices(list(choices), list(choices.values()))[0]()

    def _choices(self) -> dict[Callable[[], None], int]:
        """What it does, and how often against each other."""
        return {
            self._push: 8,
            self._tag_again: 2,
            self._delete_image: 3,
            self._delete_tag: 2,
            self._delete_blob: 2,
            self._begin_upload: 1,
            self._remake_repository: 1,
            self._pull: 4,
        }

    # --- things to do ---

    def _push(self) -> None:
        repository_name = self._repository()
        layers = [self._content() for _ in range(self._random.randint(1, 2))]
        config = canonical({"architecture": "amd64", "os": "linux", "made": f"{self._name} {self._number()}"})
        for content in (config, *layers):
            self._push_blob(repository_name, content)
        manifest = canonical(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor(OCI_CONFIG, config),
                "layers": [descriptor(OCI_LAYER, content) for content in layers],
            }
        )
        self._put_manifest(repository_name, f"v{self._random.randint(0, 9)}", manifest)

    def _tag_again(self) -> None:
        found = self._some("manifest")
        if found is not None:
            key, manifest = found
            self._put_manifest(key[1], f"again{self._random.randint(0, 2)}", manifest)

    def _delete_image(self) -> None:
        found = self._some("manifest")
        if found is None:
            return
        key, manifest = found
        values: dict[Key, bytes | None] = {key: None}
        values |= dict.fromkeys(self._tags_of(key[1], manifest))
        if self._coin():
            self._ask(values, "DELETE", f"/v2/{key[1]}/manifests/{key[2]}", expected=202)
        else:
            self._call(values, "BatchDeleteImage", repositoryName=key[1], imageIds=[{"imageDigest": key[2]}])

    def _delete_tag(self) -> None:
        """Take one of several tags away; with its last one an image would go."""
        found = self._some("tag")
        if found is None or len(self._tags_of(found[0][1], found[1])) < 2:
            return
        _, repository_name, tag = found[0]
        self._call(
            {found[0]: None}, "BatchDeleteImage", repositoryName=repository_name, imageIds=[{"imageTag": tag}]
        )

    def _delete_blob(self) -> None:
        found = self._some("blob")
        if found is None or self._is_needed(found[0]):
            return
        _, repository_name, digest = found[0]
        self._ask({found[0]: None}, "DELETE", f"/v2/{repository_name}/blobs/{digest}", expected=202)

    def _begin_upload(self) -> None:
        """Leave an upload unfinished: what it was told to have kept must stay."""
        repository_name = self._repository()
        location, ticket = self._open_upload(repository_name)
        key = ("upload", repository_name, location.rpartition("/")[2])
        self._history.acknowledge(self._history.begin({key: b"0"}), ticket)  # the id was not known before
        total = 0
        for _ in range(self._random.randint(1, 3)):
            content = self._content()
            total += len(content)
            self._ask({key: str(total - 1).encode()}, "PATCH", location, content, _OCTETS, expected=202)

    def _remake_repository(self) -> None:
        repository_name = f"{self._name}/short"
        key = ("repository", repository_name)
        if self._history.last(key) is None:
            self._call({key: LIVE}, "CreateRepository", repositoryName=repository_name)
            return
        gone = dict.fromkeys([key, *self._history.keys_of(repository_name)])
        self._call(gone, "DeleteRepository", repositoryName=repository_name, force=True)

    def _pull(self) -> None:
        found = self._some(self._random.choice(("tag", "manifest", "blob")))
        if found is None:
            return
        key, content = found
        place = "blobs" if key[0] == "blob" else "manifests"
        answer = self._wire.get(f"/v2/{key[1]}/{place}/{key[2]}")
        if (answer.status, answer.body) != (200, content):
            raise Unexpected(key, answer.status, answer.body[:200])

    # --- in several ways ---

    def _push_blob(self, repository_name: str, content: bytes) -> None:
        digest = digest_of(content)
        values: dict[Key, bytes] = {("blob", repository_name, digest): content}
        ways = (self._blob_at_once, self._blob_in_pieces, self._blob_by_aws)
        self._random.choice(ways)(repository_name, values, digest, content)

    def _blob_at_once(
        self, repository_name: str, values: Mapping[Key, bytes], digest: str, content: bytes
    ) -> None:
        uploads = f"/v2/{repository_name}/blobs/uploads/"
        if self._coin():
            self._ask(values, "POST", f"{uploads}?digest={digest}", content, _OCTETS, expected=201)
        else:
            location, _ = self._open_upload(repository_name)
            self._ask(values, "PUT", f"{location}?digest={digest}", content, _OCTETS, expected=201)

    def _blob_in_pieces(
        self, repository_name: str, values: Mapping[Key, bytes], digest: str, content: bytes
    ) -> None:
        location, _ = self._open_upload(repository_name)
        cuts = sorted(self._random.randint(0, len(content)) for _ in range(self._random.randint(0, 2)))
        rest = content
        for start, stop in zip((0, *cuts), cuts, strict=False):
            if stop > start:
                self._ask({}, "PATCH", location, content[start:stop], _OCTETS, expected=202)
                rest = content[stop:]
        if self._coin() and rest:
            self._ask({}, "PATCH", location, rest, _OCTETS, expected=202)
            rest = b""
        self._ask(values, "PUT", f"{location}?digest={digest}", rest, _OCTETS, expected=201)

    def _blob_by_aws(
        self, repository_name: str, values: Mapping[Key, bytes], digest: str, content: bytes
    ) -> None:
        (key,) = values
        if self._history.last(key) is not None:
            return  # CompleteLayerUpload refuses what the repository has
        upload = self._wire.call("InitiateLayerUpload", repositoryName=repository_name)[0]["uploadId"]
        self._wire.call(
            "UploadLayerPart",
            repositoryName=repository_name,
            uploadId=upload,
            partFirstByte=0,
            partLastByte=len(content) - 1,
            layerPartBlob=base64.b64encode(content).decode(),
        )
        self._call(
            values,
            "CompleteLayerUpload",
            repositoryName=repository_name,
            uploadId=upload,
            layerDigests=[digest],
        )

    def _put_manifest(self, repository_name: str, tag: str, manifest: bytes) -> None:
        digest = digest_of(manifest)
        named: Key = ("manifest", repository_name, digest)
        tagged: Key = ("tag", repository_name, tag)
        values: dict[Key, bytes] = {named: manifest, tagged: manifest}
        if self._history.last(tagged) == manifest or self._coin():
            path = f"/v2/{repository_name}/manifests/{tag}"
            media_type = json.loads(manifest)["mediaType"]
            self._ask(values, "PUT", path, manifest, {"Content-Type": media_type}, expected=201)
        else:
            self._call(
                values,
                "PutImage",
                repositoryName=repository_name,
                imageManifest=manifest.decode(),
                imageTag=tag,
            )

    def _open_upload(self, repository_name: str) -> tuple[str, Ticket]:
        found, ticket = self._wire.ask("POST", f"/v2/{repository_name}/blobs/uploads/")
        if found.status != http.HTTPStatus.ACCEPTED:
            raise Unexpected("POST", found.status, found.body)
        location = found.headers["location"]
        return location[location.index("/v2/") :], ticket

    # --- writing down ---

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
        change = self._history.begin(values)
        found, ticket = self._wire.ask(method, path, body, headers)
        if found.status != expected:
            raise Unexpected(method, path, found.status, found.body)
        self._history.acknowledge(change, ticket)

    def _call(self, values: Mapping[Key, bytes | None], operation: str, **parameters: Any) -> None:
        change = self._history.begin(values)
        answer, ticket = self._wire.call(operation, **parameters)
        if answer.get("failures"):
            raise Unexpected(operation, answer)
        self._history.acknowledge(change, ticket)

    # --- choosing ---

    def _repository(self) -> str:
        """The client's lasting repository, or the one that comes and goes."""
        if self._random.random() < 0.2 and self._history.last(("repository", f"{self._name}/short")):
            return f"{self._name}/short"
        lasting = f"{self._name}/long"
        key = ("repository", lasting)
        if self._history.last(key) is None:
            self._call({key: LIVE}, "CreateRepository", repositoryName=lasting)
        return lasting

    def _content(self) -> bytes:
        """Mostly fresh bytes; now and then some that other clients push too."""
        if self._random.random() < 0.2:
            return self._random.choice(self._shared)
        return self._random.randbytes(self._random.randint(1, self._largest_bytes))

    def _some(self, kind: str) -> tuple[Key, bytes] | None:
        """Something that is there."""
        names = (f"{self._name}/long", f"{self._name}/short")
        keys = [key for name in names for key in self._history.keys_of(name) if key[0] == kind]
        there = [(key, value) for key in keys if (value := self._history.last(key)) is not None]
        return self._random.choice(there) if there else None

    def _tags_of(self, repository_name: str, manifest: bytes) -> list[Key]:
        keys = self._history.keys_of(repository_name)
        return [key for key in keys if key[0] == "tag" and self._history.last(key) == manifest]

    def _is_needed(self, blob: Key) -> bool:
        _, repository_name, digest = blob
        manifests = (
            self._history.last(key) for key in self._history.keys_of(repository_name) if key[0] == "manifest"
        )
        return any(manifest is not None and digest.encode() in manifest for manifest in manifests)

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _coin(self) -> bool:
        return self._random.random() < 0.5
