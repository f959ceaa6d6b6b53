"""`/healthz` (the process answers) and `/readyz` (it can serve)."""

from collections.abc import Awaitable, Callable

from openecr.web.messages import Request, Response

_TEXT = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))

PATHS = frozenset({"/healthz", "/readyz"})


class Health:
    """Answers the two probes; `is_ready` asks the parts that serving needs."""

    def __init__(self, *, is_ready: Callable[[], Awaitable[bool]]) -> None:
        self._is_ready = is_ready

    async def handle(self, request: Request) -> Response:
        """Answer a probe."""
        if request.path == "/readyz" and not await self._is_ready():
            return Response(status=503, headers=_TEXT, body=b"not ready\n")
        return Response(status=200, headers=_TEXT, body=b"ok\n")
