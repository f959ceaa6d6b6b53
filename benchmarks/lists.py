"""How long the last page of a large repository takes, over the signed API. The peer has no such call."""

import http.client
import json
import statistics
import time
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.servers import Target

IMAGES = 100_000
REPOSITORY = "bench/images"
_PAGE = 100
_LARGE_PAGE = 1_000
_REPEATS = 40


class _Api:
    """Signed calls on one connection."""

    def __init__(self, target: Target, credentials: Credentials) -> None:
        self._connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
        self._url = f"{target.base}/"
        self._credentials = credentials

    def call(self, operation: str, content: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Return the answer, and milliseconds from sending to the last byte."""
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"AmazonEC2ContainerRegistry_V20150921.{operation}",
        }
        request = AWSRequest("POST", self._url, data=json.dumps(content), headers=headers)
        SigV4Auth(self._credentials, "ecr", "us-east-1").add_auth(request)
        began = time.perf_counter()
        self._connection.request("POST", "/", body=request.data, headers=dict(request.headers))
        response = self._connection.getresponse()
        body = response.read()
        taken = (time.perf_counter() - began) * 1000
        if response.status != 200:
            message = f"{operation}: {response.status} {body[:300]!r}"
            raise RuntimeError(message)
        return json.loads(body), taken


def last_pages(target: Target, credentials: Credentials) -> None:
    """Print a line for ListImages and one for DescribeImages."""
    api = _Api(target, credentials)
    for operation in ("ListImages", "DescribeImages"):
        token = _token_of_last_page(api, operation)
        page = {"repositoryName": REPOSITORY, "maxResults": _PAGE, "nextToken": token}
        taken = sorted(api.call(operation, page)[1] for _ in range(_REPEATS))
        print(
            f"| {operation}, the last 100 of {IMAGES:,} images | p50 {statistics.median(taken):.1f} ms, "
            f"slowest of {_REPEATS} {taken[-1]:.1f} ms | | | at most 50 ms | | |",
            flush=True,
        )


def _token_of_last_page(api: _Api, operation: str) -> str:
    """Walk to the last page: large steps first, then pages of its own size."""
    position: dict[str, Any] = {"repositoryName": REPOSITORY}
    for page, steps in ((_LARGE_PAGE, IMAGES // _LARGE_PAGE - 1), (_PAGE, _LARGE_PAGE // _PAGE - 1)):
        for _ in range(steps):
            answer, _ = api.call(operation, {**position, "maxResults": page})
            position["nextToken"] = answer["nextToken"]
    return str(position["nextToken"])
