"""Malformed HTTP itself, over sockets, to a server program: it neither fails nor stops serving."""

import os
from collections.abc import Iterator

import pytest

from tests.bounds.site import REPOSITORY, Site
from tests.fuzz.dice import Dice
from tests.running import running_server

SHOTS = max(600, int(os.environ.get("OPENECR_FUZZ_REQUESTS", "0")) // 40)
SEED = os.environ.get("OPENECR_FUZZ_SEED", "1")

_UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"OPENECR_IDLE_SECONDS": "2", "OPENECR_ACCESS_LOG": "true"}
    with running_server(tmp_path_factory.mktemp("site"), settings=settings) as server, Site(server) as site:
        yield site


def http1(dice: Dice, site: Site) -> bytes:
    """Return requests in which a few bytes are wrong."""
    body = dice.pick((b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"))
    framing = dice.pick(
        (
            f"Content-Length: {len(body)}",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 5\r\nContent-Length: 6",
            "Expect: 100-continue\r\nContent-Length: 5",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13",
        )
    )
    method, path = dice.pick(
        (("GET", "/v2/"), ("POST", _UPLOADS), ("POST", "/"), ("PUT", "/v2/a/manifests/b"))
    )
    content = site.head(method, path, framing) + body
    return dice.noise(content) if dice.chance(0.8) else content * 2


def http2(dice: Dice) -> bytes:
    """Return frames that make no sense, after a hello that does."""
    frames = [b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"]
    for _ in range(dice.pick((1, 3, 10))):
        payload = dice.randbytes(dice.pick((0, 1, 4, 5, 8, 100)))
        head = len(payload).to_bytes(3, "big") + bytes([dice.randrange(12), dice.randrange(256)])
        frames.append(head + dice.pick((0, 1, 2, 3, 2**31 - 1)).to_bytes(4, "big") + payload)
    content = _PREFACE + b"".join(frames)
    return dice.noise(content) if dice.chance(0.3) else content


@pytest.mark.timeout(max(120, SHOTS))
def test_no_bytes_fail_the_server(site: Site) -> None:
    for number in range(SHOTS):
        dice = Dice(f"raw {SEED} {number}")
        line = site.connect()
        line.send(http2(dice) if dice.chance(0.3) else http1(dice, site))
        line.end()

        answered = line.read_to_end()

        assert not answered.startswith(b"HTTP/1.1 5"), f"raw {SEED} {number}: {answered[:200]!r}"
    site.assert_alive()
    log = site.server.log.read_text(errors="replace")
    assert "Traceback" not in log
    assert "panicked" not in log
    assert '"level":"error"' not in log
    assert '"status":5' not in log
