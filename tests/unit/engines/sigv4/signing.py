"""A client that signs with botocore, so that what is verified is what real clients send."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from openecr.engines.sigv4 import SignedRequest

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "localhost:5050"
TARGET = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"


@dataclass(frozen=True)
class Sent:
    """A request as it reaches the server, with the body that came with it."""

    request: SignedRequest
    body: bytes = b""

    @property
    def body_digest_hex(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def with_header(self, name: str, value: str) -> "Sent":
        """The same request with one header set to another value (or added)."""
        others = tuple(pair for pair in self.request.headers if pair[0] != name)
        return replace(self, request=replace(self.request, headers=(*others, (name, value))))

    def without_header(self, name: str) -> "Sent":
        others = tuple(pair for pair in self.request.headers if pair[0] != name)
        return replace(self, request=replace(self.request, headers=others))

    def with_query(self, query: str) -> "Sent":
        return replace(self, request=replace(self.request, query=query))


class Client:
    """Signs as boto3 does, in the header or in the query string."""

    access_key_id = ACCESS_KEY_ID
    secret = SECRET
    host = HOST

    def sign(
        self,
        *,
        method: str = "POST",
        query: str = "",
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
        service: str = "ecr",
        region: str = "us-east-1",
        token: str | None = None,
    ) -> Sent:
        if headers is None:
            headers = {"X-Amz-Target": TARGET, "Content-Type": "application/x-amz-json-1.1"}
        url = f"http://{HOST}/" + (f"?{query}" if query else "")
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
        SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET, token), service, region).add_auth(request)
        return Sent(_as_received(request, method), body)

    def presign(
        self,
        *,
        expires_seconds: int = 60,
        region: str = "us-east-1",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Sent:
        url = f"http://{HOST}/?Action=GetCallerIdentity&Version=2011-06-15"
        request = AWSRequest(method="GET", url=url, headers=dict(headers or {}))
        credentials = Credentials(ACCESS_KEY_ID, SECRET, token)
        SigV4QueryAuth(credentials, "sts", region, expires=expires_seconds).add_auth(request)
        return Sent(_as_received(request, "GET"))


def _as_received(request: AWSRequest, method: str) -> SignedRequest:
    url = urlsplit(str(request.url))
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    return SignedRequest(method=method, path=url.path, query=url.query, headers=(("host", HOST), *headers))
