"""Real servers of the S3 protocol for tests, each of a process's own, on ports that were free.

OpenStack Swift with its S3 middleware comes from PyPI (`.ci/tools swift`), Versity's gateway over a folder as a Go
module (`.ci/tools versitygw`). Both keep what they store in extended attributes and files below a folder of ours.
"""

import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

import botocore.session
from botocore.config import Config

from openecr.adapters.blobs.s3 import Bounds, Patience, S3Options
from tests.requirements import TOOLS, lack, require_tool
from tests.running import free_port

START_SECONDS = 60.0
_RING_KINDS = ("object", "container", "account")
_SWIFT = TOOLS.parent / "swift" / "bin"

# As little as S3 needs. The cache's address leads nowhere: the middleware asks for a cache and lives without one.
_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
workers = 0
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_openecr = secretsecret .admin .reseller_admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("bulk", "catch_errors", "copy", "dlo", "listing_formats", "slo")
)
_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_COMMON = """
[swift-hash]
swift_hash_path_prefix = openecr
swift_hash_path_suffix = openecr
[storage-policy:0]
name = only
default = yes
"""
# Run by Swift's own Python: its command-line tool needs seconds for each of the three.
_MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for kind, port in zip(("object", "container", "account"), map(int, ports)):
    builder = RingBuilder(6, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0,
                     "replication_ip": "127.0.0.1", "replication_port": port})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""


@dataclass(frozen=True)
class S3Server:
    """A server that runs."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    region: str = "us-east-1"
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def port(self) -> int:
        """Return where it listens, on 127.0.0.1."""
        return int(self.endpoint.rpartition(":")[2])

    def client(self) -> Any:
        """Return botocore's client."""
        session: Any = botocore.session.Session()
        return session.create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            # Swift asks for patience where its parts do not hear each other in time, on a busy machine.
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "total_max_attempts": 10},
            ),
        )

    def make_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"openecr-{next(self._numbers)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def options(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        patience: Patience | None = None,
        bounds: Bounds | None = None,
    ) -> S3Options:
        """Return what a store is told to use a bucket, straight or by another `endpoint`."""
        return S3Options(
            bucket=bucket,
            prefix=prefix,
            endpoint=endpoint or self.endpoint,
            region=self.region,
            is_path_style=True,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            patience=patience or Patience(),
            bounds=bounds or Bounds(),
        )

    def settings(self, bucket: str) -> dict[str, str]:
        """Return the settings, by their names, that have a server of ours use a bucket."""
        return {
            "blobs": f"s3://{bucket}/blobs",
            "s3_endpoint": self.endpoint,
            "s3_region": self.region,
            "s3_path_style": "true",
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
        }


@contextmanager
def swift_server() -> Iterator[S3Server]:
    """Run OpenStack Swift: a proxy and its three storage servers. Skips where it is not installed."""
    if not (_SWIFT / "swift-proxy-server").exists():
        lack("OpenStack Swift is not installed; it comes with .ci/tools swift")
    with tempfile.TemporaryDirectory(prefix="openecr-swift-") as text:
        folder = Path(text)
        (folder / "devices" / "disk").mkdir(parents=True)
        (folder / "swift.conf").write_text(_COMMON)
        ports = {kind: free_port() for kind in _RING_KINDS}
        port = free_port()
        rings = [str(_SWIFT / "python"), "-c", _MAKE_RINGS, text, *map(str, ports.values())]
        subprocess.run(rings, check=True, env=_environment(folder), cwd=folder, timeout=60)
        user = _user()
        for kind in _RING_KINDS:
            settings = _STORAGE.format(kind=kind, port=ports[kind], user=user, folder=folder)
            (folder / f"{kind}.conf").write_text(settings)
        (folder / "proxy.conf").write_text(_PROXY.format(port=port, user=user, folder=folder))
        commands = [
            [str(_SWIFT / f"swift-{kind}-server"), str(folder / f"{kind}.conf")]
            for kind in (*_RING_KINDS, "proxy")
        ]
        with _running(folder, commands, port):
            yield S3Server(f"http://127.0.0.1:{port}", "test:openecr", "secretsecret")


@contextmanager
def versity_server(*options: str) -> Iterator[S3Server]:
    """Run Versity's gateway over a folder, with more `options` of its own. Skips where it is not built."""
    program = require_tool("versitygw", package=".ci/tools versitygw")
    with tempfile.TemporaryDirectory(prefix="openecr-versity-") as text:
        folder = Path(text)
        (folder / "data").mkdir()
        port = free_port()
        command = [program, "--access", "openecr", "--secret", "secretsecret", "--port", f"127.0.0.1:{port}"]
        with _running(folder, [[*command, "--quiet", *options, "posix", str(folder / "data")]], port):
            yield S3Server(f"http://127.0.0.1:{port}", "openecr", "secretsecret")


SERVERS = {"swift": swift_server, "versity": versity_server}


@contextmanager
def _running(folder: Path, commands: Sequence[Sequence[str]], port: int) -> Iterator[None]:
    log = folder / "log"
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output:
        try:
            for command in commands:
                processes += [_start(command, folder, output)]
            _wait_until_ready(processes, port, log)
            yield
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()


def _start(command: Sequence[str], folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _wait_until_ready(processes: Sequence[subprocess.Popen[bytes]], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and all(process.poll() is None for process in processes):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except urllib.error.HTTPError as refused:  # it answers
            refused.close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the server does not answer:\n{log.read_text(errors='replace')[-5000:]}")


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _user() -> str:
    """The user that Swift is to run as: whoever runs it."""
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
