"""A bucket that hangs: the server says so, and stays in service for everything that needs no blob."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.clients.images import digest_of
from tests.faulty_proxy import Fault, faulty_proxy
from tests.running import RunningServer, eventually, running_server
from tests.s3_servers import swift_server
from tests.scenario.drivers import Answer, WireDriver, authorization, variables
from tests.scenario.storages import Variables

WAIT_SECONDS = 60.0
HANGING = 40
SHUTDOWN_SECONDS = 3
A_LITTLE_SECONDS = 6
"""For a machine that is busy."""
AWAY = b"ok, but the blob store does not answer\n"


def until(ask: Callable[[], Answer], body: bytes) -> Answer:
    """Ask until an answer has a body, or the time is up."""
    give_up_at = time.monotonic() + WAIT_SECONDS
    while (answer := ask()).body != body and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return answer


def test_a_server_whose_store_hangs_says_so_and_stays_in_service(tmp_path: Path, database: Variables) -> None:
    with swift_server() as swift, faulty_proxy(swift.port) as proxy:
        place = {**swift.settings(swift.make_bucket()), "s3_endpoint": proxy.endpoint}
        with running_server(tmp_path, settings={**database, **variables(place)}) as server:
            driver = WireDriver(server)
            server.create_repository("app")
            headers = {"authorization": authorization(server.client())}
            assert until(lambda: driver.http("GET", "/readyz"), b"ok\n").body == b"ok\n"

            proxy.choose = lambda _: Fault.HANG_BEFORE
            away = until(lambda: driver.http("GET", "/readyz"), AWAY)

            assert (away.status, away.body) == (200, AWAY)
            assert driver.http("GET", "/healthz").body == b"ok\n"
            assert driver.http("GET", "/v2/app/tags/list", headers=headers).status == 200

            proxy.choose = None
            assert until(lambda: driver.http("GET", "/readyz"), b"ok\n").body == b"ok\n"


def test_pulls_and_pushes_that_hang_hold_up_neither_other_requests_nor_the_end(tmp_path: Path) -> None:
    """More of them than there are threads for a bucket."""
    with swift_server() as swift, faulty_proxy(swift.port) as proxy:
        place = {
            **swift.settings(swift.make_bucket()),
            "s3_endpoint": proxy.endpoint,
            "shutdown_seconds": str(SHUTDOWN_SECONDS),
        }
        server = RunningServer(tmp_path, settings=variables(place)).start()
        driver = WireDriver(server)
        server.create_repository("app")
        headers = {
            "authorization": authorization(server.client()),
            "content-type": "application/octet-stream",
        }
        content = b"a layer" * 1000
        digest = digest_of(content)
        uploads = "/v2/app/blobs/uploads/"
        pushed = driver.http("POST", f"{uploads}?digest={digest}", headers=headers, body=content)
        assert pushed.status == 201

        proxy.asked.clear()
        proxy.choose = lambda _: Fault.HANG_BEFORE
        with ThreadPoolExecutor(2 * HANGING) as pool:
            requests = [("GET", f"/v2/app/blobs/{digest}", b"") for _ in range(HANGING)]
            for number in range(HANGING):
                other = b"other %d" % number
                requests.append(("POST", f"{uploads}?digest={digest_of(other)}", other))
            answers = [
                pool.submit(driver.http, method, path, headers=headers, body=body)
                for method, path, body in requests
            ]
            try:
                eventually(lambda: {"GET", "PUT"} <= {asked.method for asked in proxy.asked})
                assert driver.http("GET", "/healthz").body == b"ok\n"
                assert driver.http("GET", "/v2/app/tags/list", headers=headers).status == 200
            finally:
                server.process.send_signal(signal.SIGTERM)
                assert server.process.wait(SHUTDOWN_SECONDS + A_LITTLE_SECONDS) == 0
            outcomes = [each.exception() or each.result().status for each in answers]
        assert not {200, 201} & set(outcomes)
