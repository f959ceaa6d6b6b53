"""How many connections are served at once."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bounds.site import Site
from tests.running import running_server

CONNECTIONS = 4


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"OPENECR_CONNECTIONS": str(CONNECTIONS)}
    with running_server(tmp_path_factory.mktemp("small"), settings=settings) as server, Site(server) as site:
        yield site


def test_one_connection_too_many_waits_until_another_ends(small_site: Site) -> None:
    lines = [small_site.connect() for _ in range(CONNECTIONS)]
    for line in lines:
        line.send(small_site.head("GET", "/v2/"))
        assert line.answer().status == 200

    late = small_site.connect()
    late.send(small_site.head("GET", "/v2/"))
    assert not select.select([late.raw], [], [], 0.3)[0], "it was answered beside all the others"
    lines[0].close()

    assert late.answer().status == 200
    for line in (*lines, late):
        line.close()


def test_connections_that_went_away_make_room(small_site: Site) -> None:
    for _ in range(20 * CONNECTIONS):
        line = small_site.connect()
        line.send(b"GET /v2/ HTTP/1.1\r\nHost")
        line.close()

    small_site.assert_alive()


def test_the_server_may_open_more_files_than_a_shell_gives_it(small_site: Site) -> None:
    limits = Path(f"/proc/{small_site.server.process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    soft, hard = (int(word) for word in line.split()[3:5])

    assert soft >= min(hard, 65_536)
