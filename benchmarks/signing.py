"""Requests to the AWS API, signed beforehand, for the generator to send as they are."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.servers import Target

_PREFIX = "AmazonEC2ContainerRegistry_V20150921"


def signed(target: Target, credentials: Credentials, operation: str, given: Mapping[str, Any]) -> bytes:
    """Return a whole request, signed; it is good for a quarter of an hour."""
    body = json.dumps(given)
    request = AWSRequest(
        "POST",
        f"{target.base}/",
        data=body,
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "Host": f"{target.host}:{target.port}",
            "X-Amz-Target": f"{_PREFIX}.{operation}",
        },
    )
    SigV4Auth(credentials, "ecr", "us-east-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body.encode()


def sign_all(
    folder: Path, target: Target, credentials: Credentials, operation: str, given: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Write a file for each request, and return their paths, which are the generator's."""
    folder.mkdir(exist_ok=True)
    paths: list[str] = []
    for number, each in enumerate(given):
        file = folder / f"{number}"
        file.write_bytes(signed(target, credentials, operation, each))
        paths.append(str(file))
    return paths
