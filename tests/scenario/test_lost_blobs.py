"""Bytes that a store has lost: the first read says so, nobody is sent to them again, and a push heals them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.images import digest_of
from tests.running import RunningServer, running_server
from tests.s3_servers import S3Server, swift_server
from tests.scenario.drivers import Answer, WireDriver, authorization, variables
from tests.scenario.storages import Variables

NAME = "lost"
CONTENT = b"what a bucket may lose" * 5000
OCTETS = "application/octet-stream"


class Site:
    """A server over a bucket."""

    def __init__(self, server: RunningServer, s3: S3Server, bucket: str) -> None:
        self.server = server
        self._s3 = s3
        self._bucket = bucket

    def ask(self, method: str, path: str, body: bytes = b"", **more: str) -> Answer:
        headers = {"authorization": authorization(self.server.client()), "content-type": OCTETS, **more}
        return WireDriver(self.server).http(method, path, headers=headers, body=body)

    def push(self, content: bytes = CONTENT) -> str:
        digest = digest_of(content)
        answer = self.ask("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer.body
        return f"/v2/{NAME}/blobs/{digest}"

    def damage(self, how: str) -> None:
        """Take every object away, or its last byte."""
        client = self._s3.client()
        for each in client.list_objects_v2(Bucket=self._bucket)["Contents"]:
            place = {"Bucket": self._bucket, "Key": each["Key"]}
            if len(each["Key"].rpartition("/")[2]) < 32:
                continue  # no blob's
            content = client.get_object(**place)["Body"].read()
            client.delete_object(**place)
            if how == "short":
                client.put_object(**place, Body=content[:-1])
        client.close()


@pytest.fixture(scope="module")
def swift() -> Iterator[S3Server]:
    with swift_server() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, swift: S3Server, database: Variables) -> Iterator[Site]:
    bucket = swift.make_bucket()
    with running_server(tmp_path, settings={**database, **variables(swift.settings(bucket))}) as server:
        server.create_repository(NAME)
        yield Site(server, swift, bucket)


@pytest.mark.parametrize("how", ["gone", "short"])
def test_bytes_that_are_gone_are_told_by_the_first_read_and_healed_by_the_next_push(
    site: Site, how: str
) -> None:
    path = site.push()
    site.damage(how)

    assert site.ask("GET", path, range="bytes=100000-109999").status in {206, 404}
    assert site.ask("GET", path).status == 404
    assert site.ask("HEAD", path).status == 404
    site.push()
    assert site.ask("GET", path).body == CONTENT

    site.damage(how)
    site.push()
    assert site.ask("GET", path).body == CONTENT, "the push itself looks whether the bytes are there"


def test_several_ranges_of_what_is_gone_are_none(site: Site) -> None:
    path = site.push()
    site.damage("gone")

    assert site.ask("GET", path, range="bytes=0-9,20-29").status == 404


@pytest.mark.parametrize("how", ["gone", "short"])
def test_nobody_is_sent_on_to_bytes_that_are_gone(tmp_path: Path, swift: S3Server, how: str) -> None:
    bucket = swift.make_bucket()
    redirects = {"s3_redirect": "true", "storage_encrypt_at_rest": "false"}
    with running_server(tmp_path, settings=variables({**swift.settings(bucket), **redirects})) as server:
        server.create_repository(NAME)
        site = Site(server, swift, bucket)
        path = site.push()
        assert site.ask("GET", path).status == 307
        site.damage(how)

        assert [site.ask(method, path).status for method in ("GET", "HEAD")] == [404, 404]
        site.push()
        assert site.ask("GET", path).status == 307
