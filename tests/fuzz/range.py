"""Where the shots land: a whole server in this process, with images that must survive."""

import base64
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from structlog.testing import capture_logs

from openecr.testing.server import InProcessServer, in_process
from openecr.web.messages import Response, StreamBody
from tests.fuzz import aws, oci
from tests.fuzz.arsenal import BLOBS, FUZZED, KEPT, SAMPLES, digest
from tests.fuzz.dice import Dice
from tests.fuzz.judge import Verdict, content_of, judge
from tests.fuzz.requests import Shot, visible
from tests.fuzz.signer import signature

FACES: Mapping[str, Callable[[Dice], Shot]] = {"aws": aws.shot, "oci": oci.shot}
LIMITS = {"repositories_per_registry": 300, "uploads_per_repository": 100, "layer_part_min_bytes": 1}

_STRANGER = "111111111111"
_A_DAY_AND_MORE = 2 * 86_400
_UPLOAD_ID = re.compile(rb'"uploadId":"([0-9a-f-]{36})"')
_NO_UPLOAD = "0f8fad5b-d9cb-469f-a165-70867728950e"


class Range:
    """A server to shoot at."""

    def __init__(self, server: InProcessServer, logs: list[structlog.typing.EventDict]) -> None:
        self._server = server
        self._logs = logs
        self._upload = _NO_UPLOAD
        self._token = ""
        self._keys: dict[str, tuple[str, str]] = {}

    async def prepare(self) -> None:
        """Make the repositories and push what is kept."""
        stranger = await self._server.parts.accounts.create(_STRANGER)
        self._keys = {
            "root": self._server.root_key,
            "stranger": (stranger.access_key_id, stranger.secret),
            "nobody": ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        }
        await self._renew()
        for name in (KEPT, *FUZZED):
            await self._call("CreateRepository", json.dumps({"repositoryName": name}))
            await self._push(name)

    async def fire(self, shot: Shot) -> Response:
        """Send a request and judge the answer. Raises Verdict."""
        response, content = await self._send(shot)
        judge(shot, response, content)
        faults = [entry for entry in self._logs if entry["log_level"] in {"error", "critical"}]
        self._logs.clear()
        if faults:
            raise Verdict(f"the log has {faults}")
        location = dict(response.headers).get("location", "")
        if response.status == 202 and "/blobs/uploads/" in location:
            self._upload = location.rpartition("/")[2]
        elif opened := _UPLOAD_ID.search(content):
            self._upload = opened[1].decode()
        return response

    async def tidy(self) -> None:
        """Let days go by, so that what was left open is collected, and sign in again."""
        self._server.clock.move(seconds=_A_DAY_AND_MORE)
        await self._server.parts.collection.collect()
        await self._renew()
        for name in FUZZED:
            await self._call("CreateRepository", json.dumps({"repositoryName": name}))
            await self._push(name)

    async def check_kept(self) -> None:
        """Read everything that was pushed at first. Raises Verdict where a byte is missing."""
        for sample in SAMPLES:
            await self._check(f"manifests/{sample.name}", sample.content)
        for blob in BLOBS:
            await self._check(f"blobs/{digest(blob)}", blob)

    async def check_nothing_is_left(self) -> None:
        """Delete every other repository, and see that only what is kept has bytes in the store. Raises Verdict."""
        while names := [name for name in await self._repositories() if name != KEPT]:
            for name in names:
                await self._call("DeleteRepository", json.dumps({"repositoryName": name, "force": True}))
        for _ in range(3):
            self._server.clock.move(seconds=_A_DAY_AND_MORE)
            await self._server.parts.collection.collect()
        files = [path for path in (self._server.folder / "blobs").glob("*/*") if path.is_file()]
        if len(files) != len(BLOBS):
            raise Verdict(f"{len(files)} files are left of {len(BLOBS)} blobs that are kept")
        await self._renew()

    async def _repositories(self) -> list[str]:
        listed = json.loads(await self._call("DescribeRepositories", "{}"))
        return [repository["repositoryName"] for repository in listed["repositories"]]

    # --- one request ---

    async def _send(self, shot: Shot) -> tuple[Response, bytes]:
        aimed = shot.replaced(token=self._token, upload=self._upload)
        if aimed.signed is not None:
            service, _, who = aimed.signed.partition(" ")
            query = aimed.target.partition("?")[2]
            headers = list(visible(aimed.headers))
            aimed.headers = headers + signature(
                headers,
                aimed.body,
                method=aimed.method,
                query="" if aimed.method == "POST" else query,
                service=service,
                key=self._keys[who],
                now_at=self._server.clock.now(),
            )
        response = await self._server.handle(aimed.request())
        if aimed.method == "HEAD":
            if isinstance(response.body, StreamBody):
                raise Verdict("an answer to HEAD that streams")
            return response, b""
        return response, await content_of(response)

    async def _call(self, operation: str, parameters: str) -> bytes:
        headers = [
            ("host", "localhost:5050"),
            ("x-amz-target", f"AmazonEC2ContainerRegistry_V20150921.{operation}"),
            ("content-type", "application/x-amz-json-1.1"),
            ("content-length", str(len(parameters))),
        ]
        shot = Shot(method="POST", target="/", headers=headers, body=parameters.encode(), signed="ecr root")
        _, content = await self._send(shot)
        return content

    async def _renew(self) -> None:
        answer = await self._call("GetAuthorizationToken", "{}")
        self._token = answer.decode().partition('"authorizationToken":"')[2].partition('"')[0]
        if not base64.b64decode(self._token).startswith(b"AWS:"):
            raise Verdict(f"no token: {answer[:300]!r}")

    async def _registry(
        self, method: str, path: str, body: bytes = b"", media_type: str = ""
    ) -> tuple[int, bytes]:
        headers = [
            ("host", "localhost:5050"),
            ("authorization", "Basic {token}"),
            ("content-length", str(len(body))),
        ]
        headers += [("content-type", media_type)] if media_type else []
        response, content = await self._send(
            Shot(method=method, target=f"/v2/{path}", headers=headers, body=body)
        )
        return response.status, content

    async def _push(self, name: str) -> None:
        """Push everything to a repository; only to the one that is kept it must go well."""
        for blob in BLOBS:
            await self._registry("POST", f"{name}/blobs/uploads/?digest={digest(blob)}", blob)
        for sample in SAMPLES:
            path = f"{name}/manifests/{sample.name}"
            status, content = await self._registry("PUT", path, sample.content, sample.media_type)
            if name == KEPT and status != 201:
                raise Verdict(f"{sample.name} is refused: {content!r}")

    async def _check(self, path: str, expected: bytes) -> None:
        status, content = await self._registry("GET", f"{KEPT}/{path}")
        if (status, content) != (200, expected):
            raise Verdict(f"{path}: {status}, {content[:200]!r}")


@asynccontextmanager
async def shooting_range(folder: Path) -> AsyncGenerator[Range]:
    """Open a server over `folder`, full of what is kept."""
    with capture_logs() as logs:
        async with in_process(folder, limits=LIMITS) as server:
            opened = Range(server, logs)
            await opened.prepare()
            yield opened
