"""A port that is taken is noticed before serving."""

import socket

import pytest

from openecr.adapters.listening import check_port
from openecr.domain.errors import CannotStart


def test_a_port_that_another_listens_on_is_told() -> None:
    with socket.socket() as other:
        # As Granian listens: SO_REUSEPORT would let a second listener in without complaint.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            CannotStart, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        ):
            check_port("127.0.0.1", port)
        with pytest.raises(CannotStart, match="Address already in use"):
            check_port("0.0.0.0", port)
    check_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1"):
        check_port("192.0.2.1", 5050)
