"""`/healthz` (the process answers) and `/readyz` (it can serve).

A server whose blob store is away is ready all the same, and says so: what needs no blob is answered, all servers of the
site have the same store, and a balancer that took all of them out would leave nobody to tell clients to try again.
"""

from collections.abc import Awaitable, Callable

from openecr.web.messages import Request, Response

_TEXT = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))
_WITHOUT_STORE = b"ok, but the blob store does not answer\n"

PATHS = frozenset({"/healthz", "/readyz"})


class Health:
    """Answers the two probes; `is_ready` asks what serving needs, `has_store` what only some requests do."""

    def __init__(
        self, *, is_ready: Callable[[], Awaitable[bool]], has_store: Callable[[], Awaitable[bool]]
    ) -> None:
        self._is_ready = is_ready
        self._has_store = has_store

    async def handle(self, request: Request) -> Response:
        """Answer a probe."""
        if request.path != "/readyz":
            return Response(status=200, headers=_TEXT, body=b"ok\n")
        if not await self._is_ready():
            return Response(status=503, headers=_TEXT, body=b"not ready\n")
        return Response(
            status=200, headers=_TEXT, body=b"ok\n" if await self._has_store() else _WITHOUT_STORE
        )
