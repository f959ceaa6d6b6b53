"""The order of the system calls behind every answer that promises something, as docs/architecture.md tells it."""

import base64
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from tests.clients.images import MEBIBYTE, OCI_MANIFEST, Image, Layer, digest_of, make_image, random_archive
from tests.durability.callers import Wire
from tests.durability.histories import Ticket
from tests.durability.traces import Call, Tracer, answers
from tests.requirements import require_tool
from tests.running import RunningServer
from tests.scenario.drivers import basic

NAME = "traced"
OCTETS = {"Content-Type": "application/octet-stream"}
QUIET = {"OPENECR_COLLECTION_INTERVAL_SECONDS": "3600"}
"""Little works beside the requests."""

ROUNDS = 5
"""What works beside them may still commit while a request is served. That can only add calls, so of several rounds the
one with the fewest is what the request itself does."""

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"


@dataclass(frozen=True, slots=True)
class Traced:
    """What the server did for each request, by the request's name."""

    calls: dict[str, list[str]]


def image_of(seed: int) -> Image:
    content = random_archive(2 * MEBIBYTE, seed)
    return make_image(
        [Layer(media_type="application/vnd.oci.image.layer.v1.tar", content=content, archive=content)]
    )


class Client:
    """Sends requests one after the other, and remembers which answer was whose."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.tickets: defaultdict[str, list[Ticket]] = defaultdict(list)

    def ask(self, request: str, method: str, path: str, body: bytes = b"", media_type: str = "") -> str:
        """Send a request of the OCI face, which must succeed; gives the path of where the answer says to go on."""
        headers = {"Content-Type": media_type} if media_type else OCTETS
        found, ticket = self.wire.ask(method, path, body, headers)
        self.tickets[request].append(ticket)
        assert found.status in {201, 202}, found
        location = found.headers.get("location", "/v2/")
        return location[location.index("/v2/") :]

    def call(self, request: str, operation: str, **parameters: object) -> dict[str, object]:
        """Call an operation of the AWS face, which must succeed."""
        found, ticket = self.wire.call(operation, repositoryName=NAME, **parameters)
        self.tickets[request].append(ticket)
        return found


def push_and_delete(client: Client) -> None:
    """Every way to push, then every way to delete."""
    client.call("CreateRepository", "CreateRepository")
    uploads, manifests = f"/v2/{NAME}/blobs/uploads/", f"/v2/{NAME}/manifests"
    image, by_aws = image_of(1), image_of(2)
    layer, config = image.layers[0].content, image.config
    location = client.ask("POST", "POST", uploads)
    client.ask("PATCH", "PATCH", location, layer)
    client.ask("PUT after PATCH", "PUT", f"{location}?digest={digest_of(layer)}")
    location = client.ask("POST again", "POST", uploads)
    client.ask("PUT of everything", "PUT", f"{location}?digest={digest_of(config)}", config)
    client.ask("PUT of a manifest", "PUT", f"{manifests}/v1", image.manifest, OCI_MANIFEST)
    other = by_aws.config
    client.ask("POST of everything", "POST", f"{uploads}?digest={digest_of(other)}", other)
    location = client.ask("POST once more", "POST", uploads)
    for number, piece in enumerate((layer[:1000], layer[1000:3000])):
        client.ask(f"PATCH {number}", "PATCH", location, piece)
    client.ask("PUT after two", "PUT", f"{location}?digest={digest_of(layer[:3000])}")

    content = by_aws.layers[0].content
    upload = client.call("InitiateLayerUpload", "InitiateLayerUpload")["uploadId"]
    client.call(
        "UploadLayerPart",
        "UploadLayerPart",
        uploadId=upload,
        partFirstByte=0,
        partLastByte=len(content) - 1,
        layerPartBlob=base64.b64encode(content).decode(),
    )
    client.call(
        "CompleteLayerUpload", "CompleteLayerUpload", uploadId=upload, layerDigests=[digest_of(content)]
    )
    client.call("PutImage", "PutImage", imageManifest=by_aws.manifest.decode(), imageTag="v2")

    client.call("BatchDeleteImage", "BatchDeleteImage", imageIds=[{"imageTag": "v2"}])
    client.ask("DELETE of a manifest", "DELETE", f"{manifests}/{image.digest}")
    client.ask("DELETE of a blob", "DELETE", f"/v2/{NAME}/blobs/{digest_of(layer)}")
    client.call("DeleteRepository", "DeleteRepository", force=True)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    require_tool("strace")
    folder = tmp_path_factory.mktemp("traced")
    tracer = Tracer(folder / "calls.trace")
    server = RunningServer(folder / "host", settings=QUIET, wrapper=tracer.command).start()
    try:
        read = tracer.watch(server.process.pid)
        environment = server.environment()
        key = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        client = Client(Wire(server, basic("AWS", server.password()), key))
        client.wire.call("CreateRepository", repositoryName="warm")  # the start is another matter
        for _ in range(ROUNDS):
            push_and_delete(client)
        client.wire.get("/v2/")
        client.wire.close()
        assert server.stop() == 0
    finally:
        server.kill()
    calls = read()
    found = {ticket: line for ticket, (_, line) in answers(calls).items()}
    ends = sorted(found.values())

    def between(end: int) -> list[Call]:
        begin = ends[ends.index(end) - 1]
        return [call for call in calls if begin < call.began <= end]

    return Traced(
        {
            request: min((told(server.data, between(found[ticket])) for ticket in tickets), key=len)
            for request, tickets in client.tickets.items()
        }
    )


def told(data: Path, calls: Sequence[Call]) -> list[str]:
    """The calls that concern the disk or the client, in the words of the document, repetitions as one."""
    words: list[str] = []
    synced = 0
    for call in sorted(calls, key=lambda call: call.began):
        word = _word(data, call)
        if word is None:
            continue
        words.append(word if call.began >= synced else f"{word}, before a sync has ended")
        if call.name in {"fsync", "fdatasync"}:
            synced = call.ended
    return [word for word, _ in groupby(words)]


def _word(data: Path, call: Call) -> str | None:
    if call.peer_port is not None:
        status = re.match(rb"HTTP/1\.1 \d{3} [^\r]*", call.written)
        return None if status is None else f"{call.name} <client> {status[0].decode()}"
    match call.name:
        case "openat" if "O_CREAT" in call.arguments:
            path = call.strings[0].decode()
        case "openat" | "lseek":
            return None
        case "copy_file_range":
            path = call.described(2)
        case _:
            path = call.described()
    place = path.removeprefix(f"{data}/")
    if place == path or place.startswith("activity"):
        return None
    return f"{call.name} {re.sub(r'^blobs/[0-9a-f]{2}', 'blobs/xx', re.sub(r'[0-9a-f]{32,}', '<location>', place))}"


LOG = ["pwrite64 metadata.sqlite-wal", "fdatasync metadata.sqlite-wal"]
"""A commit of the database."""

FILE = [
    "openat blobs/xx/<location>",
    "writev blobs/xx/<location>",
    "fsync blobs/xx/<location>",
    "fsync blobs/xx",
]
"""Bytes of a blob, then the name that leads to them."""

WHOLE = [FILE[0], "copy_file_range blobs/xx/<location>", *FILE[2:]]

EXPECTED = {
    "CreateRepository": [*LOG, "200 OK"],
    "POST": [*LOG, "202 Accepted"],
    "PATCH": [*LOG, *FILE, *LOG, "202 Accepted"],
    "PUT after PATCH": [*LOG, "201 Created"],
    "PUT of everything": [*LOG, *FILE, *LOG, "201 Created"],
    "POST of everything": [*LOG, *LOG, *FILE, *LOG, "201 Created"],
    "PUT after two": [*LOG, *WHOLE, *LOG, "201 Created"],
    "PUT of a manifest": [*LOG, "201 Created"],
    "InitiateLayerUpload": [*LOG, "200 OK"],
    "UploadLayerPart": [*LOG, *FILE, *LOG, "200 OK"],
    "CompleteLayerUpload": [*LOG, "200 OK"],
    "PutImage": [*LOG, "200 OK"],
    "BatchDeleteImage": [*LOG, "200 OK"],
    "DELETE of a manifest": [*LOG, "202 Accepted"],
    "DELETE of a blob": [*LOG, "202 Accepted"],
    "DeleteRepository": [*LOG, "200 OK"],
}


@pytest.mark.parametrize("request_name", EXPECTED)
def test_everything_is_on_disk_before_the_answer_is_sent(traced: Traced, request_name: str) -> None:
    *calls, status = EXPECTED[request_name]

    assert traced.calls[request_name] == [*calls, f"writev <client> HTTP/1.1 {status}"]


def test_the_document_tells_these_calls() -> None:
    section = (
        DOCUMENT.read_text(encoding="utf-8")
        .partition("## How a push is made durable")[2]
        .partition("\n## ")[0]
    )
    block = section.split("```")[1].removeprefix("text\n")
    documented: dict[str, list[str]] = {}
    for line in block.splitlines():
        if not line.startswith(" "):
            documented[line] = []
        else:
            documented[list(documented)[-1]].append(re.sub(r"   .*", "", line.strip()))

    assert {"PATCH", "PUT after PATCH", "PUT of a manifest"} <= documented.keys()
    for request, lines in documented.items():
        *calls, status = EXPECTED[request]
        assert lines == [*calls, f"writev <client> HTTP/1.1 {status}"]
