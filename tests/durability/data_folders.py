"""Makes the data folder of this version that all later ones must open: `make fixture`, once for each release.

The archive holds the folder of a server that was stopped, started again and killed, and `promise.json`: what must be
found in it.
"""

import base64
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openecr
from tests.clients import images
from tests.clients.images import Image, canonical, descriptor, digest_of
from tests.clients.plain_registry import PlainRegistry
from tests.running import RunningServer, plain_environment
from tests.scenario.drivers import basic

FOLDER = Path(__file__).parents[1] / "fixtures" / "data-folders"
OTHER_ACCOUNT = "111122223333"
APP, TOOLS = "library/app", "team/tools"
RECEIVED = b"the first part of an upload that goes on later. " * 50
SIGNATURE = "application/vnd.example.signature"
EMPTY = "application/vnd.oci.empty.v1+json"


class Promise:
    """What is written down of everything that was pushed."""

    def __init__(self, authorization: str) -> None:
        """Begin, with the password that the first server gave."""
        self.document: dict[str, Any] = {
            "version": openecr.__version__,
            "made_at": time.time_ns() // 1000,
            "authorization": authorization,
            "repositories": {},
        }

    def push(self, registry: PlainRegistry, repository_name: str, tag: str, image: Image) -> None:
        """Push an image and write it down."""
        registry.push(repository_name, tag, image)
        self.note(
            repository_name, {digest_of(image.manifest): image.media_type}, image.blobs(), {tag: image.digest}
        )

    def note(
        self,
        repository_name: str,
        manifests: Mapping[str, str],
        blobs: Mapping[str, bytes],
        tags: Mapping[str, str],
    ) -> None:
        """Write down digests: manifests with their media types, blobs, and what tags name."""
        empty: dict[str, Any] = {"manifests": {}, "blobs": [], "tags": {}}
        found = self.document["repositories"].setdefault(repository_name, empty)
        found["manifests"] |= manifests
        found["blobs"] = sorted({*found["blobs"], *blobs})
        found["tags"] |= tags


def artifact(subject: Image) -> bytes:
    """The manifest of something that refers to an image: a signature."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": images.OCI_MANIFEST,
            "artifactType": SIGNATURE,
            "config": descriptor(EMPTY, b"{}"),
            "layers": [descriptor(SIGNATURE, b"signed")],
            "subject": descriptor(subject.media_type, subject.manifest),
        }
    )


def small_image(name: str, architecture: str = "amd64") -> Image:
    """A layer of its own and one that all share."""
    layers = [
        images.files_archive({"etc/name": name.encode()}),
        images.files_archive({"etc/motd": b"hello\n"}),
    ]
    return images.make_image(map(images.gzip_layer, layers), architecture=architecture, name=name)


def fill(server: RunningServer) -> Promise:
    """Use everything that leaves something in the folder."""
    password = server.password()
    promise = Promise(basic("AWS", password))
    client = server.client()
    client.create_repository(repositoryName=APP)
    client.create_repository(
        repositoryName=TOOLS,
        imageTagMutability="IMMUTABLE",
        tags=[{"Key": "team", "Value": "infrastructure"}],
        imageScanningConfiguration={"scanOnPush": True},
    )
    client.create_repository(repositoryName="gone")
    client.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    index = images.make_index(*(small_image(name, name) for name in ("amd64", "arm64")))
    with PlainRegistry(server, password) as registry:
        registry.push_index(APP, "latest", index)
        for image in index.images:
            promise.note(APP, {image.digest: image.media_type}, image.blobs(), {})
        promise.note(APP, {index.digest: index.media_type}, {}, {"latest": index.digest, "v1": index.digest})
        registry.push_manifest(APP, "v1", index.manifest, index.media_type)
        blobs = {digest_of(content): content for content in (b"{}", b"signed")}
        for content in blobs.values():
            registry.push_blob(APP, content)
        signature = artifact(index.images[0])
        registry.push_manifest(APP, digest_of(signature), signature, images.OCI_MANIFEST)
        promise.note(APP, {digest_of(signature): images.OCI_MANIFEST}, blobs, {})
        promise.document["signature"] = {
            "subject": index.images[0].digest,
            "digest": digest_of(signature),
            "artifact_type": SIGNATURE,
        }
        promise.push(registry, TOOLS, "v1", images.as_docker(small_image("tools")))
        registry.push("gone", "v1", small_image("gone"))
        registry.manifest(TOOLS, "v1")  # a pull, whose time is kept
    client.delete_repository(repositoryName="gone", force=True)
    return promise


def leave_unfinished(server: RunningServer, promise: Promise) -> None:
    """Leave an upload in the middle, and in the database's log one more image."""
    with PlainRegistry(server) as registry:
        location = registry.request("POST", f"/v2/{APP}/blobs/uploads/", b"").headers["location"]
        half = len(RECEIVED) // 2
        for part in (RECEIVED[:half], RECEIVED[half:]):
            answer = registry.request("PATCH", location, part, Content_Type="application/octet-stream")
            assert answer.status == 202, answer
        promise.push(registry, TOOLS, "v2", small_image("more tools"))
    promise.document["upload"] = {
        "path": location[location.index("/v2/") :],
        "received": base64.b64encode(RECEIVED).decode(),
    }


def make_account(server: RunningServer) -> list[str]:
    """Make another account while the server runs, and give its root key."""
    command = [sys.executable, "-m", "openecr", "accounts", "create", OTHER_ACCOUNT, "--json"]
    made = subprocess.run(
        [*command, "--data", str(server.data)],
        env=plain_environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    answer = json.loads(made.stdout)
    return [answer["access_key_id"], answer["secret_access_key"]]


def make(target: Path) -> None:
    """Write the archive of this version."""
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder)).start()
        try:
            promise = fill(server)
            environment = server.environment()
            promise.document["root_key"] = [
                environment["AWS_ACCESS_KEY_ID"],
                environment["AWS_SECRET_ACCESS_KEY"],
            ]
            promise.document["other_key"] = make_account(server)
            assert server.stop() == 0
            leave_unfinished(server.restart(), promise)
        finally:
            server.kill()
        promise_file = Path(folder) / "promise.json"
        promise_file.write_text(json.dumps(promise.document, indent=1) + "\n", encoding="utf-8")
        with tarfile.open(target, "w:gz", compresslevel=9) as archive:
            archive.add(promise_file, "promise.json", filter=images.anonymous)
            archive.add(server.data, "data", filter=_kept)


def _kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What another machine can have: no socket, no owner."""
    return images.anonymous(entry) if entry.isfile() or entry.isdir() else None


if __name__ == "__main__":
    archive_file = FOLDER / f"{openecr.__version__}.tar.gz"
    make(archive_file)
    sys.stdout.write(f"{archive_file}: {archive_file.stat().st_size} bytes\n")
