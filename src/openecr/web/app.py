"""The top of the web: gives each request its id and its face."""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from openecr.ports.ids import Ids
from openecr.web import health
from openecr.web.messages import Request, Response

Handler = Callable[[Request], Awaitable[Response]]

_LOG = structlog.get_logger(__name__)
_NOT_FOUND = Response(
    status=404, headers=(("content-type", "text/plain; charset=utf-8"),), body=b"Not found\n"
)
_REQUEST_ID_HEADER = "x-request-id"

DOWNLOADS_PREFIX = "/layers/"


class WebApplication:
    """Dispatches by path: `/v2` to the registry face, `/` to the AWS face, `/layers/` to the download door."""

    def __init__(
        self,
        *,
        registry_face: Handler,
        aws_face: Handler,
        downloads: Handler,
        probes: Handler,
        ids: Ids,
        trusted_proxies: Sequence[str] = (),
        access_log: bool = False,
    ) -> None:
        self._registry_face = registry_face
        self._aws_face = aws_face
        self._downloads = downloads
        self._probes = probes
        self._ids = ids
        self._trusted_proxies = tuple(ipaddress.ip_network(network) for network in trusted_proxies)
        self._access_log = access_log

    async def handle(self, request: Request) -> Response:
        """Answer any request; whatever a face did not expect becomes a 500 that names only the request's id."""
        request.request_id = self._ids.uuid()
        if self._trusted_proxies:
            self._believe_proxy(request)
        started = time.perf_counter_ns()
        try:
            response = await self._face(request.path)(request)
        except Exception:  # noqa: BLE001 -- a bug: told in the log, and to the client in general words
            _LOG.exception("request failed", request_id=request.request_id, method=request.method)
            response = _internal_error(request.request_id)
        if self._access_log:
            _log_access(request, response, time.perf_counter_ns() - started)
        return response

    def _face(self, path: str) -> Handler:
        if path.startswith("/v2/") or path == "/v2":
            return self._registry_face
        if path in {"/", ""}:
            return self._aws_face
        if path.startswith(DOWNLOADS_PREFIX):
            return self._downloads
        if path in health.PATHS:
            return self._probes
        return _not_found

    def _believe_proxy(self, request: Request) -> None:
        """Take the client's address and scheme from the last hop's headers, if that hop is a trusted proxy."""
        try:
            hop = ipaddress.ip_address(request.client_address.strip("[]"))
        except ValueError:
            return
        if not any(hop in network for network in self._trusted_proxies):
            return
        forwarded_for = request.header_values("x-forwarded-for")
        if forwarded_for:
            request.client_address = forwarded_for[-1].rpartition(",")[2].strip()
        scheme = request.header("x-forwarded-proto")
        if scheme in {"http", "https"}:
            request.scheme = scheme


async def _not_found(request: Request) -> Response:
    del request
    return _NOT_FOUND


def _internal_error(request_id: str) -> Response:
    return Response(
        status=500,
        headers=(("content-type", "text/plain; charset=utf-8"), (_REQUEST_ID_HEADER, request_id)),
        body=f"Internal error. Request id: {request_id}\n".encode(),
    )


def _log_access(request: Request, response: Response, elapsed_nanoseconds: int) -> None:
    """The path holds no secret but for the download door, whose seal is cut; queries are never logged."""
    path = DOWNLOADS_PREFIX if request.path.startswith(DOWNLOADS_PREFIX) else request.path
    _LOG.info(
        "access",
        request_id=request.request_id,
        method=request.method,
        path=path[:1024],
        status=response.status,
        client=request.client_address,
        received_bytes=request.received_bytes,
        milliseconds=round(elapsed_nanoseconds / 1e6, 2),
    )
