"""Logs: JSON lines or lines to read, request ids from a context variable, and nothing secret in any of them."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"secret|passw|token|authorization|signature|credential|cookie|private_?key", re.IGNORECASE
)
_NOT_SECRET_NAME = re.compile(r"_(id|ids|at|seconds|bytes|count)\Z", re.IGNORECASE)
_SCRUBBED = (
    # Basic, Bearer and SigV4 headers, wherever they are quoted.
    (re.compile(r"\b(Basic|Bearer)\s+[A-Za-z0-9+/=_.~-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\bSignature=[0-9a-f]{16,}", re.IGNORECASE), f"Signature={REDACTED}"),
    # What a signed query hands over: signatures, session tokens, seals.
    (
        re.compile(
            r"((?:^|[?&;,\s\"'(])(?:X-Amz-[A-Za-z-]+|[A-Za-z_-]*(?:token|sig|signature|seal|secret|password)))=[^&\s\"'#]+",
            re.IGNORECASE,
        ),
        rf"\1={REDACTED}",
    ),
    (re.compile(r"(/layers/)[^\s\"'?#]{16,}"), rf"\1{REDACTED}"),
)
_DEPTH_MAX = 6
_TALKATIVE = ("alembic", "botocore", "asyncio")
"""Libraries whose ordinary remarks tell an operator nothing."""


def configure_logging(*, log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream` (standard error), in one form.

    `log_format` is `json`, `console`, or `auto`: console on a terminal, else JSON.
    """
    outlet = sys.stderr if stream is None else stream
    renderer = _renderer(log_format, outlet)
    target = cast("TextIO", _Lossy(outlet))
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared_processors(), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared_processors()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class _Lossy:
    """A stream that loses what cannot be written: where the log's own disk is full, the server serves on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def shared_processors() -> list[Processor]:
    """Return what every event passes before it is rendered; the redaction comes last."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace secrets by their name, and by their shape inside longer texts."""
    del logger, method
    return cast("EventDict", {name: _redacted(name, value, _DEPTH_MAX) for name, value in event.items()})


def _redacted(name: str, value: object, depth: int) -> object:
    if _SECRET_NAME.search(name) and not _NOT_SECRET_NAME.search(name) and _is_told(value):
        return REDACTED
    match value:
        case str():
            return _scrub(value)
        case bytes():
            return _scrub(value.decode("utf-8", "replace"))
        case BaseException():
            return _scrub(repr(value))
        case Mapping() | list() | tuple():
            return _redacted_inside(cast("Mapping[object, object] | Sequence[object]", value), depth)
        case _:
            return value


def _redacted_inside(value: Mapping[object, object] | Sequence[object], depth: int) -> object:
    if depth == 0:
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item, depth - 1) for key, item in value.items()}
    return [_redacted("", item, depth - 1) for item in value]


def _is_told(value: object) -> bool:
    """Numbers and None tell no secret."""
    return value is not None and not isinstance(value, (bool, int, float))


def _scrub(text: str) -> str:
    for pattern, replacement in _SCRUBBED:
        text = pattern.sub(replacement, text)
    return text


def _renderer(log_format: str, stream: TextIO) -> Processor:
    if log_format == "console" or (log_format == "auto" and stream.isatty()):
        return structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return _as_json


def _as_json(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> str:
    del logger, method
    return msgspec.json.encode(event, enc_hook=repr).decode()
