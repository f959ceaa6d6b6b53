"""Asking for a command to be obeyed: by the live server, or here where none runs."""

import socket
from pathlib import Path
from typing import Any

import msgspec

from openecr.domain.errors import OperatorError
from openecr.web.control import Answer, Command, short_address

_TIMEOUT_SECONDS = 60
_ANSWER_MAX_BYTES = 1024 * 1024


def ask(data: Path, command: Command) -> dict[str, Any] | None:
    """Return the live server's answer, or None where no server runs on the folder. Raises OperatorError."""
    path = data / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            with short_address(path) as address:
                connection.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise OperatorError(message=f"cannot reach the server through {path}: {error}") from error
        try:
            return _exchange(connection, command)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise OperatorError(message=f"the server did not answer through {path}: {error}") from error


def ask_server(data: Path, command: Command) -> dict[str, Any]:
    """Return the live server's answer. Raises OperatorError, also where none runs on the folder."""
    answer = ask(data, command)
    if answer is None:
        raise OperatorError(message=f"no server runs on {data}")
    return answer


def _exchange(connection: socket.socket, command: Command) -> dict[str, Any]:
    connection.sendall(msgspec.json.encode(command) + b"\n")
    with connection.makefile("rb") as lines:
        line = lines.readline(_ANSWER_MAX_BYTES)
    if not line.endswith(b"\n"):
        raise ValueError("the answer is not whole")
    answer = msgspec.json.decode(line, type=Answer)
    if answer.error is not None:
        raise OperatorError(message=answer.error)
    return answer.result
