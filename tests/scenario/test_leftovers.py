"""A server that is killed under an upload into a bucket leaves pieces there that nobody lists: a job ends them."""

import subprocess
import sys
import time
from pathlib import Path

from tests.running import RunningServer, plain_environment, running_server
from tests.s3_servers import S3Server, swift_server
from tests.scenario.drivers import authorization, variables
from tests.scenario.storages import Variables

NAME = "leftovers"
PIECE = b"\0" * (1024 * 1024)
WAIT_SECONDS = 60.0


def unfinished(s3: S3Server, bucket: str) -> list[str]:
    client = s3.client()
    try:
        return [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    finally:
        client.close()


def kill_under_an_upload(server: RunningServer, s3: S3Server, bucket: str) -> None:
    headers = {"authorization": authorization(server.client())}
    connection = server.connection()
    connection.request("POST", f"/v2/{NAME}/blobs/uploads/", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.putrequest("PATCH", answer.headers["location"])
    for name, value in {**headers, "content-length": str(100 * len(PIECE))}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for _ in range(20):
        connection.send(PIECE)
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not unfinished(s3, bucket):
        assert time.monotonic() < give_up_at, "no multipart upload has begun"
    server.kill()
    connection.close()


def test_what_a_killed_server_left_in_a_bucket_is_ended(tmp_path: Path, database: Variables) -> None:
    with swift_server() as swift:
        bucket = swift.make_bucket()
        settings = {**database, **variables(swift.settings(bucket)), "OPENECR_LEFTOVER_SECONDS": "0"}
        with running_server(tmp_path, settings=settings) as server:
            server.create_repository(NAME)
            kill_under_an_upload(server, swift, bucket)
            server.start()

            command = [sys.executable, "-m", "openecr", "jobs", "run", "end-leftovers"]
            done = subprocess.run(
                [*command, "--data", str(server.data)],
                env=plain_environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

            assert done.returncode == 0, done.stderr
            assert unfinished(swift, bucket) == []
